"""``moorage resource-class``: resource classes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from moorage.cli.client import lookup
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.client.change import dry_run_option
from moorage.cli.shared import show
from moorage.cli.shared.groups import Commands


@click.group(cls=Commands, name="resource-class", short_help="Resource classes.")
def resource_class() -> None:
    """Resource classes: standard and custom ones (CUSTOM_...)."""


@resource_class.command(name="list", short_help="List resource classes.")
@client_command
def list_classes(call: CommandRun) -> None:
    """List resource classes, one per line."""
    names = sorted(each["name"] for each in call.service.get("/resource_classes")["resource_classes"])
    call.show(names, lambda: show.lines(names))


@resource_class.command(name="create", short_help="Create custom resource classes.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@dry_run_option
@client_command
def create_class(call: CommandRun, names: tuple[str, ...], dry_run: bool) -> None:
    """Create resource classes, whose NAMEs begin with CUSTOM_. Existing ones stay."""

    def create(name: str) -> dict[str, Any]:
        if not dry_run:
            call.service.put(f"/resource_classes/{quote(name, safe='')}", None)
        return {"name": name, "dry_run": dry_run}

    verb = "There would be" if dry_run else "There is"
    call.gather(names, create, lambda made: click.echo(f"{verb} a resource class {made['name']}."))


@resource_class.command(name="delete", short_help="Delete custom classes without inventories.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@dry_run_option
@client_command
def delete_class(call: CommandRun, names: tuple[str, ...], dry_run: bool) -> None:
    """Delete resource classes, whose NAMEs begin with CUSTOM_, and which are in no inventory."""

    def delete(name: str) -> dict[str, Any]:
        place = f"/resource_classes/{quote(name, safe='')}"
        with lookup.names_explained(call.service, (name,)):
            call.service.get(place) if dry_run else call.service.delete(place)
        return {"deleted": name, "dry_run": dry_run}

    verb = "Would delete" if dry_run else "Deleted"
    call.gather(names, delete, lambda gone: click.echo(f"{verb} {gone['deleted']}."))
