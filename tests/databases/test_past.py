"""States of the past on each database, against the slow twin."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    AttachClaim,
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    DeleteAllocations,
    DeleteProvider,
    EndLease,
    GrantLease,
    RenameResourceClass,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.values import Inventory
from moorage.service.facade import Service
from moorage.store import past
from moorage.store.changes import journal, subjects
from moorage.store.store import Store
from moorage.store.tables import journal_subjects
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.databases.past_views import assert_past
from tests.databases.sql_watch import watching
from tests.oracle.history import View, view_of
from tests.oracle.leased import LeasedTwin

NEVER = 1_000
"""More records than a tree has here."""

SEGMENT, BLOCK = 12, 4


def small_segments(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """Few revisions in a segment of the index. A tree with ``many`` records has rows of leading ones."""
    monkeypatch.setattr(subjects, "SEGMENT", SEGMENT)
    monkeypatch.setattr(subjects, "BLOCK", BLOCK)
    monkeypatch.setattr(subjects, "MANY", many)


@pytest.mark.slow
@pytest.mark.parametrize(("named", "many"), [(0, NEVER), (past.MOST_NAMED, NEVER), (past.MOST_NAMED, 1)])
def test_each_revision_of_any_mix_of_writes_is_what_the_twin_had(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch, named: int, many: int
) -> None:
    # Most records of claims are later ones, which the database chooses by their texts.
    monkeypatch.setattr(past, "EARLY", 2)
    monkeypatch.setattr(past, "MOST_NAMED", named)
    small_segments(monkeypatch, many)
    host, child, other, fresh = (new_uuid() for _ in range(4))
    vm, job, lease = new_uuid(), new_uuid(), new_uuid()

    def claimed(consumer: str, generation: int | None, **held: int) -> Command[Any]:
        providers = {"host": host, "child": child}
        amounts = {providers[name]: {VCPU: amount} for name, amount in held.items()}
        return ReplaceAllocations((Claim(consumer, amounts, "red", "ann", generation, "INSTANCE"),))

    commands: list[Command[Any]] = [
        CreateResourceClass("CUSTOM_GOLD"),
        CreateProvider(host, "host"),
        CreateProvider(child, "child", host),
        CreateProvider(other, "other"),
        SetInventories(host, 0, {VCPU: Inventory(8), "CUSTOM_GOLD": Inventory(4)}),
        SetInventories(child, 0, {VCPU: Inventory(8, allocation_ratio=1.5)}),
        claimed(vm, None, host=2, child=1),
        SetTraits(child, 2, frozenset(("HW_CPU_X86_AVX2",))),
        claimed(job, None, child=3),
        GrantLease(lease, "agent", "red", "ann", 60_000, 0),
        AttachClaim(lease, vm),
        AttachClaim(lease, job),
        UpdateProvider(child, "renamed", other),
        SetAggregates(child, None, (new_uuid(),)),
        claimed(vm, 1, host=1),
        RenameResourceClass("CUSTOM_GOLD", "CUSTOM_SILVER"),
        EndLease(lease, keeps_claims=True),
        DeleteAllocations(job),
        DeleteProvider(child),
        Batch((CreateProvider(fresh, "fresh", other), SetInventories(fresh, 0, {VCPU: Inventory(1)}))),
        DeleteAllocations(vm),
        claimed(vm, None, host=4),
    ]
    account = LeasedTwin()
    views: dict[int, View] = {store.revision(): view_of(account)}
    for command in commands:
        account.execute(command)
        order(service, command)
        views[store.revision()] = view_of(account)
    while store.index_journal():
        pass
    assert len(views) == len(commands) + 1
    ever: View = {
        part: {uuid: None for view in views.values() for uuid in view[part]}
        for part in ("providers", "consumers")
    }
    for revision, view in views.items():
        assert_past(service, view, revision, ever)


def led_segments(store: Store) -> set[int]:
    """Segments of the index that have rows of leading records."""
    query = sa.select(journal_subjects.c.segment).where(journal_subjects.c.subject.like("-%"))
    with store.engines.snapshot.connect() as connection:
        return set(connection.execute(query).scalars())


def test_the_past_of_a_busy_tree_is_the_same_however_it_is_indexed(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees are busy in some segments, and in others not."""
    monkeypatch.setattr(past, "EARLY", 3)
    small_segments(monkeypatch, 3)
    chance = Random(3)
    busy = add_provider(service, VCPU=100, DISK_GB=100, MEMORY_MB=100)
    child, other = add_provider(service, parent=busy, VCPU=100), add_provider(service, VCPU=100, DISK_GB=100)
    start = store.revision()
    for number in range(6 * SEGMENT):
        calm = number // SEGMENT % 2
        uuid = chance.choice((other, other, other, busy) if calm else (busy, busy, child, other))
        names = [VCPU] if uuid == child else chance.sample([VCPU, "DISK_GB"], chance.choice((1, 2)))
        held = {uuid: dict.fromkeys(names, 1)}
        if number % 10 == 0:
            held = {busy: {VCPU: 1}, other: {VCPU: 1}}
        order(service, claim(new_uuid(), held))
    order(service, SetInventories(child, None, {VCPU: Inventory(200)}))

    def told() -> list[Any]:
        present = store.revision()
        return [
            service.past.tree(root, at, None, None)
            for at in range(start, present + 1)
            for root in (busy, other)
        ]

    expected = told()
    while store.index_journal():
        pass
    led = led_segments(store)
    assert len(led) > 3
    assert told() == expected
    with store.engines.snapshot.connect() as connection:
        about = journal.AboutTree(connection, busy, start)
        found = {revision for revision, *_ in about.first(start)}
        everything = {
            revision for revision, *_ in journal.AboutTree(connection, busy, start).later(start, None)
        }
    assert found < everything
    assert len(found) < len(everything) * 3 / 4
    with watching(store) as watched:
        service.past.tree(other, start, None, None)
    # Records have told all that was in use of it.
    assert not [text for text in watched.statements if "sum(" in text.lower()]


def test_no_record_leads_where_a_class_got_another_name(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_segments(monkeypatch, 1)
    for name in ("CUSTOM_GOLD", "CUSTOM_BRONZE"):
        order(service, CreateResourceClass(name))
    host = add_provider(service, CUSTOM_GOLD=100, CUSTOM_BRONZE=100)
    order(service, claim(new_uuid(), {host: {"CUSTOM_BRONZE": 7}}))
    states, renamed = {}, 0

    def write(command: Command[Any]) -> None:
        order(service, command)
        states[store.revision()] = service.past.tree(host, None, None, None)[1]

    for number in range(3 * SEGMENT):
        write(claim(new_uuid(), {host: {f"CUSTOM_{'SILVER' if number > SEGMENT else 'GOLD'}": 1}}))
        if number == SEGMENT:
            write(RenameResourceClass("CUSTOM_GOLD", "CUSTOM_SILVER"))
            write(RenameResourceClass("CUSTOM_BRONZE", "CUSTOM_GOLD"))
            renamed = store.revision()
    while store.index_journal():
        pass
    led = led_segments(store)
    assert led
    assert renamed // SEGMENT not in led
    for at, state in states.items():
        assert service.past.tree(host, at, None, None)[1] == state
