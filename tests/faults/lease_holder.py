"""A client with leases: it gets some, claims with them, renews them in batches, and lets some die."""

from __future__ import annotations

import random
import threading
import time
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

LATE = 0.1
"""Part of the renewals that name leases which died as well."""

PART_OF_HOLDERS = 0.7
"""Of which a renewer renews leases with one request."""

LONGEST_PAUSE_SECONDS = 0.8
"""Between two requests of a renewer: the shortest ttl is longer."""

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
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def actions(self) -> Sequence[tuple[Callable[[], None], int]]:
        """Each with its weight."""
        return (
            (self.grant, 7),
            (self.claim, 10),
            (self.attach, 5),
            (self.detach, 3),
            (self.renew, 6),
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
        wanted = self.wanted(self.dice)
        answer = self.recorder.renew(wanted) if wanted else None
        for item in () if answer is None else answer["gone"]:
            self.lose(item["lease"], item["state"])

    def wanted(self, dice: random.Random) -> list[str]:
        """The leases to renew now."""
        late = dice.random() < LATE
        return [*self.kept, *(self.dying if late else ()), *(self.quarantined[-2:] if late else ())]

    def lose(self, lease: str, state: str | None) -> None:
        """A renewal says that a lease is gone."""
        if self._forget(lease) and state == QUARANTINED:
            self.quarantined.append(lease)

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

    def _forget(self, lease: str) -> bool:
        """Whether it was among them."""
        with self._lock:
            found = [each for each in (self.kept, self.dying, self.quarantined) if lease in each]
            for leases in found:
                leases.remove(lease)
            return bool(found)


class Renewer:
    """Renews leases of all holders in batches, as an agent does that does nothing else."""

    def __init__(self, recorder: Recorder, dice: random.Random, holders: Sequence[LeaseHolder]) -> None:
        self.recorder = recorder
        self._dice = dice
        self._holders = holders

    def act(self) -> None:
        """One batch."""
        chosen = [holder for holder in self._holders if self._dice.random() < PART_OF_HOLDERS]
        wanted = [(lease, holder) for holder in chosen for lease in holder.wanted(self._dice)]
        if wanted:
            answer = self.recorder.renew([lease for lease, _ in wanted])
            gone = {item["lease"]: item["state"] for item in (answer or {"gone": ()})["gone"]}
            for lease, holder in wanted:
                if lease in gone:
                    holder.lose(lease, gone[lease])
        time.sleep(self._dice.uniform(0.1, LONGEST_PAUSE_SECONDS))
