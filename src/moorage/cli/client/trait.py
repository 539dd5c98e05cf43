"""``moorage trait``: traits of providers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from moorage.cli.client import lookup
from moorage.cli.client.call import CommandRun, client_command, complete_provider, provider_argument
from moorage.cli.client.change import change_members, dry_run_option
from moorage.cli.shared import show
from moorage.cli.shared.groups import Commands

Change = Callable[[set[str], set[str]], set[str]]
"""Computes the new traits of a provider from its present ones and the named ones."""


@click.group(cls=Commands, short_help="Traits of providers.")
def trait() -> None:
    """Traits: all known ones, and those of providers."""


@trait.command(name="list", short_help="List traits, all or those of a provider.")
@click.option("--provider", shell_complete=complete_provider, help="Traits of this provider.")
@click.option("--prefix", help="Traits whose names begin with this.")
@click.option("--used/--unused", default=None, help="Traits of any provider, or of none.")
@client_command
def list_traits(call: CommandRun, provider: str | None, prefix: str | None, used: bool | None) -> None:
    """List traits by name, one per line."""
    if provider:
        path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/traits"
        names = [name for name in call.service.get(path)["traits"] if name.startswith(prefix or "")]
    else:
        query = {
            "name": f"startswith:{prefix}" if prefix else None,
            "associated": None if used is None else str(used).lower(),
        }
        names = call.service.get("/traits", query)["traits"]
    names.sort()
    call.show(names, lambda: show.lines(names))


@trait.command(name="create", short_help="Create custom traits.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@dry_run_option
@client_command
def create_trait(call: CommandRun, names: tuple[str, ...], dry_run: bool) -> None:
    """Create traits, whose NAMEs begin with CUSTOM_. Existing ones stay."""

    def create(name: str) -> dict[str, Any]:
        if not dry_run:
            call.service.put(f"/traits/{quote(name, safe='')}", None)
        return {"name": name, "dry_run": dry_run}

    verb = "There would be" if dry_run else "There is"
    call.gather(names, create, lambda made: click.echo(f"{verb} a trait {made['name']}."))


@trait.command(name="delete", short_help="Delete custom traits that no provider has.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@dry_run_option
@client_command
def delete_trait(call: CommandRun, names: tuple[str, ...], dry_run: bool) -> None:
    """Delete traits, whose NAMEs begin with CUSTOM_, and which no provider has."""

    def delete(name: str) -> dict[str, Any]:
        place = f"/traits/{quote(name, safe='')}"
        with lookup.names_explained(call.service, traits=(name,)):
            call.service.get(place) if dry_run else call.service.delete(place)
        return {"deleted": name, "dry_run": dry_run}

    verb = "Would delete" if dry_run else "Deleted"
    call.gather(names, delete, lambda gone: click.echo(f"{verb} {gone['deleted']}."))


def _change(
    call: CommandRun, provider: str, named: tuple[str, ...], change: Change, *, dry_run: bool
) -> None:
    """Replace a provider's traits by the result of ``change`` for its present ones and the named ones."""
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/traits"
    with lookup.names_explained(call.service, traits=named):
        change_members(
            call, provider, path, "traits", lambda present: change(present, set(named)), dry_run=dry_run
        )


@trait.command(name="set", short_help="Set all traits of a provider.")
@provider_argument()
@click.argument("traits", nargs=-1)
@dry_run_option
@client_command
def set_traits(call: CommandRun, provider: str, traits: tuple[str, ...], dry_run: bool) -> None:
    """Give PROVIDER these TRAITS and no other; none at all if none is named."""
    _change(call, provider, traits, lambda _, named: named, dry_run=dry_run)


@trait.command(name="add", short_help="Add traits to a provider.")
@provider_argument()
@click.argument("traits", nargs=-1, required=True)
@dry_run_option
@client_command
def add_traits(call: CommandRun, provider: str, traits: tuple[str, ...], dry_run: bool) -> None:
    """Give PROVIDER these TRAITS in addition to those that it has."""
    _change(call, provider, traits, lambda present, named: present | named, dry_run=dry_run)


@trait.command(name="remove", short_help="Take traits from a provider.")
@provider_argument()
@click.argument("traits", nargs=-1, required=True)
@dry_run_option
@client_command
def remove_traits(call: CommandRun, provider: str, traits: tuple[str, ...], dry_run: bool) -> None:
    """Take these TRAITS from PROVIDER."""
    _change(call, provider, traits, lambda present, named: present - named, dry_run=dry_run)
