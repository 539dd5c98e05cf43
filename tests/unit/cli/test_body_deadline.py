"""Whose connection is shut because its body does not come, and whose never is."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from moorage.cli import body_deadline, serve
from moorage.cli.body_deadline import BodyDeadline, Request, cut_silent
from moorage.cli.limits import ServerSettings

SECONDS = 10.0

pytestmark = pytest.mark.skipif(not body_deadline.IS_POSSIBLE, reason="this system does not tell")


class Bench:
    """A deadline whose clock stands still, and what it has cut."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cut: list[int] = []
        self.deadline = BodyDeadline(SECONDS, 5.0, cut=self._cut, clock=lambda: self.now)

    def _cut(self, port: int, silence: float) -> int:
        self.cut.append(port)
        return 1


@contextmanager
def worked_on(deadline: BodyDeadline) -> Iterator[Request]:
    """A request that is worked on while the context lasts."""
    request = deadline.begin("1")
    yield request
    deadline.end(request)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_late_body_is_cut_and_an_early_one_is_not(bench: Bench) -> None:
    with worked_on(bench.deadline) as request:
        request.reads = True
        bench.now = SECONDS - 1
        assert bench.deadline.look() == 0
        bench.now = SECONDS
        assert bench.deadline.look() == 1
    assert bench.deadline.look() == 0
    assert bench.cut == [1]


def test_nobody_is_cut_while_an_old_request_is_worked_on(bench: Bench) -> None:
    with worked_on(bench.deadline) as late:
        late.reads = True
        with worked_on(bench.deadline):
            bench.now = SECONDS
            assert bench.deadline.look() == 0
        assert bench.deadline.look() == 1


def test_a_young_request_that_is_worked_on_saves_nobody(bench: Bench) -> None:
    with worked_on(bench.deadline) as late:
        late.reads = True
        bench.now = SECONDS
        with worked_on(bench.deadline):
            assert bench.deadline.look() == 1


def test_many_late_bodies_are_looked_for_once(bench: Bench) -> None:
    with ExitStack() as requests:
        for _ in range(5):
            requests.enter_context(worked_on(bench.deadline)).reads = True
        bench.now = SECONDS
        assert bench.deadline.look() == 1
    assert bench.cut == [1]


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """The ends of two connections to one port, the server's first."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        pairs = []
        for _ in range(2):
            client = opened.enter_context(socket.create_connection(listener.getsockname()))
            server, _ = listener.accept()
            pairs.append((opened.enter_context(server), client))
        yield pairs


Pairs = list[tuple[socket.socket, socket.socket]]


def port_of(pairs: Pairs) -> int:
    port: int = pairs[0][0].getsockname()[1]
    return port


def test_a_connection_that_is_cut_wakes_its_reader_and_can_still_be_answered_on(pairs: Pairs) -> None:
    (server, client), _ = pairs
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(server.recv(1)))
    reader.start()
    assert cut_silent(port_of(pairs), 0.0) == 2
    reader.join()
    assert read == [b""]
    server.sendall(b"late")
    assert client.recv(4) == b"late"


def test_connections_on_which_something_was_sent_and_those_of_other_ports_are_left_alone(
    pairs: Pairs,
) -> None:
    (server, client), _ = pairs
    assert cut_silent(port_of(pairs), 1e6) == 0
    # The clients' ends are sockets of this process, too; their ports are others.
    assert cut_silent(1, 0.0) == 0
    client.sendall(b"x")
    assert server.recv(1) == b"x"


def test_sockets_of_other_families_and_those_that_listen_are_passed_over(pairs: Pairs) -> None:
    one, other = socket.socketpair()
    with (
        one,
        other,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.create_connection(six.getsockname()[:2]) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    ):
        server, _ = six.accept()
        with server:
            assert cut_silent(six.getsockname()[1], 0.0) == 1
            assert server.recv(1) == b""
        assert client.recv(1) == b""
        one.sendall(b"x")
        assert other.recv(1) == b"x"


def test_silence_begins_with_what_was_sent_last(pairs: Pairs) -> None:
    talker, quiet = pairs
    talker[1].sendall(b"question")
    assert talker[0].recv(8) == b"question"
    until_silent = threading.Event()
    while body_deadline._silence_of(quiet[0]) < 0.2:
        until_silent.wait(0.01)
    talker[0].sendall(b"answer")
    assert body_deadline._silence_of(talker[0]) < body_deadline._silence_of(quiet[0])


def test_without_the_option_or_where_it_is_not_possible_there_is_no_deadline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(_: BodyDeadline) -> None:
        raise AssertionError("nothing is to be watched")

    monkeypatch.setattr(BodyDeadline, "watch", no_thread)
    assert serve.body_deadline(ServerSettings(body_seconds=0))._seconds == math.inf
    assert not caplog.text
    monkeypatch.setattr(serve, "IS_POSSIBLE", False)
    assert serve.body_deadline(ServerSettings())._seconds == math.inf
    assert "body_timeout has no effect here" in caplog.text


def test_the_watch_goes_on_after_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = threading.Semaphore(0)

    def fail(_port: int, _silence: float) -> int:
        looked.release()
        raise OSError("out of descriptors")

    monkeypatch.setattr(body_deadline, "POLL_SECONDS", 0.001)
    deadline = BodyDeadline(0.0, cut=fail)
    with worked_on(deadline) as request:
        request.reads = True
        deadline.watch()
        for _ in range(2):
            assert looked.acquire(timeout=60)
    assert "Late bodies cannot be looked for" in caplog.text
