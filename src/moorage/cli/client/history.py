"""``moorage history``: what changed of one provider, consumer or project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from moorage.cli.client import lookup, recorded
from moorage.cli.client.call import CommandRun, client_command, complete_provider, provider_argument
from moorage.cli.shared.groups import Commands

USUAL: Final = 20
"""Changes of a page, if the command line does not say."""

_LACK: Final = "Nothing is recorded of it."


@click.group(cls=Commands, short_help="What changed of a provider, a consumer or a project.")
def history() -> None:
    """Histories from the service's journal, the newest change first.

    The service must have Moorage's native API and keep a journal ([moorage] journal).
    """


def _page_options(command: Callable[..., None]) -> Callable[..., None]:
    before = click.option("--before", type=click.IntRange(min=1), help="Only changes before this revision.")
    limit = click.option(
        "--limit",
        type=click.IntRange(1, 5_000),
        default=USUAL,
        show_default=True,
        help="Most changes to show.",
    )
    return before(limit(command))


@history.command(short_help="Show what changed of a provider.")
@provider_argument()
@click.option(
    "--tree",
    metavar="PROVIDER",
    shell_complete=complete_provider,
    help="What changed in the tree of this provider.  [default: the present tree]",
)
@_page_options
@client_command
def provider(call: CommandRun, provider: str, tree: str | None, before: int | None, limit: int) -> None:
    """Show what changed of PROVIDER: its inventories, traits, aggregates, place and use. Exit status 3 if the
    journal knows nothing of it.

    A provider that is gone is named by its UUID, and --tree names the tree that it was in.
    """
    uuid = recorded.uuid_of(call.service, provider)
    query = {**_query(before, limit), "tree": recorded.root_of(call.service, tree) if tree else None}
    _show(call, recorded.history(call.service, "providers", uuid, query))


@history.command(short_help="Show what changed of a consumer.")
@click.argument("consumer", metavar="CONSUMER")
@_page_options
@client_command
def consumer(call: CommandRun, consumer: str, before: int | None, limit: int) -> None:
    """Show what CONSUMER came to hold and gave back, and by which requests. Exit status 3 if the journal
    knows nothing of it."""
    uuid = lookup.consumer_uuid(consumer)
    _show(call, recorded.history(call.service, "claims", uuid, _query(before, limit)))


@history.command(short_help="Show what changed of a project's consumers.")
@click.argument("project", metavar="PROJECT")
@_page_options
@client_command
def project(call: CommandRun, project: str, before: int | None, limit: int) -> None:
    """Show what consumers of PROJECT came to hold and gave back. The command goes back through the journal
    until it has enough, so a project that does little costs requests. Exit status 3 if there is nothing."""
    _show(call, recorded.newest_of_project(call.service, project, before, limit))


def _query(before: int | None, limit: int) -> dict[str, str | list[str] | None]:
    return {"before": None if before is None else str(before), "limit": str(limit)}


def _show(call: CommandRun, page: Any) -> None:
    call.show(page, lambda: _draw(call, page))
    if not page["changes"]:
        call.answer_no()


def _draw(call: CommandRun, page: Any) -> None:
    recorded.print_records(call.service, page["changes"])
    if not page["changes"]:
        click.echo(f"{_LACK} The journal begins with revision {page['begins']}.")
    if page["next_before"] is not None:
        click.echo(f"There are more: --before {page['next_before']} shows the next page.")
