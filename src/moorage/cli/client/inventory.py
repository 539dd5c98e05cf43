"""``moorage inventory``: what providers offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
import requests

from moorage.cli.client import lookup, syntax
from moorage.cli.client.call import CommandRun, client_command, provider_argument, provider_arguments
from moorage.cli.client.change import dry_run_option, tell
from moorage.cli.client.connection import RefusedError, retried
from moorage.cli.client.provider import inventory_table
from moorage.cli.shared import show
from moorage.cli.shared.differences import DEFAULTS
from moorage.cli.shared.groups import Commands

Inventories = Mapping[str, Mapping[str, Any]]
"""Inventories of a provider by resource class, in the API's form."""


@click.group(cls=Commands, short_help="What providers offer.")
def inventory() -> None:
    """What providers offer, by resource class."""


@inventory.command(name="show", short_help="Show inventories of providers with their use.")
@provider_arguments()
@client_command
def show_inventories(call: CommandRun, providers: tuple[str, ...]) -> None:
    """Show the inventories of each PROVIDER, and how much of them is used."""

    def ask(provider: str) -> dict[str, Any]:
        path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}"
        usages = call.service.get(f"{path}/usages")["usages"]
        return {"provider": provider, **call.service.get(f"{path}/inventories"), "usages": usages}

    def draw(found: dict[str, Any]) -> None:
        if len(providers) > 1:
            click.secho(found["provider"], bold=True)
        inventory_table(found["inventories"], found["usages"])

    call.gather(providers, ask, draw)


@inventory.command(name="set", short_help="Set inventories of a provider; others stay.")
@provider_argument()
@click.argument("inventories", nargs=-1, required=True, metavar="CLASS=TOTAL[,FIELD=VALUE...]...")
@click.option("--replace", is_flag=True, help="Remove all other inventories.")
@dry_run_option
@client_command
def set_inventories(
    call: CommandRun, provider: str, inventories: tuple[str, ...], replace: bool, dry_run: bool
) -> None:
    """Set inventories of PROVIDER, for example VCPU=16,allocation_ratio=4 MEMORY_MB=65536,reserved=512

    Fields are reserved, min_unit, max_unit, step_size and allocation_ratio. A field that is not named
    keeps its value, or gets the default in a new inventory. Classes that are not named stay as they
    are, unless --replace is given.
    """
    named = dict(syntax.inventory(text) for text in inventories)
    if len(named) < len(inventories):
        raise click.BadParameter("A resource class is named twice.")
    base = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}"

    def wish(present: Inventories) -> Inventories:
        kept = {} if replace else dict(present)
        for name, fields in named.items():
            kept[name] = {**DEFAULTS, **present.get(name, {}), **fields}
        return kept

    with lookup.names_explained(call.service, named):
        _change(call, provider, base, wish, dry_run=dry_run)


def _change(
    call: CommandRun, provider: str, base: str, wish: Callable[[Inventories], Inventories], *, dry_run: bool
) -> None:
    """Replace a provider's inventories by the result of ``wish``, and warn about inventories in use."""

    def attempt() -> tuple[Inventories, Inventories]:
        present = call.service.get(f"{base}/inventories")
        before = present["inventories"]
        after = wish(before)
        if before != after and not dry_run:
            generation = present["resource_provider_generation"]
            body = {"resource_provider_generation": generation, "inventories": after}
            after = call.service.put(f"{base}/inventories", body)["inventories"]
        return before, after

    before, after = retried(attempt)
    usages = call.service.get(f"{base}/usages")["usages"]
    warnings = [] if before == after else list(_warnings(provider, before, after, usages))
    tell(call, provider, before, after, dry_run=dry_run, warnings=warnings)


def _warnings(
    provider: str, before: Inventories, after: Inventories, usages: Mapping[str, int]
) -> Iterator[str]:
    """Warnings about inventories that become smaller than their use."""
    for name, used in sorted(usages.items()):
        if not used or before.get(name) == after.get(name):
            continue
        if name not in after:
            yield f"{provider}: {used} {name} are in use. The service refuses to remove an inventory in use."
        elif (most := show.capacity(after[name])) < used:
            yield (
                f"{provider}: {used} {name} are in use, and the capacity is {most}. Consumers keep what they "
                "hold; none of it can be claimed until enough is freed."
            )


@inventory.command(name="delete", short_help="Remove inventories that are not in use.")
@provider_argument()
@click.argument("classes", nargs=-1, metavar="[CLASS]...")
@click.option("--all", "everything", is_flag=True, help="All inventories.")
@dry_run_option
@client_command
def delete_inventories(
    call: CommandRun, provider: str, classes: tuple[str, ...], everything: bool, dry_run: bool
) -> None:
    """Remove the inventories of these CLASSes from PROVIDER: all of them, or none if one is in use."""
    if everything == bool(classes):
        raise click.UsageError("Name resource classes, or use --all.")

    def wish(present: Inventories) -> Inventories:
        missing = sorted(set(classes) - present.keys())
        if missing:
            raise RefusedError(
                requests.codes.not_found,
                "",
                f"{provider} has no inventory of {', '.join(missing)}.",
                f"It has: {', '.join(sorted(present)) or 'none'}.",
            )
        return {} if everything else {name: each for name, each in present.items() if name not in classes}

    base = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}"
    _change(call, provider, base, wish, dry_run=dry_run)
