"""What the proxy takes for a COMMIT, and where it cuts."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.proxy import MYSQL, POSTGRESQL, Cut, Framer, Proxy


def query(text: str) -> bytes:
    """A simple query of PostgreSQL's protocol."""
    content = text.encode() + b"\0"
    return b"Q" + struct.pack("!I", 4 + len(content)) + content


def command(text: str) -> bytes:
    """A query of MySQL's protocol."""
    content = b"\x03" + text.encode()
    return len(content).to_bytes(3, "little") + b"\0" + content


STARTUP = struct.pack("!II", 8, 196608)
ASK_FOR_ENCRYPTION = struct.pack("!II", 8, 80877103)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_commit_is_seen_however_it_is_cut_into_pieces(size: int) -> None:
    for protocol, stream, expected in (
        (
            POSTGRESQL,
            ASK_FOR_ENCRYPTION + STARTUP + query("SELECT 'COMMIT'") + query("commit") + query("BEGIN"),
            [False, False, False, True, False],
        ),
        (
            MYSQL,
            command("login") + command("INSERT COMMIT") + command("COMMIT") + command("ROLLBACK"),
            [False, False, True, False],
        ),
    ):
        framer = Framer(protocol)
        found = [
            message
            for start in range(0, len(stream), size)
            for message in framer.feed(stream[start : start + size])
        ]
        assert [is_commit for _, is_commit in found] == expected
        assert b"".join(message for message, _ in found) == stream


def test_a_prepared_commit_is_one_too() -> None:
    content = b"\0COMMIT\0" + struct.pack("!H", 0)
    framer = Framer(POSTGRESQL)
    framer.feed(STARTUP)
    assert framer.feed(b"P" + struct.pack("!I", 4 + len(content)) + content) == [
        (b"P" + struct.pack("!I", 4 + len(content)) + content, True)
    ]


@contextmanager
def echo() -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers with what it got; its port, and all that it got."""
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while content := connection.recv(1000):
                received.append(content)
                connection.sendall(content)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize(("cut", "arrives"), [(Cut.BEFORE, False), (Cut.DURING, True), (Cut.AFTER, True)])
def test_a_commit_arrives_or_not_and_is_never_answered(cut: Cut, arrives: bool) -> None:
    with echo() as (port, received):
        proxy = Proxy(("127.0.0.1", port), MYSQL)
        try:
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                client.sendall(command("BEGIN"))
                assert client.recv(1000) == command("BEGIN")
                proxy.arm(cut)
                client.sendall(command("COMMIT"))
                assert client.recv(1000) == b""
            assert proxy.done == {cut: 1}
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                client.sendall(command("COMMIT"))
                assert client.recv(1000) == command("COMMIT")
            assert received.count(command("COMMIT")) >= 1 + (arrives and cut is Cut.AFTER)
        finally:
            proxy.close()


def test_a_refusing_proxy_lets_nobody_through_until_it_stops_refusing() -> None:
    with echo() as (port, _):
        proxy = Proxy(("127.0.0.1", port), MYSQL)
        try:
            proxy.refuse(True)
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                assert client.recv(1000) == b""
            proxy.refuse(False)
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                client.sendall(command("BEGIN"))
                assert client.recv(1000) == command("BEGIN")
        finally:
            proxy.close()
