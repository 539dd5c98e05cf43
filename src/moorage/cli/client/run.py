"""``moorage run``: a command that holds what it needs for as long as it runs."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import click

from moorage.cli.client import claim, explained, holding, lookup, placeholders, room, spans
from moorage.cli.client.address import Address, address_of
from moorage.cli.client.call import CommandRun, client_command, complete_provider
from moorage.cli.client.connection import (
    NoAnswerError,
    NotAllowedError,
    RefusedError,
    ServiceConnection,
    ServiceError,
)
from moorage.cli.client.explained import Json
from moorage.cli.client.holding import LACKS, LEASES, LEASES_FEATURE, Holding, Renewing
from moorage.cli.client.lease import ON_EXPIRY, default_owner
from moorage.cli.client.order_options import OrderWishes, order_options
from moorage.cli.client.placeholders import Device, EnvironmentVariable
from moorage.cli.client.search_options import SearchWishes, search_options
from moorage.cli.client.supervision.command import SIGNALLED, GuardedCommand, StoppedError, stoppable
from moorage.cli.client.supervision.guard import RunOrder
from moorage.cli.client.supervision.kernel import boot_clock
from moorage.cli.shared import names
from moorage.cli.shared.exits import NO
from moorage.model.valueclass import valueclass

HOST_VARIABLE: Final = "MOORAGE_HOST"

TTL: Final = 60.0
KILL_AFTER: Final = 10.0
"""Usual ttl of the lease, and usual pause between TERM and KILL, in seconds."""

GRACE_BEYOND: Final = 5.0
"""The grace of the lease is so much longer than the pause between TERM and KILL."""

NO_ROOM: Final = "no_room"
"""Code of a refusal after which waiting helps: in an empty cloud the request fits."""

GUESSED: Final = (
    "The token may not look up names. So {name} stands for the provider that 'moorage load' makes under this "
    "name. Name one that was made otherwise by its UUID: --host UUID."
)

_RESOURCES: Final = re.compile(r"resources(.*)")
"""A parameter of a query that says what a group needs, and the group's suffix."""


@valueclass(frozen=True, slots=True)
class LeaseTerms:
    """How long the lease lasts, in seconds. ``life`` None: as long as the command runs."""

    ttl: float
    kill_after: float
    life: float | None
    on_expiry: str

    @property
    def body(self) -> Json:
        """The body of a request for the lease.

        Its grace is longer than the pause between TERM and KILL. So what is claimed is not given away before
        the command has ended, even if the service hears nothing of it any more.
        """
        body = {
            "owner": default_owner(),
            "ttl": spans.written(self.ttl),
            "grace": spans.written(self.kill_after + GRACE_BEYOND),
            "on_expiry": self.on_expiry,
        }
        return body if self.life is None else {**body, "max_life": spans.written(self.life)}

    @property
    def run_time(self) -> float | None:
        """How long the command may run. The rest is for its end: such an end of a lease has no grace."""
        return None if self.life is None else self.life - min(self.kill_after, self.life / 2)


@valueclass(frozen=True, slots=True)
class WhatToClaim:
    """What to claim: an entry of POST /claims, the classes and traits in it, and the tree.

    ``tree`` is the UUID of a provider. ``guessed_by`` is the name that the UUID was made from, if the service
    did not give it.
    """

    entry: Json
    classes: frozenset[str]
    traits: frozenset[str]
    tree: str | None
    guessed_by: str | None


@dataclass(slots=True)
class ClaimOnLease:
    """What was claimed, with its lease. ``revision`` is that of the claim."""

    holding: Holding
    sent: float
    fence: int
    consumer: str
    revision: int
    devices: list[Device] = field(default_factory=list)


@click.command(
    short_help="Run a command that holds what it needs.",
    context_settings={"allow_interspersed_args": False},
)
@order_options
@search_options
@click.option(
    "--query",
    metavar="QUERY",
    help="What is needed, as a query of GET /allocation_candidates.",
)
@click.option(
    "--host",
    metavar="PROVIDER",
    shell_complete=complete_provider,
    help=f"The provider that is this machine: only its tree will do.  [env var: {HOST_VARIABLE}; default: "
    "the machine's name]",
)
@click.option("--anywhere", is_flag=True, help="Any tree will do: what is claimed is not part of a machine.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=TEXT",
    help="Set a variable for the command. In it {CLASS.index} is the number at the end of the name of the "
    "provider that gives CLASS, several joined by commas; so are {CLASS.name}, {CLASS.label}, {CLASS.uuid}, "
    "{CLASS.host} and {CLASS.amount}. Repeatable.",
)
@click.option(
    "--for",
    "life",
    type=spans.Span(1),
    metavar="DURATION",
    help="Longest time to hold it, such as 8h. TERM comes so early that --kill-after fits in.",
)
@click.option(
    "--wait",
    "patience",
    type=spans.Span(),
    metavar="DURATION",
    help="How long to wait for a place, such as 30m.",
)
@click.option(
    "--kill-after",
    type=spans.Span(),
    default=spans.written(KILL_AFTER),
    show_default=True,
    metavar="DURATION",
    help="How long a command that must end may take after TERM, before KILL.",
)
@click.option(
    "--ttl",
    type=spans.Span(1),
    default=spans.written(TTL),
    show_default=True,
    metavar="DURATION",
    help="How long the service may be out of reach before the command is ended.",
)
@click.option(
    "--on-expiry",
    type=click.Choice(ON_EXPIRY),
    default="release",
    show_default=True,
    help="What becomes of the claim if this command ends without a word: it ends, or waits for an operator.",
)
@click.option("--project", metavar="PROJECT", help="Project of the claim. Default: that of the token.")
@click.option("--user", metavar="USER", help="User of the claim. Default: that of the token.")
@click.option("--type", "consumer_type", metavar="TYPE", help="Type of the consumer, for example JOB.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    callback=claim.labels,
    help="Keep this with the claim. Repeatable.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@client_command
def run(
    call: CommandRun,
    command: tuple[str, ...],
    query: str | None,
    wishes: SearchWishes,
    order: OrderWishes,
    host: str | None,
    anywhere: bool,
    variables: tuple[str, ...],
    life: float | None,
    patience: float | None,
    kill_after: float,
    ttl: float,
    on_expiry: str,
    **owner: Any,
) -> None:
    """Claim something, run COMMAND, and give it back when the command ends, however it ends. For example

    moorage run --resources PGPU=1 --env 'CUDA_VISIBLE_DEVICES={PGPU.index}' -- python train.py

    The claim hangs on a lease, which is renewed while the command runs. If it is lost, the command gets TERM,
    and KILL after --kill-after. The command also gets MOORAGE_CLAIM, MOORAGE_LEASE, MOORAGE_FENCE and
    MOORAGE_PROVIDERS. It runs in a process group of its own, and signals are passed on to it. What it leaves
    behind is ended with it.

    Exit status: that of the command, 128 and the number of the signal that has ended it, 126 or 127 if it
    cannot be executed; 3 if there is no place.
    """
    if host is not None and anywhere:
        raise click.UsageError("Use --host or --anywhere.")
    if (query is None) == wishes.is_empty:
        raise click.UsageError("Use --query, or say what is needed by --resources and --group.")
    try:
        to_set = [placeholders.variable(text) for text in variables]
    except placeholders.PlaceholderError as error:
        raise click.BadParameter(str(error), param_hint="--env") from error
    terms = LeaseTerms(ttl, kill_after, life, on_expiry)
    address = address_of(click.get_current_context())
    until = None if patience is None else boot_clock() + patience

    def look_up() -> WhatToClaim:
        tree = (None, None) if anywhere else _tree(call.service, host)
        return _wanted(call.service, query, wishes, order, tree, owner)

    with stoppable():
        try:
            wanted = room.answered(look_up, until, _say)
            _check(to_set, wanted.classes)
            status = _Session(call.service, address, terms, wanted, to_set).run(command, until)
        except StoppedError as stopped:
            status = SIGNALLED + stopped.number
    click.get_current_context().exit(status)


def _check(variables: Sequence[EnvironmentVariable], classes: frozenset[str]) -> None:
    """Raises BadParameter."""
    try:
        placeholders.check(variables, classes)
    except placeholders.PlaceholderError as error:
        raise click.BadParameter(str(error), param_hint="--env") from error


def _tree(service: ServiceConnection, host: str | None) -> tuple[str, str | None]:
    """UUID of the provider that is this machine, and the name that it was made from if it is a guess.

    Raises UnknownNameError, UsageError.
    """
    host = host or os.environ.get(HOST_VARIABLE) or None
    called = host or socket.gethostname()
    try:
        return lookup.provider_uuid(service, called), None
    except NotAllowedError:
        # A member may not look. A provider that was loaded by its name has the UUID that follows from it.
        uuid = names.as_uuid(called)
        return (names.provider_uuid(called), called) if uuid is None else (uuid, None)
    except lookup.UnknownNameError as error:
        if host is not None:
            raise
        raise click.UsageError(
            f"No provider is called {called}, as this machine is. 'moorage discover | moorage load -' makes "
            "it, --host PROVIDER names another one, and with --anywhere any place will do."
        ) from error


def _wanted(
    service: ServiceConnection,
    query: str | None,
    wishes: SearchWishes,
    order: OrderWishes,
    within_tree: tuple[str | None, str | None],
    owner: Json,
) -> WhatToClaim:
    """What the options ask for. ``within_tree``: see ``WhatToClaim.tree`` and ``guessed_by``.

    Raises UsageError, BadParameter, UnknownNameError.
    """
    classes, traits = order.classes, order.traits
    if query is None:
        search = wishes.query(service)
        query = explained.pasted(search.parameters)["query"]
        traits |= search.traits
    pairs = parse_qsl(query.rpartition("?")[2].partition(" ")[0], keep_blank_values=True)
    needed = {found[1]: value for name, value in pairs if (found := _RESOURCES.fullmatch(name))}
    classes |= {amount.partition(":")[0] for value in needed.values() for amount in value.split(",")}
    tree, guessed_by = within_tree
    if tree is not None:
        given = {name for name, _ in pairs}
        # What the tree's other providers give follows from one group that must be in it.
        within = [""] if "" in needed else sorted(needed)
        pairs += [(f"in_tree{suffix}", tree) for suffix in within if f"in_tree{suffix}" not in given]
    entry: dict[str, Any] = {"ask": {"query": urlencode(pairs)}}
    if not order.is_empty:
        entry["order"] = order.body(service)
    entry |= {key if key != "project" else "project_id": value for key, value in _named(owner).items()}
    return WhatToClaim(entry, frozenset(classes), traits, tree, guessed_by)


def _named(owner: Json) -> dict[str, Any]:
    """Fields of an entry that the command line gives."""
    fields = {
        "project_id": owner["project"],
        "user_id": owner["user"],
        "consumer_type": owner["consumer_type"],
        "labels": owner["labels"],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _say(sentence: str) -> None:
    click.echo(f"moorage: {sentence}", err=True)


class _Session:
    """One run of a command, from the claim to its release."""

    def __init__(
        self,
        service: ServiceConnection,
        address: Address,
        terms: LeaseTerms,
        wanted: WhatToClaim,
        variables: Sequence[EnvironmentVariable],
    ) -> None:
        self._service = service
        self._address = address
        self._terms = terms
        self._wanted = wanted
        self._variables = variables
        self._lease: Holding | None = None

    def run(self, command: Sequence[str], until: float | None) -> int:
        """The exit status. ``until``: when to wait for a place no longer, None for not at all."""
        with self._given_back():
            held = self._place(until)
            if held is None:
                return NO
            try:
                environment = self._environment(held)
            except placeholders.PlaceholderError as error:
                raise ServiceError(str(error)) from error
            _say(self._told(held))
            return self._supervise(command, environment, held)

    # A place

    def _place(self, until: float | None) -> ClaimOnLease | None:
        """Claim what is wanted; None if there is no place in time.

        A service that is away meanwhile is asked again.
        """
        is_first, outage = True, room.Outage(_say)
        while True:
            try:
                held, problem = self._attempt()
            except (NoAnswerError, RefusedError) as error:
                left = 0.0 if until is None else until - boot_clock()
                if not outage.is_cause(error) or left <= 0:
                    raise
                # What became of a claim may not be known: it goes with its lease.
                self._end_lease()
                outage.sit_out(error, left)
                continue
            if held is not None:
                return held
            outage.end()
            for number, sentence in enumerate(room.reasons(problem)):
                if is_first or number:
                    _say(sentence)
            if problem["verdict"] != NO_ROOM and self._wanted.guessed_by is not None:
                _say(GUESSED.format(name=self._wanted.guessed_by))
            if until is None or problem["verdict"] != NO_ROOM:
                return None
            if is_first:
                _say(f"Waiting for a place, {spans.written(round(until - boot_clock()))} at most.")
            is_first = False
            project = self._wanted.entry.get("project_id")
            watched = room.Watched(self._wanted.classes, self._wanted.tree, project)
            if not room.changed(self._service, watched, problem["revision"], until, _say):
                _say("There was no place in time.")
                return None

    def _attempt(self) -> tuple[ClaimOnLease | None, dict[str, Any]]:
        """What was claimed, or why there is no place."""
        problem = self._refused()
        if problem is not None:
            return None, problem
        try:
            held = self._claim()
        except RefusedError as refusal:
            if refusal.problem is None or refusal.code not in claim.NO_PLACE:
                raise
            return None, {"verdict": refusal.code, **refusal.problem}
        held.devices = self._devices(held.devices)
        return held, {}

    def _refused(self) -> dict[str, Any] | None:
        """Why there is no place, None if there is one. Such a question takes no lease, and writes nothing."""
        ask = self._wanted.entry["ask"]
        with lookup.names_explained(self._service, self._wanted.classes, self._wanted.traits):
            try:
                found = explained.explanation(self._service, ask, nearest=1, relaxations=0, holders=False)
            except NotAllowedError:
                # Members may not ask about a named tree. The refusal of their claim has the reasons.
                return None
        if found["verdict"] == explained.FITS:
            return None
        return {"verdict": found["verdict"], "revision": found["revision"], "explanation": found}

    def _claim(self) -> ClaimOnLease:
        """A new lease, and a claim that hangs on it. Raises RefusedError, ServiceError."""
        sent = boot_clock()
        with explained.needed(self._service, LEASES_FEATURE, LACKS):
            granted = self._service.once("POST", LEASES, self._terms.body)
        self._lease = Holding.granted(granted["lease"], sent, spans.seconds(granted["remaining"]))
        entry = {**self._wanted.entry, "lease": self._lease.lease}
        body = {"claims": [entry], "mode": claim.ALL, "explain": "auto"}
        try:
            with lookup.names_explained(self._service, self._wanted.classes, self._wanted.traits):
                found = self._service.once("POST", claim.CLAIMS, body)
        except RefusedError:
            # --for counts from the claim, so the next attempt gets another lease.
            self._end_lease()
            raise
        [made] = found["claims"]
        devices = [
            Device(name, amount, uuid, "", "")
            for uuid, of in made["allocations"].items()
            for name, amount in of["resources"].items()
        ]
        return ClaimOnLease(self._lease, sent, granted["fence"], made["consumer"], found["revision"], devices)

    def _devices(self, unnamed: Sequence[Device]) -> list[Device]:
        """With the names of the providers, and of their hosts."""
        told: dict[str, tuple[str, str]] = {}
        for each in unnamed:
            if each.uuid not in told:
                tree = self._service.get(f"/moorage/v1/trees/{each.uuid}")["providers"]
                called = {provider["uuid"]: provider["name"] for provider in tree}
                told |= {row["uuid"]: (row["name"], called.get(row["root"], row["name"])) for row in tree}
        return [
            Device(each.resource_class, each.amount, each.uuid, *told.get(each.uuid, (each.uuid, each.uuid)))
            for each in unnamed
        ]

    def _environment(self, held: ClaimOnLease) -> dict[str, str]:
        """Raises PlaceholderError."""
        return placeholders.environment(
            os.environ,
            self._variables,
            held.devices,
            MOORAGE_CLAIM=held.consumer,
            MOORAGE_LEASE=held.holding.lease,
            MOORAGE_FENCE=str(held.fence),
            MOORAGE_PROVIDERS=",".join(dict.fromkeys(each.name for each in held.devices)),
        )

    def _told(self, held: ClaimOnLease) -> str:
        what = ", ".join(f"{each.amount} {each.resource_class} of {each.name}" for each in held.devices)
        return f"claimed {what} as {held.consumer} (revision {held.revision})."

    # The command

    def _supervise(self, command: Sequence[str], environment: Json, held: ClaimOnLease) -> int:
        run_time = self._terms.run_time
        end = None if run_time is None else held.sent + run_time

        def until(deadline: float) -> float:
            return deadline if end is None else min(deadline, end)

        order = RunOrder(command, environment, self._terms.kill_after, until(held.holding.deadline))
        reasons = ["no renewal was confirmed in time"]

        def ending() -> None:
            if end is not None and boot_clock() >= end:
                _say("The time of --for is over: the command is ended.")
            else:
                _say(f"The lease is lost: {reasons[-1]}. The command is ended.")

        def lost(reason: str) -> None:
            reasons.append(reason)
            running.end()

        running = GuardedCommand(order, _say, ending)
        renewing = Renewing(
            self._address,
            held.holding,
            lambda deadline: running.extend(until(deadline)),
            lost,
            lambda error: _say(f"The lease was not renewed, and is tried again: {error}"),
        )
        renewing.start()
        try:
            return running.wait()
        finally:
            renewing.stop()

    @contextmanager
    def _given_back(self) -> Iterator[None]:
        """End the lease with its claim at the end of this block, whatever ends it."""
        try:
            yield
        finally:
            with _undisturbed():
                self._end_lease()

    def _end_lease(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            holding.end(self._service, lease.lease, "release")
        except (ServiceError, RefusedError) as error:
            left = max(0.0, lease.deadline - boot_clock()) + self._terms.kill_after + GRACE_BEYOND
            _say(
                f"The claim could not be released ({holding.first_line(error)}). The service does it within "
                f"{left:.0f} s if --on-expiry is release."
            )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals that would end this process wait until the end of this block."""
    waiting = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
