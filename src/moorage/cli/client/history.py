"""``moorage history``: what changed of one provider, consumer or project."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any, Final, TypeGuard

import click

from moorage.cli.client import lookup, recorded
from moorage.cli.client.call import CommandRun, client_command, complete_provider, provider_argument
from moorage.cli.client.claim import draw_claim
from moorage.cli.client.provider import inventory_table
from moorage.cli.shared import show
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
    at = click.option(
        "--at",
        metavar="REVISION",
        type=click.IntRange(min=0),
        help="Instead of changes show the state at this revision.",
    )
    before = click.option("--before", type=click.IntRange(min=1), help="Only changes before this revision.")
    limit = click.option(
        "--limit",
        type=click.IntRange(1, 5_000),
        default=USUAL,
        show_default=True,
        help="Most changes to show.",
    )
    return at(before(limit(command)))


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
def provider(
    call: CommandRun, provider: str, tree: str | None, at: int | None, before: int | None, limit: int
) -> None:
    """Show what changed of PROVIDER: its inventories, traits, aggregates, place and use. Exit status 3 if the
    journal knows nothing of it.

    A provider that is gone is named by its UUID, and --tree names the tree that it was in.
    """
    uuid = recorded.uuid_of(call.service, provider)
    root = recorded.root_of(call.service, tree) if tree else None
    if _is_past(at, before):
        found = recorded.state(call.service, "providers", uuid, at, {"tree": root})
        call.show(found, lambda: _draw_provider(call, found))
        return
    query = {**_query(before, limit), "tree": root}
    _show(call, recorded.history(call.service, "providers", uuid, query))


@history.command(short_help="Show what changed of a consumer.")
@click.argument("consumer", metavar="CONSUMER")
@_page_options
@client_command
def consumer(call: CommandRun, consumer: str, at: int | None, before: int | None, limit: int) -> None:
    """Show what CONSUMER came to hold and gave back, and by which requests. Exit status 3 if the journal
    knows nothing of it."""
    uuid = lookup.consumer_uuid(consumer)
    if _is_past(at, before):
        found = recorded.state(call.service, "claims", uuid, at, {})
        named = {**found, "called": lookup.called(consumer, uuid)}
        call.show(found, lambda: draw_claim(call.service, named))
        _no_if_empty(call, found["providers"])
        return
    _show(call, recorded.history(call.service, "claims", uuid, _query(before, limit)))


@history.command(short_help="Show what changed of a project's consumers.")
@click.argument("project", metavar="PROJECT")
@_page_options
@client_command
def project(call: CommandRun, project: str, at: int | None, before: int | None, limit: int) -> None:
    """Show what consumers of PROJECT came to hold and gave back. The command goes back through the journal
    until it has enough, so a project that does little costs requests. Exit status 3 if there is nothing.

    With --at it shows what they held then. Each consumer that has changed since costs a request."""
    if _is_past(at, before):
        found = recorded.project_at(call.service, project, at)
        call.show(found, lambda: _draw_claims(call, found))
        _no_if_empty(call, found["claims"])
        return
    _show(call, recorded.newest_of_project(call.service, project, before, limit))


def _is_past(at: int | None, before: int | None) -> TypeGuard[int]:
    if at is not None and before is not None:
        raise click.UsageError("--before is for changes, and --at for a state.")
    return at is not None


def _no_if_empty(call: CommandRun, found: Sized) -> None:
    if not found:
        call.answer_no()


def _draw_provider(call: CommandRun, found: Any) -> None:
    names = lookup.provider_names(call.service, filter(None, (found["parent"], found["root"])))
    show.pairs(
        {
            "revision": found["revision"],
            "name": found["name"],
            "uuid": found["uuid"],
            "parent": names.get(found["parent"], "none"),
            "root": names[found["root"]],
            "generation": found["generation"],
            "traits": ", ".join(found["traits"]) or "none",
            "aggregates": ", ".join(found["aggregates"]) or "none",
        }
    )
    if found["inventories"]:
        click.echo()
        inventory_table(found["inventories"], found["used"])


def _draw_claims(call: CommandRun, found: Any) -> None:
    if not found["claims"]:
        click.echo(f"Its consumers held nothing at revision {found['revision']}.")
        return
    names = lookup.provider_names(
        call.service, {uuid for each in found["claims"] for uuid in each["providers"]}
    )
    show.table(
        ("Consumer", "Type", "Provider", "Holds"),
        [
            (
                each["consumer"],
                each["consumer_type"] or "",
                names[uuid],
                " ".join(f"{name}={amount}" for name, amount in amounts.items()),
            )
            for each in found["claims"]
            for uuid, amounts in each["providers"].items()
        ],
    )


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
