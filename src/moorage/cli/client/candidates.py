"""``moorage candidates``: find providers for a request."""

from __future__ import annotations

from typing import Any, Final

import click

from moorage.cli.client import explained, lookup
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.client.connection import ServiceConnection
from moorage.cli.client.order_options import OrderWishes, order_options
from moorage.cli.client.search_options import SearchQuery, SearchWishes, search_options
from moorage.cli.shared import show

CANDIDATES: Final = "/moorage/v1/candidates"

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
@order_options
@client_command
def candidates(call: CommandRun, wishes: SearchWishes, limit: int, order: OrderWishes) -> None:
    """Find providers for a request, for example

    moorage candidates --resources DISK_GB=40 --group numa:PCPU=4,MEMORY_MB=16384
    --group gpu:PGPU=1,CUSTOM_GPU_A100 --same-subtree numa,gpu

    A search reserves nothing: 'moorage allocation set' claims what it finds. Exit status 3 if
    there is no candidate. A service with the native API then says why; 'moorage why' with the same options
    says more.

    With --order or another option that says what is better, the best candidates come first, with their
    scores. The service must have Moorage's native API for this.
    """
    search = wishes.query(call.service)
    if not order.is_empty:
        _best(call, search, order, limit)
        return
    with lookup.names_explained(call.service, search.classes, search.traits):
        found = call.service.get("/allocation_candidates", {**search.parameters, "limit": str(limit)})
    call.show(found, lambda: _draw(call.service, search, found, limit))
    if not found["allocation_requests"]:
        call.answer_no()


def _best(call: CommandRun, search: SearchQuery, order: OrderWishes, limit: int) -> None:
    """Show the best candidates, in order."""
    body = {
        "ask": explained.pasted(search.parameters),
        "order": order.body(call.service),
        "limit": limit,
        "summaries": True,
    }
    classes, traits = search.classes | order.classes, search.traits | order.traits
    with (
        lookup.names_explained(call.service, classes, traits),
        explained.needed(call.service, explained.ORDER_FEATURE, "does not put candidates in order"),
    ):
        found = call.service.post(CANDIDATES, body)
    call.show(found, lambda: _draw_best(call.service, search, found))
    if not found["candidates"]:
        call.answer_no()


def _draw_best(service: ServiceConnection, search: SearchQuery, found: dict[str, Any]) -> None:
    listed, summaries = found["candidates"], found["summaries"]
    if not listed:
        _draw_none(service, search)
        return
    names = lookup.provider_names(service, {uuid for each in listed for uuid in each["allocations"]})
    rows: list[tuple[object, ...]] = []
    for number, each in enumerate(listed, start=1):
        parts = ", ".join([f"{name} {value:g}" for name, value in each["parts"].items()])
        shown: tuple[object, object, object] = (number, f"{each['score']:.4f}", parts)
        for uuid, amounts in sorted(each["allocations"].items(), key=lambda item: names[item[0]]):
            for name, amount in sorted(amounts.items()):
                room = summaries[uuid]["resources"][name]
                use = show.table_bar(room["used"], room["capacity"])
                rows.append((shown[0], names[uuid], name, amount, use, *shown[1:]))
                shown = ("", "", "")
    show.table(
        ("", "provider", "class", "amount", "in use now", "score", "parts"),
        rows,
        numbers=("", "amount", "score"),
        extras=("in use now", "parts"),
    )
    order = found["order"]
    click.secho(
        f"{len(listed)} of {found['feasible_trees']} trees that fit, by {order['strategy']} with seed "
        f"{order['seed']}.",
        dim=True,
    )


def _draw_none(service: ServiceConnection, search: SearchQuery) -> None:
    click.echo("No candidates: no providers meet all conditions and have enough free.")
    for line in explained.wrapped(explained.reason(service, search.parameters)):
        click.echo(line)


def _draw(service: ServiceConnection, search: SearchQuery, found: dict[str, Any], limit: int) -> None:
    requests, summaries = found["allocation_requests"], found["provider_summaries"]
    if not requests:
        _draw_none(service, search)
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
