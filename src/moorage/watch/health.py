"""``/healthz`` and ``/readyz``: whether the process lives, and whether it can answer now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from moorage.model.errors import MoorageError

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

HEALTH_PATH: Final = "/healthz"
READINESS_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"

READABLE: Final = ("GET", "HEAD")


class Front:
    """Answers the paths of ``own`` itself, and leaves all others to ``application``."""

    def __init__(self, application: WsgiApplication, own: Mapping[str, WsgiApplication]) -> None:
        self._application = application
        self._own = own

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        own = self._own.get(environ.get("PATH_INFO", ""))
        if own is None:
            return self._application(environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method not in READABLE:
            allowed = [("Allow", ", ".join(READABLE)), ("Content-Length", "0")]
            start_response("405 Method Not Allowed", allowed)
            return []
        body = own(environ, start_response)
        return [] if method == "HEAD" else body


def healthy(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The process lives: it takes requests, whatever else may be."""
    return answered(start_response, HTTPStatus.OK, {"status": "ok"})


class Readiness:
    """Whether requests can be answered now. ``check`` gives the revision, or raises MoorageError."""

    def __init__(self, check: Callable[[], int]) -> None:
        self._check = check

    def __call__(self, _environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            revision = self._check()
        except MoorageError as error:
            return not_ready(start_response, [str(error)])
        return answered(start_response, HTTPStatus.OK, {"ready": True, "reasons": [], "revision": revision})


def not_ready(start_response: Callable[..., Any], reasons: Sequence[str]) -> Iterable[bytes]:
    """The answer while nothing else can be answered."""
    told = {"ready": False, "reasons": list(reasons)}
    return answered(start_response, HTTPStatus.SERVICE_UNAVAILABLE, told)


def nothing(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """There is nothing else here."""
    return answered(start_response, HTTPStatus.NOT_FOUND, {"status": "not found"})


def answered(start_response: Callable[..., Any], status: HTTPStatus, told: object) -> Iterable[bytes]:
    """A small JSON answer that nobody may remember."""
    body = json.dumps(told).encode() + b"\n"
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
