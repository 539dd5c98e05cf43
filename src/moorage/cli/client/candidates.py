"""``moorage candidates``: find providers for a request."""

from __future__ import annotations

from typing import Any, Final

import click

from moorage.cli.client import explained, lookup
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.client.connection import ServiceConnection
from moorage.cli.client.search_options import SearchQuery, SearchWishes, search_options
from moorage.cli.shared import show

DEFAULT_LIMIT: Final = 10
"""Candidates shown by default: enough to choose from, few enough to read."""


@click.command(short_help="Find providers for a request.")
@search_options
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Largest number of candidates to show.",
)
@client_command
def candidates(call: CommandRun, wishes: SearchWishes, limit: int) -> None:
    """Find providers for a request, for example

    moorage candidates --resources DISK_GB=40 --group numa:PCPU=4,MEMORY_MB=16384
    --group gpu:PGPU=1,CUSTOM_GPU_A100 --same-subtree numa,gpu

    A search reserves nothing: 'moorage allocation set' claims what it finds. Exit status 3 if
    there is no candidate. A service with the native API then says why; 'moorage why' with the same options
    says more.
    """
    search = wishes.query(call.service)
    with lookup.names_explained(call.service, search.classes, search.traits):
        found = call.service.get("/allocation_candidates", {**search.parameters, "limit": str(limit)})
    call.show(found, lambda: _draw(call.service, search, found, limit))
    if not found["allocation_requests"]:
        call.answer_no()


def _draw(service: ServiceConnection, search: SearchQuery, found: dict[str, Any], limit: int) -> None:
    requests, summaries = found["allocation_requests"], found["provider_summaries"]
    if not requests:
        click.echo("No candidates: no providers meet all conditions and have enough free.")
        for line in explained.wrapped(explained.reason(service, search.parameters)):
            click.echo(line)
        return
    names = lookup.provider_names(service, {uuid for each in requests for uuid in each["allocations"]})
    rows: list[tuple[object, ...]] = []
    for number, request in enumerate(requests, start=1):
        shown: object = number
        for uuid, each in sorted(request["allocations"].items(), key=lambda item: names[item[0]]):
            for name, amount in sorted(each["resources"].items()):
                room = summaries[uuid]["resources"][name]
                use = show.table_bar(room["used"], room["capacity"])
                groups = _groups_of(request, uuid)
                rows.append((shown, names[uuid], groups, name, amount, use))
                shown = ""
    show.table(
        ("", "provider", "group", "class", "amount", "in use now"),
        rows,
        numbers=("", "amount"),
        extras=("in use now",),
    )
    if len(requests) == limit:
        click.secho("There may be more candidates: --limit shows them.", dim=True)


def _groups_of(request: dict[str, Any], uuid: str) -> str:
    """Names of the groups that a provider serves."""
    mappings = request.get("mappings", {})
    return " ".join(sorted(suffix.removeprefix("_") for suffix in mappings if uuid in mappings[suffix]))
