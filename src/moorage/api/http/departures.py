"""Whether the client of a request has closed its connection, as far as the server lets a request see it."""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from moorage.api.http.exchange import GONE

GUNICORN: Final = "gunicorn.socket"
"""Key under which gunicorn puts the connection into an environ."""

_CLOSING: Final = getattr(select, "POLLRDHUP", 0)
"""The client will send nothing more, whatever it has sent before. Linux alone says so."""


def gone_in(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """A function that says whether the client has gone: always no behind a server that does not tell."""
    told: Callable[[], bool] | None = environ.get(GONE)
    if told is not None:
        return told
    connection = environ.get(GUNICORN)
    return partial(_is_closed, connection) if _CLOSING and connection is not None else _never


def _is_closed(connection: Any) -> bool:
    descriptor = connection.fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, _CLOSING)
    return bool(poll.poll(0))


def _never() -> bool:
    return False
