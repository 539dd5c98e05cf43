"""Leases on the account's slow twin: which there are, in which state, and which claims hang on them.

The twin carries out grants, attachments and ends that the clients have requested. What time has ended the
journal says, and the twin says whether that may be. A renewal is in no journal: ``revivals`` has those that
may have made an expired lease active again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from moorage.model.commands import (
    AttachClaim,
    Command,
    DetachClaim,
    EndLease,
    GrantLease,
    ReleaseClaims,
    ResolveLease,
)
from moorage.model.leases import Resolution
from tests.oracle.account import Account

Json = Mapping[str, Any]
ResultT = TypeVar("ResultT")

ABOUT_LEASES = (GrantLease, AttachClaim, DetachClaim, EndLease, ResolveLease)
"""Commands about leases, all of which only the native API has."""

ACTIVE, EXPIRED, QUARANTINED, RELEASING, RELEASED = (
    "active",
    "expired",
    "quarantined",
    "releasing",
    "released",
)
TIMED = (ACTIVE, EXPIRED)
ENDED = (RELEASING, RELEASED)

EXPIRE_KIND = "leases.expire"
TAKE_AWAY_KIND = "allocations.delete"
"""Kinds of the entries that the service makes when time has ended a lease, and when its claims go."""

LEASE_GONE_CODE = "lease_gone"
NOT_FOUND_CODE = "not_found"


@dataclass
class HeldLease:
    """One lease. ``since``: the revision that brought it to its state."""

    uuid: str
    ttl_ms: int
    grace_ms: int
    releases: bool
    max_life_ms: int | None
    state: str
    since: int


@dataclass(frozen=True, slots=True)
class Left:
    """A lease left a state because its time had passed."""

    lease: str
    revision: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Began:
    """A lease got its full ttl by a request: it was granted, or restored."""

    lease: str
    revision: int
    tag: str


@dataclass
class Story:
    """What happened to all leases, in the order of revisions."""

    left: list[Left] = field(default_factory=list)
    began: list[Began] = field(default_factory=list)


class LeasedAccount(Account):
    """An account with leases. ``story`` is shared by all copies: only the replay writes to it."""

    def __init__(self, *names: Any) -> None:
        super().__init__(*names)
        self.leases: dict[str, HeldLease] = {}
        self.attached: dict[str, str] = {}
        self.revivals: Mapping[str, list[tuple[int, float]]] = {}
        self.story = Story()

    def __deepcopy__(self, _memo: object) -> LeasedAccount:
        found = LeasedAccount()
        found.nodes, found.holders, found.class_names, found.trait_names = self._snapshot()
        found.leases = {uuid: copy(lease) for uuid, lease in self.leases.items()}
        found.attached, found.revivals, found.story = dict(self.attached), self.revivals, self.story
        return found

    def execute(self, command: Command[ResultT]) -> ResultT:
        """See ``Account.execute``. What holds nothing any more, or changes its project, hangs on no lease."""
        owners = {consumer: self.holders[consumer].project_id for consumer in self.attached}
        result = super().execute(command)
        for consumer, project in owners.items():
            holder = self.holders.get(consumer)
            if holder is None or holder.project_id != project:
                del self.attached[consumer]
        return result

    # What clients order

    def order(self, command: Command[Any], answer: Json, revision: int, tag: str) -> str | None:
        """Carry out a command about leases. Why it may not have been done; None if it may."""
        fault = self.refuses(command, revision)
        if fault is not None:
            return fault
        if isinstance(command, GrantLease):
            return self._granted(command, answer, revision, tag)
        if isinstance(command, AttachClaim):
            self.attached[command.consumer] = command.lease
        elif isinstance(command, DetachClaim):
            del self.attached[command.consumer]
        elif isinstance(command, EndLease):
            self._become(command.uuid, RELEASED if command.keeps_claims else RELEASING, revision)
        elif isinstance(command, ResolveLease):
            restores = command.resolution is Resolution.RESTORE
            self._become(command.uuid, ACTIVE if restores else RELEASING, revision)
            if restores:
                self.story.began.append(Began(command.uuid, revision, tag))
        return None

    def _granted(self, command: GrantLease, answer: Json, revision: int, tag: str) -> str | None:
        uuid = answer["lease"]
        if uuid in self.leases:
            return f"lease {uuid} was granted twice"
        if answer.get("fence") not in (None, revision):
            return f"the fence should be {revision}"
        self.leases[uuid] = HeldLease(
            uuid,
            command.ttl_ms,
            command.grace_ms,
            command.on_expiry.value == "release",
            command.max_life_ms,
            ACTIVE,
            revision,
        )
        self.story.began.append(Began(uuid, revision, tag))
        return None

    def _become(self, uuid: str, state: str, revision: int) -> None:
        lease = self.leases[uuid]
        lease.state, lease.since = state, revision
        if state == RELEASED:
            for consumer in [each for each, of in self.attached.items() if of == uuid]:
                del self.attached[consumer]

    def refuses(self, command: Command[Any], revision: int) -> str | None:
        """Why this state does not allow a command about leases; None if it does."""
        if isinstance(command, GrantLease):
            return None
        uuid = command.lease if isinstance(command, AttachClaim | DetachClaim) else _uuid_of(command)
        lease = self.leases.get(uuid)
        if lease is None:
            return f"{NOT_FOUND_CODE}: there is no lease {uuid}"
        if isinstance(command, AttachClaim):
            if command.consumer not in self.holders:
                return f"{NOT_FOUND_CODE}: the consumer holds nothing"
            if not self.may_be_active(uuid, revision):
                return f"{LEASE_GONE_CODE}: the lease is {lease.state}"
        elif isinstance(command, ResolveLease):
            if lease.state != QUARANTINED:
                return f"{LEASE_GONE_CODE}: the lease is {lease.state}"
        elif lease.state in ENDED:
            return f"{LEASE_GONE_CODE}: the lease is {lease.state}"
        elif isinstance(command, DetachClaim) and self.attached.get(command.consumer) != uuid:
            return f"{NOT_FOUND_CODE}: the claim does not hang on the lease"
        return None

    def unfounded(self, command: Command[Any], code: str | None, revision: int) -> str | None:
        """Why a command about leases would not have been refused so on this state; None if it would."""
        fault = self.refuses(command, revision)
        if fault is None and code == LEASE_GONE_CODE and isinstance(command, AttachClaim):
            # An expired lease that only may have been revived.
            return None if self.leases[command.lease].state != ACTIVE else "the lease is active"
        if fault is None:
            return "it is allowed"
        return None if fault.startswith(f"{code}:") else f"it should be refused with {fault}"

    def claimed(self, consumer: str, uuid: str, revision: int) -> str | None:
        """A claim was made that hangs on a lease. Why that may not be; None if it may."""
        if uuid not in self.leases or not self.may_be_active(uuid, revision):
            return f"the lease is {self._state(uuid)}"
        self.attached[consumer] = uuid
        return None

    def may_be_active(self, uuid: str, revision: int) -> bool:
        """Whether a lease is active, or has expired and a renewal may have revived it by a revision."""
        lease = self.leases[uuid]
        if lease.state == ACTIVE:
            return True
        return lease.state == EXPIRED and any(
            low <= revision and high >= lease.since for low, high in self.revivals.get(uuid, ())
        )

    def _state(self, uuid: str) -> str:
        lease = self.leases.get(uuid)
        return "not known" if lease is None else lease.state

    # What time does

    def made_by_the_service(self, kind: str, body: Json, revision: int) -> list[str]:
        """Carry out what no client has ordered in so many words. What is wrong with it."""
        return (self._expired if kind == EXPIRE_KIND else self._taken_away)(body, revision)

    def _expired(self, body: Json, revision: int) -> list[str]:
        faults = []
        if set(body) != {"leases"}:
            faults.append(f"an expiry changes {sorted(body)}")
        for uuid, parts in body.get("leases", {}).items():
            before, after = parts["state"]
            fault = self._may_leave(uuid, before, after, revision)
            if fault is not None:
                faults.append(f"lease {uuid} went from {before} to {after}: {fault}")
            if uuid in self.leases:
                self._become(uuid, after, revision)
                self.story.left.append(Left(uuid, revision, before, after))
        return faults

    def _may_leave(self, uuid: str, before: str, after: str, revision: int) -> str | None:
        lease = self.leases.get(uuid)
        if lease is None:
            return "there is no such lease"
        revived = before == ACTIVE and lease.state == EXPIRED and self.may_be_active(uuid, revision)
        if before not in TIMED or (lease.state != before and not revived):
            return f"it was {lease.state}"
        ends_as = RELEASING if lease.releases else QUARANTINED
        allowed = {EXPIRED} if before == ACTIVE and lease.grace_ms else {ends_as}
        if lease.max_life_ms is not None:
            allowed.add(ends_as)
        return None if after in allowed else f"it should become {' or '.join(sorted(allowed))}"

    def _taken_away(self, body: Json, revision: int) -> list[str]:
        """Of one lease or of several: each claim hangs on the one that its record names."""
        consumers, released = body.get("consumers", {}), body.get("leases", {})
        hung = {consumer: parts.get("lease", [None])[0] for consumer, parts in consumers.items()}
        faults = [
            f"the claim of {consumer} went with lease {uuid}, and hung on {self.attached.get(consumer)}"
            for consumer, uuid in hung.items()
            if uuid is None or self.attached.get(consumer) != uuid
        ]
        faults += [
            f"claims of lease {uuid} were taken away, which is {self._state(uuid)}"
            for uuid in sorted({*released, *filter(None, hung.values())})
            if self._state(uuid) != RELEASING
        ]
        self.execute(ReleaseClaims(tuple(consumers)))
        for uuid in released:
            left = sorted(consumer for consumer, of in self.attached.items() if of == uuid)
            if left:
                faults.append(f"lease {uuid} is released, and the claims of {left} are still there")
            if uuid in self.leases:
                self._become(uuid, RELEASED, revision)
        return faults


def _uuid_of(command: Command[Any]) -> str:
    assert isinstance(command, EndLease | ResolveLease)
    return command.uuid


def misrenewed(account: LeasedAccount, answer: Json) -> str | None:
    """Why an answer to renewals is not true of a state; None if it is."""
    for item in answer["renewed"]:
        lease = account.leases.get(item["lease"])
        if lease is None or lease.state not in TIMED:
            return f"{item} was renewed, and is {None if lease is None else lease.state}"
        if item["revived"] and lease.state != EXPIRED:
            return f"{item} was revived, and is {lease.state}"
    for item in answer["gone"]:
        lease = account.leases.get(item["lease"])
        if lease is None:
            return f"{item} is gone, and was never there"
        shown = RELEASED if lease.state in ENDED else lease.state
        # Whatever state it is in, a lease at the end of its life is not renewed.
        at_its_end = lease.max_life_ms is not None and item["state"] in TIMED
        if shown in TIMED and not at_its_end:
            return f"{item} is gone, and is {shown}"
        if item["state"] != shown and not at_its_end:
            return f"{item} is gone, and is {shown}"
    return None


Judge = Callable[[LeasedAccount], str | None]


def lease_differences(expected: LeasedAccount, found: LeasedAccount) -> list[str]:
    """Where the leases of two accounts differ; that one was revived is in no journal."""
    told = []
    for uuid in sorted({*expected.leases, *found.leases}):
        should, is_ = (each.leases.get(uuid) for each in (expected, found))
        states = [None if each is None else each.state for each in (should, is_)]
        if states[0] != states[1] and not (
            states == [EXPIRED, ACTIVE] and expected.may_be_active(uuid, 1 << 62)
        ):
            told.append(f"lease {uuid} is {states[1]}, but should be {states[0]}")
    for consumer in sorted({*expected.attached, *found.attached}):
        pair = [each.attached.get(consumer) for each in (expected, found)]
        if pair[0] != pair[1]:
            told.append(f"the claim of {consumer} hangs on {pair[1]}, but should on {pair[0]}")
    return told
