"""Bodies that come too slowly, or never."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

HEAD = (
    b"PUT /allocations/dddd0000-0000-4000-8000-000000000001 HTTP/1.1\r\n"
    b"Host: 127.0.0.1\r\nX-Auth-Token: admin\r\nOpenStack-API-Version: placement 1.39\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
)


@contextmanager
def stalled_bodies(
    port: int, count: int, address: str = "127.0.0.1", patience: float = 60.0
) -> Iterator[list[socket.socket]]:
    """So many connections with a request whose body is announced, begun and not sent."""
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = socket.create_connection((address, port), timeout=patience)
            stack.enter_context(connection)
            connection.sendall(HEAD + b"{")
            connections.append(connection)
        yield connections
