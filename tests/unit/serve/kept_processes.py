"""Processes for tests of what keeps them. A new process imports this by its name."""

from __future__ import annotations

import signal
import socket
from multiprocessing.connection import Connection

from moorage.serve.tls import Tls


def serve_nothing(_listening: socket.socket, _tls: Tls | None, _seconds: int, ready: Connection) -> None:
    """A process that says that it is ready, and lives."""
    ready.send(True)
    signal.pause()


def fail(_listening: socket.socket, _tls: Tls | None, _seconds: int, _ready: Connection) -> None:
    """A process that cannot start."""


def be_stubborn(_listening: socket.socket, _tls: Tls | None, _seconds: int, ready: Connection) -> None:
    """A process that does not end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.send(True)
    while True:
        signal.pause()
