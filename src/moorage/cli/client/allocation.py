"""``moorage allocation``: what consumers hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import quote

import click
import requests

from moorage.cli.client import explained, lookup, syntax
from moorage.cli.client.call import CommandRun, client_command, provider_arguments
from moorage.cli.client.change import dry_run_option, tell
from moorage.cli.client.connection import (
    CONCURRENT_UPDATE,
    CONSUMER_CONFLICT,
    RefusedError,
    ServiceConnection,
    retried,
)
from moorage.cli.shared import show
from moorage.cli.shared.differences import differences
from moorage.cli.shared.groups import Commands

CONSUMER_TYPE_MINOR: Final = 38
"""Microversion 1.N since which consumers have a type."""

MOST_SHORTAGES: Final = 3
"""Most providers of a refused claim whose shortage is named."""

UNKNOWN_TYPE: Final = "unknown"
"""The type shown for a consumer without a type; clients cannot set it."""


@click.group(cls=Commands, short_help="What consumers hold.")
def allocation() -> None:
    """Allocations: what consumers hold of providers.

    A consumer is named by its UUID, or by the name that it has in a file for moorage load.
    """


@allocation.command(name="show", short_help="Show what consumers hold.")
@click.argument("consumers", nargs=-1, required=True, metavar="CONSUMER...")
@client_command
def show_allocations(call: CommandRun, consumers: tuple[str, ...]) -> None:
    """Show what each CONSUMER holds, and of which providers. Exit status 3 if one holds nothing."""

    def ask(name: str) -> dict[str, Any]:
        uuid = lookup.consumer_uuid(name)
        return {"consumer": uuid, "called": lookup.called(name, uuid), **call.service.get(_path(uuid))}

    found = call.gather(consumers, ask, lambda each: _draw(call.service, each))
    if not all(each["allocations"] for each in found):
        call.answer_no()


def _path(consumer: str) -> str:
    return f"/allocations/{quote(consumer, safe='')}"


def _draw(service: ServiceConnection, found: dict[str, Any]) -> None:
    held = found["allocations"]
    if not held:
        click.echo(f"{found['called']} holds nothing.")
        return
    show.pairs(
        {
            "consumer": found["called"],
            "type": found.get("consumer_type"),
            "project": found["project_id"],
            "user": found["user_id"],
            "generation": found["consumer_generation"],
        }
    )
    draw_held(service, {uuid: each["resources"] for uuid, each in held.items()})


def draw_held(service: ServiceConnection, held: Mapping[str, Mapping[str, int]]) -> None:
    """Print what a consumer holds; ``held`` has amounts by class, by the UUID of the provider."""
    names = lookup.provider_names(service, held)
    show.table(
        ("provider", "class", "amount"),
        sorted(
            ((names[uuid], name, amount) for uuid, each in held.items() for name, amount in each.items()),
            key=lambda row: (show.natural(str(row[0])), str(row[1])),
        ),
        numbers=("amount",),
    )


@allocation.command(name="list", short_help="List allocations: of providers, of a project, or all.")
@provider_arguments(required=False)
@click.option("--all", "everything", is_flag=True, help="All that consumers hold.")
@click.option("--project", help="Only what this project holds.")
@click.option("--type", "consumer_type", help="Only what consumers of this type hold.")
@client_command
def list_allocations(
    call: CommandRun,
    providers: tuple[str, ...],
    everything: bool,
    project: str | None,
    consumer_type: str | None,
) -> None:
    """List which consumers hold what, of which providers, and since when.

    Of each PROVIDER, or of all with --all, --project or --type. SINCE is how long ago what the consumer
    holds was last written (data has the date, in UTC): the API shows no other date. Each provider and each
    consumer costs a request.
    """
    if not (providers or everything or project or consumer_type):
        raise click.UsageError("Name providers, or use --all, --project or --type.")
    rows = holdings_of(call, providers, project, consumer_type)
    call.show(
        rows,
        lambda: show.table(
            ROW,
            [tuple(show.age(row[key]) if key == "since" else row[key] for key in ROW) for row in rows],
            numbers=("amount",),
            extras=("user", "type", "project"),
        ),
    )


ROW: Final = ("consumer", "provider", "class", "amount", "since", "project", "user", "type")


def holdings_of(
    call: CommandRun, providers: tuple[str, ...], project: str | None, consumer_type: str | None
) -> list[dict[str, Any]]:
    """Allocations, one row for each consumer, provider and class, in this order."""
    names = _providers(call, providers)
    consumers: set[str] = set()
    for uuid in show.progress("Providers", names):
        consumers |= call.service.get(f"/resource_providers/{uuid}/allocations")["allocations"].keys()
    rows: list[dict[str, Any]] = []
    for consumer in show.progress("Consumers", sorted(consumers)):
        found, dated = call.service.get_dated(_path(consumer))
        if project not in (None, found.get("project_id")):
            continue
        if consumer_type not in (None, found.get("consumer_type")):
            continue
        rows += [
            {
                "consumer": consumer,
                "provider": names[uuid],
                "class": name,
                "amount": amount,
                "since": dated,
                "project": found["project_id"],
                "user": found["user_id"],
                "type": found.get("consumer_type"),
            }
            for uuid, each in found["allocations"].items()
            if uuid in names
            for name, amount in each["resources"].items()
        ]
    return sorted(rows, key=lambda row: (show.natural(row["provider"]), row["consumer"], row["class"]))


def _providers(call: CommandRun, wanted: tuple[str, ...]) -> dict[str, str]:
    """Names of the wanted providers by UUID; of all providers if none is named."""
    found: dict[str, str] = {}

    def one(name: str) -> None:
        provider = lookup.provider(call.service, name)
        found[provider["uuid"]] = provider["name"]

    call.each(wanted, one)
    if wanted:
        return found
    listed = call.service.get("/resource_providers")["resource_providers"]
    return {each["uuid"]: each["name"] for each in listed}


@allocation.command(name="set", short_help="Set what a consumer holds: claim, change or move.")
@click.argument("consumer")
@click.argument("holdings", nargs=-1, required=True, metavar="PROVIDER:CLASS=AMOUNT[,...]...")
@click.option("--project", help="Project of the consumer. Default: as before.")
@click.option("--user", help="User of the consumer. Default: as before.")
@click.option(
    "--type", "consumer_type", help="Type of the consumer, for example INSTANCE. Default: as before."
)
@dry_run_option
@client_command
def set_allocations(
    call: CommandRun,
    consumer: str,
    holdings: tuple[str, ...],
    project: str | None,
    user: str | None,
    consumer_type: str | None,
    dry_run: bool,
) -> None:
    """Let CONSUMER hold exactly this, all or nothing: host1:VCPU=2,MEMORY_MB=512 storage:DISK_GB=10

    This replaces what CONSUMER holds now, so it can claim, change and move. A new consumer needs --project
    and --user. If another client changes the consumer at the same time, nothing is done.
    """
    wanted = syntax.holdings(holdings)
    uuids = {name: lookup.provider_uuid(call.service, name) for name in wanted}
    if len(set(uuids.values())) < len(uuids):
        raise click.BadParameter("A provider is named twice.")
    uuid = lookup.consumer_uuid(consumer)
    present = call.service.get(_path(uuid))
    body: dict[str, Any] = {
        "allocations": {uuids[name]: {"resources": amounts} for name, amounts in wanted.items()},
        "project_id": project or present.get("project_id"),
        "user_id": user or present.get("user_id"),
        "consumer_generation": present.get("consumer_generation"),
    }
    called = lookup.called(consumer, uuid)
    if not (body["project_id"] and body["user_id"]):
        raise click.UsageError(f"{called} holds nothing yet: name its owner with --project and --user.")
    minor = call.service.minor
    untyped = present.get("consumer_type") == UNKNOWN_TYPE
    if untyped and not consumer_type:
        # A consumer without a type stays without one: newer microversions require a type.
        minor = CONSUMER_TYPE_MINOR - 1
    elif minor >= CONSUMER_TYPE_MINOR:
        body["consumer_type"] = consumer_type or present.get("consumer_type") or "INSTANCE"
    elif consumer_type:
        raise click.UsageError("This service does not support types of consumers: leave --type out.")
    before, after = _told(call.service, present), _told(call.service, body)
    if before == after:
        tell(call, called, before, after, dry_run=dry_run)
        return
    classes = {name for amounts in wanted.values() for name in amounts}
    with lookup.names_explained(call.service, classes):
        try:
            if not dry_run:
                retried(lambda: call.service.put(_path(uuid), body, minor))
        except RefusedError as refusal:
            # What the consumer holds already counts as used, so an explanation would be wrong there.
            new = {uuids[name]: wanted[name] for name in wanted if uuids[name] not in present["allocations"]}
            raise _explained(call.service, refusal, consumer, wanted, new) from refusal
    tell(call, called, before, after, dry_run=dry_run)


def _told(service: ServiceConnection, allocations: dict[str, Any]) -> dict[str, Any]:
    """What a consumer holds, and its owner, in a readable form."""
    held = allocations["allocations"]
    if not held:
        return {}
    names = lookup.provider_names(service, held)
    return {
        "project": allocations["project_id"],
        "user": allocations["user_id"],
        **({"type": kind} if (kind := allocations.get("consumer_type")) not in (None, UNKNOWN_TYPE) else {}),
        **{names[uuid]: dict(sorted(each["resources"].items())) for uuid, each in held.items()},
    }


def _explained(
    service: ServiceConnection,
    refusal: RefusedError,
    consumer: str,
    providers: Collection[str],
    claimed: Mapping[str, Mapping[str, int]],
) -> RefusedError:
    """A refusal of a claim, with advice added. ``claimed`` are amounts by uuid of the provider."""
    if CONSUMER_CONFLICT in refusal.detail:
        # The command does not overwrite another client's change: the user must look at it first.
        refusal.advice = (
            f"Another client changed {consumer} at the same time. "
            f"Look at it ('moorage allocation show {consumer}'), then try again."
        )
        return refusal
    if len(providers) == 1:
        refusal.advice = refusal.advice.replace("PROVIDER", next(iter(providers)))
    if refusal.advice and refusal.status == requests.codes.conflict and refusal.code != CONCURRENT_UPDATE:
        asked = list(claimed.items())[:MOST_SHORTAGES]
        shortages = [explained.shortage(service, uuid, each) for uuid, each in asked]
        refusal.advice = "\n".join([*filter(None, shortages), refusal.advice])
    return refusal


@allocation.command(name="delete", short_help="Free all that consumers hold.")
@click.argument("consumers", nargs=-1, required=True, metavar="CONSUMER...")
@dry_run_option
@client_command
def delete_allocations(call: CommandRun, consumers: tuple[str, ...], dry_run: bool) -> None:
    """Free all that each CONSUMER holds."""

    def delete(name: str) -> dict[str, Any]:
        uuid = lookup.consumer_uuid(name)
        held = _told(call.service, call.service.get(_path(uuid)))
        if not dry_run:
            call.service.delete(_path(uuid))
        return {"deleted": uuid, "called": lookup.called(name, uuid), "before": held, "dry_run": dry_run}

    def draw(gone: dict[str, Any]) -> None:
        told = "would hold nothing any more" if dry_run else "holds nothing any more"
        click.echo(f"{gone['called']} {told}{':' if gone['before'] else '.'}")
        for line in differences(gone["before"], {}):
            click.echo(f"  {line}")

    call.gather(consumers, delete, draw)
