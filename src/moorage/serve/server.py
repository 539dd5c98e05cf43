"""Runs the workers of the service, in the process that manages them, until it is to end."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from moorage.model.errors import ConfigurationError
from moorage.serve.changes.keeper import Keeper, listening_for_many
from moorage.serve.front import BRINGERS, serve_front
from moorage.serve.processors import allowed_processors
from moorage.serve.signals import Signals
from moorage.serve.tls import Tls
from moorage.serve.worker import BACKLOG, DIRECTORY_VARIABLE, THREADS_PER_WORKER
from moorage.serve.workers import Workers
from moorage.wiring.settings import Settings
from moorage.wiring.telemetry import forget_worker
from moorage.wiring.watchers import LISTEN

READ_AHEAD_BYTES: Final = 8192
"""What the HTTP server may hold of a connection beyond the longest URL and headers; the least it takes."""

WORKER_TARGET: Final = "moorage.serve.worker:worker_application"


def run_workers(
    settings: Settings,
    address: str,
    port: int,
    workers: int,
    stop_seconds: int,
    tls: Tls | None,
    signals: Signals,
    on_started: Callable[[], None],
) -> None:
    """Serve with so many workers; return once all of them have ended.

    ``on_started`` is called once they have begun; no thread needs to be started before that. Workers read
    their settings from the environment (``settings_of_process``).
    """
    server = settings.server
    # Whatever starts a process later has threads by then. The first workers may be copies: see Workers.
    multiprocessing.set_start_method("spawn", force=True)
    on_gone = forget_worker(settings.telemetry, os.environ)
    with TemporaryDirectory(prefix="moorage-workers-") as directory:
        os.environ[DIRECTORY_VARIABLE] = directory
        Workers(
            WORKER_TARGET,
            Path(directory),
            signals,
            on_gone=on_gone,
            processors=allowed_processors() if server.one_processor else (),
            keeper=keeper_of(settings, tls, stop_seconds, on_gone),
            on_started=on_started,
            # prometheus_client has decided where it counts when this process loaded it.
            may_be_copies=not settings.telemetry.has_metrics,
            factory=True,
            address=address,
            port=port,
            interface=Interfaces.WSGI,
            # Only this version closes connections on which nothing was ever asked.
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=server.idle_seconds * 1000,
                max_buffer_size=server.head_bytes + READ_AHEAD_BYTES,
            ),
            workers=workers,
            blocking_threads=THREADS_PER_WORKER + BRINGERS,
            backpressure=server.max_connections,
            websockets=False,
            workers_kill_timeout=stop_seconds,
            respawn_failed_workers=True,
            log_level=LogLevels.error,
            **(tls.server_options() if tls else {}),
        ).serve(serve_front)


def keeper_of(
    settings: Settings, tls: Tls | None, stop_seconds: int, on_gone: Callable[[int], None]
) -> Keeper | None:
    """What keeps the process for many clients that wait for changes; None without an address for them.

    Raises ConfigurationError if the address cannot be had.
    """
    listen = settings.watchers.listen
    if listen is None:
        return None
    try:
        listening = listening_for_many(*listen, BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"[moorage] {LISTEN}: cannot listen on {listen[0]} port {listen[1]}: {error.strerror}."
        ) from error
    return Keeper(listening, tls, stop_seconds, on_gone)
