"""The process of the event loop: the server on the shared socket, and how it ends."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final

import uvicorn

from moorage.serve.changes.application import ChangesApplication
from moorage.serve.changes.connection import Protocol
from moorage.serve.changes.feed import Feed
from moorage.serve.tls import Tls
from moorage.serve.worker import BACKLOG, end_with_parent
from moorage.service.tail import Tail
from moorage.wiring.changes import build_changes
from moorage.wiring.parts import set_up_logs
from moorage.wiring.settings import Settings, settings_of_process

THREADS: Final = 8
"""Threads that take the heads of requests through the API's application, and read the database."""

MORE_CONNECTIONS: Final = 256
"""Connections beyond those that wait: their requests get an answer, 503 if they want to wait as well."""

MORE_FILES: Final = 256
"""Descriptors beyond those of connections: of the database, of files and of libraries."""


class Server(uvicorn.Server):
    """Looks for changes while it serves, and gives all clients their last words before it ends."""

    def __init__(
        self, config: uvicorn.Config, feed: Feed, application: ChangesApplication, ready: Pipe
    ) -> None:
        super().__init__(config)
        self._feed = feed
        self._application = application
        self._ready = ready
        self._looking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept, look, and say so."""
        await super().startup(sockets)
        self._looking = asyncio.create_task(self._feed.run(self._application.drop_slow))
        with suppress(OSError):
            self._ready.send(True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, and then the server."""
        self._feed.end()
        await super().shutdown(sockets)


def serve_changes(listening: socket.socket, tls: Tls | None, stop_seconds: int, ready: Pipe) -> None:
    """Serve in this process until SIGTERM. ``ready`` gets True once it does."""
    end_with_parent(os.getppid())
    settings = settings_of_process()
    set_up_logs(settings)
    allow_files(settings.watchers.watchers + MORE_CONNECTIONS + MORE_FILES)
    asyncio.run(served(settings, listening, tls, stop_seconds, ready))


async def served(
    settings: Settings, listening: socket.socket, tls: Tls | None, stop_seconds: int, ready: Pipe
) -> None:
    """Serve until SIGTERM."""
    parts, watchers = build_changes(settings), settings.watchers
    try:
        with ThreadPoolExecutor(THREADS, "changes") as threads:
            feed = Feed(parts.watch, Tail(parts.store, 2 * watchers.behind_bytes), threads)
            application = ChangesApplication(
                parts.heads, parts.checks, feed, parts.watch, threads, watchers.behind_bytes, parts.observer
            )
            idle, most = settings.server.idle_seconds, watchers.watchers + MORE_CONNECTIONS
            config = configured(application, tls, idle, stop_seconds, most)
            await Server(config, feed, application, ready).serve([listening])
    finally:
        parts.store.close()


def configured(
    application: Any, tls: Tls | None, idle_seconds: int, stop_seconds: int, connections: int
) -> uvicorn.Config:
    """The settings of the server."""
    return uvicorn.Config(
        application,
        http=Protocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=connections,
        timeout_keep_alive=idle_seconds,
        timeout_graceful_shutdown=stop_seconds,
        ssl_context_factory=None if tls is None else lambda *_: context_of(tls),
    )


def context_of(tls: Tls) -> ssl.SSLContext:
    """TLS as on the API's own port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    context.minimum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[tls.minimum]
    if tls.client_ca is not None:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def allow_files(wanted: int) -> None:
    """Raise this process's limit of open files as far as it may be raised, if it is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
