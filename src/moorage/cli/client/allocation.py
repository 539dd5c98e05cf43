"""``moorage allocation``: who holds what."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import click

from moorage.cli.client import lookup, show, syntax
from moorage.cli.client.call import Call, client_command, provider_argument
from moorage.cli.client.connection import CONSUMER_CONFLICT, RefusedError, Service, retried
from moorage.cli.console import stdout

CONSUMER_TYPE_MINOR: Final = 38
"""Microversion 1.N since which consumers have a type."""

UNKNOWN_TYPE: Final = "unknown"
"""How a consumer without a type is shown; nobody may set it."""


@click.group(short_help="Who holds what.")
def allocation() -> None:
    """Allocations: what consumers hold of providers."""


@allocation.command(name="show", short_help="Show what a consumer holds.")
@click.argument("consumer")
@client_command
def show_allocations(call: Call, consumer: str) -> None:
    """Show what the consumer with the UUID CONSUMER holds, and of whom."""
    found = call.service.get(_path(consumer))
    call.show(found, lambda: _draw(call.service, consumer, found))


def _path(consumer: str) -> str:
    return f"/allocations/{quote(consumer, safe='')}"


def _draw(service: Service, consumer: str, found: dict[str, Any]) -> None:
    held = found["allocations"]
    if not held:
        stdout().print(f"{consumer} holds nothing.", markup=False)
        return
    show.pairs(
        {
            "consumer": consumer,
            "type": found.get("consumer_type"),
            "project": found["project_id"],
            "user": found["user_id"],
            "generation": found["consumer_generation"],
        }
    )
    names = lookup.provider_names(service, held)
    show.table(
        ("provider", "class", "amount"),
        sorted(
            (names[uuid], name, amount)
            for uuid, each in held.items()
            for name, amount in each["resources"].items()
        ),
        numbers=("amount",),
    )


@allocation.command(name="list", short_help="List who holds of a provider.")
@provider_argument()
@client_command
def list_allocations(call: Call, provider: str) -> None:
    """List the consumers that hold of PROVIDER, and how much."""
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}/allocations"
    found = call.service.get(path)["allocations"]
    call.show(
        found,
        lambda: show.table(
            ("consumer", "class", "amount"),
            sorted(
                (consumer, name, amount)
                for consumer, each in found.items()
                for name, amount in each["resources"].items()
            ),
            numbers=("amount",),
        ),
    )


@allocation.command(name="set", short_help="Set what a consumer holds: claim, change or move.")
@click.argument("consumer")
@click.argument("holdings", nargs=-1, required=True, metavar="PROVIDER:CLASS=AMOUNT[,...]...")
@click.option("--project", help="Whose it is. Default: as before.")
@click.option("--user", help="Who asked for it. Default: as before.")
@click.option("--type", "consumer_type", help="Its type, for example INSTANCE. Default: as before.")
@client_command
def set_allocations(
    call: Call,
    consumer: str,
    holdings: tuple[str, ...],
    project: str | None,
    user: str | None,
    consumer_type: str | None,
) -> None:
    """Let CONSUMER hold exactly this, all or nothing: host1:VCPU=2,MEMORY_MB=512 storage:DISK_GB=10

    What it holds now is replaced, so that this claims, changes and moves. A new consumer needs --project
    and --user. If somebody else changes the consumer at the same time, nothing is done.
    """
    wanted = syntax.holdings(holdings)
    uuids = {name: lookup.provider_uuid(call.service, name) for name in wanted}
    if len(set(uuids.values())) < len(uuids):
        raise click.BadParameter("A provider is named twice.")
    present = call.service.get(_path(consumer))
    body: dict[str, Any] = {
        "allocations": {uuids[name]: {"resources": amounts} for name, amounts in wanted.items()},
        "project_id": project or present.get("project_id"),
        "user_id": user or present.get("user_id"),
        "consumer_generation": present.get("consumer_generation"),
    }
    if not (body["project_id"] and body["user_id"]):
        raise click.UsageError(f"{consumer} holds nothing yet: say whose it is with --project and --user.")
    if call.service.minor >= CONSUMER_TYPE_MINOR:
        body["consumer_type"] = _type(consumer_type or present.get("consumer_type"))
    classes = {name for amounts in wanted.values() for name in amounts}
    with lookup.names_explained(call.service, classes):
        try:
            retried(lambda: call.service.put(_path(consumer), body))
        except RefusedError as refusal:
            raise _explained(refusal, consumer) from refusal
    call.done(body, f"{consumer} holds {', '.join(holdings)}.")


def _type(name: str | None) -> str:
    return "INSTANCE" if name in (None, UNKNOWN_TYPE) else str(name)


def _explained(refusal: RefusedError, consumer: str) -> RefusedError:
    """Whoever changed the consumer meanwhile had something in mind: not to be undone unseen."""
    if CONSUMER_CONFLICT in refusal.detail:
        refusal.advice = (
            f"Somebody else changed {consumer} at the same time. "
            f"Look at it ('moorage allocation show {consumer}'), then try again."
        )
    return refusal


@allocation.command(name="delete", short_help="Free all that a consumer holds.")
@click.argument("consumer")
@client_command
def delete_allocations(call: Call, consumer: str) -> None:
    """Free all that CONSUMER holds."""
    call.service.delete(_path(consumer))
    call.done({"deleted": consumer}, f"{consumer} holds nothing any more.")
