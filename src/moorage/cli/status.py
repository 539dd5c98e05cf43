"""``moorage status``: totals of a service, and the state of its workers."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import requests

from moorage.cli.client import totals
from moorage.cli.client.address import service_options
from moorage.cli.client.call import tell
from moorage.cli.client.connection import EITHER_OPTIONS, ServiceConnection
from moorage.cli.database import database_of, database_options, service_wanted
from moorage.cli.shared import output
from moorage.cli.shared.exits import REFUSED
from moorage.cli.shared.output import format_options
from moorage.cli.shared.show import pairs, table, table_bar
from moorage.model.errors import ConfigurationError, MoorageError
from moorage.model.journal import RecentChanges
from moorage.model.valueclass import valueclass
from moorage.model.values import ClassTotal
from moorage.store.changes.journal import newest_kinds
from moorage.store.nouns import providers
from moorage.store.store import Store
from moorage.wiring.parts import opened_store
from moorage.wiring.settings import without_password

FETCH_SECONDS: Final = 10.0
"""Longest wait for a service's metrics."""

MOST_ASKED: Final = 500
"""Most providers whose inventories are requested without --all: each costs two requests."""

MOST_CHANGES: Final = 1_000
"""Newest writes that are counted by kind."""

MINUTE: Final = 60
MEBIBYTE: Final = 1 << 20

REVISION: Final = "moorage_index_revision"
PROVIDERS: Final = "moorage_index_providers"
MEMORY: Final = "moorage_process_resident_bytes"


@valueclass(frozen=True, slots=True)
class AccountTotals:
    """Totals of a service or a database; None for values that it does not report."""

    service: str | None
    database: str | None
    schema: str | None
    revision: int | None
    providers: int
    classes: list[ClassTotal] | None
    changes: RecentChanges | None


@valueclass(frozen=True, slots=True)
class Worker:
    """One worker process. ``behind`` counts writes that its index has not taken over yet."""

    pid: str
    providers: int
    revision: int
    behind: int
    resident_bytes: int | None


@click.command(short_help="Show totals of a service or a database, and its workers.")
@click.option(
    "--metrics",
    metavar="URL",
    help="Address of /metrics. Default: that of metrics_listen in [moorage].",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help=f"Over HTTP: show resource classes even of more than {MOST_ASKED} providers.",
)
@service_options
@format_options
@database_options
def status(
    metrics: str | None,
    everything: bool,
    config_file: Path | None,
    database: str | None,
    data_dir: Path | None,
) -> None:
    """Show the number of providers, the use of each resource class, the rate of changes by kind, and the
    state of the workers.

    --url or MOORAGE_URL names a service. --database, --data-dir, --config-file or --config-dir name a
    database, which a service may use at the same time. The schema is shown for a database only.
    Workers, their memory and the lag of their indexes come from the address for metrics. Nothing is
    changed. Exit status 1 if a service that has such an address does not answer there.
    """
    wanted = service_wanted(config_file, database, data_dir)
    if wanted is not None:
        tell(wanted)
        with ServiceConnection(wanted.url, wanted.token, EITHER_OPTIONS) as service:
            account = asked(service, everything=everything)
        url = metrics
        unknown = "--metrics URL names the address of /metrics"
    else:
        settings = database_of(config_file, database, data_dir).settings
        with opened_store(settings, looks_only=True) as store:
            store.patiently(store.check_schema)
            account = read(store, without_password(settings.store.url))
        url = metrics or address(settings.telemetry.listen)
        unknown = "set metrics_listen in [moorage]"
    found = None
    if url is not None:
        try:
            found = workers(url, account.revision or 0)
        except NotFetchedError as error:
            unknown = str(error)
    told = {key: value for key, value in asdict(account).items() if key != "service" or value is not None}
    told["workers"] = None if found is None else [asdict(each) for each in found]
    output.show(told, lambda: show(account, found, unknown))
    if url is not None and found is None:
        sys.exit(REFUSED)


def asked(service: ServiceConnection, *, everything: bool) -> AccountTotals:
    """Totals of a service. Raises ServiceError, RefusedError."""
    uuids = totals.providers(service)
    few = everything or len(uuids) <= MOST_ASKED
    return AccountTotals(
        service=service.url,
        database=None,
        schema=None,
        revision=totals.revision(service),
        providers=len(uuids),
        classes=totals.class_totals(service, uuids) if few else None,
        changes=totals.changes(service, MOST_CHANGES),
    )


def read(store: Store, where: str) -> AccountTotals:
    """Totals of the database. Raises UnavailableError."""
    return AccountTotals(
        service=None,
        database=where,
        schema=store.schema_version() or "none",
        revision=store.revision(),
        providers=store.read(providers.provider_count),
        classes=store.totals(),
        changes=RecentChanges.of(store.read(lambda connection: newest_kinds(connection, MOST_CHANGES))),
    )


def address(listen: tuple[str, int] | None) -> str | None:
    """URL of the metrics of a service with this configuration."""
    if listen is None:
        return None
    host = "127.0.0.1" if listen[0] in ("0.0.0.0", "::") else listen[0]  # noqa: S104 - not to bind to it
    return f"http://{f'[{host}]' if ':' in host else host}:{listen[1]}/metrics"


def workers(url: str, revision: int) -> list[Worker]:
    """Workers of the service at ``url``. Raises ConfigurationError, NotFetchedError."""
    from prometheus_client.parser import text_string_to_metric_families

    figures: dict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(fetched(url)):
        for sample in family.samples:
            # A service of a single process does not label its metrics by worker.
            figures[sample.name][sample.labels.get("pid", "")] = sample.value
    memory = figures[MEMORY]
    return [
        Worker(
            pid=pid or next(iter(memory), "-"),
            providers=int(figures[PROVIDERS].get(pid, 0)),
            revision=int(at),
            behind=max(0, revision - int(at)),
            resident_bytes=int(memory.get(pid or next(iter(memory), ""), 0)) or None,
        )
        for pid, at in sorted(figures[REVISION].items())
    ]


@dataclass(eq=False)
class NotFetchedError(MoorageError):
    """The service does not answer with its metrics."""

    url: str
    reason: str
    template = "the service does not answer at {url}: {reason}"


def fetched(url: str) -> str:
    """The text at ``url``. Raises ConfigurationError for an invalid address, NotFetchedError."""
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--metrics: {url} is not an address like http://HOST:PORT/metrics.")
    try:
        answer = requests.get(url, timeout=FETCH_SECONDS)
        answer.raise_for_status()
    except requests.HTTPError as error:
        raise NotFetchedError(url, f"status {error.response.status_code}") from error
    except requests.Timeout as error:
        raise NotFetchedError(url, f"it took more than {FETCH_SECONDS:.0f} seconds") from error
    except requests.RequestException as error:
        raise NotFetchedError(url, "it cannot be reached") from error
    return answer.text


def _draw_changes(changes: RecentChanges) -> None:
    count, minutes = sum(changes.kinds.values()), max(1.0, changes.seconds) / MINUTE
    rows = [(kind, number, f"{number / minutes:.1f}") for kind, number in changes.kinds.items()]
    table((f"The last {count} changes", "Count", "Per minute"), rows, ("Count", "Per minute"))


def show(account: AccountTotals, found: Sequence[Worker] | None, unknown: str) -> None:
    """Print the totals and the workers; ``unknown`` says why the workers are not known."""
    told = {
        "Service": account.service,
        "Database": account.database,
        "Schema": account.schema,
        "Revision": account.revision,
        "Providers": account.providers,
        "Workers": f"unknown: {unknown}" if found is None else len(found),
    }
    pairs({name: value for name, value in told.items() if value is not None})
    click.echo()
    if account.classes is None:
        click.echo(f"Resource classes of more than {MOST_ASKED} providers: --all requests them one by one.")
    else:
        rows = [
            (total.name, total.providers, table_bar(total.used, total.capacity), total.used, total.capacity)
            for total in account.classes
        ]
        numbers = ("Providers", "Used", "Capacity")
        table(("Resource class", "Providers", "Use", "Used", "Capacity"), sorted(rows), numbers)
    if account.changes is not None and account.changes.kinds:
        click.echo()
        _draw_changes(account.changes)
    if found:
        click.echo()
        table(
            ("Worker", "Providers", "Revision", "Behind", "MiB"),
            [
                (
                    worker.pid,
                    worker.providers,
                    worker.revision,
                    worker.behind,
                    "-" if worker.resident_bytes is None else worker.resident_bytes // MEBIBYTE,
                )
                for worker in found
            ],
            ("Providers", "Revision", "Behind", "MiB"),
        )
