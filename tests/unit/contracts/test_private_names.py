"""What the package uses of other distributions though they do not promise it, is as the package believes.

Each of them has an upper bound in pyproject.toml. Before it is raised, these tests run with the new version
(``make lock LOCK_ARGS="--upgrade-package NAME"``); a name that is not in the table is found by the last test.
"""

# mypy: disable-error-code="no-untyped-call,attr-defined,call-arg,untyped-decorator,misc"
# What is not promised mostly carries no types.

from __future__ import annotations

import inspect
import multiprocessing
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h11
import pytest
import sqlalchemy as sa
from granian._granian import ASGIWorker, SocketHolder, WorkerSignal
from granian.http import HTTP1Settings
from granian.server.mp import MPServer, WorkerProcess
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from pymysql.connections import Connection
from sqlalchemy.dialects import sqlite
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from moorage.serve.body_slots import NO_BODY, Body, BodyReading
from moorage.serve.changes.connection import CHUNKS_SINCE
from moorage.serve.departure import Departure
from moorage.serve.front import AtOnce, Front, Scheduler, serve_front
from moorage.serve.signals import Signals
from moorage.serve.workers import Workers, start_method
from tests.copies import in_a_copy
from tests.tidy.locks import project
from tests.tidy.private_names import private_uses
from tests.tidy.sources import package_files

USED: Mapping[str, set[str]] = {
    "granian": {
        "._id",
        "granian._granian.ASGIWorker",
        "granian._granian.CallbackScheduler",
        "granian._granian.CallbackScheduler._schedule_fn",
        "granian._granian.SocketHolder",
        "granian._granian.WorkerSignal",
        "granian.server.mp.MPServer._init_shared_socket",
        "granian.server.mp.MPServer._reload",
        "granian.server.mp.MPServer._respawn_workers",
        "granian.server.mp.MPServer._serve_loop",
        "granian.server.mp.MPServer._shd",
        "granian.server.mp.MPServer._spawn_worker",
        "granian.server.mp.MPServer._spawn_workers",
        "granian.server.mp.MPServer._stop_workers",
        "granian.server.mp.MPServer._sso",
        "granian.server.mp.MPServer._ssp",
    },
    # ``_ssl_required`` is set and not read, as an attribute of our own would be.
    "PyMySQL": set(),
    "SQLAlchemy": {"._group_by_clauses", "._handle_dbapi_exception"},
    # Without an underscore, and yet in no documentation. Nothing here imports them: they are what sends.
    "uvicorn": set(),
    # Without an underscore, and yet in no documentation.
    "prometheus-client": {"prometheus_client.mmap_dict", "prometheus_client.multiprocess"},
}
"""Names by distribution."""


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_granian_makes_workers_by_the_methods_that_are_replaced() -> None:
    assert parameters(MPServer._spawn_worker) == ["self", "idx", "target", "callback_loader"]
    assert parameters(MPServer._init_shared_socket) == ["self"]
    assert parameters(MPServer._spawn_workers) == parameters(Workers._spawn_workers)
    assert parameters(MPServer._stop_workers) == parameters(Workers._stop_workers)
    assert parameters(MPServer._reload) == parameters(Workers._reload)
    assert parameters(MPServer._respawn_workers) == parameters(Workers._respawn_workers)
    assert parameters(MPServer._serve_loop) == parameters(Workers._serve_loop)
    # Once the loop has ended, what it says about failed workers becomes the exit status.
    served = inspect.getsource(MPServer._serve)
    assert served.index("self._serve_loop(") < served.index("self.shutdown()")
    assert "if not exit_code and self.interrupt_children:" in inspect.getsource(MPServer.shutdown)
    # What a worker is started with, in this order; the rest is handed on.
    ours, theirs = (parameters(inspect.unwrap(each)) for each in (serve_front, MPServer._spawn_asgi_worker))
    assert ours == [{"callback": "front", "ssl_ctx": "ssl_context"}.get(name, name) for name in theirs]
    assert theirs == parameters(inspect.unwrap(MPServer._spawn_wsgi_worker))
    source = inspect.getsource(WorkerProcess.wrap_target)
    names = ["worker_id", "process_name", "callback_loader", "sock"]
    assert [source.index(f"{name},") for name in names] == sorted(source.index(f"{name},") for name in names)
    assert "sock, _sso = sock" in source
    # What a worker takes for its socket, as on_shared_socket makes it. Before 2.8 it was the holder alone.
    assert "((self._ssp, self._shd), self._sso)" in inspect.getsource(MPServer._spawn_worker)


def test_granian_keeps_its_workers_in_the_attributes_that_are_used(tmp_path: Path) -> None:
    options: dict[str, Any] = {"address": "127.0.0.1", "port": 0, "workers": 3}
    server = Workers("moorage.wsgi:application", tmp_path, Signals(), **options)
    assert MPServer("moorage.wsgi:application", **options).main_loop_interrupt.is_set() is False
    assert (server.bind_addr, server.bind_port, server.workers) == ("127.0.0.1", 0, 3)
    assert (server.wrks, server.respawned_wrks, server.interrupt_children) == ([], {}, [])
    assert not server.interrupt_signal
    assert not server.main_loop_interrupt.is_set()
    assert "workers_kill_timeout" in vars(server)
    server._init_shared_socket()
    assert server._sso is not None
    with server._sso as listening:
        assert listening.getsockname()[1] > 0
    assert (server._ssp, server._shd) == (None, None)


def test_a_worker_of_granian_is_a_process_with_an_id() -> None:
    with start_method("fork"):
        worker = WorkerProcess(None, 0, time.sleep, (0,))
    assert isinstance(worker.inner, multiprocessing.get_context("fork").Process)
    # Its watcher would report the end to the server, of which there is none.
    worker.interrupt_by_parent = True
    worker.inner.start()
    worker._watch()
    process_id = worker._id()
    worker.join(30)
    assert process_id > 0
    # The watcher joins the process as well. Of two threads, the second one learns of the end a moment later.
    until = time.monotonic() + 30
    while worker.is_alive():
        assert time.monotonic() < until
    assert callable(worker.terminate)
    assert callable(worker.kill)


def test_the_asgi_worker_of_granian_is_made_of_what_the_server_hands_over() -> None:
    assert parameters(ASGIWorker) == [
        "worker_id",
        "sock",
        "ipc",
        "threads",
        "blocking_threads",
        "py_threads",
        "py_threads_idle_timeout",
        "backpressure",
        "http_mode",
        "http1_opts",
        "http2_opts",
        "websockets_enabled",
        "static_files",
        "ssl_enabled",
        "ssl_cert",
        "ssl_key",
        "ssl_key_password",
        "ssl_protocol_min",
        "ssl_ca",
        "ssl_crl",
        "ssl_client_verify",
        "metrics",
    ]
    assert callable(ASGIWorker.serve_mtr)


def asked(
    content: bytes, application: Any, meets: tuple[threading.Event, threading.Event] | None = None
) -> tuple[bytes, list[Any]]:
    """What comes back for the bytes of a request; its scope, and what ``application`` has to tell.

    With ``meets`` the client goes at the first event, and the server stays until the second. The threads of
    Granian live on: call it in a copy of the process.
    """
    told: list[Any] = []
    stopped = threading.Event()
    stop = WorkerSignal()
    stop.add_cb(stopped.set)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        address = listening.getsockname()
        holder = SocketHolder(listening.detach(), False, 1)
    settings = HTTP1Settings()
    make: Any = ASGIWorker
    worker = make(1, (None, holder), None, py_threads=2, http1_opts=settings)

    class Asked(Front):
        def __call__(self, watcher: Any) -> None:
            told.append(watcher.scope)
            application(watcher, told)

    front = Asked(lambda *_: (), 1, BodyReading(1), threading.Event())
    worker.serve_mtr(Scheduler(front), AtOnce, stop)
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(content)
        if meets is not None:
            assert meets[0].wait(60)
        answer = client.recv(1000) if meets is None else b""
    if meets is not None:
        assert meets[1].wait(60)
    stop.set()
    assert stopped.wait(60)
    return answer, told


@in_a_copy
def test_granian_hands_over_headers_and_path_as_they_were_sent_in_the_thread_that_answers() -> None:
    def application(watcher: Any, told: list[Any]) -> None:
        watcher.err(ValueError("for the log"))

    head = b"GET /%2f?a=%20 HTTP/1.1\r\nHost: x\r\nX_A: 1\r\nX-A: \xb9\r\nX-A: 2\r\n\r\n"
    answer, [scope] = asked(head, application)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert scope["headers"] == [(b"host", b"x"), (b"x_a", b"1"), (b"x-a", b"\xb9"), (b"x-a", b"2")]
    assert (scope["raw_path"], scope["query_string"], scope["method"]) == (b"/%2f", b"a=%20", "GET")
    assert (scope["scheme"], scope["http_version"]) == ("http", "1.1")
    assert scope["client"][0] == scope["server"][0] == "127.0.0.1"
    assert scope["server"][1].isdigit()


@in_a_copy
def test_granian_tells_a_thread_without_an_event_loop_of_a_body() -> None:
    def application(watcher: Any, told: list[Any]) -> None:
        future = watcher.proto.receive()
        came = threading.Lock()
        came.acquire()
        future.add_done_callback(lambda _: came.release())
        assert came.acquire(timeout=60)
        told += [future.done(), future.result()]
        never = watcher.proto.receive()
        told.append(never.done())
        never.cancel()
        watcher.proto.send({"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]})
        watcher.proto.send({"type": "http.response.body", "body": b"ab", "more_body": False})

    answer, told = asked(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{", application)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"\r\na: b\r\n" in answer
    assert answer.endswith(b"\r\n\r\nab")
    assert told[1:] == [True, {"type": "http.request", "body": b"{", "more_body": True}, False]


@pytest.mark.parametrize("body", [b"", b"ab"])
@in_a_copy
def test_granian_tells_that_a_client_has_gone(body: bytes) -> None:
    waits, has_gone = threading.Event(), threading.Event()

    def application(watcher: Any, told: list[Any]) -> None:
        content = Body(str(len(body)), watcher.proto.receive, BodyReading(1)) if body else NO_BODY
        assert content.read(10) == body
        gone = Departure(watcher.proto.receive, content)
        told.append(gone())
        waits.set()
        while not gone():
            time.sleep(0.01)
        has_gone.set()
        watcher.proto.send({"type": "http.response.start", "status": 200, "headers": []})
        watcher.proto.send({"type": "http.response.body", "body": b"", "more_body": False})

    head = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    _, told = asked(head + body, application, (waits, has_gone))
    assert told[1:] == [False]


def test_granian_takes_a_descriptor_to_accept_from() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert SocketHolder(listening.fileno(), False, 1).get_fd() == listening.fileno()


def test_sqlalchemy_names_an_error_of_the_driver_and_tells_its_watchers() -> None:
    engine = sa.create_engine("sqlite://")
    assert parameters(sa.Connection._handle_dbapi_exception)[1:6] == [
        "e",
        "statement",
        "parameters",
        "cursor",
        "context",
    ]
    told = []
    sa.event.listen(engine, "handle_error", lambda context: told.append(context.statement))
    with engine.connect() as connection:
        driver = connection.dialect.loaded_dbapi
        error = driver.OperationalError("no such table")
        with pytest.raises(sa.exc.OperationalError, match="no such table"):
            connection._handle_dbapi_exception(error, "SELECT 1", (), None, None)
        for watchers in (
            connection.dispatch.before_cursor_execute,
            connection.dispatch.after_cursor_execute,
        ):
            assert list(watchers) == []
    engine.dispose()
    assert told == ["SELECT 1"]


def test_pymysql_encrypts_where_it_can_and_says_so_in_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Connection(defer_connect=True)._ssl_required is False
    given = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made = Connection(defer_connect=True, ssl=given)
    assert (made.ctx, made._ssl_required) == (given, True)
    assert "_ssl_required" in inspect.getsource(Connection._request_authentication)


def test_sqlalchemy_tells_what_a_query_groups_by_and_where_its_parameters_stand() -> None:
    table = sa.table("t", sa.column("a"), sa.column("b"))
    query = sa.select(table.c.a).where(table.c.b == sa.bindparam("x"))
    assert not query._group_by_clauses
    assert len(query.group_by(table.c.a)._group_by_clauses) == 1
    compiled = query.compile(dialect=sqlite.dialect())
    assert compiled.positiontup == ["x"]
    assert not compiled.post_compile_params


def test_prometheus_client_keeps_figures_in_files_that_can_be_added_up(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    key = '["a_total", "a_total", {}, "help"]'
    file = MmapedDict(str(path))
    file.write_value(key, 2.0, 0.0)
    assert file.read_value(key) == (2.0, 0.0)
    file.close()
    [(found, value, _, _)] = MmapedDict.read_all_values_from_file(str(path))
    assert (found, value) == (key, 2.0)
    [metric] = MultiProcessCollector.merge([str(path)])
    assert [(sample.name, sample.value) for sample in metric.samples] == [("a_total", 2.0)]


def test_uvicorn_sends_by_an_object_that_has_transport_and_flow() -> None:
    assert {"flow", "transport"} <= set(inspect.signature(RequestResponseCycle).parameters)
    made = inspect.getsource(RequestResponseCycle.__init__)
    assert "self.disconnected = False" in made
    assert "self.keep_alive = True" in made
    assert callable(FlowControl.resume_writing)
    # A part waits before it is written, so it goes out whole or not at all.
    sent = inspect.getsource(RequestResponseCycle.send)
    assert sent.index("self.flow.drain()") < sent.index("self.transport.write")
    assert "self.scope, self.receive, self.send" in inspect.getsource(RequestResponseCycle.run_asgi)
    protocol = inspect.getsource(H11Protocol.__init__)
    assert "self.timeout_keep_alive =" in protocol
    assert "self.cycle" in protocol


def test_a_part_of_a_body_needs_no_state_of_the_server_but_its_frame() -> None:
    assert "conn" in inspect.signature(RequestResponseCycle).parameters
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    server.next_event()
    assert server.their_http_version == CHUNKS_SINCE
    server.send(h11.Response(status_code=200, headers=[]))
    states = server.states
    assert server.send(h11.Data(data=b"0123456789abcdef")) == b"10\r\n0123456789abcdef\r\n"
    assert server.states == states


def test_every_distribution_of_which_such_names_are_used_has_an_upper_bound() -> None:
    asked = {requirement.name: requirement for requirement in project()["run"]}
    unbound = {
        name for name in USED if not any(each.operator in {"<", "<=", "=="} for each in asked[name].specifier)
    }
    assert unbound == set()


@pytest.mark.slow
def test_all_such_names_are_in_the_table() -> None:
    table = {name for names in USED.values() for name in names if "prometheus" not in name}
    assert private_uses(path.read_text() for path in package_files()) == table


def test_such_names_are_found() -> None:
    source = (
        "import lib._hidden\nfrom lib import _name\nfrom granian.server.mp import MPServer\n"
        "class Ours(MPServer):\n    def _spawn_worker(self): self._mine = self._sso\n"
        "def f(row, other): return row._mapping, other._theirs, other._mine\n"
    )
    server = "granian.server.mp.MPServer"
    assert private_uses([source]) == {
        "lib._hidden",
        "lib._name",
        "._theirs",
        "._sso",
        f"{server}._spawn_worker",
        f"{server}._sso",
    }
