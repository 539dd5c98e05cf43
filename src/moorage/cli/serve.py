"""``moorage serve``: the service over HTTP."""

from __future__ import annotations

import http.client
import ipaddress
import logging
import multiprocessing
import os
import socket
import ssl
import threading
import time
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from moorage.cli import access
from moorage.cli.body_deadline import IS_POSSIBLE, BodyDeadline
from moorage.cli.common import chosen, database_options, stderr, stdout, without_password
from moorage.cli.guide import example, guide
from moorage.cli.limits import ServerSettings
from moorage.cli.loading import load, read_document
from moorage.cli.options import NOAUTH
from moorage.cli.processors import allowed_processors, on_its_processor
from moorage.cli.slow_bodies import BoundedReading
from moorage.cli.tls import Tls, connection_to, tls_from, tls_options
from moorage.cli.watching import forget_worker
from moorage.cli.wiring import (
    Resolved,
    WsgiApplication,
    build_application,
    opened_service,
    resolve,
    set_up_logs,
    settings_of_process,
    watch_workers,
)
from moorage.cli.workers import (
    DIRECTORY_VARIABLE,
    Draining,
    Workers,
    announce_ready,
    drain_on_signal,
    end_with_parent,
)
from moorage.model.errors import ConfigurationError
from moorage.service.facade import Service

LOG: Final = logging.getLogger(__name__)

DEFAULT_PORT: Final = 8778
"""Port of the Placement API in devstack and in the API reference."""

THREADS_PER_WORKER: Final = 64
"""Requests that one worker works on at a time. Most of them wait for the same commit: the more
wait together, the fewer commits are needed."""

READ_AHEAD_BYTES: Final = 8192
"""What the HTTP server may hold of a connection beyond the longest URL and headers; the least it takes."""

BODY_READERS: Final = 48
"""Threads of a worker that may read bodies at a time. Honest ones are there within microseconds;
the rest of the threads is for what has no body, searches above all."""

STOP_SECONDS: Final = 30
"""How long a worker may finish its requests unless told otherwise: as long as a write may be retried."""

READY_POLL_SECONDS: Final = 0.05
READY_SECONDS: Final = 600.0
"""How long the guide waits for the workers: an index of 100,000 providers takes seconds to build."""

EXAMPLE_PROVIDERS: Final = 10_000
"""Providers up to which an example is searched for at start. It needs an index of its own, which
takes a moment longer for each of them, and who has more knows what to ask."""

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to recognise them, not to bind to them.

WORKER_TARGET: Final = "moorage.cli.serve:worker_application"


@click.command(short_help="Serve the Placement API over HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address or name to listen on.")
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Worker processes."
)
@click.option(
    "--stop-seconds",
    default=STOP_SECONDS,
    show_default=True,
    type=click.IntRange(1, 3600),
    help="How long a worker may finish its requests when it is to stop; then it is killed.",
)
@click.option("--demo", is_flag=True, help="Load the sample cloud, if the database has no providers yet.")
@click.option("--insecure", is_flag=True, help="Let noauth2, which believes every client, off loopback.")
@tls_options
@database_options
def serve(
    host: str,
    port: int,
    workers: int,
    stop_seconds: int,
    demo: bool,
    insecure: bool,
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    tls_minimum: str,
    config_file: Path | None,
    database: str | None,
    data_dir: Path,
) -> None:
    """Serve the Placement API over HTTP.

    Without any configuration it serves on loopback, keeps its data in a SQLite file, and believes
    every client (noauth2). A database that was named is only checked, not changed, unless
    sync_on_startup or --demo says so: create its schema with moorage db sync.
    """
    tls = tls_from(tls_certificate, tls_key, tls_client_ca, tls_minimum)
    resolved = resolve(chosen(config_file, database, data_dir), serving=True)
    require_guarded(host, access.strategy(resolved.settings.conf), insecure=insecure)
    address, port = listening_address(host, port)
    text = start_up(resolved, url_of(address, port, tls), demo=demo)
    os.environ.update(resolved.environment)
    os.environ.update(watch_workers(resolved.settings))
    server = resolved.settings.server
    announce = threading.Thread(target=announce_when_ready, args=(address, port, text, tls), daemon=True)
    announce.start()
    # Workers are spawned, not forked: they share neither threads nor connections with this process.
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory(prefix="moorage-workers-") as directory:
        os.environ[DIRECTORY_VARIABLE] = directory
        Workers(
            WORKER_TARGET,
            Path(directory),
            on_gone=forget_worker(resolved.settings.watch, os.environ),
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
            blocking_threads=THREADS_PER_WORKER,
            backpressure=server.max_connections,
            websockets=False,
            workers_kill_timeout=stop_seconds,
            respawn_failed_workers=True,
            log_level=LogLevels.error,
            **(tls.server_options() if tls else {}),
        ).serve()


def worker_application() -> WsgiApplication:
    """The application of one worker process, built before its first request."""
    draining = drain_on_signal()
    end_with_parent(os.getppid())
    settings = settings_of_process()
    set_up_logs(settings)
    application = build_application(settings, prepared=True)
    announce_ready()
    deadline = body_deadline(settings.server)
    return on_its_processor(Draining(BoundedReading(application, BODY_READERS, deadline), draining))


def body_deadline(server: ServerSettings) -> BodyDeadline:
    """A deadline that is watched over in this process, if the configuration and the system have one."""
    if not server.body_seconds:
        return BodyDeadline()
    if not IS_POSSIBLE:
        LOG.warning(
            "[moorage] body_timeout has no effect here: this system does not tell which bodies are late."
        )
        return BodyDeadline()
    deadline = BodyDeadline(server.body_seconds, server.idle_seconds)
    deadline.watch()
    return deadline


def require_guarded(host: str, strategy: str, *, insecure: bool) -> None:
    """Raises ConfigurationError if noauth2 would be reachable from elsewhere."""
    if strategy != NOAUTH or insecure or is_loopback(host):
        return
    raise ConfigurationError(
        f"noauth2 believes every client, and {host} may be reached from other machines. Serve on "
        "127.0.0.1; or set auth_strategy in [api] to keystone or token, so that clients have to show "
        "who they are; or say --insecure if this is what you want."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``: 127.0.0.0/8, ::1 or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_address(host: str, port: int) -> tuple[str, int]:
    """The numeric address and the port to listen on; port 0 becomes a free one.

    Raises ConfigurationError if the name is unknown or the port cannot be had: before anything is done
    to the database, and before the socket is made that all workers accept from.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"The host {host} cannot be found: {error.strerror}.") from error
    # IPv4 first: that is where a client tries 127.0.0.1.
    family, kind, protocol, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            # Two sockets with SO_REUSEADDR may bind to one port; only one of them may listen.
            probe.listen(1)
        except OSError as error:
            raise ConfigurationError(
                f"Cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}. "
                "Choose another one with --port."
            ) from error
        taken = probe.getsockname()
    return str(taken[0]), int(taken[1])


def url_of(address: str, port: int, tls: Tls | None = None) -> str:
    """URL by which this machine reaches the service."""
    return f"{'https' if tls else 'http'}://{_bracketed(_reachable(address))}:{port}"


def start_up(resolved: Resolved, url: str, *, demo: bool) -> str:
    """Bring the database up to date, load the sample cloud if asked; the guide to show."""
    migrate = demo or resolved.embedded or resolved.settings.sync_on_startup
    with opened_service(resolved.settings, migrate=migrate) as service:
        if demo:
            load_demo(service)
        count = service.provider_count()
        found = example(service.candidates) if count <= EXAMPLE_PROVIDERS else None
    text = guide(url, found, empty=count == 0, strategy=access.strategy(resolved.settings.conf))
    return f"Database: {without_password(resolved.settings.store.url)}\n{text}"


def load_demo(service: Service) -> bool:
    """Load the sample cloud unless there are providers already; whether it was loaded.

    Raises ConfigurationError if something of it was refused.
    """
    if service.provider_count():
        return False
    with resources.as_file(resources.files("moorage.cli") / "demo.yaml") as path:
        document = read_document(path)
    outcome = load(service, document)
    if outcome.refused:
        refusal = outcome.refused[0]
        raise ConfigurationError(f"The sample cloud is incomplete: {refusal.step}: {refusal.reason}")
    return True


def announce_when_ready(address: str, port: int, text: str, tls: Tls | None = None) -> None:
    """Show ``text`` as soon as a worker answers; say so if none does."""
    if wait_until_ready(_reachable(address), port, READY_SECONDS, tls):
        stdout().print(f"\n{text}\n\nStop it with Ctrl-C.", markup=False)
    else:
        stderr().print(f"No worker has answered within {READY_SECONDS:.0f} seconds.", markup=False)


def wait_until_ready(address: str, port: int, seconds: float, tls: Tls | None = None) -> bool:
    """Ask for the root document until it is answered; False if it is not in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection = connection_to(address, port, max(0.1, until - time.monotonic()), tls)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except ssl.SSLError:
            if tls is not None and tls.client_ca is not None:
                # Whoever refuses us for want of a certificate is there.
                return True
            time.sleep(READY_POLL_SECONDS)
        except (OSError, http.client.HTTPException):
            time.sleep(READY_POLL_SECONDS)
        else:
            return True
        finally:
            connection.close()
    return False


def _reachable(address: str) -> str:
    if address not in WILDCARDS:
        return address
    return "::1" if ":" in address else "127.0.0.1"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
