"""Whether the client of a request that Granian has handed over has closed its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moorage.serve.body_slots import Body, NoBody


class Departure:
    """Says whether the client has gone. It never waits.

    ``receive`` (of ASGI) tells so after the body. While the body is not read, nothing is asked of it.
    """

    __slots__ = ("_body", "_future", "_is_gone", "_receive")

    def __init__(self, receive: Callable[[], Any], body: Body | NoBody) -> None:
        self._receive = receive
        self._body = body
        self._future: Any = None
        self._is_gone = False

    def __call__(self) -> bool:
        """Whether it has gone by now. What the first call asks, later ones learn."""
        if self._is_gone or not self._body.is_read:
            return self._is_gone
        if self._future is None:
            self._future = self._receive()
        if self._future.done():
            # First comes the end of the body.
            self._is_gone = self._future.result()["type"] != "http.request"
            self._future = None
        return self._is_gone
