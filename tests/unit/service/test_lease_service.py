"""Renewals that wait together, and what the keeper does between two looks."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any, cast

import pytest

from moorage.model.commands import EndLease, GrantLease
from moorage.model.errors import UnavailableError
from moorage.model.leases import SLACK_MS, Gone, LeaseState, OnExpiry, Renewed
from moorage.service import keeper as keeper_module
from moorage.service import leases as leases_module
from moorage.service.facade import Service
from moorage.service.keeper import TOGETHER
from moorage.service.leases import LeaseService
from moorage.service.observer import Observer
from moorage.store import leases as lease_store
from moorage.store.leases import LeaseTable
from moorage.store.sql.errors import WriteConflictError
from moorage.store.store import Store
from tests.databases.orders import ASKER, add_provider, new_uuid, order
from tests.databases.test_leases import hold, pass_time


class Counting:
    """Counts what is told of leases."""

    def __init__(self) -> None:
        self.renewed: list[int] = []
        self.expired: list[int] = []

    def leases_renewed(self, count: int) -> None:
        self.renewed.append(count)

    def leases_expired(self, count: int) -> None:
        self.expired.append(count)


class SlowTable:
    """A table whose first renewal takes until it may go on."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def renew(self, wanted: Collection[str]) -> tuple[int, dict[str, Renewed | Gone]]:
        self.asked.append(set(wanted))
        self.begun.set()
        self.go.wait(10)
        if self.error is not None:
            raise self.error
        return 7, {uuid: Renewed(uuid, 1, revived=False) for uuid in wanted if uuid != "x"} | {"x": Gone("x")}


def service_on(table: SlowTable, store: Store, counting: Counting) -> LeaseService:
    found = LeaseService(store, lambda _command, _requester: None, cast("Observer", counting))
    found._table = cast("LeaseTable", table)
    return found


@pytest.mark.parametrize("error", [None, UnavailableError("away")])
def test_renewals_that_come_meanwhile_share_one_transaction(
    sqlite_store: Store, error: UnavailableError | None
) -> None:
    table, counting = SlowTable(), Counting()
    leases = service_on(table, sqlite_store, counting)
    answers: dict[str, Any] = {}

    def ask(name: str, wanted: list[str]) -> None:
        try:
            answers[name] = leases.renew(wanted)
        except UnavailableError as refusal:
            answers[name] = refusal

    first = threading.Thread(target=ask, args=("first", ["a"]))
    first.start()
    assert table.begun.wait(10)
    others = [threading.Thread(target=ask, args=(str(number), [f"b{number}", "x"])) for number in range(3)]
    for thread in others:
        thread.start()
    while len(leases._waiting) < len(others):
        pass
    table.error = error
    table.go.set()
    for thread in (first, *others):
        thread.join()
    assert table.asked == [{"a"}, {"b0", "b1", "b2", "x"}]
    if error is None:
        assert answers["1"] == (7, [Renewed("b1", 1, revived=False), Gone("x")])
        assert sorted(counting.renewed) == [1, 1, 1, 1]
    else:
        assert set(answers.values()) == {error}
        assert counting.renewed == []


@pytest.mark.parametrize(("failures", "succeeds"), [(4, True), (5, False)])
def test_a_renewal_is_tried_again_for_a_while(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch, failures: int, succeeds: bool
) -> None:
    lease, real, left = new_uuid(), lease_store._renewed, [None] * failures
    order(sqlite_service, GrantLease(lease, "agent", "p", "u", 1_000, 0))

    def renewed(connection: Any, wanted: Any) -> Any:
        if left:
            left.pop()
            raise WriteConflictError
        return real(connection, wanted)

    monkeypatch.setattr(lease_store, "_renewed", renewed)
    if succeeds:
        assert sqlite_service.leases.renew([lease])[1] == [Renewed(lease, 1_000, revived=False)]
        return
    with pytest.raises(UnavailableError, match="could not be renewed"):
        sqlite_service.leases.renew([lease])


def test_a_keeper_tells_of_expiries_and_forgets_what_was_released_long_ago(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "FORGET_SECONDS", 0.0)
    monkeypatch.setattr(keeper_module, "KEPT_MS", 1_000)
    counting = Counting()
    keeper = sqlite_service.leases.keeper
    keeper._observer = cast("Observer", counting)
    old, due, later = new_uuid(), new_uuid(), new_uuid()
    for uuid, ttl in ((old, 1_000), (due, 1_000), (later, 3_600_000)):
        order(sqlite_service, GrantLease(uuid, "agent", "p", "u", ttl, 0))
    order(sqlite_service, EndLease(old, keeps_claims=True))
    pass_time(sqlite_store, 1_000 + SLACK_MS)
    assert keeper.turn() is False
    assert counting.expired == [1]
    states = sqlite_service.leases.counts().states
    assert states == {LeaseState.QUARANTINED: 1, LeaseState.ACTIVE: 1}


def test_the_claims_of_many_leases_are_taken_away_together(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "TOGETHER", 4)
    provider = add_provider(sqlite_service, VCPU=100)
    sizes = [1, 1, 2, 9, 1, 0, 1]
    for number, size in enumerate(sizes):
        uuid = f"{number:08}-0000-4000-8000-000000000000"
        order(sqlite_service, GrantLease(uuid, "agent", "p", "u", 1_000, 0, OnExpiry.RELEASE))
        for _ in range(size):
            hold(sqlite_service, provider, uuid)
        order(sqlite_service, EndLease(uuid, keeps_claims=False))
    service, left = sqlite_service.leases, list(LeaseTable(sqlite_store).ended(100))
    assert [service.lease(uuid)[1].claims for uuid in left] == sizes
    start, steps = sqlite_service.revision(), list[tuple[int, int]]()
    while left:
        taken, ended = service.take_some(left, ASKER)
        steps.append((taken, ended))
        left = left[ended:]
    assert steps == [(2, 2), (2, 1), (4, 0), (4, 0), (3, 4)]
    assert sqlite_service.revision() == start + len(steps)
    assert service.counts().states == {LeaseState.RELEASED: len(sizes)}
    assert sqlite_service.provider_usages(provider).usages["VCPU"] == 0


def test_a_keeper_that_is_stopped_begins_no_further_batch(
    sqlite_store: Store, sqlite_service: Service
) -> None:
    provider, lease, quick = add_provider(sqlite_service, VCPU=1_000), new_uuid(), new_uuid()
    for uuid in (lease, quick):
        order(sqlite_service, GrantLease(uuid, "agent", "p", "u", 1_000, 0, OnExpiry.RELEASE))
    hold(sqlite_service, provider, lease, TOGETHER + 1)
    order(sqlite_service, EndLease(lease, keeps_claims=False))
    pass_time(sqlite_store, 1_000 + SLACK_MS)
    keeper = sqlite_service.leases.keeper
    keeper.stop()
    assert (keeper.end_due(), keeper.take_away()) == (0, 0)
    assert sqlite_service.leases.lease(lease)[1].claims == TOGETHER + 1
    assert sqlite_service.leases.take_away(lease, ASKER) == TOGETHER + 1
