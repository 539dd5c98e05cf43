"""Runs the workers of the service, in the process that manages them, until it is to end."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from moorage.serve.front import BRINGERS, serve_front
from moorage.serve.processors import allowed_processors
from moorage.serve.signals import Signals
from moorage.serve.tls import Tls
from moorage.serve.worker import DIRECTORY_VARIABLE, THREADS_PER_WORKER
from moorage.serve.workers import Workers
from moorage.wiring.settings import Settings
from moorage.wiring.telemetry import forget_worker

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
) -> None:
    """Serve with so many workers; return once all of them have ended.

    Workers read their settings from the environment (``settings_of_process``).
    """
    server = settings.server
    # Workers are spawned, not forked: they share neither threads nor connections with this process.
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory(prefix="moorage-workers-") as directory:
        os.environ[DIRECTORY_VARIABLE] = directory
        Workers(
            WORKER_TARGET,
            Path(directory),
            signals,
            on_gone=forget_worker(settings.telemetry, os.environ),
            processors=allowed_processors() if server.one_processor else (),
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
