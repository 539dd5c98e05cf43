"""``moorage resource-class``: what can be provided."""

from __future__ import annotations

from urllib.parse import quote

import click

from moorage.cli.client import lookup, show
from moorage.cli.client.call import Call, client_command


@click.group(name="resource-class", short_help="What can be provided.")
def resource_class() -> None:
    """Resource classes: the standard ones, and those of your own (CUSTOM_...)."""


@resource_class.command(name="list", short_help="List resource classes.")
@client_command
def list_classes(call: Call) -> None:
    """List resource classes, one per line."""
    names = [each["name"] for each in call.service.get("/resource_classes")["resource_classes"]]
    call.show(names, lambda: show.lines(names))


@resource_class.command(name="create", short_help="Create a resource class of your own.")
@click.argument("name")
@client_command
def create_class(call: Call, name: str) -> None:
    """Create the resource class NAME, which begins with CUSTOM_. It is fine if it exists."""
    call.service.put(f"/resource_classes/{quote(name, safe='')}", None)
    call.done({"name": name}, f"There is a resource class {name}.")


@resource_class.command(name="delete", short_help="Delete a class of your own that nobody offers.")
@click.argument("name")
@client_command
def delete_class(call: Call, name: str) -> None:
    """Delete the resource class NAME, which begins with CUSTOM_ and is in no inventory."""
    with lookup.names_explained(call.service, (name,)):
        call.service.delete(f"/resource_classes/{quote(name, safe='')}")
    call.done({"deleted": name}, f"Deleted {name}.")
