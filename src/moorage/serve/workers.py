"""Worker processes that are replaced one by one without a refused request.

Granian replaces workers on SIGHUP, but lets each listen on a socket of its own and stops the old one after a
fixed time. Connections in that socket's queue are refused, and so are all others if the new one takes longer
to build its index. Here all workers accept from one socket. The old one goes on until the new one is ready.
Then it asks its clients to close their connections before it stops.
"""

# mypy: disable-error-code="no-untyped-call"
# Granian's own processes carry no types.

from __future__ import annotations

import gc
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from granian.server.mp import MPServer, WorkerProcess

from moorage.serve.changes.keeper import Keeper
from moorage.serve.comebacks import Comebacks
from moorage.serve.processors import beginning_of, processor_of
from moorage.serve.signals import Hangup, Signals, kept_from_workers
from moorage.serve.worker import BACKLOG, DRAIN_SIGNAL, on_shared_socket, ready_file

DRAIN_SECONDS: Final = 5.0
"""How long a worker that will be stopped asks its clients to connect anew: most of them ask more often."""

READY_SECONDS: Final = 600.0
"""How long a new worker may take to be ready; until then the old one serves."""

POLL_SECONDS: Final = 0.05

LEARN_POLLS: Final = 10
"""So often this process looks again whether a worker has ended before it kills it."""

LOOK_SECONDS: Final = 1.0
"""So often at least the managing process looks which workers have died."""

LOG: Final = logging.getLogger(__name__)


def listening_socket(address: str, port: int) -> socket.socket:
    """The socket that all workers accept from. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, port), family=family, backlog=BACKLOG)
    listening.setblocking(False)
    return listening


def method_for_first_workers(may_be_copies: bool) -> str:
    """How the first workers begin: as copies of this process if it has one thread only, else as new ones.

    A copy has everything loaded and shares the memory for it. But it has none of the other threads, and keeps
    the locks that they had just then. Workers that come later begin as new processes: by then there are such
    threads, and a reload takes the program that is installed now.
    """
    alone = threading.active_count() == 1
    return "fork" if may_be_copies and alone and sys.platform == "linux" else "spawn"


@contextmanager
def start_method(method: str) -> Iterator[None]:
    """Processes that Granian makes in this block begin in this way."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def forget_nothing(_process_id: int) -> None:
    """Do nothing about a worker that has ended."""


def do_nothing() -> None:
    """Do nothing about workers that have begun."""


class Interrupt(threading.Event):
    """An event that a handler of a signal may set at any moment, and that the main thread waits for.

    Of two signals that come at once the system gives one to another thread. Its handler runs in the main
    thread, once that does anything: so it looks again and again. And a handler must not need a lock that
    the main thread may have just then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._came = False

    def is_set(self) -> bool:
        """Whether it was set, and not cleared since."""
        return self._came

    def set(self) -> None:
        """Let the main thread go on."""
        self._came = True

    def clear(self) -> None:
        """From now on the main thread waits."""
        self._came = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or so many seconds are over; whether it is set."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self._came and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        return self._came


class Workers(MPServer):
    """Granian's server, with one socket for all workers and another way to replace them.

    ``directory`` is where new workers say that they are ready. ``on_gone`` gets the process id of each worker
    that was replaced, once it has ended. ``processors`` are those that workers are kept on.
    ``signals`` says what SIGHUP means, and whether it came before this was started. ``keeper`` keeps the
    process for many clients that wait for changes. ``on_started`` is called once the first
    workers have begun. Without ``may_be_copies`` these load the program anew, as later ones do.

    Once it is to stop, no step of a reload takes longer: the worker that is being stopped counts among those
    that have to end within the time to stop.

    Whatever kills workers, and however often, the service goes on and replaces them (``Comebacks``). Only a
    service of which no worker has ever been ready ends if its workers do: its settings keep it from serving.
    """

    def __init__(
        self,
        target: str,
        directory: Path,
        signals: Signals,
        on_gone: Callable[[int], None] = forget_nothing,
        processors: Collection[int] = (),
        keeper: Keeper | None = None,
        on_started: Callable[[], None] = do_nothing,
        may_be_copies: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(target, **options)
        # What Granian has there can wait for ever, or for a lock that the handler itself keeps from it.
        self.main_loop_interrupt = Interrupt()
        self._signals = signals
        self._leaving: list[WorkerProcess] = []
        self._processors = processors
        self._directory = directory
        self._on_gone = on_gone
        self._keeper = keeper
        self._on_started = on_started
        self._may_be_copies = may_be_copies
        self._comebacks = Comebacks()
        self._has_served = False

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        """Set the handlers for signals, listen, and start the workers."""
        super().startup(spawn_target, target_loader)
        if self._keeper is not None:
            self._keeper.start()
        self._on_started()
        if self._signals.wants_reload:
            self.signal_handler_reload()

    def signal_handler_reload(self, *_: Any, **__: Any) -> None:
        """SIGHUP came."""
        if self._signals.hangup is Hangup.END:
            self.signal_handler_interrupt()
        elif self._signals.hangup is Hangup.RELOAD:
            super().signal_handler_reload()

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

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        """Start the first workers, all before the first thread that watches one of them."""
        # The collector of a copy would write to each object, and so copy all of the shared memory.
        gc.collect()
        gc.freeze()
        method = method_for_first_workers(self._may_be_copies)
        # The handler for the end is this process's, until a copy has its own.
        with start_method(method), kept_from_workers(signal.SIGTERM):
            for index in range(self.workers):
                worker = self._spawn_worker(index, spawn_target, target_loader)
                worker.inner.start()
                self.wrks.append(worker)
        for worker in self.wrks:
            worker._watch()

    def _respawn_workers(
        self, workers: Sequence[int], spawn_target: Any, target_loader: Any, delay: float = 0
    ) -> None:
        for index in workers:
            if self.interrupt_signal:
                break
            self.respawned_wrks[index] = time.monotonic()
            self._replace(index, spawn_target, target_loader)

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        """Replace workers that die, and all at a reload, until everything is to end.

        Granian ends the service if a worker dies twice within seconds, and may miss one that dies while it
        replaces another one. Here each turn looks which workers are there, whatever was reported.
        """
        while not self.interrupt_signal:
            # What sets it from here on ends the next wait.
            self.main_loop_interrupt.clear()
            self.interrupt_children.clear()
            self._look_for_dead()
            if self._is_hopeless():
                LOG.error("Workers end as soon as they begin, and none has ever served: the service ends.")
                # By these Granian knows that the service has failed.
                self.interrupt_children = self._comebacks.dead()
                return
            due = self._comebacks.due(time.monotonic())
            if due and not self.interrupt_signal:
                self._respawn_workers(due, spawn_target, target_loader)
            if self.reload_signal and not self.interrupt_signal:
                self._reload(spawn_target, target_loader)
            if not due:
                left = self._comebacks.seconds_left(LOOK_SECONDS, time.monotonic())
                self.main_loop_interrupt.wait(left)

    def _look_for_dead(self) -> None:
        now = time.monotonic()
        for index, worker in enumerate(self.wrks):
            if worker.is_alive():
                self._comebacks.is_there(index)
            elif pause := self._comebacks.has_died(index, self.respawned_wrks.get(index), now):
                LOG.error(
                    "Worker %d has ended again, soon after it began. The next one begins in %.0f seconds.",
                    index + 1,
                    pause,
                )

    def _is_hopeless(self) -> bool:
        return self._comebacks.has_failed and not self._has_served and not any(self._directory.iterdir())

    def _replace(self, index: int, spawn_target: Any, target_loader: Any) -> None:
        old = self.wrks[index]
        new = self._spawn_worker(index, spawn_target, target_loader)
        # The system uses process ids again: a file of an earlier worker is not about this one.
        for said in self._directory.iterdir():
            self._has_served = True
            said.unlink()
        # Until it is ready, its end needs no report.
        new.interrupt_by_parent = True
        with kept_from_workers():
            new.start()
        if not self._is_ready(new):
            new.kill()
            new.join()
            self._on_gone(new._id())
            if self.interrupt_signal:
                return
            if old.is_alive():
                LOG.error("A new worker could not start; the old one goes on.")
            return
        self._has_served = True
        self.wrks[index] = new
        new.interrupt_by_parent = False
        if old.is_alive():
            self._retire(old)
        if not old.is_alive():
            self._on_gone(old._id())

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
        with suppress(ProcessLookupError):
            os.kill(worker._id(), DRAIN_SIGNAL)
        self._pause(DRAIN_SECONDS, worker)
        worker.terminate()
        self._pause(self.workers_kill_timeout or 0, worker)
        if self.interrupt_signal:
            self._leaving.append(worker)
        else:
            end_now(worker)

    def _pause(self, seconds: float, worker: WorkerProcess) -> None:
        """Wait until the worker has ended, the time is over, or everything is to stop."""
        until = time.monotonic() + seconds
        while worker.is_alive() and time.monotonic() < until and not self.interrupt_signal:
            time.sleep(POLL_SECONDS)

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        if self._keeper is not None:
            self._keeper.reload()
        super()._reload(spawn_target, target_loader)

    def _stop_workers(self) -> None:
        """Give all workers the time to stop together; kill those that need more."""
        if self._keeper is not None:
            self._keeper.stop()
        until = time.monotonic() + (self.workers_kill_timeout or 0)
        for worker in self.wrks:
            worker.terminate()
        # Workers that are leaving got their signal before.
        for worker in (*self._leaving, *self.wrks):
            worker.join(max(0.0, until - time.monotonic()))
            end_now(worker)
        self._leaving.clear()
        self.wrks.clear()
        if self._keeper is not None:
            self._keeper.join()


def end_now(worker: WorkerProcess) -> None:
    """Kill a worker that did not end by itself."""
    # Its watcher joins it as well. Of two threads, the second one learns of the end a moment later.
    for _ in range(LEARN_POLLS):
        if not worker.is_alive():
            return
        time.sleep(POLL_SECONDS)
    LOG.error("A worker had to be killed: it did not finish within the time to stop.")
    worker.kill()
    worker.join()
