"""``moorage trait``: what providers are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from moorage.cli.client import lookup, show
from moorage.cli.client.call import Call, client_command, complete_provider, provider_argument
from moorage.cli.client.connection import retried


@click.group(short_help="What providers are: their traits.")
def trait() -> None:
    """Traits: what there are, and which of them providers have."""


@trait.command(name="list", short_help="List traits, all or those of a provider.")
@click.option("--provider", shell_complete=complete_provider, help="Those that this provider has.")
@click.option("--prefix", help="Those whose names begin so.")
@click.option("--used/--unused", default=None, help="Those that some provider has, or that none has.")
@client_command
def list_traits(call: Call, provider: str | None, prefix: str | None, used: bool | None) -> None:
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


@trait.command(name="create", short_help="Create a trait of your own.")
@click.argument("name")
@client_command
def create_trait(call: Call, name: str) -> None:
    """Create the trait NAME, which begins with CUSTOM_. It is fine if it exists."""
    call.service.put(f"/traits/{quote(name, safe='')}", None)
    call.done({"name": name}, f"There is a trait {name}.")


@trait.command(name="delete", short_help="Delete a trait of your own that no provider has.")
@click.argument("name")
@client_command
def delete_trait(call: Call, name: str) -> None:
    """Delete the trait NAME, which begins with CUSTOM_ and is no provider's."""
    with lookup.names_explained(call.service, traits=(name,)):
        call.service.delete(f"/traits/{quote(name, safe='')}")
    call.done({"deleted": name}, f"Deleted {name}.")


def _change(
    call: Call, provider: str, named: tuple[str, ...], change: Callable[[set[str], set[str]], set[str]]
) -> None:
    """Replace a provider's traits by what ``change`` makes of those it has and those that are named."""
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/traits"

    def attempt() -> Any:
        present = call.service.get(path)
        body = {
            "resource_provider_generation": present["resource_provider_generation"],
            "traits": sorted(change(set(present["traits"]), set(named))),
        }
        return call.service.put(path, body)

    with lookup.names_explained(call.service, traits=named):
        changed = retried(attempt)
    call.done(changed, f"{provider} has: {' '.join(sorted(changed['traits'])) or 'no traits'}")


@trait.command(name="set", short_help="Set all traits of a provider.")
@provider_argument()
@click.argument("traits", nargs=-1)
@client_command
def set_traits(call: Call, provider: str, traits: tuple[str, ...]) -> None:
    """Give PROVIDER these TRAITS and no other; none at all if none is named."""
    _change(call, provider, traits, lambda _, named: named)


@trait.command(name="add", short_help="Add traits to a provider.")
@provider_argument()
@click.argument("traits", nargs=-1, required=True)
@client_command
def add_traits(call: Call, provider: str, traits: tuple[str, ...]) -> None:
    """Give PROVIDER these TRAITS beside those that it has."""
    _change(call, provider, traits, lambda present, named: present | named)


@trait.command(name="remove", short_help="Take traits from a provider.")
@provider_argument()
@click.argument("traits", nargs=-1, required=True)
@client_command
def remove_traits(call: Call, provider: str, traits: tuple[str, ...]) -> None:
    """Take these TRAITS from PROVIDER."""
    _change(call, provider, traits, lambda present, named: present - named)
