"""The benchmark's own client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.client import Connection, ProtocolError, ServerSilentError, parse_head, request
from benchmarks.services import with_driver_of_reference

PATIENCE_SECONDS = 30.0


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server on one connection that reads a request and sends the next answer, in two parts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.recv(65_536)
                    connection.sendall(answer[:10])
                    connection.sendall(answer[10:])
                connection.recv(65_536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12", (200, 12)),
        (b"HTTP/1.1 404 Not Found\r\nserver: x\r\ncontent-length:7\r\nvary: y", (404, 7)),
        (b"HTTP/1.1 204 No Content\r\nserver: x", (204, 0)),
    ],
)
def test_a_head_tells_status_and_length(head: bytes, expected: tuple[int, int]) -> None:
    assert parse_head(head) == expected


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", b"nonsense"])
def test_a_head_without_a_length_is_not_understood(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_head(head)


def test_answers_are_read_whole_on_one_connection() -> None:
    large = b"x" * 3_000_000
    first = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(large) + large
    with answering(first, b"HTTP/1.1 204 No Content\r\n\r\n") as port:
        connection = Connection(port, PATIENCE_SECONDS)
        one, other = (connection.exchange(request("GET", "/")) for _ in range(2))
        connection.close()
    assert (one.status, one.body) == (200, large)
    assert (other.status, other.body) == (204, b"")
    assert one.seconds > 0


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc") as port:
        connection = Connection(port, 0.05)
        with pytest.raises(ServerSilentError):
            connection.exchange(request("GET", "/"))


def test_a_body_is_sent_with_its_length_and_type() -> None:
    sent = request("PUT", "/x", b"{}")
    assert sent.startswith(b"PUT /x HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\nContent-Length: 2\r\n" in sent
    assert sent.endswith(b"\r\n\r\n{}")


def test_the_reference_gets_the_driver_that_it_can_write_with() -> None:
    assert with_driver_of_reference("postgresql+psycopg://u@h/d") == "postgresql+psycopg2://u@h/d"
    assert with_driver_of_reference("sqlite:////x.sqlite") == "sqlite:////x.sqlite"
