"""How commands report a change: old and new values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from moorage.cli.client.call import CommandRun
from moorage.cli.client.connection import retried
from moorage.cli.shared.differences import differences
from moorage.cli.shared.output import TABLE, chosen_format

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def dry_run_option(command: FunctionT) -> FunctionT:
    """An option for all commands that change something."""
    return click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")(
        command
    )


def tell(
    call: CommandRun,
    subject: str,
    before: Any,
    after: Any,
    *,
    dry_run: bool,
    verbs: tuple[str, str] = ("Changed", "Would change"),
    warnings: Sequence[str] = (),
) -> None:
    """Report a change, done or planned: ``before`` and ``after`` are the old and new parts of the subject."""
    data = {"name": subject, "before": before, "after": after, "dry_run": dry_run, "warnings": list(warnings)}
    if chosen_format() == TABLE:
        for warning in warnings:
            click.echo(f"Warning: {warning}", err=True)
    call.show(data, lambda: _draw(subject, before, after, verbs[dry_run]))


def _draw(subject: str, before: Any, after: Any, verb: str) -> None:
    lines = list(differences(before or {}, after or {}))
    if before == after:
        click.echo(f"{subject} is already so: nothing to change.")
        return
    click.echo(f"{verb} {subject}{':' if lines else '.'}")
    for line in lines:
        click.echo(f"  {line}")


def change_members(
    call: CommandRun,
    provider: str,
    path: str,
    key: str,
    change: Callable[[set[str]], Iterable[str]],
    *,
    dry_run: bool,
) -> None:
    """Change the traits or the aggregates of a provider; nothing is written if they are already so.

    ``path`` and ``key`` say where the API has the set.
    """

    def attempt() -> tuple[list[str], list[str]]:
        present = call.service.get(path)
        before, after = sorted(present[key]), sorted(change(set(present[key])))
        if before != after and not dry_run:
            generation = present["resource_provider_generation"]
            call.service.put(path, {"resource_provider_generation": generation, key: after})
        return before, after

    before, after = retried(attempt)
    tell(call, provider, {key: before}, {key: after}, dry_run=dry_run)
