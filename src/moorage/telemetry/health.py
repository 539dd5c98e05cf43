"""``/healthz`` and ``/readyz``: whether the process lives, and whether it can answer now."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from moorage.model.errors import MoorageError

HEALTH_PATH: Final = "/healthz"
READINESS_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"

PATIENCE_SECONDS: Final = 2.0
"""How long ``/readyz`` waits for the database: load balancers wait about as long for a health check."""


def healthy(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The process lives: it takes requests. Nothing else is checked."""
    return answered(start_response, HTTPStatus.OK, {"status": "ok"})


class CheckRun:
    """One call of ``check``, in a thread of its own."""

    def __init__(self, check: Callable[[], int]) -> None:
        self._check = check
        self._revision = 0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="readiness")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        """Whether ``check`` is still running."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Whether ``check`` ends within so many seconds."""
        self._thread.join(seconds)
        return not self.is_under_way

    def result(self) -> int:
        """What ``check`` returned, once it has ended. Raises what ``check`` raised."""
        if self._error is not None:
            raise self._error
        return self._revision

    def _run(self) -> None:
        try:
            self._revision = self._check()
        except Exception as error:  # noqa: BLE001 - each request raises it in its own thread
            self._error = error


class Readiness:
    """Whether requests can be answered now. ``check`` gives the revision, or raises MoorageError.

    Requests that come while a look is under way share it. So the database gets one look after the other,
    however many requests there are. A database that does not answer delays no request by more than
    ``patience`` seconds.
    """

    def __init__(self, check: Callable[[], int], patience: float = PATIENCE_SECONDS) -> None:
        self._check = check
        self._patience = patience
        self._beginning = threading.Lock()
        self._look: CheckRun | None = None

    def __call__(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        look = self._shared()
        if not look.wait(self._patience):
            return not_ready(
                start_response, [f"the database has not answered within {self._patience:g} seconds"]
            )
        try:
            revision = look.result()
        except MoorageError as error:
            return not_ready(start_response, [str(error)])
        return answered(start_response, HTTPStatus.OK, {"ready": True, "reasons": [], "revision": revision})

    def _shared(self) -> CheckRun:
        with self._beginning:
            if self._look is None or not self._look.is_under_way:
                look = CheckRun(self._check)
                look.start()
                self._look = look
            return self._look


def not_ready(start_response: Callable[..., Any], reasons: Sequence[str]) -> Iterable[bytes]:
    """The answer while the process can answer nothing else."""
    told = {"ready": False, "reasons": list(reasons)}
    return answered(start_response, HTTPStatus.SERVICE_UNAVAILABLE, told)


def nothing(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The answer for any other path."""
    return answered(start_response, HTTPStatus.NOT_FOUND, {"status": "not found"})


def answered(start_response: Callable[..., Any], status: HTTPStatus, told: object) -> Iterable[bytes]:
    """A small JSON answer that caches must not store."""
    body = json.dumps(told).encode() + b"\n"
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
