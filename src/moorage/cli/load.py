"""``moorage load``: provider trees from a file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from moorage.cli.client.address import service_options
from moorage.cli.client.call import tell
from moorage.cli.client.remote import RemoteAccount
from moorage.cli.database import database_of, database_options, service_wanted
from moorage.cli.loading import (
    STANDARD_INPUT,
    Account,
    Advance,
    LoadOutcome,
    read_document,
    read_present,
    read_standard_input,
)
from moorage.cli.loading import load as load_document
from moorage.cli.plan import Step, plan
from moorage.cli.shared.console import stderr
from moorage.cli.shared.exits import REFUSED
from moorage.cli.shared.output import format_options, show

_DONE_WORDS: Final = {
    "create": "created",
    "update": "updated",
    "claim": "claimed",
    "release": "released",
    "delete": "deleted",
}


@click.command(short_help="Load provider trees from a YAML or JSON file.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--prune", is_flag=True, help="Delete the providers that FILE does not name.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@service_options
@format_options
@database_options
def load(
    file: Path,
    prune: bool,
    dry_run: bool,
    config_file: Path | None,
    database: str | None,
    data_dir: Path | None,
) -> None:
    """Load provider trees with inventories, traits and aggregates from FILE (YAML or JSON; - is stdin).

    --url or MOORAGE_URL names a service as the target. --database, --data-dir, --config-file or --config-dir
    name a database, which a service may use at the same time.

    Only differences are written: a second run changes nothing. Each provider is written as a whole or not
    at all (over HTTP part by part). If a provider is refused, it is named, the others are written, and the
    exit status is 1. A FILE with errors is not loaded at all; each error is shown with its line.
    """
    name = STANDARD_INPUT if str(file) == "-" else str(file)
    document = read_standard_input(sys.stdin.buffer) if str(file) == "-" else read_document(file)
    with opened_account(config_file, database, data_dir, looks_only=dry_run) as account:
        if dry_run:
            steps = plan(document, read_present(account, document), prune=prune)
            show_plan(steps)
            return
        with progress_bar() as progress:
            task = progress.add_task(name, total=None)

            def begin(steps: Sequence[Step]) -> Advance:
                progress.reset(task, total=len(steps))
                return lambda: progress.advance(task)

            outcome = load_document(account, document, prune=prune, begin=begin)
    show_outcome(outcome, name)
    if outcome.refused:
        sys.exit(REFUSED)


@contextmanager
def opened_account(
    config_file: Path | None, database: str | None, data_dir: Path | None, *, looks_only: bool
) -> Iterator[Account]:
    """The service or the database that the command line or the environment names."""
    address = service_wanted(config_file, database, data_dir)
    if address is not None:
        tell(address)
        with RemoteAccount(address) as remote:
            yield remote
        return
    # Imported only when needed: a service over HTTP needs no database.
    from moorage.wiring.parts import opened_service

    resolved = database_of(config_file, database, data_dir)
    migrate = resolved.embedded or resolved.settings.sync_on_startup
    with opened_service(resolved.settings, migrate=migrate, looks_only=looks_only) as service:
        yield service


def progress_bar() -> Progress:
    """A bar on stderr, shown on terminals only."""
    console = stderr()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def show_plan(steps: Sequence[Step]) -> None:
    """Each step, with the old and new values of what it changes."""
    data = {"dry_run": True, "steps": [_data(step) for step in steps], "refused": []}

    def draw() -> None:
        for step in steps:
            click.echo(str(step))
            for line in step.changes:
                click.echo(f"  {line}")
        click.echo(f"would be: {summary(steps)}" if steps else "Nothing to do.")

    show(data, draw)


def show_outcome(outcome: LoadOutcome, path: str) -> None:
    """Refusals on stderr, a summary on stdout."""
    refused = [{**_data(each.step), "reason": each.reason} for each in outcome.refused]
    data = {"dry_run": False, "steps": [_data(step) for step in outcome.done], "refused": refused}

    def draw() -> None:
        for refusal in outcome.refused:
            place = f"{path}:{refusal.step.line}" if refusal.step.line is not None else path
            told = f"{refusal.step.action} {refusal.step.label} refused: {refusal.reason}"
            click.echo(f"{place}: {told}", err=True)
        line = summary(outcome.done) if outcome.done else "Nothing to do: everything is as in the file."
        if outcome.refused:
            done = summary(outcome.done) if outcome.done else "nothing written"
            line = f"{done}; {len(outcome.refused)} refused"
        click.echo(line)

    show(data, draw)


def _data(step: Step) -> dict[str, object]:
    """A step as data."""
    return {
        "action": step.action,
        "name": step.label,
        "uuid": step.uuid,
        "line": step.line,
        "changes": list(step.changes),
    }


def summary(steps: Sequence[Step]) -> str:
    """How many steps of each kind, for example ``created 3, deleted 1``."""
    counts = Counter(step.action for step in steps)
    return ", ".join(f"{word} {counts[action]}" for action, word in _DONE_WORDS.items() if counts[action])
