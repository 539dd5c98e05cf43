"""A worker process: what answers its requests, how it says that it is ready, and how it ends."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from granian._granian import SocketHolder

from moorage.serve.body_slots import BodyReading
from moorage.serve.front import Front
from moorage.serve.processors import VARIABLE as PROCESSOR_VARIABLE
from moorage.serve.processors import on_its_processor
from moorage.serve.signals import begin_as_new_process
from moorage.wiring.parts import build_application, set_up_logs
from moorage.wiring.settings import settings_of_process

LOG: Final = logging.getLogger(__name__)

DIRECTORY_VARIABLE: Final = "MOORAGE_WORKERS_DIRECTORY"
"""Names the folder in which a worker leaves a file when it is ready."""

DRAIN_SIGNAL: Final = signal.SIGUSR1
"""Tells a worker that it will be stopped."""

WAKE_SIGNAL: Final = signal.SIGUSR2
"""Interrupts a worker's main thread for a moment."""

BACKLOG: Final = 1024
"""Connections that wait to be accepted, as Granian has it."""

ORPHAN_POLL_SECONDS: Final = 1.0
"""How often a worker looks whether the process that has started it is still there."""

ORPHAN_SECONDS: Final = 30.0
"""How long a worker that has lost it may finish its requests."""

THREADS_PER_WORKER: Final = 64
"""Requests that one worker works on at a time. Most of them wait for the same commit: the more
wait together, the fewer commits are needed."""

BODY_READERS: Final = 48
"""Threads of a worker that may wait for slow bodies at a time. The other threads are for quick bodies, and
for requests without a body, searches above all."""


def worker_application() -> Front:
    """What answers the requests of one worker process, built before its first one."""
    draining = drain_on_signal()
    end_with_parent(os.getppid())
    settings = settings_of_process()
    set_up_logs(settings)
    application = build_application(settings, prepared=True, ending=draining)
    announce_ready()
    reading = BodyReading(BODY_READERS, settings.server.body_seconds or math.inf)
    return Front(on_its_processor(application), THREADS_PER_WORKER, reading, draining)


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
    begin_as_new_process()
    if processor is not None:
        os.environ[PROCESSOR_VARIABLE] = str(processor)
    # The server closes the descriptor when it stops. Then the number may become another file's, the
    # database's among them: nothing else may close it.
    descriptor = sockets[1].detach()
    _accepted_from.append((descriptor, os.fstat(descriptor)))
    # Its stub does not declare its arguments: descriptor, whether it is a Unix socket, backlog.
    holder = SocketHolder(descriptor, False, BACKLOG)  # type: ignore[call-arg]
    target(worker_id, process_name, callback_loader, ((None, holder), None), *rest)


def ready_file(directory: Path, process_id: int) -> Path:
    """The file by which a worker says that it is ready."""
    return directory / str(process_id)


def announce_ready() -> None:
    """Say that this worker can serve, if the managing process waits for that."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if directory:
        ready_file(Path(directory), os.getpid()).touch()


_accepted_from: Final[list[tuple[int, os.stat_result]]] = []
"""The descriptor that this worker accepts from, once it has one, and the socket that it belongs to."""


def stop_accepting() -> None:
    """Leave new connections to the other workers: one taken at the very last would be closed unanswered.

    The server has no way to stop accepting. So its descriptor gets another socket in place of the shared one,
    and nothing connects to that. A server that has stopped is left alone: the number is free, or another
    file's.
    """
    for descriptor, known in _accepted_from:
        with suppress(OSError), socket.create_server(("127.0.0.1", 0)) as unknown:
            unknown.setblocking(False)
            if os.path.samestat(os.fstat(descriptor), known):
                os.dup2(unknown.fileno(), descriptor, inheritable=False)


def drain_on_signal() -> threading.Event:
    """An event that DRAIN_SIGNAL sets; nothing is accepted any more. To be called in the main thread."""
    draining = threading.Event()

    def drain(*_: object) -> None:
        draining.set()
        stop_accepting()

    signal.signal(DRAIN_SIGNAL, drain)
    signal.signal(WAKE_SIGNAL, lambda *_: None)
    return draining


def wake_main_thread() -> None:
    """Let the handlers run of signals that the system gave to another thread.

    The system does so if two come at once. Handlers run in the main thread, which waits for nothing else.
    """
    main = threading.main_thread().ident
    # Without a handler it would end the process.
    if main is not None and callable(signal.getsignal(WAKE_SIGNAL)):
        signal.pthread_kill(main, WAKE_SIGNAL)


def end_with_parent(parent: int) -> None:
    """Have a thread end this process once ``parent``, which has started it, is gone, killed or lost.

    Nothing else would stop it then, and it would keep the port. It may finish its requests.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_POLL_SECONDS)
            wake_main_thread()
        LOG.error("The process that had started this worker is gone: the worker ends.")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
