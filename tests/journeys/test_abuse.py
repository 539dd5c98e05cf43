"""A running server under clients that send too much, too slowly, or nothing at all."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator

import pytest

from moorage.serve.worker import BODY_READERS, THREADS_PER_WORKER
from tests.journeys.client import Client, running_service
from tests.journeys.slow import stalled_bodies
from tests.servers.databases import SQLITE, fresh_database

pytestmark = pytest.mark.journey

IDLE_SECONDS = 2
LONG = 60.0

HEAD = b"Host: x\r\nX-Auth-Token: admin\r\nOpenStack-API-Version: placement 1.39\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A service whose patience is short."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OS_PLACEMENT_MOORAGE__IDLE_TIMEOUT", str(IDLE_SECONDS))
        with fresh_database(SQLITE, folder) as database, running_service(database, folder) as port:
            yield port


def connected(port: int, content: bytes = b"") -> socket.socket:
    """A connection on which ``content`` has been sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=LONG)
    connection.sendall(content)
    return connection


def answer_on(connection: socket.socket) -> bytes:
    """All that comes until the server closes, or the answer is there."""
    found = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionError:
            return found
        found += part
        head, end, body = found.partition(b"\r\n\r\n")
        if not part or (end and f"content-length: {len(body)}".encode() in head.lower()):
            return found


def until_not_busy(client: Client) -> None:
    """Wait until the server may read one more body."""
    until = time.monotonic() + LONG
    while client.request("POST", "/resource_providers", {}).status == 503:
        assert time.monotonic() < until


@pytest.mark.parametrize(
    "start", [b"", b"GET / HT", b"GET /traits HTTP/1.1\r\n" + HEAD], ids=["nothing", "a line", "headers"]
)
def test_a_connection_on_which_nothing_comes_is_closed(port: int, start: bytes) -> None:
    with connected(port, start) as connection:
        assert answer_on(connection) == b""


def test_a_connection_that_was_used_is_closed_when_it_is_idle(port: int) -> None:
    with connected(port, b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n") as connection:
        assert answer_on(connection).startswith(b"HTTP/1.1 200")
        assert answer_on(connection) == b""


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/traits?name=" + "x" * 65_200, {}, 414),
        ("/traits", {"X-More": "x" * 40_000}, 431),
    ],
)
def test_a_long_head_is_refused_in_the_usual_form(
    port: int, path: str, headers: dict[str, str], status: int
) -> None:
    with Client(port) as client:
        answer = client.request("GET", path, headers=headers)
        assert answer.status == status
        assert answer.json["errors"][0]["status"] == status
        client.get("/traits")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/traits?name=" + "x" * 70_000, {}, (414, 431)),
        ("/traits?name=" + "x" * 1_000_000, {}, (414, 431)),
        ("/traits", {"X-More": "x" * 1_000_000}, (431,)),
        ("/traits", {f"X-More-{number}": "x" for number in range(150)}, (431,)),
    ],
)
def test_a_far_too_long_head_is_refused_by_the_http_server(
    port: int, path: str, headers: dict[str, str], status: tuple[int, ...]
) -> None:
    with connected(port) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        with contextlib.suppress(ConnectionError):  # it need not be read to its end
            connection.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\n" + HEAD + lines + b"\r\n")
        answer = answer_on(connection)
        assert answer == b"" or int(answer.split()[1]) in status
    with Client(port) as client:
        client.get("/traits")


def test_a_thousand_aggregates_may_be_asked_for(port: int) -> None:
    aggregates = ",".join(f"{number:08x}-0000-4000-8000-000000000000" for number in range(1_000))
    with Client(port) as client:
        path = f"/allocation_candidates?resources=VCPU:1&member_of=in:{aggregates}"
        assert client.get(path)["allocation_requests"] == []


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("POST /resource_providers", b"", 401),
        ("POST /resource_providers", b"X-Auth-Token: reader\r\n", 403),
        ("PUT /allocations/0b8d1f5e-0000-4000-8000-000000000000", b"X-Auth-Token: reader\r\n", 403),
        ("GET /resource_providers", b"X-Auth-Token: reader\r\n", 403),
        ("PUT /nowhere", b"X-Auth-Token: reader\r\n", 404),
        ("DELETE /resource_providers", b"X-Auth-Token: reader\r\n", 405),
        ("PUT /traits/CUSTOM_A", b"X-Auth-Token: reader\r\nOpenStack-API-Version: placement 9.9\r\n", 406),
    ],
)
def test_a_refused_request_whose_body_never_comes_takes_no_thread(
    port: int, line: str, headers: bytes, status: int
) -> None:
    started = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + headers
    started += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    refused = [connected(port, started) for _ in range(THREADS_PER_WORKER + 10)]
    try:
        for connection in refused:
            assert answer_on(connection).startswith(f"HTTP/1.1 {status} ".encode())
        with Client(port) as client:
            client.must("POST", "/resource_providers", {"name": f"in-between-{line}-{status}"})
    finally:
        for connection in refused:
            connection.close()


def test_a_connection_lives_on_after_a_small_body_that_was_refused(port: int) -> None:
    request = b"PUT /nowhere/x HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Auth-Token: admin\r\n"
    request += b"Content-Length: 1000\r\nContent-Type: application/json\r\n\r\n" + b"x" * 1000
    with connected(port) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert answer_on(connection).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("length", [b"Content-Length: 2", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("token", "status"), [(b"X-Auth-Token: reader\r\n", 403), (b"", 401)])
def test_a_client_that_sends_its_body_after_the_refusal_knows_that_the_connection_is_closed(
    port: int, token: bytes, status: int, length: bytes
) -> None:
    head = (
        b"PUT /resource_providers/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" + token
    )
    with connected(port, head + length + b"\r\n\r\n") as connection:
        answer = answer_on(connection)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"\r\nconnection: close\r\n" in answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n"
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"{}")
            assert connection.recv(1) == b""


def test_a_client_whose_body_is_too_long_knows_that_the_connection_is_closed(port: int) -> None:
    head = b"POST /resource_providers HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
    with connected(port, head + b"Content-Length: 1000000000\r\n\r\n{") as connection:
        answer = answer_on(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in answer.lower()


def test_slow_bodies_of_those_who_may_write_leave_threads_for_searches(port: int) -> None:
    """Whoever comes when too many wait is asked to come again; once these are gone, all is well."""
    started = b"POST /resource_providers HTTP/1.1\r\n" + HEAD
    started += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    slow = [connected(port, started) for _ in range(BODY_READERS + 1)]
    try:
        # Once one of the slow ones is refused, whichever, the others are being read.
        (one, *others), _, _ = select.select(slow, [], [], LONG)
        assert answer_on(one).startswith(b"HTTP/1.1 503")
        assert not others
        with Client(port) as client:
            refused = client.request("POST", "/resource_providers", {"name": "too-many"})
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            for _ in range(THREADS_PER_WORKER):
                assert client.get("/allocation_candidates?resources=VCPU:1")["allocation_requests"] == []
    finally:
        for connection in slow:
            connection.close()
    with Client(port) as client:
        until_not_busy(client)
        client.must("POST", "/resource_providers", {"name": "after-the-slow"})
        names = [provider["name"] for provider in client.get("/resource_providers")["resource_providers"]]
        assert "after-the-slow" in names
        assert "too-many" not in names


def test_more_slow_bodies_than_may_be_waited_for_leave_threads_for_searches(port: int) -> None:
    refused = 12
    with stalled_bodies(port, BODY_READERS + refused) as connections:
        for number in range(200):
            with Client(port) as client:
                path = f"/allocation_candidates?resources=VCPU:{number + 1}"
                assert client.get(path)["allocation_requests"] == []
        waiting = set(connections)
        until = time.monotonic() + LONG
        while len(waiting) > BODY_READERS:
            assert time.monotonic() < until
            for connection in select.select(list(waiting), [], [], LONG)[0]:
                assert answer_on(connection).startswith(b"HTTP/1.1 503")
                waiting.discard(connection)
        assert select.select(list(waiting), [], [], 0)[0] == []
    with Client(port) as client:
        until_not_busy(client)


def test_bodies_that_come_at_once_are_all_read_however_many_there_are(port: int) -> None:
    """A body that is there is not slow, be there more of them than threads."""
    body = b"[]"
    head = b"POST /resource_providers HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    connections = [connected(port) for _ in range(4 * THREADS_PER_WORKER)]
    try:
        for _ in range(3):
            for connection in connections:
                connection.sendall(head + body)
            statuses = {answer_on(connection)[:13] for connection in connections}
            assert statuses == {b"HTTP/1.1 400 "}
    finally:
        for connection in connections:
            connection.close()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A service in which a body has a second."""
    folder = tmp_path_factory.mktemp("hasty")
    variables = {"OS_PLACEMENT_MOORAGE__IDLE_TIMEOUT": "1", "OS_PLACEMENT_MOORAGE__BODY_TIMEOUT": "1"}
    with (
        fresh_database(SQLITE, folder) as database,
        running_service(database, folder, variables=variables) as port,
    ):
        yield port


@pytest.mark.parametrize("drop", [b"", b" "], ids=["silent", "drop by drop"])
@pytest.mark.parametrize(
    "length", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"], ids=["announced", "in chunks"]
)
def test_a_body_that_does_not_come_in_time_is_answered_with_408(
    hasty: int, length: bytes, drop: bytes
) -> None:
    start = b"POST /resource_providers HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n" + length
    if drop and b"chunked" in length:
        drop = b"1\r\n" + drop + b"\r\n"
    with connected(hasty, start + b"\r\n\r\n") as connection, Client(hasty) as other:
        connection.settimeout(0.05)
        until = time.monotonic() + LONG
        answer = b""
        while not answer:
            assert time.monotonic() < until
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(1)
                break
            connection.sendall(drop)
            # Whoever goes on to ask is not disturbed.
            other.get("/traits")
        connection.settimeout(LONG)
        answer += answer_on(connection)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in head.lower()
        (error,) = json.loads(body)["errors"]
        assert error["status"] == 408
        assert "did not arrive in time" in error["detail"]
        assert connection.recv(1) == b""
        assert other.get("/resource_providers")["resource_providers"] == []


def test_threads_of_bodies_that_do_not_come_are_had_back(hasty: int) -> None:
    start = b"POST /resource_providers HTTP/1.1\r\n" + HEAD
    start += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    slow = [connected(hasty, start) for _ in range(BODY_READERS)]
    try:
        for connection in slow:
            assert answer_on(connection).startswith(b"HTTP/1.1 408")
        with Client(hasty) as client:
            client.must("POST", "/resource_providers", {"name": "after-the-late"})
            client.must(
                "DELETE", client.get("/resource_providers")["resource_providers"][0]["links"][0]["href"]
            )
    finally:
        for connection in slow:
            connection.close()
