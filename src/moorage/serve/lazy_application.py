"""The application for WSGI servers that import it before they fork their worker processes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from moorage.api.front import Dispatcher
from moorage.api.http.exchange import WsgiApplication
from moorage.model.errors import MoorageError
from moorage.telemetry.health import (
    HEALTH_PATH,
    READINESS_PATH,
    healthy,
    not_ready,
)

_log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: Final = 5
"""Seconds after which a client may try again while the service cannot start: one attempt to reach a
database."""


class LazyApplication:
    """An application that is built at a process's first request.

    A WSGI server may import the module, then fork. Connections and threads from before the fork would be
    shared or lost, so each process makes its own at its first request. Until then, this application itself
    answers that the process lives and is not ready. Such a request starts the building, and does not wait for
    it.
    """

    def __init__(self, build: Callable[[], WsgiApplication]) -> None:
        self._build = build
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._built: WsgiApplication | None = None
        self._beginning = threading.Lock()
        self._building: threading.Thread | None = None
        self._trouble = ""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        built = self._built
        if built is None and environ.get("PATH_INFO") in (HEALTH_PATH, READINESS_PATH):
            own = {HEALTH_PATH: healthy, READINESS_PATH: self._unready}
            return Dispatcher(self._unready, own)(environ, start_response)
        if built is None:
            try:
                built = self._build_once()
            except Exception:  # noqa: BLE001 - the server must go on after any error
                _log.exception("The service cannot start.")
                start_response(
                    "503 Service Unavailable",
                    [("Content-Type", "text/plain"), ("Retry-After", str(RETRY_AFTER_SECONDS))],
                )
                return [b"The service cannot start now; its log says why.\n"]
        return built(environ, start_response)

    def _unready(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._beginning:
            if self._building is None or not self._building.is_alive():
                self._building = threading.Thread(target=self._try, daemon=True, name="start")
                self._building.start()
        return not_ready(start_response, [self._trouble or "it is starting"])

    def _try(self) -> None:
        try:
            self._build_once()
        except MoorageError as error:
            # This path needs no token, so its answer must not contain the database's address.
            self._trouble = str(error)
            _log.error("The service cannot start: %s", error.in_full())
        except Exception:  # noqa: BLE001 - the server goes on, and answers that it is not ready
            self._trouble = "it cannot start; its log says why"
            _log.exception("The service cannot start.")

    def _build_once(self) -> WsgiApplication:
        with self._lock:
            if self._built is None:
                self._built = self._build()
            return self._built
