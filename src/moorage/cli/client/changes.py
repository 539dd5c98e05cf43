"""``moorage changes``: what was written, in the order of the commits."""

from __future__ import annotations

from typing import Final

import click

from moorage.cli.client import lookup, recorded
from moorage.cli.client.call import CommandRun, client_command, complete_provider

LAST: Final = 20
"""Newest revisions that are listed if the command line does not say."""


@click.command(short_help="List what was written, or follow it.")
@click.option(
    "--after",
    metavar="REVISION",
    help=f"Begin after this revision, or with 'now'.  [default: the last {LAST} revisions]",
)
@click.option("-F", "--follow", is_flag=True, help="Go on with each change as it is committed.")
@click.option(
    "--kinds", metavar="KIND,...", help="Only changes of these kinds, such as allocations or provider.create."
)
@click.option(
    "--tree",
    metavar="PROVIDER",
    shell_complete=complete_provider,
    help="Only changes of the tree of PROVIDER.",
)
@click.option("--consumer", metavar="CONSUMER", help="Only changes of this consumer.")
@click.option("--project", metavar="PROJECT", help="Only changes of this project's consumers.")
@click.option("--limit", type=click.IntRange(1, 5_000), help="Most changes of a page.  [default: 1000]")
@client_command
def changes(
    call: CommandRun,
    after: str | None,
    follow: bool,
    kinds: str | None,
    tree: str | None,
    consumer: str | None,
    project: str | None,
    limit: int | None,
) -> None:
    """List what was written: each change with its revision, its time, its request, and each value before and
    after. Oldest first.

    --follow goes on until it is interrupted. It begins with the next change, or after the revision of
    --after. If the service restarts, it goes on where it was. If changes are no longer kept, it ends with an
    error instead of leaving them out. With -f json each change is a line.

    The service must have Moorage's native API and keep a journal ([moorage] journal).
    """
    if after is not None and after != recorded.NOW and not after.isdecimal():
        raise click.BadParameter(f"'{after}' is neither a revision nor 'now'.", param_hint="--after")
    query = {
        "kinds": kinds,
        "tree": recorded.root_of(call.service, tree) if tree else None,
        "consumer": lookup.consumer_uuid(consumer) if consumer else None,
        "project_id": project,
        "limit": str(limit) if limit else None,
    }
    if after is None and not follow:
        first = recorded.newest(call.service, query, LAST)
    else:
        first = recorded.page(call.service, {**query, "after": after or recorded.NOW})
    if not follow:
        call.show(first, lambda: _draw(call, first))
        return
    for page in recorded.followed(call.service, query, first):
        if call.as_data:
            for change in page["changes"]:
                recorded.print_line(change)
        else:
            recorded.print_records(call.service, page["changes"])


def _draw(call: CommandRun, page: recorded.Json) -> None:
    recorded.print_records(call.service, page["changes"])
    if not page["changes"]:
        click.echo(f"None up to revision {page['next_after']}.")
    if page["more"]:
        click.echo(f"There are more: --after {page['next_after']} shows the next page.")
