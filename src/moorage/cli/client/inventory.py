"""``moorage inventory``: what providers offer."""

from __future__ import annotations

from typing import Any

import click
import requests

from moorage.cli.client import lookup, syntax
from moorage.cli.client.call import Call, client_command, provider_argument
from moorage.cli.client.connection import RefusedError, retried
from moorage.cli.client.provider import inventory_table


@click.group(short_help="What providers offer.")
def inventory() -> None:
    """What providers offer, by resource class."""


@inventory.command(name="show", short_help="Show a provider's inventories with their use.")
@provider_argument()
@client_command
def show_inventories(call: Call, provider: str) -> None:
    """Show the inventories of PROVIDER, and how much of them is used."""
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}"
    found = call.service.get(f"{path}/inventories")
    usages = call.service.get(f"{path}/usages")["usages"]
    call.show(found, lambda: inventory_table(found["inventories"], usages))


@inventory.command(name="set", short_help="Set inventories of a provider; others stay.")
@provider_argument()
@click.argument("inventories", nargs=-1, required=True, metavar="CLASS=TOTAL[,FIELD=VALUE...]...")
@click.option("--replace", is_flag=True, help="Remove the inventories that are not named.")
@client_command
def set_inventories(call: Call, provider: str, inventories: tuple[str, ...], replace: bool) -> None:
    """Set inventories of PROVIDER, for example VCPU=16,allocation_ratio=4 MEMORY_MB=65536,reserved=512

    Fields are reserved, min_unit, max_unit, step_size and allocation_ratio. A field that is not named
    keeps its value, or gets the default in a new inventory. Classes that are not named stay as they
    are, unless --replace is said.
    """
    named = dict(syntax.inventory(text) for text in inventories)
    if len(named) < len(inventories):
        raise click.BadParameter("A resource class is named twice.")
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/inventories"

    def change() -> Any:
        present = call.service.get(path)
        kept = {} if replace else dict(present["inventories"])
        for name, fields in named.items():
            kept[name] = {**present["inventories"].get(name, {}), **fields}
        body = {
            "resource_provider_generation": present["resource_provider_generation"],
            "inventories": kept,
        }
        return call.service.put(path, body)

    with lookup.names_explained(call.service, named):
        changed = retried(change)
    call.done(changed, f"Set {', '.join(sorted(named))}.")


@inventory.command(name="delete", short_help="Remove inventories that nobody holds of.")
@provider_argument()
@click.argument("classes", nargs=-1, metavar="[CLASS]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@client_command
def delete_inventories(call: Call, provider: str, classes: tuple[str, ...], everything: bool) -> None:
    """Remove the inventories of these CLASSes from PROVIDER: all of them, or none if one is in use."""
    if everything == bool(classes):
        raise click.UsageError("Name resource classes, or say --all.")
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/inventories"

    def change() -> Any:
        present = call.service.get(path)
        missing = sorted(set(classes) - present["inventories"].keys())
        if missing:
            raise RefusedError(
                requests.codes.not_found,
                "",
                f"{provider} has no inventory of {', '.join(missing)}.",
                f"It has: {', '.join(sorted(present['inventories'])) or 'none'}.",
            )
        kept = {name: each for name, each in present["inventories"].items() if name not in classes}
        body = {
            "resource_provider_generation": present["resource_provider_generation"],
            "inventories": {} if everything else kept,
        }
        return call.service.put(path, body)

    changed = retried(change)
    call.done(changed, f"Removed {'all inventories' if everything else ', '.join(sorted(classes))}.")
