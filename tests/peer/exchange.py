"""One request and its answer, as any WSGI application sees and gives them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

ADMIN = {"X-Auth-Token": "admin"}


@dataclass(frozen=True)
class Request:
    """What is sent. ``path`` is not percent-encoded; ``query`` is, and has no question mark.

    Bytes of a path that are no UTF-8 stand in it as surrogates do in Python. ``prefix`` is the path
    that the service is mounted under. A ``chunked`` body comes without its length.
    ``max_candidates`` and ``new_defaults`` are no part of it, but how the service is configured that
    answers: how many candidates it makes (below 0 all), and whether the policy's old defaults, by
    which an administrator may do all, count no more.
    """

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    prefix: str = ""
    chunked: bool = False
    max_candidates: int = -1
    new_defaults: bool = False

    @property
    def writes(self) -> bool:
        """Whether the method is one that may change something."""
        return self.method not in {"GET", "HEAD", "OPTIONS"}

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body or b"")
        except (ValueError, RecursionError):
            return None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Parameters of the query string, as both services divide it."""
        return parse_qsl(self.query.replace(";", "&"), keep_blank_values=True)

    def __str__(self) -> str:
        target = self.prefix + self.path + (f"?{self.query}" if self.query else "")
        headers = " ".join(f"{name}={value!r}" for name, value in self.headers.items())
        notes = " (chunked)" if self.chunked else ""
        notes += f" (max_allocation_candidates={self.max_candidates})" if self.max_candidates >= 0 else ""
        notes += " (enforce_new_defaults)" if self.new_defaults else ""
        return f"{self.method} {target!a} [{headers}] {self.body!r}{notes}"


@dataclass(frozen=True)
class Number:
    """A number as an answer spells it: 16 is not 16.0."""

    digits: str

    def __repr__(self) -> str:
        return self.digits


@dataclass(frozen=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def spelled(self) -> Any:
        """The body as JSON with each number as it is spelled; None if it is none."""
        try:
            return json.loads(self.body, parse_int=Number, parse_float=Number, parse_constant=Number)
        except ValueError:
            return None

    @property
    def error(self) -> dict[str, Any]:
        """The first error of the body, empty if there is none."""
        body = self.json
        if isinstance(body, dict) and body.get("errors"):
            first = body["errors"][0]
            return first if isinstance(first, dict) else {}
        return {}

    @property
    def detail(self) -> str:
        """What the first error says, or the text of one that is not JSON."""
        if self.status >= 400 and not self.error:
            return self.body.decode()
        return str(self.error.get("detail", ""))

    @property
    def code(self) -> str | None:
        """The code of the first error, None before the version that has codes."""
        return self.error.get("code")


def call(application: WsgiApplication, request: Request) -> Answer:
    """Send ``request`` to ``application`` without a network."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": request.prefix,
        "PATH_INFO": request.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": request.query.encode("utf-8").decode("latin-1"),
        "SERVER_NAME": "peer.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body or b""),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "HTTP_HOST": "peer.test",
    }
    if request.chunked:
        environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    elif request.body is not None:
        environ["CONTENT_LENGTH"] = str(len(request.body))
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
    told: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[..., Any]:
        told.append((status, headers))
        return lambda _: None

    chunks = application(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = told[-1]
    merged: dict[str, list[str]] = {}
    for name, value in headers:
        merged.setdefault(name.lower(), []).append(value)
    return Answer(int(status.split()[0]), {name: ", ".join(values) for name, values in merged.items()}, body)
