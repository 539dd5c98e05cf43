"""``moorage provider``: resource providers and their trees."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import click

from moorage.cli.client import lookup, syntax
from moorage.cli.client.call import (
    CommandRun,
    client_command,
    complete_provider,
    provider_argument,
    provider_arguments,
    refused_for,
)
from moorage.cli.client.change import dry_run_option, tell
from moorage.cli.client.connection import ServiceConnection
from moorage.cli.client.drawing import Node, draw
from moorage.cli.shared import show
from moorage.cli.shared.groups import Commands
from moorage.model.values import MAX_INT

SHOWN_FIELDS: Final = {
    "total": "total",
    "reserved": "reserved",
    "allocation_ratio": "ratio",
    "min_unit": "min",
    "max_unit": "max",
    "step_size": "step",
}
"""Fields of an inventory and their headings, which are short to save width."""

MOST_NAMED: Final = 50
"""Most parents outside of the list that are shown by name: each costs a request."""

MOST_DRAWN: Final = 500
"""Most providers drawn without --all: each costs two requests, and fills some lines."""


@click.group(cls=Commands, short_help="Resource providers and their trees.")
def provider() -> None:
    """Resource providers and their trees.

    A provider is named by its name or its UUID.
    """


@provider.command(name="list", short_help="List providers, all or those that can serve.")
@click.option("--name", help="The provider of this name.")
@click.option("--resources", metavar="CLASS=AMOUNT,...", help="Providers with all these amounts free.")
@click.option(
    "--required", multiple=True, metavar="TRAIT,...", help="Traits that they must have; !TRAIT: must not."
)
@click.option(
    "--member-of",
    multiple=True,
    metavar="AGGREGATE",
    help="Members of this aggregate; A|B: of any of these; !A: not of it.",
)
@click.option(
    "--in-tree", metavar="PROVIDER", shell_complete=complete_provider, help="Only the tree of PROVIDER."
)
@client_command
def list_providers(
    call: CommandRun,
    name: str | None,
    resources: str | None,
    required: tuple[str, ...],
    member_of: tuple[str, ...],
    in_tree: str | None,
) -> None:
    """List resource providers."""
    wanted = syntax.GroupConditions(
        resources=syntax.amounts(resources) if resources else {},
        member_of=[syntax.member_of(text) for text in member_of],
        in_tree=lookup.provider_uuid(call.service, in_tree) if in_tree else None,
    )
    for text in required:
        wanted.add_traits(text)
    with lookup.names_explained(call.service, wanted.resources, wanted.traits):
        found = call.service.get("/resource_providers", {"name": name, **wanted.query("")})[
            "resource_providers"
        ]
    found.sort(key=lambda each: show.natural(each["name"]))
    call.show(found, lambda: _draw_list(call.service, found))


def _draw_list(service: ServiceConnection, providers: list[dict[str, Any]]) -> None:
    names: dict[str, str] = {each["uuid"]: each["name"] for each in providers}
    strangers = {each["parent_provider_uuid"] for each in providers} - names.keys() - {None}
    if len(strangers) <= MOST_NAMED:
        names |= lookup.provider_names(service, strangers)
    show.table(
        ("name", "uuid", "generation", "parent"),
        [
            (
                each["name"],
                each["uuid"],
                each["generation"],
                names.get(each["parent_provider_uuid"], each["parent_provider_uuid"]),
            )
            for each in providers
        ],
        numbers=("generation",),
        extras=("generation", "parent"),
    )


@provider.command(name="show", short_help="Show all parts of providers.")
@provider_arguments()
@client_command
def show_provider(call: CommandRun, providers: tuple[str, ...]) -> None:
    """Show providers: inventories with their use, traits, aggregates and number of consumers."""
    service = call.service
    call.gather(providers, lambda name: _whole(service, name), lambda data: _draw_provider(service, data))


def _whole(service: ServiceConnection, provider: str) -> dict[str, Any]:
    """All parts of a provider, as data."""
    found = lookup.provider(service, provider)
    path = f"/resource_providers/{found['uuid']}"
    return {
        **{key: found[key] for key in ("name", "uuid", "generation")},
        "parent": found["parent_provider_uuid"],
        "root": found["root_provider_uuid"],
        "inventories": service.get(f"{path}/inventories")["inventories"],
        "usages": service.get(f"{path}/usages")["usages"],
        "traits": service.get(f"{path}/traits")["traits"],
        "aggregates": service.get(f"{path}/aggregates")["aggregates"],
        "consumers": sorted(service.get(f"{path}/allocations")["allocations"]),
    }


def _draw_provider(service: ServiceConnection, data: dict[str, Any]) -> None:
    names = lookup.provider_names(service, {data["parent"], data["root"]} - {None})
    show.pairs(
        {
            "name": data["name"],
            "uuid": data["uuid"],
            "generation": data["generation"],
            "parent": names.get(data["parent"]),
            "root": names[data["root"]],
            "traits": " ".join(data["traits"]),
            "aggregates": " ".join(data["aggregates"]),
            "held by": _held_by(len(data["consumers"])),
        }
    )
    if data["inventories"]:
        inventory_table(data["inventories"], data["usages"])


def _held_by(count: int) -> str:
    return "no consumer" if not count else f"{count} consumer{'s' if count > 1 else ''}"


def inventory_table(inventories: dict[str, dict[str, Any]], usages: dict[str, int]) -> None:
    """Print inventories with their use."""
    show.table(
        ("class", "used", "capacity", "use", *SHOWN_FIELDS.values()),
        [
            (
                name,
                usages.get(name, 0),
                show.capacity(inventory),
                show.table_bar(usages.get(name, 0), show.capacity(inventory)),
                *(_shown(inventory[field]) for field in SHOWN_FIELDS),
            )
            for name, inventory in sorted(inventories.items())
        ],
        numbers=("used", "capacity", *SHOWN_FIELDS.values()),
        extras=("step", "min", "max", "use"),
    )


def _shown(value: float) -> object:
    """A number as shown; the largest possible one means that there is no limit."""
    return "any" if value == MAX_INT else value


@provider.command(name="tree", short_help="Draw provider trees with their use.")
@provider_arguments(required=False)
@click.option("--uuids", is_flag=True, help="Show UUIDs beside names.")
@click.option("--traits", is_flag=True, help="Show traits beside names.")
@click.option(
    "--all", "everything", is_flag=True, help=f"All trees, even if more than {MOST_DRAWN} providers."
)
@client_command
def draw_tree(
    call: CommandRun, providers: tuple[str, ...], uuids: bool, traits: bool, everything: bool
) -> None:
    """Draw the trees that each PROVIDER is in, or all trees, with bars of use."""
    listed = _listed(call, providers)
    if not providers and not everything and len(listed) > MOST_DRAWN:
        raise click.UsageError(f"There are {len(listed)} providers: name one, or use --all.")
    # Data is always complete; for a drawing, only what it shows is requested.
    nodes = [_node(call.service, each, with_traits=traits or call.as_data) for each in listed]
    call.show([node.data() for node in nodes], lambda: draw(nodes, with_uuids=uuids))


def _listed(call: CommandRun, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The providers of the trees of ``names``, each once; all providers if none is named."""
    found: dict[str, dict[str, Any]] = {}
    uuids: list[str] = []
    call.each(names, lambda name: uuids.append(lookup.provider_uuid(call.service, name)))
    wanted: list[str | None] = [*uuids] if names else [None]
    for uuid in wanted:
        listed = call.service.get("/resource_providers", {"in_tree": uuid})["resource_providers"]
        found |= {each["uuid"]: each for each in listed}
    return sorted(found.values(), key=lambda each: show.natural(each["name"]))


def _node(service: ServiceConnection, provider: dict[str, Any], *, with_traits: bool) -> Node:
    path = f"/resource_providers/{provider['uuid']}"
    return Node(
        provider["name"],
        provider["uuid"],
        provider["parent_provider_uuid"],
        service.get(f"{path}/traits")["traits"] if with_traits else [],
        service.get(f"{path}/inventories")["inventories"],
        service.get(f"{path}/usages")["usages"],
    )


@provider.command(name="create", short_help="Create a provider.")
@click.argument("name")
@click.option("--uuid", help="UUID of the provider. Default: a new one.")
@click.option("--parent", metavar="PROVIDER", shell_complete=complete_provider, help="The parent.")
@dry_run_option
@client_command
def create_provider(call: CommandRun, name: str, uuid: str | None, parent: str | None, dry_run: bool) -> None:
    """Create a resource provider with the name NAME."""
    body = {"name": name, "uuid": uuid or str(uuid4())}
    if parent:
        body["parent_provider_uuid"] = lookup.provider_uuid(call.service, parent)
    made = body if dry_run else call.service.post("/resource_providers", body)
    verb = "Would create" if dry_run else "Created"
    call.done({**made, "dry_run": dry_run}, f"{verb} {made['name']} with UUID {made['uuid']}.")


@provider.command(name="set", short_help="Rename a provider, or move it in its tree.")
@provider_argument()
@click.option("--name", help="The new name.")
@click.option("--parent", metavar="PROVIDER", shell_complete=complete_provider, help="The new parent.")
@click.option("--root", is_flag=True, help="Make it the root of a tree of its own.")
@dry_run_option
@client_command
def set_provider(
    call: CommandRun, provider: str, name: str | None, parent: str | None, root: bool, dry_run: bool
) -> None:
    """Rename PROVIDER, or move it with all its descendants."""
    if parent and root:
        raise click.UsageError("Use --parent or --root, not both.")
    if not (name or parent or root):
        raise click.UsageError("Name a change: --name, --parent or --root.")
    found = lookup.provider(call.service, provider)
    body = {"name": name or found["name"], "parent_provider_uuid": found["parent_provider_uuid"]}
    if parent:
        body["parent_provider_uuid"] = lookup.provider_uuid(call.service, parent)
    if root:
        body["parent_provider_uuid"] = None
    before, after = _place(call.service, found), _place(call.service, {**found, **body})
    if before != after and not dry_run:
        call.service.put(f"/resource_providers/{found['uuid']}", body)
    tell(call, found["name"], before, after, dry_run=dry_run)


def _place(service: ServiceConnection, provider: dict[str, Any]) -> dict[str, str | None]:
    """Name of a provider, and that of its parent."""
    parent = provider["parent_provider_uuid"]
    return {
        "name": provider["name"],
        "parent": lookup.provider_names(service, [parent])[parent] if parent else None,
    }


@provider.command(name="delete", short_help="Delete providers without allocations.")
@provider_arguments()
@dry_run_option
@client_command
def delete_provider(call: CommandRun, providers: tuple[str, ...], dry_run: bool) -> None:
    """Delete providers. The service refuses to delete one that has children or allocations."""

    def delete(name: str) -> dict[str, Any]:
        found = lookup.provider(call.service, name)
        if not dry_run:
            with refused_for(name):
                call.service.delete(f"/resource_providers/{quote(found['uuid'])}")
        return {"deleted": found["uuid"], "name": found["name"], "dry_run": dry_run}

    verb = "Would delete" if dry_run else "Deleted"
    call.gather(providers, delete, lambda gone: click.echo(f"{verb} {gone['name']}."))
