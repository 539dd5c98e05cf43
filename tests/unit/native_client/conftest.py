"""The client against the real application, and against servers that say what a test wants."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from moorage_client import Moorage

from moorage.api.http.exchange import WsgiApplication
from moorage.auth.policy import Policy
from moorage.service.facade import Service
from moorage.wiring.settings import Chosen, resolve
from tests.databases.prepared import (
    Prepare,
    open_service,
    open_store,
    prepare,
    prepared_databases,
    sqlite_service,
    sqlite_store,
    sqlite_template,
)
from tests.servers.databases import SQLITE
from tests.unit.api.native.client import NativeClient
from tests.unit.applications import built
from tests.unit.cli.client.conftest import answering

__all__ = [
    "open_service",
    "open_store",
    "prepare",
    "prepared_databases",
    "sqlite_service",
    "sqlite_store",
    "sqlite_template",
]

Answers = Callable[[int], "Said | None"]
"""The answer to the request of this number, from 1; None closes the connection without one."""


@dataclass(frozen=True)
class Said:
    """One answer of a server that only says what it is told."""

    status: int
    body: object = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Heard:
    """The requests that came: method, path and body; and how many connections carried them."""

    url: str
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    connections: int = 0


@contextmanager
def saying(answers: Answers, certificate: tuple[Path, Path] | None = None) -> Iterator[Heard]:
    """A server that keeps connections open, with these answers."""
    heard = Heard("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes: the second one would wait for the first to be acknowledged.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            heard.connections += 1

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            heard.requests.append((self.command, self.path, json.loads(content) if content else None))
            heard.tokens.append(self.headers.get("X-Auth-Token"))
            heard.keys.append(self.headers.get("Idempotency-Key"))
            said = answers(len(heard.requests))
            if said is None:
                self.close_connection = True
                return
            content = said.content()
            self.send_response(said.status)
            headers = {"Content-Type": said.media_type, "Content-Length": str(len(content)), **said.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            # A client that has lost patience is gone.
            with suppress(ConnectionError):
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing: pytest shows enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        heard.url = f"{scheme}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield heard
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def sharing(service: Service, policy: Policy | None = None) -> Iterator[str]:
    """The address of a native API that shares its service with the test. In the end nobody waits there."""
    with answering(NativeClient(service, policy=policy).app) as address:
        try:
            yield address
        finally:
            watch = service._watch
            watch._hub._ending.set()
            # A thread that still writes a stream would open the database again.
            for _ in range(watch._waiters):
                assert watch._free.acquire(timeout=30)
            service.close()


@pytest.fixture
def application(prepare: Prepare) -> Iterator[WsgiApplication]:
    """The whole application on a new database, without a network."""
    with built(resolve(Chosen(database=prepare(SQLITE)), {}, serving=True).settings) as application:
        yield application


@pytest.fixture
def url(application: WsgiApplication) -> Iterator[str]:
    """The address of a new service."""
    with answering(application) as address:
        yield address


@pytest.fixture
def moorage(url: str) -> Iterator[Moorage]:
    """A client of a new service."""
    with Moorage(url) as client:
        yield client
