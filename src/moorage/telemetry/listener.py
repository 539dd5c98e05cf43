"""An address of its own for metrics and health, beside the API's."""

from __future__ import annotations

import logging
import socket
import threading
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from moorage.api.http.exchange import WsgiApplication
from moorage.model.errors import ConfigurationError

RETRY_SECONDS: Final = 5.0
"""How often a process tries to take over the address of a process that may have ended."""

_log = logging.getLogger(__name__)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOfSix(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10
    """Seconds that a client may take for its request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Write no line: fetching metrics is not worth one."""


def listening(application: WsgiApplication, host: str, port: int) -> WSGIServer:
    """A server that is bound to its address and does not serve yet. Raises OSError."""
    kind = _ServerOfSix if ":" in host else _Server
    return make_server(host, port, application, server_class=kind, handler_class=_Quiet)


def serve_here(application: WsgiApplication, host: str, port: int) -> None:
    """Serve from a thread until the process ends. Raises ConfigurationError if the port is taken."""
    try:
        server = listening(application, host, port)
    except OSError as error:
        raise ConfigurationError(
            f"[moorage] metrics_listen: cannot listen on {host} port {port}: {error.strerror}."
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()


def serve_in_turn(
    application: WsgiApplication, host: str, port: int, ended: threading.Event | None = None
) -> None:
    """One of several worker processes serves. When it ends, another one takes over."""
    over = ended or threading.Event()

    def take_turns() -> None:
        while not over.is_set():
            try:
                server = listening(application, host, port)
            except OSError as error:
                _log.debug("Metrics are served by another process: %s", error)
                over.wait(RETRY_SECONDS)
            else:
                server.serve_forever()

    threading.Thread(target=take_turns, daemon=True, name="metrics").start()
