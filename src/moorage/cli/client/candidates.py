"""``moorage candidates``: where something fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click

from moorage.cli.client import lookup, show, syntax
from moorage.cli.client.call import Call, client_command, complete_provider
from moorage.cli.client.connection import Service
from moorage.cli.console import stdout

DEFAULT_LIMIT: Final = 10
"""Candidates shown unless more are asked for: enough to choose from, few enough to read."""


@click.command(short_help="Find where something fits.")
@click.option("--resources", metavar="CLASS=AMOUNT,...", help="What is wanted, from anywhere in one tree.")
@click.option(
    "--required",
    multiple=True,
    metavar="TRAIT,...",
    help="Traits that the providers of --resources have together; !TRAIT: none has it; A|B: any of them.",
)
@click.option("--member-of", multiple=True, metavar="AGGREGATE", help="In this aggregate; A|B: any of them.")
@click.option("--in-tree", metavar="PROVIDER", shell_complete=complete_provider, help="Of this one's tree.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME:ITEM,...",
    help="What one provider shall give alone, as in gpu:PGPU=1,CUSTOM_GPU_A100. Items are CLASS=AMOUNT, "
    "TRAIT, !TRAIT, A|B, member_of=AGGREGATE and in_tree=PROVIDER. May be said several times.",
)
@click.option(
    "--group-policy",
    type=click.Choice(["none", "isolate"]),
    default="none",
    show_default=True,
    help="Whether several groups may be served by one provider (none), or each by its own (isolate).",
)
@click.option(
    "--same-subtree",
    multiple=True,
    metavar="NAME,...",
    help="Groups whose providers are below one of them, as in numa,gpu.",
)
@click.option("--root-required", metavar="TRAIT,...", help="Traits of the root of the tree; !TRAIT: not.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Candidates to show at the most.",
)
@client_command
def candidates(
    call: Call,
    resources: str | None,
    required: tuple[str, ...],
    member_of: tuple[str, ...],
    in_tree: str | None,
    groups: tuple[str, ...],
    group_policy: str,
    same_subtree: tuple[str, ...],
    root_required: str | None,
    limit: int,
) -> None:
    """Find where something fits, for example

    moorage candidates --resources DISK_GB=40 --group numa:PCPU=4,MEMORY_MB=16384
    --group gpu:PGPU=1,CUSTOM_GPU_A100 --same-subtree numa,gpu

    A search promises nothing: what it finds is claimed by 'moorage allocation set'.
    """
    unnamed = syntax.Group(
        resources=syntax.amounts(resources) if resources else {},
        member_of=[tuple(text.split("|")) for text in member_of],
        in_tree=in_tree,
    )
    for text in required:
        unnamed.add_traits(text)
    named = syntax.groups(groups)
    everyone = (unnamed, *named.values())
    if not any(group.resources for group in everyone):
        raise click.UsageError("Say what is wanted: --resources, or --group with CLASS=AMOUNT.")
    query = _query(call.service, unnamed, named)
    query |= {
        "group_policy": group_policy if len(named) > 1 else None,
        "same_subtree": [_suffixes(text, named) for text in same_subtree] or None,
        "root_required": root_required,
        "limit": str(limit),
    }
    traits = {name for group in everyone for name in group.traits}
    traits |= {name.strip().lstrip("!") for name in (root_required or "").split(",") if name.strip()}
    with lookup.names_explained(call.service, {n for group in everyone for n in group.resources}, traits):
        found = call.service.get("/allocation_candidates", query)
    call.show(found, lambda: _draw(call.service, found, limit))


def _query(
    service: Service, unnamed: syntax.Group, named: dict[str, syntax.Group]
) -> dict[str, str | list[str] | None]:
    query: dict[str, str | list[str] | None] = {}
    for suffix, group in (("", unnamed), *((f"_{name}", each) for name, each in named.items())):
        if group.in_tree:
            group.in_tree = lookup.provider_uuid(service, group.in_tree)
        query |= group.query(suffix)
    return query


def _suffixes(text: str, named: Iterable[str]) -> str:
    """Names of groups as the API writes them. Raises BadParameter for one that there is not."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in named:
            raise click.BadParameter(f"--same-subtree names {name}, but there is no --group {name}:...")
    return ",".join(f"_{name}" for name in names)


def _draw(service: Service, found: dict[str, Any], limit: int) -> None:
    requests, summaries = found["allocation_requests"], found["provider_summaries"]
    if not requests:
        stdout().print("No candidates: nothing that is there has all of this, and room for it.")
        return
    names = lookup.provider_names(service, {uuid for each in requests for uuid in each["allocations"]})
    rows: list[tuple[object, ...]] = []
    for number, request in enumerate(requests, start=1):
        shown: object = number
        for uuid, each in sorted(request["allocations"].items(), key=lambda item: names[item[0]]):
            for name, amount in sorted(each["resources"].items()):
                room = summaries[uuid]["resources"][name]
                use = show.bar(room["used"], room["capacity"])
                groups = _groups_of(request, uuid)
                rows.append((shown, names[uuid], groups, name, amount, use))
                shown = ""
    show.table(("", "provider", "group", "class", "amount", "in use now"), rows, numbers=("", "amount"))
    if len(requests) == limit:
        stdout().print("There may be more candidates: --limit shows them.", style="dim")


def _groups_of(request: dict[str, Any], uuid: str) -> str:
    """Names of the groups that a provider serves."""
    mappings = request.get("mappings", {})
    return " ".join(sorted(suffix.removeprefix("_") for suffix in mappings if uuid in mappings[suffix]))
