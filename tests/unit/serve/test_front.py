"""A WSGI application under what Granian's ASGI worker hands over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from moorage.serve import front as front_module
from moorage.serve.body_slots import BodyReading
from moorage.serve.front import AtOnce, Front, Scheduler, Told, serve_front
from tests.unit.serve.asgi import Future, Protocol, Watcher, message, scope

LONG = 60.0
CLOSE = (b"connection", b"close")


def front(application: Any, threads: int = 1, *, draining: bool = False) -> Front:
    event = threading.Event()
    if draining:
        event.set()
    return Front(application, threads, BodyReading(1), event)


def answered(
    application: Any, *, draining: bool = False, length: bytes | None = None, **parts: Any
) -> Protocol:
    """What goes out for a request whose body is ``abc``, if it has one."""
    protocol = Protocol([Future(message(b"abc", True)), Future(message(b"", False))])
    headers = [] if length is None else [(b"content-length", length)]
    watcher = Watcher(scope(*headers, *parts.pop("headers", ()), **parts), protocol)
    front(application, draining=draining)(watcher)
    assert not watcher.errors
    return protocol


class Application:
    """Reads the body in steps of these sizes, and answers with ``parts``."""

    def __init__(self, *sizes: int, parts: Iterable[bytes] = (b"",), status: str = "200 OK") -> None:
        self._sizes = sizes
        self._parts = parts
        self._status = status

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        for size in self._sizes:
            environ["wsgi.input"].read(size)
        start_response(self._status, [("X-Own", "\xfc")])
        return self._parts


def test_an_answer_goes_out_in_one_piece() -> None:
    protocol = answered(Application(parts=[b"a", b"b"], status="201 Created"))
    assert (protocol.status, protocol.headers, protocol.body) == (201, [(b"X-Own", b"\xfc")], b"ab")
    assert [told["type"] for told in protocol.sent] == ["http.response.start", "http.response.body"]
    assert not protocol.sent[1]["more_body"]


def test_an_answer_that_wants_to_be_closed_is_closed() -> None:
    closed: list[bool] = []

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            assert not closed
            yield b"a"

        def close(self) -> None:
            closed.append(True)

    assert answered(Application(parts=Parts())).body == b"a"
    assert closed == [True]


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1)])
@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_a_client_whose_body_was_not_read_is_told_that_the_connection_closes(
    sizes: tuple[int, ...], kind: str
) -> None:
    if kind == "length":
        protocol = answered(Application(*sizes), length=b"3")
    else:
        protocol = answered(Application(*sizes), headers=[(b"transfer-encoding", b"chunked")])
    assert CLOSE in protocol.headers


@pytest.mark.parametrize("sizes", [(3,), (2, 1), (1, 2, 3)])
def test_the_connection_of_a_body_that_was_read_stays_open(sizes: tuple[int, ...]) -> None:
    assert CLOSE not in answered(Application(*sizes), length=b"3").headers
    chunks = [(b"transfer-encoding", b"chunked")]
    assert CLOSE not in answered(Application(*sizes, 1), headers=chunks).headers


@pytest.mark.parametrize("length", [None, b"", b"0"])
def test_the_connection_of_a_request_without_a_body_stays_open(length: bytes | None) -> None:
    assert CLOSE not in answered(Application(1), length=length).headers


@pytest.mark.parametrize(("length", "sizes"), [(None, ()), (b"3", ()), (b"3", (3,))])
def test_a_worker_that_is_to_go_has_all_connections_closed(
    length: bytes | None, sizes: tuple[int, ...]
) -> None:
    assert CLOSE in answered(Application(*sizes), length=length, draining=True).headers


def test_an_error_of_the_application_is_told_and_the_thread_goes_on() -> None:
    error = SystemExit("broken")

    def broken(environ: dict[str, Any], _: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/broken":
            raise error
        return Application()(environ, _)

    served = front(broken)
    protocol = Protocol()
    first = Watcher(scope(raw_path=b"/broken"), protocol)
    served(first)
    assert first.errors == [error]
    assert not protocol.sent
    second = Watcher(scope(), protocol)
    served(second)
    assert not second.errors
    assert protocol.status == 200


def test_what_comes_when_all_threads_are_busy_is_answered_by_the_next_that_is_free() -> None:
    """Without it all of them could wait for bodies that no thread is left to bring."""
    inside, go_on = threading.Semaphore(0), threading.Event()
    threads: list[int] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        threads.append(threading.get_ident())
        inside.release()
        assert go_on.wait(LONG)
        return Application()(environ, start_response)

    served = front(application, threads=2)
    watchers = [Watcher(scope(), Protocol()) for _ in range(5)]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(served, watcher) for watcher in watchers[:2]]
        for _ in running:
            assert inside.acquire(timeout=LONG)
        for watcher in watchers[2:]:
            served(watcher)  # It does not wait.
        assert len(threads) == 2
        go_on.set()
        for each in running:
            each.result(LONG)
    assert [watcher.proto.status for watcher in watchers] == [200] * 5
    assert threading.get_ident() not in threads
    last = Watcher(scope(), Protocol())
    served(last)
    assert last.proto.status == 200


def test_an_application_that_writes_is_told_that_it_cannot() -> None:
    told = Told()
    write = told("200 OK", [])
    with pytest.raises(NotImplementedError):
        write(b"a")


def test_what_is_to_be_called_soon_is_called() -> None:
    called: list[str] = []
    AtOnce.call_soon(called.append, "a", context=None)
    AtOnce.call_soon_threadsafe(called.append, "b", context=None)
    assert called == ["a", "b"]


def test_an_answer_that_goes_on_is_sent_part_by_part_and_closed() -> None:
    class Parts:
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            yield b"one"
            yield b"two"

        def close(self) -> None:
            self.closed = True

    parts = Parts()

    def application(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("X-Accel-Buffering", "no")])
        return parts

    protocol = answered(application)
    bodies = [sent for sent in protocol.sent if sent["type"] == "http.response.body"]
    assert [(sent["body"], sent["more_body"]) for sent in bodies] == [
        (b"one", True),
        (b"two", True),
        (b"", False),
    ]
    assert parts.closed


def test_a_worker_that_ends_drains_first() -> None:
    event = threading.Event()
    Front(Application(), 1, BodyReading(1), event).drain()
    assert event.is_set()


def test_a_worker_serves_until_a_signal_ends_it_and_drains_first(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Stop:
        """Stands in for Granian's signal. The server is told, and calls back once it has stopped."""

        def add_cb(self, callback: Callable[[], None]) -> None:
            self._callback = callback

        def set(self) -> None:
            told.append(("drained", drained.is_set()))
            self._callback()

    class Server:
        """Stands in for Granian's worker, which returns from ``serve_mtr`` at once."""

        def __init__(self, *arguments: object) -> None:
            told.append(arguments)

        def serve_mtr(self, scheduler: Any, loop: Any, _stop: Any) -> None:
            told.append(type(scheduler))
            loop.call_soon(told.append, "called")
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(front_module, "ASGIWorker", Server)
    monkeypatch.setattr(front_module, "WorkerSignal", Stop)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    drained = threading.Event()
    loader = partial(Front, Application(), 1, BodyReading(1), drained)
    try:
        serve_front(
            *(7, None, loader, (("a descriptor", None), None), None, "asyncio"),
            *(False, "info", None, []),
            *("mt", 1, 2, 3, 4, 5, "task", "auto", "http1", "http2", False, "static", None),
            *(("certificate", "key"), {}, "metrics"),
        )
        assert signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert told == [
        (
            *(7, ("a descriptor", None), None, 1, 2, 3, 4, 5, "auto", "http1", "http2", False, "static"),
            *("certificate", "key", "metrics"),
        ),
        Scheduler,
        "called",
        ("drained", True),
    ]
