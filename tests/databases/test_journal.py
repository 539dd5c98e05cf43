"""The journal: a record of each write, in the transaction that it describes, until it is compacted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    Batch,
    CreateProvider,
    CreateTrait,
    DeleteAllocations,
    ReplaceAllocations,
)
from moorage.model.errors import CapacityExceededError, UnavailableError
from moorage.model.journal import NEW_HISTORY, JournalMode
from moorage.model.values import Requester
from moorage.service.facade import Service
from moorage.service.live_index import LiveIndex
from moorage.store.changes import changelog, epochs
from moorage.store.changes import journal as kept
from moorage.store.settings import StoreSettings
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.statements import utcnow
from moorage.store.store import Store
from moorage.store.tables import journal, traits
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.databases.records import put_back, refs, rows
from tests.databases.together import led

ASKER = Requester("user", "project", "req-1", "req-2", "native")


def test_each_write_has_one_record_with_its_request(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=8), new_uuid()
    start = store.revision()
    service.execute(claim(consumer, {provider: {VCPU: 2}}), ASKER)
    service.execute(DeleteAllocations(consumer), ASKER)
    service.execute(CreateTrait("CUSTOM_T"), ASKER)
    found = rows(store, start)
    assert [row["revision"] for row in found] == [start + 1, start + 2, start + 3]
    assert [row["kind"] for row in found] == ["allocations.replace", "allocations.delete", "trait.create"]
    for row in found:
        assert (row["path"], row["user_id"], row["project_id"]) == ("native", "user", "project")
        assert (row["request_id"], row["global_request_id"]) == ("req-1", "req-2")
        assert utcnow() - row["created_at"] < timedelta(minutes=1)
    assert [(row["consumer"], row["tree"]) for row in found] == [
        (consumer, provider),
        (consumer, provider),
        (None, None),
    ]
    assert found[0]["body"]["providers"][provider]["used"] == {VCPU: [0, 2]}
    assert found[1]["body"]["consumers"][consumer]["held"] == {provider: {VCPU: [2, 0]}}
    assert refs(store, start) == set()


def test_a_group_has_a_record_for_each_command_that_was_not_refused(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    start = store.revision()
    consumers = [new_uuid() for _ in range(4)]
    group = [claim(uuid, {provider: {VCPU: 3}}, None) for uuid in consumers]
    errors = [ticket.error for ticket in led(service, [(command, ASKER) for command in group])]
    assert [type(error) for error in errors[2:]] == [CapacityExceededError, CapacityExceededError]
    found = rows(store, start)
    assert [row["revision"] for row in found] == [start + 1, start + 2]
    used = [row["body"]["providers"][provider]["used"] for row in found]
    assert used == [{VCPU: [0, 3]}, {VCPU: [3, 6]}]


def test_several_consumers_and_trees_of_one_write_have_rows_of_their_own(
    store: Store, service: Service
) -> None:
    trees = [add_provider(service, VCPU=8) for _ in range(2)]
    consumers = [new_uuid() for _ in range(2)]
    start = store.revision()
    both = [claim(uuid, {tree: {VCPU: 1} for tree in trees}, None).claims[0] for uuid in consumers]
    service.execute(ReplaceAllocations(tuple(both)), ASKER)
    [row] = rows(store, start)
    assert (row["consumer"], row["tree"]) == (None, None)
    assert refs(store, start) == {(start + 1, subject) for subject in (*trees, *consumers)}


def test_a_long_record_and_names_of_any_alphabet_come_back_whole(store: Store, service: Service) -> None:
    start = store.revision()
    commands = [CreateProvider(new_uuid(), f"Gerät {number}") for number in range(50)]
    service.execute(Batch(tuple(commands)), ASKER)
    [row] = rows(store, start)
    names = {each["name"][1] for each in row["body"]["providers"].values()}
    assert names == {command.name for command in commands}
    with store.engines.single.connect() as connection:
        query = sa.select(journal.c.body).where(journal.c.revision == start + 1)
        body = connection.execute(query).scalar_one()
    assert body.isascii()
    assert len(body) < 50 * 300


@pytest.mark.parametrize("mode", [JournalMode.REFS, JournalMode.OFF])
def test_less_is_kept_where_operators_want_less(mode: JournalMode, store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=8), new_uuid()
    start = store.revision()
    other = Store(StoreSettings(store.engines.write.url.render_as_string(hide_password=False), journal=mode))
    try:
        Service(other).execute(claim(consumer, {provider: {VCPU: 2}}), ASKER)
    finally:
        other.close()
    found = rows(store, start)
    if mode is JournalMode.OFF:
        assert found == []
    else:
        [row] = found
        assert row["body"]["providers"] == {provider: {"tree": provider}}
        assert (row["consumer"], row["tree"]) == (consumer, provider)


def test_what_the_service_writes_of_itself_has_a_record_too(store: Store) -> None:
    start = store.revision()
    with store.engines.write.begin() as connection:
        connection.execute(traits.delete().where(traits.c.name == "COMPUTE_NODE"))
    store.synchronise_names()
    [row] = rows(store, start)
    assert (row["kind"], row["path"]) == ("names.synchronise", "service")
    assert row["body"] == {"traits": {"COMPUTE_NODE": [False, True]}}


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many records one step forgets."""
    monkeypatch.setattr(kept, "COMPACTED_TOGETHER", 3)
    return 3


def test_the_oldest_records_are_forgotten_in_steps_with_their_rows(
    store: Store, service: Service, together: int
) -> None:
    trees = [add_provider(service, VCPU=8) for _ in range(2)]
    for _ in range(4):
        service.execute(claim(new_uuid(), {tree: {VCPU: 1} for tree in trees}), ASKER)
    first = rows(store)[0]["revision"]
    present = store.revision()
    forgotten = []
    while count := store.compact_journal(2, 1e9, 0):
        forgotten.append(count)
    assert set(forgotten[:-1]) == {together}
    assert sum(forgotten) == present - 2 - first + 1
    assert [row["revision"] for row in rows(store)] == [present - 1, present]
    assert {revision for revision, _ in refs(store)} == {present - 1, present}


def test_at_every_boundary_exactly_the_newest_records_stay(store: Store, service: Service) -> None:
    while store.compact_journal(1, 1e9, 0):
        pass
    start = store.revision()
    for number in range(6):
        order(service, CreateTrait(f"CUSTOM_{number}"))
    for left in range(6, 0, -1):
        store.compact_journal(left, 1e9, 0)
        assert [row["revision"] for row in rows(store)] == list(range(start + 7 - left, start + 7))


def test_records_are_forgotten_by_age_even_if_they_are_few(
    store: Store, service: Service, together: int
) -> None:
    for number in range(2 * together):
        order(service, CreateTrait(f"CUSTOM_{number}"))
    while store.compact_journal(2 * together, 1e9, 0):
        pass
    assert store.compact_journal(100, 3600, store.revision()) == 0
    old = utcnow() - timedelta(hours=2)
    boundary = store.revision() - together
    with store.engines.write.begin() as connection:
        connection.execute(journal.update().where(journal.c.revision <= boundary).values(created_at=old))
    assert store.compact_journal(100, 3600, store.revision()) == together
    assert store.compact_journal(100, 3600, store.revision()) == 0
    assert [row["revision"] for row in rows(store)] == [boundary + 1, boundary + 2, boundary + 3]
    # By a clock that is ahead all are old; those that came last are kept nevertheless.
    assert store.compact_journal(100, -10, boundary) == 0
    assert store.compact_journal(100, -10, boundary + 1) == 1
    assert store.compact_journal(100, -10, store.revision()) == together - 1
    assert store.compact_journal(1, -10, store.revision()) == 0


def test_a_new_history_has_another_epoch_and_one_revision(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    order(service, claim(new_uuid(), {provider: {VCPU: 2}}))
    start, before = store.revision(), store.epoch()
    assert len(before) == 16
    epoch = store.new_history()
    assert store.epoch() == epoch != before
    assert store.revision() == start + 1
    [row] = rows(store, start)
    assert (row["kind"], row["path"], row["tree"]) == (NEW_HISTORY, "service", "*")
    assert row["body"] == {"adopted": {"providers": 1, "inventories": 1, "consumers": 1, "allocations": 1}}


def test_a_step_back_begins_one_new_history_however_many_processes_see_it(
    store: Store, service: Service
) -> None:
    for number in range(3):
        order(service, CreateTrait(f"CUSTOM_{number}"))
    indexes = [LiveIndex(store) for _ in range(2)]
    for index in indexes:
        index.ask(len)
    before, present = store.epoch(), store.revision()
    put_back(store, present - 2)
    indexes[0].ask(len)
    epoch = store.epoch()
    assert epoch != before
    indexes[1].ask(len)
    assert store.epoch() == epoch
    assert store.revision() == present - 1
    assert [index.revision for index in indexes] == [present - 1, present - 1]


def test_a_new_history_is_tried_again_and_then_given_up(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [WriteConflictError()]
    real: Callable[..., str] = epochs.begin

    def begin(connection: sa.Connection, transaction_id: str, *, journals: bool) -> str:
        if faults:
            raise faults.pop()
        return real(connection, transaction_id, journals=journals)

    monkeypatch.setattr(epochs, "begin", begin)
    monkeypatch.setattr("moorage.store.store.time.sleep", lambda _seconds: None)
    assert sqlite_store.new_history() == sqlite_store.epoch()
    faults += [WriteConflictError()] * 5
    with pytest.raises(UnavailableError, match="a new history could not be begun"):
        sqlite_store.new_history()


def test_a_write_that_only_settles_another_one_has_an_empty_record(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog, "_is_cluster", lambda _connection: True)
    start = store.revision()
    assert not store.was_committed("t" * 32)
    [row] = rows(store, start)
    assert (row["kind"], row["body"]) == (changelog.SETTLED, {})
