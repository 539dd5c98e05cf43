from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    RenameResourceClass,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.errors import (
    CapacityExceededError,
    MoorageError,
    ProviderExistsError,
    ProviderInUseError,
    StaleGenerationError,
)
from moorage.model.values import Requester
from moorage.service.facade import Service
from moorage.store import tables
from moorage.store.changes import changelog
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.statements import utcnow
from moorage.store.store import Store
from moorage.store.tables import changes
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order, uuids_with_room
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import before_statement


def log_after(store: Store, revision: int) -> list[tuple[int, str, int | None]]:
    """Revision, kind and tree of everything logged after a revision."""
    table = tables.changes
    query = (
        sa.select(table.c.revision, table.c.kind, table.c.root_provider_id)
        .where(table.c.revision > revision)
        .order_by(table.c.revision, table.c.position)
    )
    return store.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def row_id(store: Store, uuid: str) -> int:
    query = sa.select(tables.resource_providers.c.id).where(tables.resource_providers.c.uuid == uuid)
    return int(store.read(lambda connection: connection.execute(query).scalar_one()))


def missed_since(store: Store, revision: int) -> changelog.Missed | None:
    return store.read(lambda connection: changelog.missed_since(connection, revision))


def test_each_changing_command_takes_one_revision_and_names_its_tree(store: Store, service: Service) -> None:
    start = store.revision()
    root, consumer = new_uuid(), new_uuid()
    child = new_uuid()
    for command in (
        CreateProvider(root, "root"),
        CreateProvider(child, "child", root),
        SetInventories(child, 0, inventories(VCPU=4)),
        SetTraits(child, 1, frozenset(("COMPUTE_NODE",))),
        SetAggregates(child, None, (new_uuid(),)),
        claim(consumer, {child: {VCPU: 1}}),
        DeleteAllocations(consumer),
        UpdateProvider(child, "renamed"),
        CreateTrait("CUSTOM_T"),
        CreateResourceClass("CUSTOM_C"),
    ):
        order(service, command)
    tree = row_id(store, root)
    kinds = [
        "provider.create",
        "provider.create",
        "inventory.set",
        "traits.set",
        "aggregates.set",
        "allocations.replace",
        "allocations.delete",
        "provider.update",
    ]
    assert log_after(store, start) == [
        *((start + 1 + position, kind, tree) for position, kind in enumerate(kinds)),
        (start + 9, "trait.create", None),
        (start + 10, "resource_class.create", None),
    ]
    assert store.revision() == start + 10
    assert missed_since(store, start) == changelog.Missed(start + 10, frozenset((tree,)), True)
    assert missed_since(store, start + 9) == changelog.Missed(start + 10, frozenset(), True)
    assert missed_since(store, start + 10) == changelog.Missed(start + 10, frozenset(), False)


def test_what_is_refused_or_changes_nothing_is_not_logged(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, "name", VCPU=4), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 4}}))
    order(service, CreateTrait("CUSTOM_T"))
    order(service, SetTraits(provider, None, frozenset(("CUSTOM_T",))))
    start = store.revision()
    for idle in (
        UpdateProvider(provider, "name"),
        CreateTrait("CUSTOM_T"),
        CreateResourceClass(VCPU, may_exist=True),
        SetTraits(provider, None, frozenset(("CUSTOM_T",))),
        SetAggregates(provider, None, ()),
        claim(new_uuid(), {}, None),
    ):
        order(service, idle)
    refusals: list[tuple[object, type[MoorageError]]] = [
        (CreateProvider(new_uuid(), "name"), ProviderExistsError),
        (DeleteProvider(provider), ProviderInUseError),
        (SetInventories(provider, 0, {}), StaleGenerationError),
        (claim(new_uuid(), {provider: {VCPU: 1}}), CapacityExceededError),
    ]
    for command, refusal in refusals:
        with pytest.raises(refusal):
            order(service, command)  # type: ignore[arg-type]
    assert store.revision() == start
    assert log_after(store, start) == []


def test_a_move_names_the_tree_that_is_left_and_the_one_that_is_joined(
    store: Store, service: Service
) -> None:
    left, joined = add_provider(service), add_provider(service)
    moved = add_provider(service, parent=left)
    below = add_provider(service, parent=moved)
    start = store.revision()
    order(service, UpdateProvider(moved, "moved", joined))
    missed = missed_since(store, start)
    assert missed is not None
    assert missed.root_ids == {row_id(store, left), row_id(store, joined)}
    start = store.revision()
    order(service, UpdateProvider(below, "below", None))
    missed = missed_since(store, start)
    assert missed is not None
    assert missed.root_ids == {row_id(store, joined), row_id(store, below)}


def test_a_deleted_root_and_every_provider_of_a_claim_is_named(store: Store, service: Service) -> None:
    one, two, gone = add_provider(service, VCPU=2), add_provider(service, VCPU=2), add_provider(service)
    gone_id, start = row_id(store, gone), store.revision()
    order(service, DeleteProvider(gone))
    assert log_after(store, start) == [(start + 1, "provider.delete", gone_id)]
    consumer = new_uuid()
    order(service, claim(consumer, {one: {VCPU: 1}}))
    start = store.revision()
    order(service, claim(consumer, {two: {VCPU: 1}}))
    assert {tree for _, _, tree in log_after(store, start)} == {row_id(store, one), row_id(store, two)}


def test_a_renamed_class_names_all_trees_that_have_it(store: Store, service: Service) -> None:
    order(service, CreateResourceClass("CUSTOM_OLD"))
    has_it = add_provider(service)
    add_provider(service, parent=has_it, CUSTOM_OLD=4)
    add_provider(service, VCPU=4)
    start = store.revision()
    order(service, RenameResourceClass("CUSTOM_OLD", "CUSTOM_NEW"))
    assert missed_since(store, start) == changelog.Missed(
        start + 1, frozenset((row_id(store, has_it),)), True
    )


def test_the_log_tells_who_asked_cut_to_what_the_columns_hold(store: Store, service: Service) -> None:
    service.execute(CreateTrait("CUSTOM_ONE"), Requester("anne", "reds", "req-7"))
    service.execute(CreateTrait("CUSTOM_TWO"), Requester("u" * 300, "p" * 300, "r" * 300))
    table = tables.changes
    query = sa.select(table).order_by(table.c.revision.desc()).limit(2)
    last, first = store.read(lambda connection: connection.execute(query).all())
    assert (first.user_id, first.project_id, first.request_id) == ("anne", "reds", "req-7")
    assert (len(last.user_id), len(last.project_id), len(last.request_id)) == (255, 255, 64)
    assert len(first.transaction_id) == 32
    assert first.transaction_id != last.transaction_id
    assert first.created_at is not None


YEARS = 1e9
"""Seconds: nothing is so old."""


def compacted(store: Store, kept: int, seconds: float = YEARS) -> int:
    """Compact until nothing more may go; how many writes were forgotten."""
    forgotten = 0
    while batch := store.compact(kept, seconds, store.revision()):
        forgotten += batch
    return forgotten


def test_whoever_is_behind_a_compacted_log_builds_anew(
    store: Store, service: Service, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog, "COMPACTED_TOGETHER", 4)
    behind = open_service(store)
    provider = add_provider(service, VCPU=4)
    assert uuids_with_room(behind, VCPU, 4) == {provider}
    start = store.revision()
    for number in range(20):
        order(service, UpdateProvider(provider, f"name {number}"))
    newer = add_provider(service, VCPU=4)
    last = store.revision()
    assert compacted(store, 10) == last - 10
    assert compacted(store, 10) == 0
    logged = [revision for revision, _, _ in log_after(store, 0)]
    assert logged == list(range(last - 9, last + 1))
    assert store.refresh(start) is None
    assert store.refresh(logged[0] - 2) is None
    kept = store.refresh(logged[0] - 1)
    assert kept is not None
    assert kept.revision == store.revision()
    assert {record.uuid for record in kept.records} == {provider, newer}
    assert store.refresh(store.revision() + 1) is None
    assert uuids_with_room(behind, VCPU, 4) == {provider, newer}


def test_a_log_shorter_than_what_is_kept_is_not_compacted(store: Store, service: Service) -> None:
    start = store.revision()
    order(service, CreateTrait("CUSTOM_T"))
    assert compacted(store, store.revision()) == 0
    assert missed_since(store, start) == changelog.Missed(start + 1, frozenset(), True)


def test_a_log_forgets_what_is_old_however_short_it_is(store: Store, service: Service) -> None:
    order(service, CreateTrait("CUSTOM_OLD"))
    old = store.revision()
    with store.engines.write.begin() as connection:
        connection.execute(changes.update().values(created_at=utcnow() - timedelta(hours=2)))
    order(service, CreateTrait("CUSTOM_NEW"))
    assert store.compact(1_000_000, 3_600, old) == old
    assert [revision for revision, _, _ in log_after(store, 0)] == [old + 1]
    assert compacted(store, 1_000_000, 3_600) == 0


def test_what_may_not_be_settled_yet_is_never_forgotten(store: Store, service: Service) -> None:
    for number in range(4):
        order(service, CreateTrait(f"CUSTOM_{number}"))
    last = store.revision()
    assert store.compact(1, 0, last - 3) == last - 3
    assert store.compact(1, 0, last - 3) == 0
    assert len(log_after(store, 0)) == 3


def test_only_one_process_compacts_at_a_time(store: Store, service: Service) -> None:
    for number in range(4):
        order(service, CreateTrait(f"CUSTOM_{number}"))
    last = store.revision()

    def other(connection: sa.Connection) -> None:
        # In the same transaction, as the other process's would be once it has committed.
        cursor = connection.connection.cursor()
        cursor.execute("UPDATE moorage_revision SET compacted = 1")
        cursor.close()

    with (
        before_statement(store.engines.write, "UPDATE moorage_revision", other),
        pytest.raises(WriteConflictError),
    ):
        store.compact(1, 0, last)
    assert len(log_after(store, 0)) == last
    assert compacted(store, 1) == last - 1
