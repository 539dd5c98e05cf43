"""Starts the process of the event loop, starts it again if it dies, and replaces it at a reload."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Final

from moorage.serve.signals import kept_from_workers
from moorage.serve.tls import Tls

LOG: Final = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 1.0
"""Pause before a process that has died is started again."""

READY_SECONDS: Final = 600.0
"""How long a process may take to be ready when another one is to go."""

SENT_BYTES: Final = 128 * 1024
"""What the system may hold of a connection that its client has not taken."""

UNTAKEN_SECONDS: Final = 60
"""After so long the system closes a connection whose client takes nothing, or cannot be reached."""

Run = Callable[[socket.socket, Tls | None, int, Pipe], None]


def run_changes(listening: socket.socket, tls: Tls | None, stop_seconds: int, ready: Pipe) -> None:
    """See ``serve_changes``. The process that manages all others needs none of its libraries."""
    from moorage.serve.changes.server import serve_changes

    serve_changes(listening, tls, stop_seconds, ready)


def listening_for_many(address: str, port: int, backlog: int) -> socket.socket:
    """The socket that all processes in turn accept from. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, port), family=family, backlog=backlog)
    # Connections inherit these.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNTAKEN_SECONDS)
    listening.setblocking(False)
    return listening


class Started:
    """A process that was started."""

    def __init__(self, run: Run, listening: socket.socket, tls: Tls | None, stop_seconds: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.ready, told = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(
            target=run, args=(listening, tls, stop_seconds, told), name="changes", daemon=False
        )
        with kept_from_workers():
            self.process.start()
        told.close()

    def is_ready(self) -> bool:
        """Whether it has said that it serves."""
        try:
            return self.ready.poll() and bool(self.ready.recv())
        except EOFError:
            # It has ended without a word.
            return False

    def end(self, seconds: float) -> None:
        """Let it tell its clients, and kill it if that takes longer than so many seconds."""
        self.process.terminate()
        self.process.join(seconds)
        if self.process.is_alive():
            LOG.error("The process for watchers of changes had to be killed: it did not end in time.")
            self.process.kill()
            self.process.join()
        self.ready.close()


class Keeper:
    """Keeps one process on ``listening``."""

    def __init__(
        self,
        listening: socket.socket,
        tls: Tls | None,
        stop_seconds: int,
        on_gone: Callable[[int], None],
        run: Run = run_changes,
    ) -> None:
        """``on_gone`` gets the process id of each process that has ended."""
        self._make = partial(Started, run, listening, tls, stop_seconds)
        self._listening = listening
        self._stop_seconds = stop_seconds
        self._on_gone = on_gone
        self._woken, self._wake = multiprocessing.get_context("spawn").Pipe(duplex=False)
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="changes-keeper", daemon=True)

    def start(self) -> None:
        """Start the process, and keep it."""
        self._thread.start()

    def reload(self) -> None:
        """Start another process with the present settings, and end this one once that is ready."""
        self._wake.send(None)

    def stop(self) -> None:
        """End it, with a last word to its clients. Returns at once; see ``join``."""
        self._is_stopping.set()
        self._wake.send(None)

    def join(self) -> None:
        """Wait until the process has ended."""
        self._thread.join()
        self._listening.close()

    def _keep(self) -> None:
        kept = self._make()
        while True:
            wait([kept.process.sentinel, self._woken])
            is_told = self._woken.poll()
            if is_told:
                self._woken.recv()
            if self._is_stopping.is_set():
                self._end(kept)
                return
            if not kept.process.is_alive():
                LOG.error("The process for watchers of changes has died: another one is started.")
                self._end(kept)
                self._is_stopping.wait(AGAIN_SECONDS)
                kept = self._make()
            elif is_told:
                kept = self._replaced(kept)

    def _replaced(self, old: Started) -> Started:
        new = self._make()
        wait([new.ready, new.process.sentinel, self._woken], READY_SECONDS)
        if self._is_stopping.is_set() or new.is_ready():
            self._end(old)
            return new
        LOG.error("A new process for watchers of changes could not start; the old one goes on.")
        self._end(new)
        return old

    def _end(self, started: Started) -> None:
        number = started.process.pid
        started.end(self._stop_seconds)
        if number is not None:
            self._on_gone(number)
