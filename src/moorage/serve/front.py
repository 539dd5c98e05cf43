"""Between Granian and the application: WSGI on top of Granian's ASGI worker, without an event loop.

Granian's WSGI worker makes an environ before any Python runs, and loses what was sent (``environ.py``). Its
ASGI worker hands over what came. It calls ``Front`` in one of its blocking threads, and the application runs
in that thread. What an answer needs of Granian is there at once. Only a body may have to be waited for, and
another blocking thread brings it. So fewer threads run the application than there are.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator,misc"
# Granian's own processes carry no types.

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from granian._granian import ASGIWorker, CallbackScheduler, WorkerSignal
from granian.server.mp import WorkerProcess

from moorage.api.http.exchange import GONE, UNBUFFERED, WsgiApplication
from moorage.serve.body_slots import NO_BODY, Body, BodyReading, NoBody
from moorage.serve.departure import Departure
from moorage.serve.environ import environ_of

BRINGERS: Final = 4
"""Blocking threads beyond those that run the application. They bring the pieces of bodies that have come."""


class Front:
    """Lets ``application`` answer Granian's requests, at most ``threads`` at a time.

    It asks clients to close their connections once ``draining`` is set. It does the same where a body was not
    read to its end: the client has no token or may not write, the body is too long, or it came too late. The
    server then closes the connection, and a client without this header would use it again.
    """

    def __init__(
        self, application: WsgiApplication, threads: int, reading: BodyReading, draining: threading.Event
    ) -> None:
        self._application = application
        self._reading = reading
        self._draining = draining
        self._lock = threading.Lock()
        self._free = threads
        self._waiting: deque[Any] = deque()

    def drain(self) -> None:
        """Ask clients to close their connections, and let none wait for changes."""
        self._draining.set()

    def __call__(self, watcher: Any) -> None:
        """Answer the request of ``watcher``. If all threads are busy, leave it to the first that is not."""
        with self._lock:
            if not self._free:
                self._waiting.append(watcher)
                return
            self._free -= 1
        while True:
            self._answer(watcher)
            with self._lock:
                if not self._waiting:
                    self._free += 1
                    return
                watcher = self._waiting.popleft()

    def _answer(self, watcher: Any) -> None:
        try:
            self._send(watcher.proto, watcher.scope)
        except BaseException as error:  # noqa: BLE001 - Granian ignores it, and the next call in this thread would raise it.
            watcher.err(error)

    def _send(self, protocol: Any, scope: dict[str, Any]) -> None:
        environ = environ_of(scope)
        length: str = environ.get("CONTENT_LENGTH", "")
        if length in {"", "0"} and "HTTP_TRANSFER_ENCODING" not in environ:
            body: Body | NoBody = NO_BODY
        else:
            body = Body(length, protocol.receive, self._reading)
        environ["wsgi.input"] = body
        environ[GONE] = Departure(protocol.receive, body)
        told = Told()
        try:
            parts = self._application(environ, told)
            content = None if told.is_unbuffered else b"".join(parts)
        finally:
            body.close()
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.headers]
        if self._draining.is_set() or not body.is_read:
            headers.append((b"connection", b"close"))
        protocol.send({"type": "http.response.start", "status": told.status, "headers": headers})
        try:
            if content is None:
                for part in parts:
                    protocol.send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            if hasattr(parts, "close"):
                parts.close()
        protocol.send({"type": "http.response.body", "body": content or b"", "more_body": False})


class Told:
    """The ``start_response`` of one request. It keeps the status and the headers."""

    __slots__ = ("headers", "status")

    status: int
    headers: list[tuple[str, str]]

    @property
    def is_unbuffered(self) -> bool:
        """Whether the server must send each part of the answer at once."""
        return any(name.lower() == UNBUFFERED for name, _ in self.headers)

    def __call__(
        self, status: str, headers: list[tuple[str, str]], error: Any = None
    ) -> Callable[[bytes], None]:
        self.status = int(status[:3])
        self.headers = headers
        return _write


def _write(_content: bytes) -> None:
    raise NotImplementedError("An application must return its answer.")


class AtOnce:
    """Stands in for an event loop, and makes each call at once, in the thread that asks for it."""

    @staticmethod
    def call_soon(callback: Callable[[Any], None], argument: Any, context: Any = None) -> None:
        """Call ``callback``. Granian does so when it has a result."""
        callback(argument)

    call_soon_threadsafe = call_soon


class Scheduler(CallbackScheduler):
    """Makes Granian call ``front`` for each request."""

    def __new__(cls, _front: Front) -> Scheduler:
        # Granian wants an event loop, and four things that only its tasks use.
        return super().__new__(cls, AtOnce, None, None, None, None)  # type: ignore[call-arg]

    def __init__(self, front: Front) -> None:
        self._schedule_fn = front


@WorkerProcess.wrap_target
def serve_front(
    worker_id: int,
    front: Front,
    sock: Any,
    ipc: Any,
    loop: Any,
    runtime_mode: Any,
    runtime_threads: int,
    runtime_blocking_threads: int | None,
    blocking_threads: int,
    blocking_threads_idle_timeout: int,
    backpressure: int,
    task_impl: Any,
    http_mode: Any,
    http1_settings: Any,
    http2_settings: Any,
    websockets: bool,
    static_path: Any,
    log_access_fmt: str | None,
    ssl_context: Any,
    scope_opts: dict[str, Any],
    metrics: Any,
) -> None:
    """Run a worker process as Granian does for WSGI, with ``front``. It takes the same arguments."""
    stopped = threading.Event()
    stop = WorkerSignal()
    stop.add_cb(stopped.set)

    def end(*_: object) -> None:
        front.drain()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    # Its type stub has other parameters.
    make: Any = ASGIWorker
    worker = make(
        worker_id,
        sock,
        ipc,
        runtime_threads,
        runtime_blocking_threads,
        blocking_threads,
        blocking_threads_idle_timeout,
        backpressure,
        http_mode,
        http1_settings,
        http2_settings,
        websockets,
        static_path,
        *ssl_context,
        metrics,
    )
    worker.serve_mtr(Scheduler(front), AtOnce, stop)
    stopped.wait()
