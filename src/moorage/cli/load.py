"""``moorage load``: provider trees from a file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from moorage.cli.common import chosen, database_options, stderr, stdout
from moorage.cli.loading import Advance, Outcome, read_document, read_present
from moorage.cli.loading import load as load_document
from moorage.cli.plan import Step, plan
from moorage.cli.wiring import opened_service, resolve

EXIT_REFUSED: Final = 1

_DONE_WORDS: Final = {
    "create": "created",
    "update": "updated",
    "claim": "claimed",
    "release": "released",
    "delete": "deleted",
}


@click.command(short_help="Load provider trees from a YAML or JSON file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Delete the providers that FILE does not name.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@database_options
def load(
    file: Path,
    prune: bool,
    dry_run: bool,
    config_file: Path | None,
    database: str | None,
    data_dir: Path,
) -> None:
    """Load provider trees with inventories, traits and aggregates from FILE (YAML or JSON).

    Only differences are written: a second run changes nothing. Each provider is written as a whole
    or not at all; one that is refused is named, the others go on, and the exit status is 1. A FILE
    with mistakes is not loaded at all; every mistake is shown with its line.
    """
    document = read_document(file)
    resolved = resolve(chosen(config_file, database, data_dir))
    migrate = resolved.embedded or resolved.settings.sync_on_startup
    with opened_service(resolved.settings, migrate=migrate) as service:
        if dry_run:
            steps = plan(document, read_present(service, document), prune=prune)
            show_plan(steps)
            return
        with progress_bar() as progress:
            task = progress.add_task(str(file), total=None)

            def begin(steps: Sequence[Step]) -> Advance:
                progress.reset(task, total=len(steps))
                return lambda: progress.advance(task)

            outcome = load_document(service, document, prune=prune, begin=begin)
    show_outcome(outcome, str(file))
    if outcome.refused:
        sys.exit(EXIT_REFUSED)


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
    """One line for each step."""
    console = stdout()
    for step in steps:
        console.print(str(step), markup=False)
    console.print(summary(steps) if steps else "Nothing to do.", markup=False)


def show_outcome(outcome: Outcome, path: str) -> None:
    """Refusals on stderr, a summary on stdout."""
    problems = stderr()
    for refusal in outcome.refused:
        place = f"{path}:{refusal.step.line}" if refusal.step.line is not None else path
        problems.print(
            f"{place}: {refusal.step.action} {refusal.step.label} refused: {refusal.reason}", markup=False
        )
    line = summary(outcome.done) if outcome.done else "Nothing to do: all is as the file says."
    if outcome.refused:
        line = (
            f"{summary(outcome.done) if outcome.done else 'nothing written'}; {len(outcome.refused)} refused"
        )
    stdout().print(line, markup=False)


def summary(steps: Sequence[Step]) -> str:
    """How many steps of each kind, for example ``created 3, deleted 1``."""
    counts = Counter(step.action for step in steps)
    return ", ".join(f"{word} {counts[action]}" for action, word in _DONE_WORDS.items() if counts[action])
