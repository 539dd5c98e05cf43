"""``moorage status``: what a service holds, and how its workers fare, in one look."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import requests

from moorage.cli.client.show import bar, pairs, table
from moorage.cli.common import chosen, database_options, stdout, without_password
from moorage.cli.wiring import opened_store, resolve
from moorage.model.errors import ConfigurationError, MoorageError
from moorage.model.valueclass import valueclass
from moorage.model.values import ClassTotal
from moorage.store import queries
from moorage.store.store import Store

FETCH_SECONDS: Final = 10.0
"""How long a service may take to tell its figures."""

EXIT_SILENT: Final = 1
"""The service should answer and does not."""

MEBIBYTE: Final = 1 << 20

REVISION: Final = "moorage_index_revision"
PROVIDERS: Final = "moorage_index_providers"
MEMORY: Final = "moorage_process_resident_bytes"


@valueclass(frozen=True, slots=True)
class Account:
    """What the database holds."""

    database: str
    schema: str
    revision: int
    providers: int
    classes: list[ClassTotal]


@valueclass(frozen=True, slots=True)
class Worker:
    """One worker process. ``behind`` counts writes that its index has not taken over yet."""

    pid: str
    providers: int
    revision: int
    behind: int
    resident_bytes: int | None


@click.command(short_help="Show what the service holds, and how its workers fare.")
@click.option(
    "--metrics",
    metavar="URL",
    help="Where the service answers /metrics. Default: the address of metrics_listen in [moorage].",
)
@click.option("--json", "as_json", is_flag=True, help="The same, as JSON.")
@database_options
def status(
    metrics: str | None,
    as_json: bool,
    config_file: Path | None,
    database: str | None,
    data_dir: Path,
) -> None:
    """Show what the service holds, and how its workers fare.

    Providers, resource classes with what of them is used, the revision and the schema are read from the
    database, whether a service runs or not. Workers, their memory and how far their indexes are behind
    are asked of the running service, if it has an address for metrics. Nothing is changed. Exit status 1
    if a service that has one does not answer.
    """
    settings = resolve(chosen(config_file, database, data_dir)).settings
    with opened_store(settings) as store:
        store.check_schema()
        account = read(store, without_password(settings.store.url))
    url = metrics or address(settings.watch.listen)
    found, unknown = None, "set metrics_listen in [moorage]"
    if url is not None:
        try:
            found = workers(url, account.revision)
        except NotFetchedError as error:
            unknown = str(error)
    if as_json:
        told = asdict(account) | {"workers": None if found is None else [asdict(each) for each in found]}
        stdout().print(json.dumps(told, indent=2), markup=False)
    else:
        show(account, found, unknown)
    if url is not None and found is None:
        sys.exit(EXIT_SILENT)


def read(store: Store, where: str) -> Account:
    """What the database holds. Raises UnavailableError."""
    return Account(
        database=where,
        schema=store.schema_version() or "none",
        revision=store.revision(),
        providers=store.read(queries.provider_count),
        classes=store.totals(),
    )


def address(listen: tuple[str, int] | None) -> str | None:
    """URL of the metrics of a service that is configured so."""
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
            # A service of a single process has no need to tell its figures apart.
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
    """The service does not tell its figures."""

    url: str
    reason: str
    template = "the service does not answer at {url}: {reason}"


def fetched(url: str) -> str:
    """The text at ``url``. Raises ConfigurationError if it is no address, NotFetchedError."""
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--metrics: {url} is no address: http://HOST:PORT/metrics.")
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


def show(account: Account, found: Sequence[Worker] | None, unknown: str) -> None:
    """Print it; ``unknown``: why there is nothing to say of workers."""
    pairs(
        {
            "Database": account.database,
            "Schema": account.schema,
            "Revision": account.revision,
            "Providers": account.providers,
            "Workers": f"unknown: {unknown}" if found is None else len(found),
        }
    )
    click.echo()
    rows = [
        (total.name, total.providers, bar(total.used, total.capacity), total.used, total.capacity)
        for total in account.classes
    ]
    numbers = ("Providers", "Used", "Capacity")
    table(("Resource class", "Providers", "", "Used", "Capacity"), rows, numbers)
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
