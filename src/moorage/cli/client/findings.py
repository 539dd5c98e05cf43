"""``moorage findings``: what reports and the account disagree about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from moorage.cli.client import explained, lookup
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.client.connection import ServiceConnection
from moorage.cli.shared import show
from moorage.cli.shared.groups import Commands
from moorage.model.reports import KINDS, STATES

FINDINGS: Final = "/moorage/v1/findings"
REPORTS_FEATURE: Final = "reports"
LACKS: Final = "takes no reports"

Json = Mapping[str, Any]


@click.group(cls=Commands, short_help="See and heal what reports and the account disagree about.")
def findings() -> None:
    """See and heal what reports and the account disagree about.

    leaked: held, and not reported. missing: reported, and not held. differs: other amounts. moved: held of
    another tree. The service must have Moorage's native API.
    """


@findings.command(name="list", short_help="List findings.")
@click.option("--kind", type=click.Choice(KINDS), help="Findings of this kind.")
@click.option("--source", help="Findings of this source.")
@click.option("--state", type=click.Choice(STATES), help="Findings in this state.")
@click.option("--consumer", help="Findings about this consumer.")
@click.option("--limit", type=click.IntRange(1, 5_000), default=500, show_default=True, help="Most to show.")
@client_command
def list_findings(
    call: CommandRun,
    kind: str | None,
    source: str | None,
    state: str | None,
    consumer: str | None,
    limit: int,
) -> None:
    """List what reports and the account disagree about.

    Below each consumer stand the id of the finding, its state and its source, and what the service will do of
    itself if a report still shows it then.
    """
    uuid = None if consumer is None else lookup.consumer_uuid(consumer)
    query = {"kind": kind, "source": source, "state": state, "consumer": uuid, "limit": str(limit)}
    with explained.needed(call.service, REPORTS_FEATURE, LACKS):
        found = call.service.get(FINDINGS, query)
    call.show(found, lambda: draw_findings(call.service, found))


def draw_findings(service: ServiceConnection, found: Json) -> None:
    """Print a page of findings."""
    if not found["findings"]:
        click.echo("There are no findings.")
        return
    listed = found["findings"]
    names = lookup.provider_names(service, {each["tree"] for each in listed})
    rows: list[tuple[object, ...]] = []
    for each in listed:
        held, reported = _amounts(each["held"]), _amounts(each["reported"])
        rows += [
            (each["consumer"], each["kind"], names[each["tree"]], held, reported, show.age(each["since"])),
            (each["id"], each["state"], each["source"], _due(each), "", ""),
        ]
    show.table(("consumer", "kind", "tree", "held", "reported", "since"), rows)
    more = found["total"] - len(listed)
    if more > 0:
        click.echo(f"{more} more; --limit shows them.")


def _amounts(providers: Json | None) -> str:
    if not providers:
        return "-"
    total: dict[str, int] = {}
    for amounts in providers.values():
        for name, amount in amounts.items():
            total[name] = total.get(name, 0) + amount
    return ",".join(f"{name}={amount}" for name, amount in sorted(total.items()))


def _due(finding: Json) -> str:
    if finding["action"] is None or finding["due_in_seconds"] is None:
        return ""
    minutes = -(-finding["due_in_seconds"] // 60)
    return f"{finding['action']} {f'in {minutes} min' if minutes else 'now'}"


@findings.command(name="show", short_help="Show findings.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@client_command
def show_finding(call: CommandRun, ids: tuple[str, ...]) -> None:
    """Show findings by their ids."""

    def ask(id_: str) -> Any:
        with explained.needed(call.service, REPORTS_FEATURE, LACKS):
            return call.service.get(f"{FINDINGS}/{quote(id_, safe='')}")

    call.gather(ids, ask, lambda found: _draw_one(call.service, found))


def _draw_one(service: ServiceConnection, found: Json) -> None:
    uuids = {found["tree"], *found["held"], *(found["reported"] or {}), *found["rest"]}
    names = lookup.provider_names(service, uuids)

    def told(providers: Json | None) -> str | None:
        parts = [f"{_amounts({uuid: each})} of {names[uuid]}" for uuid, each in (providers or {}).items()]
        return "; ".join(parts) or None

    show.pairs(
        {
            "finding": found["id"],
            "source": found["source"],
            "kind": found["kind"],
            "state": found["state"],
            "consumer": found["consumer"],
            "type": found["consumer_type"],
            "project": found["project_id"],
            "tree": names[found["tree"]],
            "held": told(found["held"]),
            "reported": told(found["reported"]),
            "held elsewhere": told(found["rest"]),
            "since": found["since"],
            "will be done": None if found["action"] is None else _due(found),
            "last trouble": found["trouble"],
        }
    )


def _resolved(call: CommandRun, ids: tuple[str, ...], body: Json, sentence: str) -> None:
    def one(id_: str) -> Any:
        with explained.needed(call.service, REPORTS_FEATURE, LACKS):
            return call.service.post_once(f"{FINDINGS}/{quote(id_, safe='')}/resolution", body)

    call.gather(ids, one, lambda found: click.echo(sentence.format(**found)))


@findings.command(short_help="Let consumers hold what is reported.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--allow-overcommit", is_flag=True, help="Even if there is no room, since it runs anyway.")
@client_command
def heal(call: CommandRun, ids: tuple[str, ...], allow_overcommit: bool) -> None:
    """Let the consumers of findings hold what is reported, now. What is leaked is released.

    A claim that has changed since the report is left alone.
    """
    body = {"action": "heal", "allow_overcommit": allow_overcommit}
    _resolved(call, ids, body, "{finding} is healed (revision {revision}).")


@findings.command(short_help="Keep what is leaked taken until an operator decides.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@client_command
def quarantine(call: CommandRun, ids: tuple[str, ...]) -> None:
    """Hang what is leaked on a quarantined lease, in place of releasing it.

    Its capacity stays taken until an operator releases or restores the lease.
    """
    _resolved(call, ids, {"action": "quarantine"}, "{finding} is quarantined (revision {revision}).")


@findings.command(short_help="Leave findings alone.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@client_command
def ignore(call: CommandRun, ids: tuple[str, ...]) -> None:
    """Leave findings alone as long as claim and report stay as they are."""
    _resolved(call, ids, {"action": "ignore"}, "{finding} is ignored.")


@findings.command(short_help="No longer ignore findings.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@client_command
def reopen(call: CommandRun, ids: tuple[str, ...]) -> None:
    """No longer ignore findings."""
    _resolved(call, ids, {"action": "reopen"}, "{finding} is open again.")
