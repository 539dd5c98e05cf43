"""A client with leases: it gets some, claims with them, renews them in batches, and lets some die."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moorage.model import commands
from moorage.model.commands import Claim
from moorage.model.leases import OnExpiry, Resolution
from moorage.model.requests import CandidateRequest, RequestGroup
from tests.faults.clients import Recorder
from tests.faults.history import Operation, Outcome
from tests.faults.leased import QUARANTINED

Order = Callable[..., Operation]

MOST = 5
"""Leases that a client holds at a time."""

TTLS_MS = (1_000, 1_000, 2_000, 4_000)
GRACES_MS = (0, 0, 1_000, 2_000)
MAX_LIVES_MS = (None, None, None, 2_000, 6_000)

DIES = 0.4
"""Part of the leases that their holder does not renew."""

LATE = 0.2
"""Part of the renewals that name leases which died as well."""

ATTEMPTS = 4
"""Connections by which a client sends one request with one key at once."""


@dataclass
class LeaseHolder:
    """The leases of one client. ``order`` sends a command, by several connections at once if asked to."""

    name: str
    dice: random.Random
    recorder: Recorder
    order: Order
    consumers: Sequence[str]
    kept: list[str] = field(default_factory=list)
    dying: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)

    @property
    def actions(self) -> Sequence[tuple[Callable[[], None], int]]:
        """Each with its weight."""
        return (
            (self.grant, 7),
            (self.claim, 10),
            (self.attach, 5),
            (self.detach, 3),
            (self.renew, 16),
            (self.end, 3),
            (self.resolve, 4),
        )

    def grant(self) -> None:
        if len(self.kept) + len(self.dying) >= MOST:
            return
        command = commands.GrantLease(
            "",
            self.name,
            "",
            "",
            self.dice.choice(TTLS_MS),
            self.dice.choice(GRACES_MS),
            self.dice.choice((OnExpiry.RELEASE, OnExpiry.RELEASE, OnExpiry.QUARANTINE)),
            self.dice.choice(MAX_LIVES_MS),
        )
        done = self.order(command, self.dice.choice((1, 1, ATTEMPTS)))
        if done.outcome is Outcome.ACKNOWLEDGED:
            (self.dying if self.dice.random() < DIES else self.kept).append(done.body["lease"])

    def claim(self) -> None:
        """With a lease, which may have ended by now."""
        lease, consumer = self._one(), self.dice.choice(self.consumers)
        if lease is None:
            return
        claim = Claim(consumer, {}, "red", "ann", None, "INSTANCE", lease=lease)
        request = CandidateRequest((RequestGroup(resources={"VCPU": self.dice.choice((1, 2))}),))
        self.order(commands.PlaceClaims((claim,), (request,), 1), self.dice.choice((1, 1, ATTEMPTS)))

    def attach(self) -> None:
        """What any client has claimed."""
        lease = self._one()
        if lease is not None:
            self.order(commands.AttachClaim(lease, self.dice.choice(self.consumers)))

    def detach(self) -> None:
        lease = self._one()
        if lease is None:
            return
        found = self.recorder.read(("hanging", lease), f"/moorage/v1/claims?lease={lease}")
        hanging = [] if found is None else [item["consumer"] for item in found["claims"]]
        consumer = self.dice.choice(hanging or self.consumers)
        self.order(commands.DetachClaim(lease, consumer))

    def renew(self) -> None:
        """All at once; what is known as gone is given up."""
        late = self.dice.random() < LATE
        wanted = [*self.kept, *(self.dying if late else ()), *(self.quarantined[-2:] if late else ())]
        if not wanted:
            return
        answer = self.recorder.renew(wanted)
        for item in () if answer is None else answer["gone"]:
            self._forget(item["lease"])
            if item["state"] == QUARANTINED:
                self.quarantined.append(item["lease"])

    def end(self) -> None:
        lease = self._one()
        if lease is not None:
            self.order(commands.EndLease(lease, self.dice.random() < 0.5))
            self._forget(lease)

    def resolve(self) -> None:
        """As an operator does."""
        if not self.quarantined:
            return
        lease = self.dice.choice(self.quarantined)
        resolution = self.dice.choice((Resolution.RELEASE, Resolution.RESTORE))
        self.order(commands.ResolveLease(lease, resolution), self.dice.choice((1, 1, ATTEMPTS)))
        self._forget(lease)
        if resolution is Resolution.RESTORE:
            self.dying.append(lease)

    def _one(self) -> str | None:
        return self.dice.choice(found) if (found := [*self.kept, *self.dying]) else None

    def _forget(self, lease: str) -> None:
        for leases in (self.kept, self.dying, self.quarantined):
            if lease in leases:
                leases.remove(lease)
