"""A client that costs next to nothing, so that what it measures is the server."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass

HEADERS = "Host: 127.0.0.1\r\nX-Auth-Token: admin\r\nOpenStack-API-Version: placement 1.39\r\n"

CHUNK_BYTES = 1 << 20
"""What is asked of the kernel at a time: an answer of some megabytes in a few calls. It is received into one
buffer: to get that much memory, and give it back, takes ten times as long as to receive a short answer."""

IDLE_SECONDS = 5.0
"""A connection that was idle for longer is replaced: servers close such ones."""

END_OF_HEAD = b"\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
NO_BODY = 204


class ServerSilentError(Exception):
    """There was no whole answer in time."""


class ProtocolError(Exception):
    """The server closed the connection, or answered what this client does not understand."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``seconds`` go from the first byte sent to the last byte read."""

    status: int
    body: bytes
    seconds: float


def request(method: str, target: str, body: bytes | None = None) -> bytes:
    """The bytes of a request by an administrator, at the newest version."""
    content = ""
    if body is not None:
        content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{method} {target} HTTP/1.1\r\n{HEADERS}{content}\r\n".encode() + (body or b"")


class Connection:
    """One connection to a server on loopback, kept open. Not safe for use by several threads."""

    def __init__(self, port: int, timeout_seconds: float) -> None:
        self._port = port
        self._timeout = timeout_seconds
        self._socket: socket.socket | None = None
        self._used = 0.0
        self._chunk = memoryview(bytearray(CHUNK_BYTES))

    def exchange(self, sent: bytes) -> Answer:
        """Send a request and read the whole answer.

        Raises ServerSilentError, ProtocolError, OSError; after these the connection is a new one.
        """
        if time.perf_counter() - self._used > IDLE_SECONDS:
            self.close()
        try:
            connection = self._socket = self._socket or self._open()
            connection.settimeout(self._timeout)
            start = time.perf_counter()
            connection.sendall(sent)
            status, received, length = self._read(connection, start + self._timeout)
        except TimeoutError as silence:
            self.close()
            raise ServerSilentError(f"no answer within {self._timeout:g} seconds") from silence
        except (ProtocolError, OSError):
            self.close()
            raise
        self._used = time.perf_counter()
        return Answer(status, bytes(received[len(received) - length :]), self._used - start)

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), self._timeout)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def _read(self, connection: socket.socket, deadline: float) -> tuple[int, bytearray, int]:
        """Status, all that was received, and how much of its end is the body."""
        received = bytearray()
        end_of_head = -1
        while end_of_head < 0:
            received += self._receive(connection, deadline)
            end_of_head = received.find(END_OF_HEAD)
        status, length = parse_head(bytes(received[:end_of_head]))
        whole = end_of_head + len(END_OF_HEAD) + length
        while len(received) < whole:
            received += self._receive(connection, deadline)
        return status, received, length

    def _receive(self, connection: socket.socket, deadline: float) -> memoryview:
        left = deadline - time.perf_counter()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        length = connection.recv_into(self._chunk)
        if not length:
            raise ProtocolError("the server closed the connection")
        return self._chunk[:length]


def parse_head(head: bytes) -> tuple[int, int]:
    """Status, and length of the body in bytes. Raises ProtocolError."""
    status, length = STATUS.match(head), LENGTH.search(head)
    if status is None or (length is None and int(status[1]) != NO_BODY):
        raise ProtocolError(f"neither a length nor 'no content': {head[:200]!r}")
    return int(status[1]), int(length[1]) if length else 0
