from __future__ import annotations

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.errors import ProviderNotFoundError, TraitNotFoundError, UnavailableError
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import ProviderRecord
from moorage.search.index.index import Snapshot
from moorage.service.facade import Service
from moorage.service.live_index import LiveIndex
from moorage.store import everything, trees
from moorage.store.changes import changelog
from moorage.store.sql.errors import ConnectionLostError
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order, uuids_with_room
from tests.databases.prepared import OpenService, OpenStore
from tests.databases.records import put_back
from tests.databases.sql_watch import watching

Pair = tuple[Service, Service]


@pytest.fixture
def pair(prepared_url: str, open_service: OpenService) -> Pair:
    """Two processes on one database, both with an index."""
    services = open_service(prepared_url), open_service(prepared_url)
    for service in services:
        service.warm_up()
    return services


def test_what_one_process_has_answered_the_next_answer_of_another_shows(pair: Pair) -> None:
    here, there = pair
    provider, consumer, aggregate = add_provider(here, VCPU=4), new_uuid(), new_uuid()
    assert there.provider(provider).generation == 1
    assert uuids_with_room(there, VCPU, 4) == {provider}
    order(here, claim(consumer, {provider: {VCPU: 3}}))
    assert uuids_with_room(there, VCPU, 2) == set()
    assert uuids_with_room(there, VCPU, 1) == {provider}
    order(there, DeleteAllocations(consumer))
    assert uuids_with_room(here, VCPU, 4) == {provider}
    order(here, SetInventories(provider, 2, inventories(VCPU=9)))
    assert uuids_with_room(there, VCPU, 9) == {provider}

    def found(service: Service, group: RequestGroup) -> bool:
        return bool(service.candidates(CandidateRequest((group,))).candidates)

    with_trait = RequestGroup("", {VCPU: 1}, required=(frozenset(["CUSTOM_NEW"]),))
    with pytest.raises(TraitNotFoundError):
        found(there, with_trait)
    order(here, CreateTrait("CUSTOM_NEW"))
    assert not found(there, with_trait)
    order(here, SetTraits(provider, None, frozenset(["CUSTOM_NEW"])))
    assert found(there, with_trait)
    in_aggregate = RequestGroup("", {VCPU: 1}, member_of=(frozenset([aggregate]),))
    assert not found(there, in_aggregate)
    order(here, SetAggregates(provider, None, (aggregate,)))
    assert found(there, in_aggregate)

    root = add_provider(here)
    order(here, UpdateProvider(provider, "moved", root))
    assert found(there, RequestGroup("", {VCPU: 1}, in_tree=root))
    order(here, UpdateProvider(provider, "freed", None))
    assert not found(there, RequestGroup("", {VCPU: 1}, in_tree=root))
    order(here, DeleteProvider(provider))
    assert uuids_with_room(there, VCPU, 1) == set()
    with pytest.raises(ProviderNotFoundError):
        there.provider(provider)


def test_catching_up_reads_only_the_trees_that_changed(
    prepared_url: str, open_store: OpenStore, open_service: OpenService
) -> None:
    store = open_store(prepared_url)
    writer, reader = open_service(prepared_url), open_service(store)
    providers = [add_provider(writer, VCPU=4) for _ in range(30)]
    child = add_provider(writer, parent=providers[0], VCPU=2, traits=("COMPUTE_NODE",))
    reader.warm_up()

    with watching(store) as idle:
        assert child in uuids_with_room(reader, VCPU, 2)
    # The poll of the revision.
    assert (len(idle), len(idle.direct)) == (0, 1)

    order(writer, claim(new_uuid(), {child: {VCPU: 1}}))
    with watching(store) as catching_up:
        assert child not in uuids_with_room(reader, VCPU, 2)
    # The poll, and one statement for all that claims have changed.
    assert (len(catching_up), len(catching_up.direct)) == (0, 2)

    order(writer, claim(new_uuid(), {child: {VCPU: 1}}))
    with watching(store) as catching_up:
        assert child not in uuids_with_room(reader, VCPU, 1)
    # While things are being written, that one statement is the poll as well.
    assert (len(catching_up), len(catching_up.direct)) == (0, 1)
    for _ in range(2):
        with watching(store) as idle:
            reader.warm_up()
        assert (len(idle), len(idle.direct)) == (0, 1)

    order(writer, SetTraits(child, None, frozenset(("HW_CPU_X86_AVX",))))
    order(writer, claim(new_uuid(), {providers[0]: {VCPU: 1}}))
    with watching(store) as catching_up:
        assert child not in uuids_with_room(reader, VCPU, 2)
    # That statement was in vain; then revision and log within one snapshot; then providers, use,
    # inventories, traits and aggregates of the tree.
    assert (len(catching_up), len(catching_up.direct)) == (7, 2)
    if store.engines.write.dialect.name != "sqlite":
        # Counted above: 1 + 1, 2 providers, 2 uses, 2 inventories, 1 trait, no aggregate.
        assert catching_up.rows == 9

    order(writer, CreateTrait("CUSTOM_T"))
    with watching(store) as names_only:
        reader.warm_up()
    assert [statement for statement in names_only.statements if "FROM traits" in statement]
    assert not [statement for statement in names_only.statements if "FROM resource_providers" in statement]


def test_an_index_is_built_in_chunks_and_equals_one_that_caught_up(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(everything, "CHUNK_PROVIDERS", 3)
    service.warm_up()
    root = add_provider(service, VCPU=4, traits=("COMPUTE_NODE", "HW_CPU_X86_AVX"))
    for _ in range(7):
        root = add_provider(service, parent=root, VCPU=4, DISK_GB=2, aggregates=(new_uuid(),))
    order(service, claim(new_uuid(), {root: {VCPU: 1}}))
    caught_up = service._index.ask(by_id)
    built = LiveIndex(store).ask(by_id)
    assert len(built) == 8
    assert built == caught_up


def test_a_database_that_was_put_back_to_an_older_state_is_read_anew(
    sqlite_store: Store, open_service: OpenService
) -> None:
    service = open_service(sqlite_store)
    provider = add_provider(service, VCPU=4)
    assert uuids_with_room(service, VCPU, 4) == {provider}
    put_back(sqlite_store, 1, "UPDATE inventories SET total = 2")
    assert uuids_with_room(service, VCPU, 4) == set()
    # The new history begins with a revision of its own.
    assert service._index.revision == 2


def test_an_index_whose_building_is_cut_off_is_begun_anew(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_provider(sqlite_service, VCPU=4)
    real, left = trees.read_names, [None, None]

    def read_names(connection: sa.Connection) -> trees.Names:
        if left:
            left.pop()
            raise ConnectionLostError
        return real(connection)

    monkeypatch.setattr(trees, "read_names", read_names)
    index = LiveIndex(sqlite_store)
    assert index.revision is None
    assert index.ask(len) == 1
    assert index.revision == sqlite_store.revision()

    left += [None, None, None]
    index = LiveIndex(sqlite_store)
    with pytest.raises(UnavailableError):
        index.ask(len)
    assert index.ask(len) == 1


def test_an_index_that_another_thread_took_further_is_not_taken_back(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_provider(sqlite_service, VCPU=4)
    index = LiveIndex(sqlite_store)
    assert index.ask(len) == 1
    real = Store.revision

    def outrun(store: Store) -> int:
        """The revision as it was before another thread had its turn."""
        monkeypatch.setattr(Store, "revision", real)
        revision = store.revision()
        add_provider(sqlite_service)
        assert index.ask(len) == 2
        return revision

    monkeypatch.setattr(Store, "revision", outrun)
    with watching(sqlite_store) as watched:
        assert index.ask(len) == 2
    assert index.revision == sqlite_store.revision()
    # Built once and not again: all providers were read only for the other thread's catching up.
    assert len([text for text in watched.statements if "LIMIT" in text and "resource_providers" in text]) == 0


def by_id(index: Snapshot) -> list[ProviderRecord]:
    """All that an index holds."""
    return sorted(index.records(), key=lambda record: record.id)


def test_other_writes_are_seen_while_claims_are_made(store: Store, service: Service) -> None:
    """The index asks for claims at once then; whatever else was written it must not miss."""
    provider = add_provider(service, VCPU=9)
    service.warm_up()
    for total in (8, 7, 6, 5):
        consumer = new_uuid()
        order(service, claim(consumer, {provider: {VCPU: 1}}))
        assert uuids_with_room(service, VCPU, total) == {provider}
        assert uuids_with_room(service, VCPU, total + 1) == set()
        order(service, SetInventories(provider, None, inventories(VCPU=total)))
        assert uuids_with_room(service, VCPU, total - 1) == {provider}
        assert uuids_with_room(service, VCPU, total) == set()
        order(service, DeleteAllocations(consumer))
        assert uuids_with_room(service, VCPU, total) == {provider}
        assert service._index.ask(by_id) == LiveIndex(store).ask(by_id)


def test_a_database_that_is_put_back_while_claims_are_made_is_read_anew(
    sqlite_store: Store, open_service: OpenService
) -> None:
    service = open_service(sqlite_store)
    provider = add_provider(service, VCPU=4)
    service.warm_up()
    order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    assert uuids_with_room(service, VCPU, 3) == {provider}
    put_back(sqlite_store, 1, "UPDATE inventories SET total = 2")
    assert uuids_with_room(service, VCPU, 3) == set()
    # The new history begins with a revision of its own.
    assert service._index.revision == 2


@pytest.mark.parametrize("kind", ["claims", "names"])
def test_a_database_that_was_put_back_is_read_anew_although_writes_have_caught_up(
    sqlite_store: Store, open_service: OpenService, kind: str
) -> None:
    service = open_service(sqlite_store)
    provider, other = add_provider(service, VCPU=4), add_provider(service, VCPU=1)
    assert uuids_with_room(service, VCPU, 4) == {provider}
    before = service.revision()
    put_back(sqlite_store, before - 1, "UPDATE inventories SET total = 2 WHERE total = 4")
    for number in range(2):
        # No search asks meanwhile. The second write follows the revision of the index.
        if kind == "claims":
            order(service, claim(new_uuid(), {other: {VCPU: 1}} if number else {provider: {VCPU: 2}}))
        else:
            order(service, CreateTrait(f"CUSTOM_{number}"))
    assert service.revision() == before + 1
    assert uuids_with_room(service, VCPU, 4) == set()
    assert uuids_with_room(service, VCPU, 1) == (set() if kind == "claims" else {provider, other})
    assert service._index.ask(by_id) == LiveIndex(sqlite_store).ask(by_id)
    assert service.revision() == before + 2


@pytest.mark.parametrize("further", [1, 2, 3])
def test_a_database_that_was_put_back_is_read_anew_although_another_process_has_caught_up(
    prepared_url: str, open_store: OpenStore, open_service: OpenService, further: int
) -> None:
    store = open_store(prepared_url)
    service = open_service(store)
    provider = add_provider(service, VCPU=4)
    assert uuids_with_room(service, VCPU, 4) == {provider}
    index, before, epoch = service._index, service.revision(), store.epoch()
    index.recognise()
    put_back(store, before - 1, "UPDATE inventories SET total = 2 WHERE total = 4")
    # A process that begins after the restore knows nothing of what is lost.
    fresh = open_service(prepared_url)
    for number in range(further):
        order(fresh, CreateTrait(f"CUSTOM_{number}"))
    assert fresh.revision() == before - 1 + further
    index.recognise()
    assert uuids_with_room(service, VCPU, 4) == set()
    assert index.ask(by_id) == LiveIndex(store).ask(by_id)
    assert store.epoch() != epoch
    # The other process recognises what it has written, and that is all.
    index.recognise()
    fresh._index.recognise()
    assert fresh.revision() == service.revision() == before + further
    assert uuids_with_room(fresh, VCPU, 2) == {provider}


def test_what_the_log_has_forgotten_is_no_sign_of_another_history(
    sqlite_store: Store, open_service: OpenService
) -> None:
    service = open_service(sqlite_store)
    service._index.recognise()
    add_provider(service, VCPU=4)
    service.warm_up()
    epoch = sqlite_store.epoch()
    for _ in range(2):
        service._index.recognise()
        with sqlite_store.engines.write.begin() as connection:
            changelog.compact(connection, service.revision())
    service._index.recognise()
    add_provider(service, VCPU=8)
    assert len(uuids_with_room(service, VCPU, 4)) == 2
    service._index.recognise()
    assert sqlite_store.epoch() == epoch


def test_an_index_that_follows_has_nothing_to_catch_up_with(
    prepared_url: str, open_store: OpenStore, open_service: OpenService
) -> None:
    store = open_store(prepared_url)
    writer, reader = open_service(prepared_url), open_service(store)
    provider = add_provider(writer, VCPU=4)
    index = reader._index
    with watching(store) as unbuilt:
        index.follow()
    assert (len(unbuilt), len(unbuilt.direct), index.revision) == (0, 0, None)
    reader.warm_up()
    asked_at = index.asked_at

    with watching(store) as idle:
        index.follow()
    # All that a look costs while nothing changes: the poll of the revision.
    assert (len(idle), len(idle.direct)) == (0, 1)

    order(writer, claim(new_uuid(), {provider: {VCPU: 1}}))
    order(writer, SetInventories(provider, None, inventories(VCPU=9)))
    index.follow()
    assert index.revision == store.revision()
    assert index.asked_at == asked_at
    with watching(store) as asked:
        assert uuids_with_room(reader, VCPU, 8) == {provider}
    assert (len(asked), len(asked.direct)) == (0, 1)
    assert index.asked_at > asked_at


def test_an_index_that_follows_sees_that_a_database_was_put_back(
    sqlite_store: Store, open_service: OpenService
) -> None:
    service = open_service(sqlite_store)
    add_provider(service, VCPU=4)
    service.warm_up()
    put_back(sqlite_store, 1)
    service._index.follow()
    assert service._index.revision == 2
