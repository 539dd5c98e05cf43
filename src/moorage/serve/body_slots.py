"""Keeps bodies that come slowly, or never to their end, from occupying all threads of a worker.

A thread that reads a body waits until the client sends it, or until the deadline. So only a part of the
threads may wait for slow bodies. While all of these wait, further bodies are refused with 503. The other
threads go on to answer requests without a body.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

HONEST_SECONDS: Final = 0.1
"""A busy worker needs less time to hand over what the client has sent. A body that takes longer is slow."""


class BodyReading:
    """At most ``readers`` threads wait for slow bodies at a time; each body has ``seconds``."""

    def __init__(self, readers: int, seconds: float = math.inf) -> None:
        self.seconds = seconds
        # A thread takes a turn and gives it back. A thread that finds none raises an error, and does not
        # wait; a semaphore takes several times as long.
        self.turns = deque(range(readers))


class Body:
    """A WSGI input: a body that Granian's ``receive`` (of ASGI) hands over in pieces.

    ``length`` is its Content-Length; a body in chunks has none. The deadline counts from now. ``is_read``
    says whether the body was read to its end.
    """

    __slots__ = ("_kept", "_left", "_reading", "_receive", "_until", "is_read")

    def __init__(self, length: str, receive: Callable[[], Any], reading: BodyReading) -> None:
        self.is_read = False
        self._receive: Callable[[], Any] | None = receive
        self._reading = reading
        self._until = time.monotonic() + reading.seconds
        self._left = int(length) if length.isdecimal() else math.inf
        self._kept = b""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end.

        Raises BlockingIOError if too many threads wait for slow bodies, TimeoutError past the deadline,
        ConnectionError if the connection or the chunks break off.
        """
        if self.is_read:
            return b""
        piece = self._kept or self._next()
        self._kept = piece[size:]
        if self._kept:
            return piece[:size]
        self.is_read = self._left <= 0
        return piece

    def close(self) -> None:
        """Drop what is unread, so that the server can close the connection."""
        self._receive = None

    def _next(self) -> bytes:
        """The next piece; an empty one at the end."""
        while True:
            message = self._message()
            if message["type"] != "http.request":
                raise ConnectionError("the body broke off")
            piece: bytes = message["body"]
            # If the length is known, this saves the call that would only report the end.
            self._left = self._left - len(piece) if message["more_body"] else 0
            if piece or not self._left:
                return piece

    def _message(self) -> Any:
        if not self._reading.turns:
            raise BlockingIOError("too many bodies are being read")
        if self._receive is None:
            raise ConnectionError("the request is over")
        future = self._receive()
        if not future.done():
            try:
                self._wait(future)
            except OSError:
                future.cancel()
                raise
        return future.result()

    def _wait(self, future: Any) -> None:
        came = Lock()
        came.acquire()
        future.add_done_callback(lambda _: came.release())
        left = max(0.0, self._until - time.monotonic())
        if came.acquire(timeout=min(left, HONEST_SECONDS)):
            return
        try:
            turn = self._reading.turns.pop()
        except IndexError:
            raise BlockingIOError("too many bodies are being read") from None
        try:
            left = max(0.0, self._until - time.monotonic())
            if not came.acquire(timeout=-1 if left == math.inf else left):
                raise TimeoutError("the body did not arrive in time")
        finally:
            self._reading.turns.append(turn)


class NoBody:
    """The WSGI input of a request without a body."""

    is_read: Final = True

    @staticmethod
    def read(_size: int, /) -> bytes:
        """Nothing."""
        return b""

    def close(self) -> None:
        """Do nothing."""


NO_BODY: Final = NoBody()
