"""``moorage serve``: the service over HTTP."""

from __future__ import annotations

import os
import threading
from importlib import resources
from pathlib import Path
from typing import Final

import click

from moorage.auth.noauth import ANY
from moorage.cli.database import chosen, database_options, tell_database
from moorage.cli.loading import load, read_document
from moorage.cli.shared.console import program, stderr, stdout
from moorage.cli.tls_options import tls_options
from moorage.cli.welcome import Served, example, guide
from moorage.model.errors import ConfigurationError
from moorage.serve.addresses import is_loopback, listening_address, reachable, url_of, wait_until_ready
from moorage.serve.server import run_workers
from moorage.serve.signals import Signals
from moorage.serve.tls import Tls, tls_from
from moorage.service.facade import Service
from moorage.wiring import access
from moorage.wiring.options import MOORAGE_GROUP, NOAUTH, value_of, variable_name
from moorage.wiring.parts import opened_service, serve_metrics_of_workers
from moorage.wiring.settings import Resolved, resolve, without_password

DEFAULT_PORT: Final = 8778
"""Port of the Placement API in devstack and in the API reference."""

STOP_SECONDS: Final = 30
"""How long a worker may finish its requests unless told otherwise: as long as a write may be retried."""

READY_SECONDS: Final = 600.0
"""How long the guide waits for the workers: an index of 100,000 providers takes seconds to build."""

EXAMPLE_PROVIDERS: Final = 10_000
"""Providers up to which an example is searched for at start. It needs an index of its own, which
takes a moment longer for each of them, and who has more knows what to ask."""


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
@click.option("--insecure", is_flag=True, help="Let noauth2, which trusts every client, off loopback.")
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
    data_dir: Path | None,
) -> None:
    """Serve the Placement API over HTTP.

    Without any configuration it serves on loopback, keeps its data in a SQLite file, and trusts
    every client (noauth2). A database that was named is only checked, not changed, unless
    sync_on_startup or --demo says so: create its schema with moorage db sync.
    """
    signals = click.get_current_context().with_resource(Signals())
    tls = tls_from(tls_certificate, tls_key, tls_client_ca, tls_minimum)
    resolved = resolve(chosen(config_file, database, data_dir), serving=True, sample=demo)
    watchers = resolved.settings.watchers.listen
    for each in (host, *(watchers or ())[:1]):
        require_guarded(str(each), access.strategy(resolved.settings.conf), insecure=insecure)
    address, port = listening_address(host, port)
    tell_database(resolved)
    if resolved.passed_over:
        stderr().print(
            f"The sample cloud does not use {resolved.passed_over}, which other commands read here: "
            "--config-file names it.",
            markup=False,
        )
    text = start_up(resolved, served_as(resolved, url_of(address, port, tls), tls), demo=demo)
    os.environ.update(resolved.environment)
    if insecure:
        os.environ.setdefault(variable_name(MOORAGE_GROUP, "noauth_hosts"), ANY)
    os.environ.update(serve_metrics_of_workers(resolved.settings))
    announce = threading.Thread(target=announce_when_ready, args=(address, port, text, tls), daemon=True)
    run_workers(resolved.settings, address, port, workers, stop_seconds, tls, signals, announce.start)


def require_guarded(host: str, strategy: str, *, insecure: bool) -> None:
    """Raises ConfigurationError if noauth2 would be reachable from elsewhere."""
    if strategy != NOAUTH or insecure or is_loopback(host):
        return
    raise ConfigurationError(
        f"noauth2 trusts every client, and {host} may be reached from other machines. Serve on "
        "127.0.0.1; or set auth_strategy in [api] to keystone or token, so that clients have to show "
        "who they are; or say --insecure if this is what you want."
    )


def served_as(resolved: Resolved, url: str, tls: Tls | None = None) -> Served:
    """What the commands that are shown have to know of the service."""
    watchers = resolved.settings.watchers.listen
    return Served(
        url,
        access.strategy(resolved.settings.conf),
        program(),
        database_words(resolved),
        str(tls.certificate.absolute()) if tls else None,
        asks_for_certificate=tls is not None and tls.client_ca is not None,
        has_console=value_of(resolved.settings.conf, MOORAGE_GROUP, "console"),
        changes_url=url_of(*watchers, tls) if watchers is not None else None,
    )


def database_words(resolved: Resolved) -> list[str] | None:
    """Options by which another command opens the same database; None if they would show a password."""
    url = resolved.settings.store.url
    words = resolved.files.options()
    if without_password(url) == url:
        return [*words, "--database", absolute(url)]
    return words if resolved.named_by_file else None


def absolute(url: str) -> str:
    """The URL of a database for any folder: one of SQLite may begin in this one."""
    scheme, separator, path = url.partition(":///")
    return f"{scheme}{separator}{Path(path).absolute()}" if scheme == "sqlite" and path else url


def start_up(resolved: Resolved, served: Served, *, demo: bool) -> str:
    """Bring the database up to date, load the sample cloud if asked; the guide to show."""
    migrate = demo or resolved.embedded or resolved.settings.sync_on_startup
    with opened_service(resolved.settings, migrate=migrate) as service:
        if demo:
            load_demo(service)
        count = service.provider_count()
        found = example(service.candidates) if count <= EXAMPLE_PROVIDERS else None
    return guide(served, found, empty=count == 0)


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
    if wait_until_ready(reachable(address), port, READY_SECONDS, tls):
        stdout().print(f"\n{text}\n\nStop it with Ctrl-C.", markup=False)
    else:
        stderr().print(f"No worker has answered within {READY_SECONDS:.0f} seconds.", markup=False)
