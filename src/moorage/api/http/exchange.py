"""What a server asks of an application, and what a handler answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""An application as servers call it (PEP 3333)."""

JSON: Final = "application/json"

NO_BODY: Final = object()
"""The body of an answer without body and content type."""

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Answer(NamedTuple):
    """The answer of a handler. A ``body`` of bytes is already encoded JSON.

    ``location`` is a path, prefix included. ``dated`` answers carry cache headers with the time ``modified``
    (naive UTC), or the present where there is nothing to date. ``headers`` come besides. A ``stream`` is sent
    part by part in place of a body, and closed at its end if it has a method for that.
    """

    status: int = 200
    body: object = NO_BODY
    location: str | None = None
    dated: bool = False
    modified: datetime | None = None
    headers: Mapping[str, str] = NO_HEADERS
    media_type: str = JSON
    stream: Iterable[bytes] | None = None


GONE: Final = "moorage.gone"
"""Key of an environ: a function that says whether the client has closed its connection."""

UNBUFFERED: Final = "x-accel-buffering"
"""Header of an answer that is sent part by part. Proxies such as nginx pass each part on at
once, and so does ``serve.front``."""
