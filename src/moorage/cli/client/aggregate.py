"""``moorage aggregate``: which providers belong together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from moorage.cli.client import lookup, show
from moorage.cli.client.call import Call, client_command, provider_argument
from moorage.cli.client.connection import retried


@click.group(short_help="Which providers belong together.")
def aggregate() -> None:
    """Aggregates: groups of providers, each named by a UUID.

    An aggregate exists as long as a provider is in it: nothing creates or deletes one.
    """


@aggregate.command(name="list", short_help="List the aggregates of a provider.")
@provider_argument()
@client_command
def list_aggregates(call: Call, provider: str) -> None:
    """List the aggregates that PROVIDER is in, one per line."""
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/aggregates"
    found = sorted(call.service.get(path)["aggregates"])
    call.show(found, lambda: show.lines(found))


def _change(
    call: Call, provider: str, named: tuple[str, ...], change: Callable[[set[str], set[str]], set[str]]
) -> None:
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/aggregates"

    def attempt() -> Any:
        present = call.service.get(path)
        body = {
            "resource_provider_generation": present["resource_provider_generation"],
            "aggregates": sorted(change(set(present["aggregates"]), set(named))),
        }
        return call.service.put(path, body)

    changed = retried(attempt)
    call.done(changed, f"{provider} is in: {' '.join(sorted(changed['aggregates'])) or 'no aggregate'}")


@aggregate.command(name="set", short_help="Set all aggregates of a provider.")
@provider_argument()
@click.argument("aggregates", nargs=-1)
@client_command
def set_aggregates(call: Call, provider: str, aggregates: tuple[str, ...]) -> None:
    """Put PROVIDER into these AGGREGATES and no other; into none if none is named."""
    _change(call, provider, aggregates, lambda _, named: named)


@aggregate.command(name="add", short_help="Put a provider into aggregates.")
@provider_argument()
@click.argument("aggregates", nargs=-1, required=True)
@client_command
def add_aggregates(call: Call, provider: str, aggregates: tuple[str, ...]) -> None:
    """Put PROVIDER into these AGGREGATES beside those that it is in."""
    _change(call, provider, aggregates, lambda present, named: present | named)


@aggregate.command(name="remove", short_help="Take a provider out of aggregates.")
@provider_argument()
@click.argument("aggregates", nargs=-1, required=True)
@client_command
def remove_aggregates(call: Call, provider: str, aggregates: tuple[str, ...]) -> None:
    """Take PROVIDER out of these AGGREGATES."""
    _change(call, provider, aggregates, lambda present, named: present - named)
