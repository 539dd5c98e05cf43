"""What the wire tells whoever watches it: when a request comes, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from moorage.auth.identity import Identity

NO_ROUTE: Final = "none"
"""The route of a request whose path has none."""

OTHER_METHOD: Final = "other"
"""The method of a request that no route has."""


class Ended(NamedTuple):
    """A request that was answered.

    ``route`` is the path's template, as in the table of routes. ``minor`` is None if the request
    was refused before its version was known. ``environ`` is what the server said of the request.
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


class Observer(Protocol):
    """Is told by the thread that answers the request; must neither raise nor take long."""

    def request_begun(self, request_id: str, environ: Mapping[str, Any]) -> None:
        """A request came."""
        ...

    def request_ended(self, ended: Ended) -> None:
        """It was answered."""
        ...
