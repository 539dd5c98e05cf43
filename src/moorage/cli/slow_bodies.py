"""Bodies that come slowly, or never to their end, shall not take all of a worker's threads hostage.

A thread that reads a body waits as long as the client likes, or until the deadline: a body cannot be read
by any other thread than the request's own. So only a part of the threads may read bodies at a time.
Whoever comes when all these wait is asked to come again, and the other threads go on to answer what has
no body.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from moorage.cli.body_deadline import BodyDeadline, Request

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


GIVEN_UP: Final = "moorage.body_given_up"
"""Key of the environ: the body is not going to be read to its end."""


Turns = deque[int]
"""What a thread takes one of to read a body, and gives back. Who finds none is refused, so that nobody waits
for one; a semaphore, which could be waited for, takes some times as long."""


def turns_for(readers: int) -> Turns:
    """Turns for so many at a time."""
    return deque(range(readers))


class Readable(Protocol):
    """A WSGI input."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


class BoundedBody:
    """The WSGI input of an environ, read only while few enough others are, and until a deadline."""

    def __init__(
        self,
        environ: dict[str, Any],
        turns: Turns,
        deadline: BodyDeadline,
        request: Request,
    ) -> None:
        self._environ = environ
        self._body: Readable = environ["wsgi.input"]
        self._turns = turns
        self._deadline = deadline
        self._request = request

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes.

        Raises BlockingIOError if too many others are being read, TimeoutError past the deadline.
        """
        try:
            turn = self._turns.pop()
        except IndexError:
            self._environ[GIVEN_UP] = True
            raise BlockingIOError("too many bodies are being read") from None
        self._request.reads = True
        try:
            content = self._body.read(size)
        finally:
            self._request.reads = False
            self._turns.append(turn)
        # Also if all is there: its connection may have been shut, so that no answer would get through.
        # What announced its length and breaks off when connections are shut is one of theirs.
        breaks_off = len(content) < size and bool(self._environ.get("CONTENT_LENGTH"))
        if self._deadline.is_over(self._request) or (self._request.met_cut and breaks_off):
            self._environ[GIVEN_UP] = True
            raise TimeoutError("the body did not arrive in time")
        return content


class BoundedReading:
    """``application``, with at most ``readers`` bodies being read at a time, each until ``deadline``."""

    def __init__(self, application: WsgiApplication, readers: int, deadline: BodyDeadline) -> None:
        self._application = application
        self._turns = turns_for(readers)
        self._deadline = deadline

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = self._deadline.begin(environ["SERVER_PORT"])
        environ["wsgi.input"] = BoundedBody(environ, self._turns, self._deadline, request)
        try:
            return self._application(environ, start_response)
        finally:
            self._deadline.end(request)
