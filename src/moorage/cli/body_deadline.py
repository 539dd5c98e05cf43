"""A deadline for the bodies of requests, which the HTTP server does not have.

A thread that reads a body waits inside the server, where nothing can wake it but its connection. So
that is shut for reading once the deadline is over: the thread gets what there is, and can still answer.

The server does not say which connection a request came on. But headers have a deadline, so that a
connection on which nothing was sent for as long as both deadlines together carries a request that began
longer ago than its body may take. It reads, and is late; or it is being worked on, and as long as there is
one of that kind no connection is touched.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG: Final = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
"""How often it is looked for late bodies: what they may overstay besides."""

MARGIN_SECONDS: Final = 1.0
"""By so much the kernel's clock, the HTTP server's and ours may differ over both deadlines."""

_SILENCE_OFFSET: Final = 44
_TCP_INFO_BYTES: Final = 104
"""Where ``tcpi_last_data_sent``, in milliseconds, stands in Linux' ``struct tcp_info``, and how much of it
every Linux has that Python runs on."""

DESCRIPTORS: Final = Path("/proc/self/fd")

IS_POSSIBLE: Final = hasattr(socket, "TCP_INFO") and DESCRIPTORS.is_dir()
"""Whether the system tells how long nothing was sent on a connection: Linux does."""


@dataclass(eq=False, slots=True)
class Request:
    """One that is being worked on: since when, whether its body is waited for, and the port it came to.

    ``met_cut``: connections were shut meanwhile, maybe its own. It may have begun later than they think
    who look at connections: what has waited for a thread has not begun.
    """

    began: float
    port: str
    reads: bool = False
    met_cut: bool = False


class BodyDeadline:
    """Bodies have to be there within ``seconds``, and headers within ``head_seconds``.

    ``cut(port, silence)`` shuts the connections to a port on which nothing was sent for so many
    seconds, and gives their number.
    """

    def __init__(
        self,
        seconds: float = math.inf,
        head_seconds: float = 0.0,
        cut: Callable[[int, float], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._silence = seconds + head_seconds + MARGIN_SECONDS
        self._cut = cut or cut_silent
        self._clock = clock
        self._requests: set[Request] = set()

    def begin(self, port: str) -> Request:
        """From now on a request to ``port`` is worked on, until ``end``."""
        request = Request(self._clock(), port)
        self._requests.add(request)
        return request

    def end(self, request: Request) -> None:
        """It is answered."""
        self._requests.discard(request)

    def is_over(self, request: Request) -> bool:
        """Whether its body comes too late, be it complete."""
        return self._clock() - request.began >= self._seconds

    def look(self) -> int:
        """Shut the connections of late bodies, if there are any; how many."""
        # A copy, made at one stroke: requests come and go.
        old = [request for request in list(self._requests) if self.is_over(request)]
        if not old or not all(request.reads for request in old):
            return 0
        # Before it is done, for threads go on at once.
        for request in list(self._requests):
            request.met_cut = True
        cut = sum(self._cut(int(port), self._silence) for port in {request.port for request in old})
        if cut:
            LOG.warning("%s bodies of requests did not come to their end in %s seconds", cut, self._seconds)
        return cut

    def watch(self) -> None:
        """Look again and again, in a thread that ends with the process."""
        threading.Thread(target=self._watch, name="body-deadline", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            try:
                self.look()
            except Exception:
                LOG.exception("Late bodies cannot be looked for")


def cut_silent(port: int, silence: float) -> int:
    """Shut for reading the connections to ``port`` on which nothing was sent for ``silence`` seconds."""
    cut = 0
    for descriptor in DESCRIPTORS.iterdir():
        # No socket, not of TCP, not connected, or closed meanwhile.
        with contextlib.suppress(OSError), _connection(int(descriptor.name)) as connection:
            if _port_of(connection) == port and _silence_of(connection) >= silence:
                connection.shutdown(socket.SHUT_RD)
                cut += 1
    return cut


@contextmanager
def _connection(descriptor: int) -> Iterator[socket.socket]:
    """A second descriptor of a connection, so that it stays the same one if the first is closed."""
    again = os.dup(descriptor)
    try:
        if not stat.S_ISSOCK(os.fstat(again).st_mode):
            raise OSError("not a socket")
        connection = socket.socket(fileno=again)
    except OSError:
        os.close(again)
        raise
    with connection:
        yield connection


def _port_of(connection: socket.socket) -> int:
    """The port of this end. Raises OSError if it has none, or there is no other end."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        raise OSError("not a connection of TCP")
    connection.getpeername()
    port: int = connection.getsockname()[1]
    return port


def _silence_of(connection: socket.socket) -> float:
    """Seconds since something was sent on it, or it was opened."""
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    (milliseconds,) = struct.unpack_from("I", told, _SILENCE_OFFSET)
    return float(milliseconds) / 1000
