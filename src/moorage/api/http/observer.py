"""The interface of observers: the wire reports to them each request and its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from moorage.auth.identity import Identity

NO_ROUTE: Final = "none"
"""The route of a request whose path has none."""

REQUEST_ID: Final = re.compile(r"req-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
"""A client's own id of its request. Only text of this form is taken over."""

CLIENTS_ID: Final = "HTTP_X_OPENSTACK_REQUEST_ID"
"""Where the WSGI environ has a client's own id of its request. Nova sends its global id in it."""

OTHER_METHOD: Final = "other"
"""The method of a request whose method no route has."""


class Ended(NamedTuple):
    """A request that was answered.

    ``route`` is the path's template, as in the table of routes. ``minor`` is None if the request was refused
    before its version was known. ``environ`` is the WSGI environ of the request.
    """

    request_id: str
    method: str
    route: str
    minor: int | None
    status: int
    seconds: float
    identity: Identity | None
    environ: Mapping[str, Any]
    length: int


class RequestObserver(Protocol):
    """An observer of requests. The thread that answers calls it, so it must neither raise nor block."""

    def request_begun(self, request_id: str, environ: Mapping[str, Any]) -> None:
        """A request has arrived."""
        ...

    def request_ended(self, ended: Ended) -> None:
        """A request was answered."""
        ...
