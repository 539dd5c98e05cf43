"""Bodies that come slowly, or never to their end, shall not take all of a worker's threads hostage.

A thread that reads a body waits as long as the client likes: the HTTP server has no deadline for it,
and a body cannot be read by any other thread than the request's own. So only a part of the threads may
read bodies at a time. Whoever comes when all these wait is asked to come again, and the other threads
go on to answer what has no body.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Readable(Protocol):
    """A WSGI input."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


class BoundedBody:
    """A WSGI input that is read only while few enough others are."""

    def __init__(self, body: Readable, turns: threading.Semaphore) -> None:
        self._body = body
        self._turns = turns

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes. Raises BlockingIOError if too many others are being read."""
        if not self._turns.acquire(blocking=False):
            raise BlockingIOError("too many bodies are being read")
        try:
            return self._body.read(size)
        finally:
            self._turns.release()


class BoundedReading:
    """``application``, with at most ``readers`` bodies being read at a time."""

    def __init__(self, application: WsgiApplication, readers: int) -> None:
        self._application = application
        self._turns = threading.Semaphore(readers)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"] = BoundedBody(environ["wsgi.input"], self._turns)
        return self._application(environ, start_response)
