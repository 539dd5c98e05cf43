"""``moorage import``: the account of another service, over its HTTP API."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
import rich.progress

from moorage.cli.client.address import DEFAULT_TOKEN, TOKEN_VARIABLE, service_url
from moorage.cli.client.connection import OptionNames, ServiceConnection
from moorage.cli.copying import Copied, Source, copy
from moorage.cli.database import database_of, database_options
from moorage.cli.load import progress_bar
from moorage.cli.shared import output
from moorage.cli.shared.console import stderr, stdout
from moorage.cli.shared.exits import REFUSED
from moorage.cli.shared.output import format_options
from moorage.wiring.parts import opened_service

OPTIONS: Final = OptionNames("--from", f"--token or {TOKEN_VARIABLE}")
"""The options of this command that name the other service."""

SHOWN_DIFFERENCES: Final = 20

NOT_SHOWN: Final = (
    "the dates of providers, inventories and allocations: all are of today",
    "consumers that hold nothing, and projects and users that no consumer belongs to",
    "the order in which custom traits and classes were created: lists may have another order",
)
"""What the API does not show, so that the import cannot copy it."""


class Bar:
    """Shows the stages as bars on terminals, and as lines elsewhere."""

    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars
        self._task: rich.progress.TaskID | None = None

    def begin(self, stage: str, total: int) -> None:
        """See ``copying.Progress``."""
        if self._bars.disable:
            stderr().print(f"{stage}: {total} to do", markup=False)
        self._task = self._bars.add_task(stage, total=total)

    def advance(self, steps: int) -> None:
        """See ``copying.Progress``."""
        assert self._task is not None
        self._bars.advance(self._task, steps)


@click.command(name="import", short_help="Copy a running Placement service into an empty database.")
@click.option("--from", "url", required=True, metavar="URL", help="The service to copy from.")
@click.option(
    "--token",
    envvar=TOKEN_VARIABLE,
    default=DEFAULT_TOKEN,
    show_default=True,
    show_envvar=True,
    help="A token of that service that may read everything.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="Concurrent requests to the service.",
)
@format_options
@database_options
def import_account(
    url: str,
    token: str,
    connections: int,
    config_file: Path | None,
    database: str | None,
    data_dir: Path | None,
) -> None:
    """Copy all that a running service shows over the Placement API into an empty database.

    Providers with trees, inventories, traits and aggregates, consumers with allocations, projects, users
    and types are copied with all generations, so that clients notice no change. Stop the services that
    write first. An interrupted import continues when it is run again. At the end it reads everything from
    both sides again and compares; exit status 1 if there is a difference.
    """
    url = service_url(url, "--from")
    resolved = database_of(config_file, database, data_dir)
    migrate = resolved.embedded or resolved.settings.sync_on_startup
    with (
        opened_service(resolved.settings, migrate=migrate) as target,
        Source(lambda: ServiceConnection(url, token, OPTIONS), connections) as source,
        progress_bar() as bars,
    ):
        try:
            copied = copy(source, target, Bar(bars))
        except BaseException:
            stderr().print("Not finished. The same command continues where it stopped.", markup=False)
            raise
        with_types = source.has_consumer_types()
    output.show(
        {**asdict(copied), "from": url, "differences": list(copied.differences)},
        lambda: show(copied, url, with_types=with_types),
    )
    if copied.differences:
        sys.exit(REFUSED)


def show(copied: Copied, url: str, *, with_types: bool) -> None:
    """Print what was copied, what differs, and what could not be copied."""
    console = stdout()
    already = f" ({copied.there_already} providers existed already)" if copied.there_already else ""
    console.print(
        f"Copied {copied.providers} providers and {copied.consumers} consumers from {url}{already}.",
        markup=False,
    )
    for line in copied.differences[:SHOWN_DIFFERENCES]:
        console.print(f"DIFFERENCE: {line}", markup=False)
    more = len(copied.differences) - SHOWN_DIFFERENCES
    if more > 0:
        console.print(f"... and {more} more", markup=False)
    verdict = f"{len(copied.differences)} differences" if copied.differences else "no difference"
    console.print(f"Compared {copied.compared} providers and consumers: {verdict}.", markup=False)
    console.print("The API does not show, and so these were not copied:", markup=False)
    lines = NOT_SHOWN if with_types else (*NOT_SHOWN, "types of consumers (before 1.38)")
    for line in lines:
        console.print(f"  - {line}", markup=False)
