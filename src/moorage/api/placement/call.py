"""One request on its way through the Placement API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from moorage.api.http.exchange import Answer
from moorage.api.placement.query import Query
from moorage.api.placement.settings import ApiSettings
from moorage.model.values import Requester
from moorage.service.facade import Service

NO_QUERY: Final = Query()


@dataclass(slots=True)
class Call:
    """A request that has passed all checks of its form, as its handler sees it.

    ``prefix`` is the path that the service is mounted under ("" at the root of a host). ``body`` is the
    decoded JSON, valid by its schema. ``facts`` are used in texts of errors: the fields of the path, and
    those that a handler adds.
    """

    service: Service
    settings: ApiSettings
    minor: int
    requester: Requester
    prefix: str
    path: Mapping[str, str]
    facts: dict[str, object]
    query: Query = NO_QUERY
    body: Any = None


Handler = Callable[[Call], Answer]
