"""Worker processes that are replaced one by one without a refused request.

Granian replaces workers on SIGHUP, but lets each listen on a socket of its own and stops the old one after a
fixed time: connections in that socket's queue are refused, and so is everybody if the new one takes longer to
build its index. Here all workers accept from one socket, the old one goes on until the new one is ready, and
then tells its clients to close their connections before it stops.
"""

# mypy: disable-error-code="no-untyped-call"
# Granian's own processes carry no types.

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from granian._granian import SocketHolder
from granian.server.mp import MPServer, WorkerProcess

from moorage.cli.processors import VARIABLE as PROCESSOR_VARIABLE
from moorage.cli.processors import beginning_of, processor_of
from moorage.cli.slow_bodies import GIVEN_UP
from moorage.cli.wiring import WsgiApplication

DIRECTORY_VARIABLE: Final = "MOORAGE_WORKERS_DIRECTORY"
"""Names the folder in which a worker leaves a file when it is ready."""

DRAIN_SIGNAL: Final = signal.SIGUSR1
"""Tells a worker that it will be stopped."""

DRAIN_SECONDS: Final = 5.0
"""How long a worker that will be stopped asks its clients to connect anew: most of them ask more often."""

READY_SECONDS: Final = 600.0
"""How long a new worker may take to be ready; until then the old one serves."""

POLL_SECONDS: Final = 0.05

BACKLOG: Final = 1024
"""Connections that wait to be accepted, as Granian has it."""

LOG: Final = logging.getLogger(__name__)


def listening_socket(address: str, port: int) -> socket.socket:
    """The socket that all workers accept from. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, port), family=family, backlog=BACKLOG)
    listening.setblocking(False)
    return listening


def nobody_cares(process_id: int) -> None:
    """Nothing is left of a worker that has ended."""


class Workers(MPServer):
    """Granian's server, with one socket for all workers and another way to replace them.

    ``directory`` is where new workers say that they are ready. ``on_gone`` is told the process id of each
    worker that was replaced, once it has ended. ``processors`` are those that workers are kept on.
    """

    def __init__(
        self,
        target: str,
        directory: Path,
        on_gone: Callable[[int], None] = nobody_cares,
        processors: Collection[int] = (),
        **options: Any,
    ) -> None:
        super().__init__(target, **options)
        self._processors = processors
        self._directory = directory
        self._on_gone = on_gone

    def _init_shared_socket(self) -> None:
        self._sso = listening_socket(self.bind_addr, self.bind_port)
        self._ssp = None
        self._shd = None

    def _spawn_worker(
        self, idx: Any, target: Any, callback_loader: Any, socket_loader: Any = None
    ) -> WorkerProcess:
        beginning = beginning_of(socket.gethostname(), self.bind_port)
        processor = processor_of(idx, self.workers, beginning, self._processors)
        run = partial(on_shared_socket, target, processor)
        return super()._spawn_worker(idx, run, callback_loader)

    def _respawn_workers(
        self, workers: Sequence[int], spawn_target: Any, target_loader: Any, delay: float = 0
    ) -> None:
        for index in workers:
            self.respawned_wrks[index] = time.monotonic()
            self._replace(index, spawn_target, target_loader)

    def _replace(self, index: int, spawn_target: Any, target_loader: Any) -> None:
        old = self.wrks[index]
        new = self._spawn_worker(index, spawn_target, target_loader)
        # Process ids are used again: what others said before is not about this one.
        for said in self._directory.iterdir():
            said.unlink()
        # Until it is ready nobody misses it.
        new.interrupt_by_parent = True
        new.start()
        if not self._is_ready(new):
            new.kill()
            new.join()
            self._on_gone(new._id())
            if old.is_alive():
                LOG.error("A new worker could not start; the old one goes on.")
            else:
                self._report_dead(index)
            return
        self.wrks[index] = new
        new.interrupt_by_parent = False
        if not new.is_alive():
            self._report_dead(index)
        if old.is_alive():
            self._retire(old)
        self._on_gone(old._id())

    def _report_dead(self, index: int) -> None:
        """Let the main loop know, as Granian's own watchers do."""
        self.interrupt_children.append(index)
        self.main_loop_interrupt.set()

    def _is_ready(self, worker: WorkerProcess) -> bool:
        """Wait until it says so; False if it ended, took too long, or everything is to stop."""
        said = ready_file(self._directory, worker._id())
        until = time.monotonic() + READY_SECONDS
        while not said.exists():
            if not worker.is_alive() or self.interrupt_signal or time.monotonic() > until:
                return False
            time.sleep(POLL_SECONDS)
        said.unlink()
        return True

    def _retire(self, worker: WorkerProcess) -> None:
        worker.interrupt_by_parent = True
        os.kill(worker._id(), DRAIN_SIGNAL)
        self._pause(DRAIN_SECONDS)
        worker.terminate()
        worker.join(self.workers_kill_timeout)
        if worker.is_alive():
            LOG.error("A worker had to be killed: it did not finish within the time to stop.")
            worker.kill()
            worker.join()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.interrupt_signal:
            time.sleep(POLL_SECONDS)


def on_shared_socket(
    target: Callable[..., None],
    processor: int | None,
    worker_id: int,
    process_name: str | None,
    callback_loader: Any,
    sockets: tuple[Any, socket.socket],
    *rest: Any,
) -> None:
    """Run Granian's worker on the socket that was handed over, in the worker's process.

    Its threads are to stay on ``processor``, if there is one.
    """
    if processor is not None:
        os.environ[PROCESSOR_VARIABLE] = str(processor)
    _, listening = sockets
    _accepted_from.append(listening)
    # Its stub does not tell what it is made of: descriptor, whether it is a Unix socket, backlog.
    holder = SocketHolder(listening.fileno(), False, BACKLOG)  # type: ignore[call-arg]
    target(worker_id, process_name, callback_loader, ((None, holder), listening), *rest)


# In a worker.


def ready_file(directory: Path, process_id: int) -> Path:
    """The file by which a worker says that it is ready."""
    return directory / str(process_id)


def announce_ready() -> None:
    """Say that this worker can serve, if somebody wants to know."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if directory:
        ready_file(Path(directory), os.getpid()).touch()


_accepted_from: Final[list[socket.socket]] = []
"""The socket of this worker, once it has one."""


def stop_accepting() -> None:
    """Leave new connections to the other workers: one taken at the very last would be closed unanswered.

    The server cannot be told so. It gets another socket in place of the shared one, to which nobody connects.
    """
    for listening in _accepted_from:
        with socket.create_server(("127.0.0.1", 0)) as nobodys:
            nobodys.setblocking(False)
            os.dup2(nobodys.fileno(), listening.fileno(), inheritable=False)


def drain_on_signal() -> threading.Event:
    """An event that DRAIN_SIGNAL sets; nothing is accepted any more. To be called in the main thread."""
    draining = threading.Event()

    def drain(*_: object) -> None:
        draining.set()
        stop_accepting()

    signal.signal(DRAIN_SIGNAL, drain)
    return draining


def end_with_parent(parent: int) -> None:
    """Have a thread end this process once ``parent``, which has started it, is gone, killed or lost.

    Nobody would stop it then, and it would keep the port. It may finish its requests.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_POLL_SECONDS)
        LOG.error("The process that had started this worker is gone: the worker ends.")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class Draining:
    """An application that asks clients to close their connections once ``draining`` is set.

    The same where a body was not read: after a 401, since it is a stranger's, and where it was given up.
    The server closes the connection then, and a client that is not told would meet a closed one.
    """

    def __init__(self, application: WsgiApplication, draining: threading.Event) -> None:
        self._application = application
        self._draining = draining

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        draining = self._draining.is_set()
        has_body = environ.get("CONTENT_LENGTH") not in _NO_BODY or "HTTP_TRANSFER_ENCODING" in environ
        if not draining and not has_body:
            return self._application(environ, start_response)

        def closing(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if draining or status.startswith("401") or GIVEN_UP in environ:
                headers = [*headers, ("Connection", "close")]
            return start_response(status, headers, *rest)

        return self._application(environ, closing)


ORPHAN_POLL_SECONDS: Final = 1.0
"""How often a worker looks whether the process that has started it is still there."""

ORPHAN_SECONDS: Final = 30.0
"""How long a worker that has lost it may finish its requests."""

_NO_BODY: Final = (None, "", "0")
"""Content lengths of requests without a body."""
