"""``moorage lease``: what makes claims end that nothing renews."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import quote

import click

from moorage.cli.client import explained, holding, lookup, spans
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.client.connection import RefusedError, ServiceConnection, ServiceError
from moorage.cli.client.explained import Json
from moorage.cli.client.holding import LACKS, LEASES, LEASES_FEATURE, Holding
from moorage.cli.client.supervision.kernel import boot_clock
from moorage.cli.shared import show
from moorage.cli.shared.groups import Commands
from moorage.cli.shared.names import is_written_as_uuid
from moorage.model.errors import MoorageError

STATES: Final = ("active", "expired", "quarantined", "released")

ON_EXPIRY: Final = ("quarantine", "release")

TTL: Final = "60s"

PAGE: Final = 500
"""Leases of one page of a list."""

AT_END: Final = ("leave", "release", "keep")

NOTIFY_VARIABLE: Final = "NOTIFY_SOCKET"
"""Where a service manager listens for what a service says of itself: see sd_notify(3)."""


class LeaseEndedError(MoorageError):
    """All leases that a command keeps have ended."""

    template = "No lease is left to renew."


@click.group(cls=Commands, short_help="Show and change leases, with which claims end.")
def lease() -> None:
    """Show and change leases. A claim that hangs on a lease ends with it, unless the lease is renewed.

    A lease is active for its ttl after each renewal, then expired for its grace: nothing is taken away yet,
    and a renewal revives it. After that its claims are quarantined until an operator decides, or released.
    The service must have Moorage's native API.
    """


def _path(name: str, *more: str) -> str:
    return "/".join([LEASES, *(quote(part, safe="") for part in (name, *more))])


def _ask(service: ServiceConnection, method: str, path: str, body: Any = None, **query: str | None) -> Any:
    with explained.needed(service, LEASES_FEATURE, LACKS):
        if method == "GET":
            return service.get(path, query)
        return service.once(method, path, body, query=query)


def default_owner() -> str:
    """What a lease is held by, if the command line does not say."""
    return f"{socket.gethostname()}:{os.getpid()}"


def grant_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of a new lease."""
    for option in (
        click.option(
            "--max-life",
            type=spans.Span(1),
            metavar="DURATION",
            help="When it ends whatever is renewed, without a grace. Default: never.",
        ),
        click.option(
            "--on-expiry",
            type=click.Choice(ON_EXPIRY),
            default="quarantine",
            show_default=True,
            help="What becomes of its claims after ttl and grace: an operator decides, or they end.",
        ),
        click.option(
            "--grace",
            type=spans.Span(),
            default="0s",
            metavar="DURATION",
            help="How long after its ttl nothing is taken away yet.  [default: 0s]",
        ),
        click.option(
            "--ttl",
            type=spans.Span(1),
            default=TTL,
            metavar="DURATION",
            help=f"How long it lasts without a renewal.  [default: {TTL}]",
        ),
        click.option("--owner", metavar="TEXT", help="What holds it.  [default: HOST:PID]"),
    ):
        function = option(function)
    return function


def grant_body(
    owner: str | None, ttl: float, grace: float, on_expiry: str, max_life: float | None
) -> dict[str, Any]:
    """The body of a request for a lease. Durations are in seconds."""
    body: dict[str, Any] = {
        "owner": owner or default_owner(),
        "ttl": spans.written(ttl),
        "grace": spans.written(grace),
        "on_expiry": on_expiry,
    }
    return body if max_life is None else {**body, "max_life": spans.written(max_life)}


@lease.command(name="create", short_help="Make a lease.")
@grant_options
@client_command
def create(
    call: CommandRun, owner: str | None, ttl: float, grace: float, on_expiry: str, max_life: float | None
) -> None:
    """Make a lease, for example

    moorage lease create --owner agent-h7 --ttl 60s --grace 5m

    Claim with it by 'moorage claim create --lease LEASE', and keep it by 'moorage lease keep LEASE'.
    Otherwise it expires.
    """
    found = _ask(call.service, "POST", LEASES, grant_body(owner, ttl, grace, on_expiry, max_life))
    call.done(found, f"Lease {found['lease']} of {found['owner']} holds for {found['remaining']}.")


@lease.command(name="list", short_help="List leases.")
@click.option("--state", type=click.Choice(STATES), help="Leases in this state.")
@click.option("--owner", metavar="TEXT", help="Leases of this owner.")
@click.option("--project", metavar="PROJECT", help="Leases of this project.")
@client_command
def list_leases(call: CommandRun, state: str | None, owner: str | None, project: str | None) -> None:
    """List leases, with how many claims hang on each."""
    wanted = {"state": state, "owner": owner, "project_id": project, "limit": str(PAGE)}
    found: list[Json] = []
    after: str | None = None
    while True:
        page = _ask(call.service, "GET", LEASES, **wanted, after=after)
        found += page["leases"]
        after = page["next"]
        if after is None:
            break
    columns = ("lease", "owner", "project", "state", "remaining", "ends in", "on expiry", "claims")
    keys = ("lease", "owner", "project_id", "state", "remaining", "ends_in", "on_expiry", "claims")
    call.show(
        found,
        lambda: show.table(
            columns,
            [[each[key] for key in keys] for each in found],
            numbers=("claims",),
            extras=("on expiry", "project", "ends in"),
        ),
    )


@lease.command(name="show", short_help="Show leases.")
@click.argument("leases", nargs=-1, required=True, metavar="LEASE...")
@client_command
def show_leases(call: CommandRun, leases: tuple[str, ...]) -> None:
    """Show each LEASE with the consumers whose claims hang on it."""

    def ask(name: str) -> dict[str, Any]:
        found = _ask(call.service, "GET", _path(name))
        held = call.service.get("/moorage/v1/claims", {"lease": name, "limit": str(PAGE)})
        return {**found, "consumers": [each["consumer"] for each in held["claims"]]}

    call.gather(leases, ask, _draw)


def _draw(found: Json) -> None:
    told = {name.replace("_", " "): value for name, value in found.items() if name != "consumers"}
    show.pairs(told)
    for number, consumer in enumerate(found["consumers"]):
        click.echo(f"{'holds' if not number else '':<6}{consumer}")


@lease.command(name="renew", short_help="Renew leases once.")
@click.argument("leases", nargs=-1, required=True, metavar="LEASE...")
@client_command
def renew(call: CommandRun, leases: tuple[str, ...]) -> None:
    """Renew each LEASE once, all in one request. Exit status 3 if one has ended."""
    with explained.needed(call.service, LEASES_FEATURE, LACKS):
        found = holding.renew(call.service, list(leases), holding.USUAL_PATIENCE_SECONDS)

    def draw() -> None:
        for each in found["renewed"]:
            again = ", active again" if each["revived"] else ""
            click.echo(f"Lease {each['lease']} holds for {each['remaining']}{again}.")
        for each in found["gone"]:
            click.echo(f"Lease {each['lease']} is {each['state'] or 'not known'}.")

    call.show(found, draw)
    if found["gone"]:
        call.answer_no()


@lease.command(name="release", short_help="End leases.")
@click.argument("leases", nargs=-1, required=True, metavar="LEASE...")
@click.option("--keep-claims", is_flag=True, help="Let their claims stay, without a lease.")
@client_command
def release(call: CommandRun, leases: tuple[str, ...], keep_claims: bool) -> None:
    """End each LEASE with its claims. Exit status 3 if one has ended already."""
    claims = "keep" if keep_claims else "release"
    what = "its claims stay" if keep_claims else "its claims are released"
    ended: list[Any] = []

    def one(name: str) -> None:
        with explained.needed(call.service, LEASES_FEATURE, LACKS):
            found = holding.end(call.service, name, claims)
        ended.append(found)
        call.done(
            found or {"lease": name, "state": None},
            f"Lease {name} has ended: {what}." if found else f"Lease {name} had ended already.",
        )

    call.each(leases, one)
    if not all(ended):
        call.answer_no()


@lease.command(name="restore", short_help="Make a quarantined lease active again.")
@click.argument("name", metavar="LEASE")
@client_command
def restore(call: CommandRun, name: str) -> None:
    """Make a quarantined LEASE active again, with its full ttl. 'moorage lease release' ends it instead."""
    found = _ask(call.service, "POST", _path(name, "resolution"), {"action": "restore"})
    call.done(found, f"Lease {name} is {found['state']}.")


@lease.command(name="attach", short_help="Let claims end with a lease.")
@click.argument("name", metavar="LEASE")
@click.argument("consumers", nargs=-1, required=True, metavar="CONSUMER...")
@client_command
def attach(call: CommandRun, name: str, consumers: tuple[str, ...]) -> None:
    """Let what each CONSUMER holds end with LEASE, in place of any other lease."""
    _hang(call, "PUT", name, consumers, "ends with")


@lease.command(name="detach", short_help="Let claims stay without their lease.")
@click.argument("name", metavar="LEASE")
@click.argument("consumers", nargs=-1, required=True, metavar="CONSUMER...")
@client_command
def detach(call: CommandRun, name: str, consumers: tuple[str, ...]) -> None:
    """Let what each CONSUMER holds stay without LEASE."""
    _hang(call, "DELETE", name, consumers, "no longer ends with")


def _hang(call: CommandRun, method: str, name: str, consumers: Sequence[str], told: str) -> None:
    def one(text: str) -> None:
        uuid = lookup.consumer_uuid(text)
        found = _ask(call.service, method, _path(name, "claims", uuid))
        call.done(found, f"What {lookup.called(text, uuid)} holds {told} the lease {name}.")

    call.each(consumers, one)


@lease.command(name="keep", short_help="Renew leases until this command ends.")
@click.argument("leases", nargs=-1, metavar="[LEASE]...")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the lease that this file names. If there is none, or it has ended, make one and write it "
    "there.",
)
@grant_options
@click.option(
    "--at-end",
    type=click.Choice(AT_END),
    default="leave",
    show_default=True,
    help="What to do with them when this command is ended: nothing, so that they expire; end them with their "
    "claims; or end them and keep the claims.",
)
@client_command
def keep(call: CommandRun, leases: tuple[str, ...], path: Path | None, at_end: str, **rest: Any) -> None:
    """Renew each LEASE until this command is ended, all in one request.

    While the service does not answer, it goes on trying: an expired lease can be revived while its grace
    lasts. TERM and INT end it with status 0. It ends with status 1 when the service says that no lease is
    left. Below a service manager (Type=notify) it says when the first renewal has succeeded.

    The options of 'moorage lease create' are for the lease that --file makes.
    """
    if bool(leases) == (path is not None):
        raise click.UsageError("Name leases, or use --file.")
    if path is not None:
        leases = (_lease_in(call.service, path, grant_body(**rest)),)
    kept = _Keeping(call.service, leases)
    before = [signal.signal(number, kept.stop) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        kept.run()
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
        if at_end != "leave":
            for name in kept.left:
                holding.end(call.service, name, at_end)


def _lease_in(service: ServiceConnection, path: Path, body: Mapping[str, Any]) -> str:
    """The lease that a file names, or a new one that it names from now on."""
    with suppress(FileNotFoundError):
        name = path.read_text(encoding="utf-8").strip()
        if is_written_as_uuid(name):
            found = holding.renew(service, [name], holding.USUAL_PATIENCE_SECONDS)
            if found["renewed"]:
                return name
    name = str(_ask(service, "POST", LEASES, body)["lease"])
    # As a whole or not at all: another process may read it at any time.
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(f"{name}\n", encoding="utf-8")
    beside.replace(path)
    return name


class _Keeping:
    """Leases that are renewed in this thread."""

    def __init__(self, service: ServiceConnection, leases: Sequence[str]) -> None:
        self._service = service
        now = boot_clock()
        self._holdings = {name: Holding(name, now, now) for name in leases}
        self._is_stopped = False
        self._is_troubled = False
        self._is_ready = False

    @property
    def left(self) -> Sequence[str]:
        """Those that have not ended."""
        return tuple(self._holdings)

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal that ends the command."""
        self._is_stopped = True

    def run(self) -> None:
        """Renew until a signal comes. Raises LeaseEndedError when none is left."""
        while self._holdings:
            pause = min(each.due for each in self._holdings.values()) - boot_clock()
            if self._is_stopped:
                return
            if pause > 0:
                # A signal may come at any time, and its handler does not end a sleep.
                time.sleep(min(pause, holding.STEP_SECONDS))
                continue
            self._renew()
        raise LeaseEndedError

    def _renew(self) -> None:
        sent = boot_clock()
        patience = min(each.patience(sent) for each in self._holdings.values())
        try:
            with explained.needed(self._service, LEASES_FEATURE, LACKS):
                found = holding.renew(self._service, list(self._holdings), patience)
        except (ServiceError, RefusedError) as error:
            for each in self._holdings.values():
                each.postpone(boot_clock())
            if not self._is_troubled:
                click.echo(f"Not renewed, and tried again: {holding.first_line(error)}", err=True)
            self._is_troubled = True
            return
        if self._is_troubled:
            click.echo("Renewed again.", err=True)
        self._is_troubled = False
        for gone in found["gone"]:
            del self._holdings[gone["lease"]]
            click.echo(f"Lease {gone['lease']} is {gone['state'] or 'not known'}.", err=True)
        for each in found["renewed"]:
            self._holdings[each["lease"]].extend(sent, spans.seconds(each["remaining"]))
            if each["revived"]:
                click.echo(f"Lease {each['lease']} had expired, and is active again.", err=True)
        if self._holdings and not self._is_ready:
            self._is_ready = True
            names = ", ".join(self._holdings)
            _notify("READY=1", f"STATUS=Keeping {names}")
            click.echo(f"Keeping {names}.", err=True)


def _notify(*lines: str) -> None:
    """Say something to the service manager, if there is one. Source: sd_notify(3)."""
    address = os.environ.get(NOTIFY_VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.sendto("\n".join(lines).encode(), address)
