"""One request on its way through the wire, and what a handler answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from moorage.api.query import Query
from moorage.api.settings import ApiSettings
from moorage.model.values import Requester
from moorage.service.facade import Service

NO_QUERY: Final = Query()

NO_BODY: Final = object()
"""An answer without a body has no content type either."""


@dataclass(slots=True)
class Call:
    """What a handler sees of a request that has passed all checks of its form.

    ``prefix`` is the path that the service is mounted under ("" at the root of a host).
    ``body`` is the decoded JSON, as its schema wants it. ``facts`` feed the texts of errors:
    the fields of the path, and what a handler adds.
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


class Answer(NamedTuple):
    """What goes back. A ``body`` of bytes is JSON already.

    ``location`` is a path, prefix included. ``dated`` answers carry cache headers (1.15) with
    the time ``modified`` (naive UTC), or the present where there is nothing to date.
    """

    status: int = 200
    body: object = NO_BODY
    location: str | None = None
    dated: bool = False
    modified: datetime | None = None


Handler = Callable[[Call], Answer]
