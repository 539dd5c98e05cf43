"""``moorage provider``: resource providers and their trees."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import click

from moorage.cli.client import lookup, show, syntax
from moorage.cli.client.call import Call, client_command, complete_provider, provider_argument
from moorage.cli.client.connection import Service
from moorage.cli.client.drawing import Node, draw
from moorage.model.values import MAX_INT

SHOWN_FIELDS: Final = {
    "total": "total",
    "reserved": "reserved",
    "allocation_ratio": "ratio",
    "min_unit": "min",
    "max_unit": "max",
    "step_size": "step",
}
"""Fields of an inventory and their headings: the narrower the better."""

MOST_NAMED: Final = 50
"""Parents that are not in a list themselves and are shown by their names: each costs a request."""

MOST_DRAWN: Final = 500
"""Providers drawn at once without being told so: each costs two requests, and some lines to read."""


@click.group(short_help="Resource providers and their trees.")
def provider() -> None:
    """Resource providers and their trees.

    A provider is named by its name or its UUID.
    """


@provider.command(name="list", short_help="List providers, all or those that can serve.")
@click.option("--name", help="The one that is called so.")
@click.option("--resources", metavar="CLASS=AMOUNT,...", help="Those that have room for all of these.")
@click.option("--required", multiple=True, metavar="TRAIT,...", help="With these traits; !TRAIT: without.")
@click.option("--member-of", multiple=True, metavar="AGGREGATE", help="In this aggregate.")
@click.option("--in-tree", metavar="PROVIDER", shell_complete=complete_provider, help="Of this one's tree.")
@client_command
def list_providers(
    call: Call,
    name: str | None,
    resources: str | None,
    required: tuple[str, ...],
    member_of: tuple[str, ...],
    in_tree: str | None,
) -> None:
    """List resource providers."""
    wanted = syntax.Group(
        resources=syntax.amounts(resources) if resources else {},
        member_of=[tuple(text.split("|")) for text in member_of],
        in_tree=lookup.provider_uuid(call.service, in_tree) if in_tree else None,
    )
    for text in required:
        wanted.add_traits(text)
    with lookup.names_explained(call.service, wanted.resources, wanted.traits):
        found = call.service.get("/resource_providers", {"name": name, **wanted.query("")})[
            "resource_providers"
        ]
    call.show(found, lambda: _draw_list(call.service, found))


def _draw_list(service: Service, providers: list[dict[str, Any]]) -> None:
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
    )


@provider.command(name="show", short_help="Show a provider with all that it has.")
@provider_argument()
@client_command
def show_provider(call: Call, provider: str) -> None:
    """Show a provider: inventories with their use, traits, aggregates, who holds of it."""
    service = call.service
    found = lookup.provider(service, provider)
    path = f"/resource_providers/{found['uuid']}"
    data = {
        **{key: found[key] for key in ("name", "uuid", "generation")},
        "parent": found["parent_provider_uuid"],
        "root": found["root_provider_uuid"],
        "inventories": service.get(f"{path}/inventories")["inventories"],
        "usages": service.get(f"{path}/usages")["usages"],
        "traits": service.get(f"{path}/traits")["traits"],
        "aggregates": service.get(f"{path}/aggregates")["aggregates"],
        "consumers": sorted(service.get(f"{path}/allocations")["allocations"]),
    }
    call.show(data, lambda: _draw_provider(service, data))


def _draw_provider(service: Service, data: dict[str, Any]) -> None:
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
    return "nobody" if not count else f"{count} consumer{'s' if count > 1 else ''}"


def inventory_table(inventories: dict[str, dict[str, Any]], usages: dict[str, int]) -> None:
    """Print inventories with their use."""
    show.table(
        ("class", "used", "capacity", "use", *SHOWN_FIELDS.values()),
        [
            (
                name,
                usages.get(name, 0),
                show.capacity(inventory),
                show.bar(usages.get(name, 0), show.capacity(inventory)),
                *(_shown(inventory[field]) for field in SHOWN_FIELDS),
            )
            for name, inventory in sorted(inventories.items())
        ],
        numbers=("used", "capacity", *SHOWN_FIELDS.values()),
    )


def _shown(value: float) -> object:
    """A number; the largest there is means that there is no limit."""
    return "any" if value == MAX_INT else value


@provider.command(name="tree", short_help="Draw provider trees with their use.")
@provider_argument(required=False)
@click.option("--uuids", is_flag=True, help="Show UUIDs beside names.")
@click.option("--traits", is_flag=True, help="Show traits beside names.")
@click.option(
    "--all", "everything", is_flag=True, help=f"All trees, even if more than {MOST_DRAWN} providers."
)
@client_command
def draw_tree(call: Call, provider: str | None, uuids: bool, traits: bool, everything: bool) -> None:
    """Draw the tree that PROVIDER is in, or all trees, with bars of use."""
    query = {"in_tree": lookup.provider_uuid(call.service, provider) if provider else None}
    listed = call.service.get("/resource_providers", query)["resource_providers"]
    if not provider and not everything and len(listed) > MOST_DRAWN:
        raise click.UsageError(f"There are {len(listed)} providers: name one, or say --all.")
    nodes = [_node(call.service, each, with_traits=traits) for each in listed]
    call.show([node.data() for node in nodes], lambda: draw(nodes, with_uuids=uuids))


def _node(service: Service, provider: dict[str, Any], *, with_traits: bool) -> Node:
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
@click.option("--uuid", help="Its UUID. Default: a new one.")
@click.option("--parent", metavar="PROVIDER", shell_complete=complete_provider, help="Below this one.")
@client_command
def create_provider(call: Call, name: str, uuid: str | None, parent: str | None) -> None:
    """Create a resource provider that is called NAME."""
    body = {"name": name, "uuid": uuid or str(uuid4())}
    if parent:
        body["parent_provider_uuid"] = lookup.provider_uuid(call.service, parent)
    made = call.service.post("/resource_providers", body)
    call.done(made, f"Created {made['name']} with UUID {made['uuid']}.")


@provider.command(name="set", short_help="Rename a provider, or move it in its tree.")
@provider_argument()
@click.option("--name", help="Its new name.")
@click.option("--parent", metavar="PROVIDER", shell_complete=complete_provider, help="Below this one.")
@click.option("--root", is_flag=True, help="Make it the root of a tree of its own.")
@client_command
def set_provider(call: Call, provider: str, name: str | None, parent: str | None, root: bool) -> None:
    """Rename PROVIDER, or put it with all that is below it elsewhere."""
    if parent and root:
        raise click.UsageError("Say --parent or --root, not both.")
    if not (name or parent or root):
        raise click.UsageError("Say what to change: --name, --parent or --root.")
    found = lookup.provider(call.service, provider)
    body = {"name": name or found["name"], "parent_provider_uuid": found["parent_provider_uuid"]}
    if parent:
        body["parent_provider_uuid"] = lookup.provider_uuid(call.service, parent)
    if root:
        body["parent_provider_uuid"] = None
    changed = call.service.put(f"/resource_providers/{found['uuid']}", body)
    call.done(changed, f"Changed {changed['name']}.")


@provider.command(name="delete", short_help="Delete a provider that nobody uses.")
@provider_argument()
@client_command
def delete_provider(call: Call, provider: str) -> None:
    """Delete PROVIDER. It is refused if there is one below it, or if somebody holds of it."""
    found = lookup.provider(call.service, provider)
    call.service.delete(f"/resource_providers/{quote(found['uuid'])}")
    call.done({"deleted": found["uuid"]}, f"Deleted {found['name']}.")
