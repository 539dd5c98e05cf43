"""``moorage aggregate``: groups of providers."""

from __future__ import annotations

from collections.abc import Callable

import click

from moorage.cli.client import lookup
from moorage.cli.client.call import CommandRun, client_command, provider_argument
from moorage.cli.client.change import change_members, dry_run_option
from moorage.cli.shared import show
from moorage.cli.shared.groups import Commands

Change = Callable[[set[str], set[str]], set[str]]
"""Computes the new aggregates of a provider from its present ones and the named ones."""


@click.group(cls=Commands, short_help="Groups of providers.")
def aggregate() -> None:
    """Aggregates: groups of providers.

    An aggregate exists as long as a provider is in it: no command creates or deletes one. Its name is its
    UUID, or by the name that it has in a file for moorage load.
    """


@aggregate.command(name="list", short_help="List the aggregates of a provider.")
@provider_argument()
@client_command
def list_aggregates(call: CommandRun, provider: str) -> None:
    """List the aggregates that PROVIDER is in, one per line."""
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/aggregates"
    found = sorted(call.service.get(path)["aggregates"])
    call.show(found, lambda: show.lines(found))


def _change(
    call: CommandRun, provider: str, named: tuple[str, ...], change: Change, *, dry_run: bool
) -> None:
    uuids = {lookup.aggregate_uuid(name) for name in named}
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/aggregates"
    change_members(
        call, provider, path, "aggregates", lambda present: change(present, uuids), dry_run=dry_run
    )


@aggregate.command(name="set", short_help="Set all aggregates of a provider.")
@provider_argument()
@click.argument("aggregates", nargs=-1)
@dry_run_option
@client_command
def set_aggregates(call: CommandRun, provider: str, aggregates: tuple[str, ...], dry_run: bool) -> None:
    """Put PROVIDER into these AGGREGATES and no other; into none if none is named."""
    _change(call, provider, aggregates, lambda _, named: named, dry_run=dry_run)


@aggregate.command(name="add", short_help="Put a provider into aggregates.")
@provider_argument()
@click.argument("aggregates", nargs=-1, required=True)
@dry_run_option
@client_command
def add_aggregates(call: CommandRun, provider: str, aggregates: tuple[str, ...], dry_run: bool) -> None:
    """Put PROVIDER into these AGGREGATES, in addition to those that it is in."""
    _change(call, provider, aggregates, lambda present, named: present | named, dry_run=dry_run)


@aggregate.command(name="remove", short_help="Take a provider out of aggregates.")
@provider_argument()
@click.argument("aggregates", nargs=-1, required=True)
@dry_run_option
@client_command
def remove_aggregates(call: CommandRun, provider: str, aggregates: tuple[str, ...], dry_run: bool) -> None:
    """Take PROVIDER out of these AGGREGATES."""
    _change(call, provider, aggregates, lambda present, named: present - named, dry_run=dry_run)
