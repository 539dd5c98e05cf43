"""A renewal against an expiry, by two processes: wherever one is cut off, and if its COMMIT gets lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moorage.model.commands import ExpireLeases, GrantLease
from moorage.model.errors import OutcomeUnknownError, UnavailableError
from moorage.model.leases import SLACK_MS, Gone, LeaseState, Renewed
from moorage.model.values import Requester
from moorage.service.facade import Service
from moorage.service.keeper import SERVICE
from moorage.store.leases import LeaseTable
from tests.databases.orders import new_uuid
from tests.schedules.driver import AFTER_COMMIT, COMMIT, CONFLICTS, LOSSES, Fault, Place
from tests.schedules.machine import Stage

"""What runs here is the code that the tests of databases reach, many times."""

TTL = 10_000

KINDS = ("SQLite busy", "MariaDB record changed", "PostgreSQL crashes", "MariaDB has gone away")

STATEMENTS = 9
"""As many as an expiry takes, which takes more than a renewal; a fault that comes later strikes at COMMIT."""

PLACES: tuple[Place, ...] = (*range(STATEMENTS + 1), COMMIT, AFTER_COMMIT)

FAULTS = [
    Fault(kind, place, meanwhile=meanwhile)
    for kind in KINDS
    for place in PLACES
    for meanwhile in (False, True)
    if kind in LOSSES or place != AFTER_COMMIT
]


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(sqlite_template, tmp_path_factory.mktemp("leases") / "account.sqlite")
    yield stage
    stage.close()


class Duel:
    """A lease that is due, a process that renews it, and one that ends it."""

    def __init__(self, stage: Stage, grace_ms: int) -> None:
        stage.set()
        self.uuid = new_uuid()
        self.observer = Service(stage.observer)
        self.observer.execute(GrantLease(self.uuid, "agent", "p", "u", TTL, grace_ms), Requester())
        table = LeaseTable(stage.observer)
        known = table.look()
        assert table.advance(known, known.ticks + TTL + SLACK_MS)
        self.granted_at = self.observer.revision()
        self.services = [Service(store) for store in stage.stores]
        self.renewals: list[Renewed | Gone | None] = []
        self.expiries: list[tuple[str, ...] | None] = []

    def renew(self) -> None:
        """As the first process. None: it is told that nobody knows."""
        try:
            self.renewals.append(self.services[0].leases.renew([self.uuid])[1][0])
        except UnavailableError:
            self.renewals.append(None)

    def expire(self) -> None:
        """As the second one."""
        try:
            self.expiries.append(self.services[1].execute(ExpireLeases((self.uuid,)), SERVICE))
        except (UnavailableError, OutcomeUnknownError):
            self.expiries.append(None)

    def check(self, ends_as: LeaseState) -> None:
        """An acknowledged renewal wins, or was told that it lost; an expiry happens once."""
        found = self.observer.leases.lease(self.uuid)[1]
        expiries = self.observer.revision() - self.granted_at
        assert expiries <= 1, "it expired twice"
        assert sum(1 for each in self.expiries if each) <= expiries
        renewed = self.renewals[-1]
        if isinstance(renewed, Renewed):
            assert (found.lease.state, found.remaining_ms) == (LeaseState.ACTIVE, TTL)
            assert not (renewed.revived and not expiries)
        elif isinstance(renewed, Gone):
            assert (renewed.state, found.lease.state, expiries) == (ends_as, ends_as, 1)
        else:
            assert found.lease.state in (LeaseState.ACTIVE, ends_as)


@pytest.mark.slow
@pytest.mark.parametrize(("grace_ms", "ends_as"), [(5_000, LeaseState.EXPIRED), (0, LeaseState.QUARANTINED)])
@pytest.mark.parametrize("first", [0, 1], ids=["renewal first", "expiry first"])
def test_an_acknowledged_renewal_wins_at_every_interleaving(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, grace_ms: int, ends_as: LeaseState, first: int
) -> None:
    for module in ("service.committer", "store.store"):
        monkeypatch.setattr(f"moorage.{module}.time", stage.clock)
    struck = 0
    for fault in FAULTS:
        for other_fault in (None, Fault("PostgreSQL crashes", AFTER_COMMIT)):
            duel = Duel(stage, grace_ms)
            acts: list[Callable[[], None]] = [duel.renew, duel.expire]
            plan, other = stage.plans[first], stage.plans[1 - first]
            done: list[bool] = []

            def rival(acts: list[Callable[[], None]] = acts, done: list[bool] = done) -> None:
                if not done:
                    done.append(True)
                    acts[1 - first]()

            plan.writes.append(fault)
            plan.meanwhile = rival
            if other_fault is not None:
                other.writes.append(other_fault)
            acts[first]()
            rival()
            struck += len(plan.struck) + len(other.struck)
            duel.check(ends_as)
            for each in stage.plans:
                each.struck.clear()
                each.forget()
    assert struck > len(FAULTS), "the faults were met"
    assert len(CONFLICTS) > 1
