"""What a process claims itself its index knows at once, and never takes for all that has happened."""

from __future__ import annotations

import random
import threading

import pytest
import sqlalchemy as sa

from moorage.model.commands import Batch, Command, DeleteAllocations, SetInventories
from moorage.model.errors import CapacityExceededError
from moorage.service import live_index
from moorage.service.committer import Committer
from moorage.service.facade import Service
from moorage.service.live_index import SharedPoll, built
from moorage.service.settings import CommitSettings
from moorage.store.changes.news import OwnClaims
from moorage.store.store import Store
from tests.databases.index_contents import contents
from tests.databases.orders import (
    VCPU,
    add_provider,
    claim,
    inventories,
    new_uuid,
    order,
    uuids_with_room,
)
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import before_statement, watching
from tests.databases.together import together


@pytest.fixture
def other(store: Store, open_service: OpenService) -> Service:
    """Another process, as far as indexes can tell."""
    return open_service(store)


def is_true(store: Store, service: Service) -> bool:
    """Whether an index, once asked, is what a new one would be."""
    with store.everything() as everything:
        expected = contents(built(everything).snapshot())
    return service._index.ask(contents) == expected


def told(store: Store, service: Service, *commands: Command[object]) -> list[OwnClaims]:
    """What the index is told while one group of orders is carried out."""

    class Noting(SharedPoll):
        revision = None

        def __init__(self) -> None:
            super().__init__(store.revision)
            self.found: list[OwnClaims] = []

        def put_back(self) -> None:
            raise AssertionError

        def learn(self, claims: OwnClaims) -> None:
            self.found.append(claims)

    noting = Noting()
    service._committer = Committer(store, CommitSettings(), audience=noting)
    together(service, *commands)
    return noting.found


def test_own_claims_are_there_without_asking_what_was_written(store: Store, service: Service) -> None:
    root = add_provider(service, VCPU=8, DISK_GB=9)
    child, idle = (add_provider(service, parent=root, VCPU=8) for _ in range(2))
    consumer = new_uuid()
    order(service, claim(consumer, {idle: {VCPU: 5}}))
    service.warm_up()
    order(service, claim(new_uuid(), {root: {VCPU: 1, "DISK_GB": 9}, child: {VCPU: 7}}))
    with watching(store) as watched:
        assert uuids_with_room(service, VCPU, 3) == {root, idle}
        order(service, DeleteAllocations(consumer))
        assert uuids_with_room(service, VCPU, 8) == {idle}
        assert uuids_with_room(service, "DISK_GB", 1) == set()
    # The revision each time, and nothing else.
    assert len(set(watched.direct)) == 1
    assert is_true(store, service)


def test_a_group_tells_of_its_revisions_and_of_what_providers_use_now(store: Store, service: Service) -> None:
    one, two, three = (add_provider(service, VCPU=8, DISK_GB=1) for _ in range(3))
    order(service, claim(new_uuid(), {three: {VCPU: 1}}))
    consumer, before = new_uuid(), store.revision()
    found = told(
        store,
        service,
        claim(consumer, {one: {VCPU: 3}}),
        claim(new_uuid(), {two: {VCPU: 1, "DISK_GB": 1}}),
        claim(new_uuid(), {three: {VCPU: 9}}),
        DeleteAllocations(consumer),
    )
    with store.everything() as everything:
        ids = {record.uuid: record.id for record in built(everything).records()}
    [claims] = found
    assert (claims.before, claims.revision) == (before, before + 3)
    assert store.revision() == before + 3
    assert claims.used == {ids[one]: {VCPU: 0}, ids[two]: {VCPU: 1, "DISK_GB": 1}}


def test_what_is_more_than_claims_is_left_to_the_database(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    claims = claim(new_uuid(), {provider: {VCPU: 1}})
    assert told(store, service, claims, SetInventories(provider, None, inventories(VCPU=9))) == []
    assert told(store, service, Batch((claim(new_uuid(), {provider: {VCPU: 1}}),))) == []
    assert told(store, service, DeleteAllocations(new_uuid())) == []
    assert told(store, service, claim(new_uuid(), {provider: {VCPU: 9}})) == []


def test_what_others_wrote_before_is_not_passed_over(store: Store, service: Service, other: Service) -> None:
    mine, theirs = (add_provider(service, VCPU=8) for _ in range(2))
    service.warm_up()
    order(other, claim(new_uuid(), {theirs: {VCPU: 8}}))
    order(service, claim(new_uuid(), {mine: {VCPU: 7}}))
    assert uuids_with_room(service, VCPU, 1) == {mine}
    assert is_true(store, service)


def test_what_others_write_between_reading_and_counting_is_not_passed_over(
    server_store: Store, server_service: Service, open_service: OpenService
) -> None:
    """The revision is not the one that was read when the group was decided."""
    other = open_service(server_store)
    mine, theirs = (add_provider(server_service, VCPU=8) for _ in range(2))
    # So that neither has to write a name of a project first.
    order(other, claim(new_uuid(), {theirs: {VCPU: 1}}))
    order(server_service, claim(new_uuid(), {mine: {VCPU: 1}}))
    server_service.warm_up()
    revision = server_store.revision()

    def write(_connection: sa.Connection) -> None:
        order(other, claim(new_uuid(), {theirs: {VCPU: 7}}))

    with before_statement(server_store.engines.write, "UPDATE moorage_revision", write) as met:
        order(server_service, claim(new_uuid(), {mine: {VCPU: 6}}))
    assert met
    assert server_store.revision() == revision + 2
    assert uuids_with_room(server_service, VCPU, 1) == {mine}
    assert is_true(server_store, server_service)


def test_several_groups_are_taken_over_at_once(store: Store, service: Service) -> None:
    one, two = (add_provider(service, VCPU=8) for _ in range(2))
    service.warm_up()
    revision = service._index.revision
    for provider in (one, one, two, one):
        order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    assert service._index.revision == revision
    with watching(store) as watched:
        assert uuids_with_room(service, VCPU, 6) == {two}
        assert uuids_with_room(service, VCPU, 5) == {one, two}
    assert len(set(watched.direct)) == 1
    assert is_true(store, service)


def test_of_too_much_to_take_over_the_database_is_asked(store: Store, service: Service) -> None:
    provider, other = add_provider(service, VCPU=8), add_provider(service, VCPU=100)
    service.warm_up()
    order(service, claim(new_uuid(), {provider: {VCPU: 7}}))
    for _ in range(live_index.MOST_OWN):
        order(service, claim(new_uuid(), {other: {VCPU: 1}}))
    assert len(service._index._own) == live_index.MOST_OWN
    assert uuids_with_room(service, VCPU, 2) == {other}
    assert not service._index._own
    assert is_true(store, service)


def test_what_waits_to_be_taken_over_is_bounded_by_the_providers_it_names(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_index, "MOST_OWN_PROVIDERS", 3)
    provider = add_provider(service, VCPU=8)
    service.warm_up()
    for number in range(5):
        order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
        assert len(service._index._own) == min(number + 1, 3)
    assert is_true(store, service)


def test_an_index_that_is_not_there_yet_takes_nothing_over(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    order(service, claim(new_uuid(), {provider: {VCPU: 8}}))
    assert service._index.revision is None
    assert uuids_with_room(service, VCPU, 1) == set()


def test_indexes_of_two_processes_stay_true_while_both_write(
    store: Store, service: Service, other: Service
) -> None:
    providers = [add_provider(service, VCPU=20) for _ in range(6)]
    seeds = random.Random(7)
    failures: list[BaseException] = []

    def work(own: Service, chance: random.Random) -> None:
        held: list[str] = []
        for _ in range(25):
            if held and chance.random() < 0.4:
                order(own, DeleteAllocations(held.pop()))
                continue
            consumer = new_uuid()
            try:
                order(own, claim(consumer, {chance.choice(providers): {VCPU: chance.randint(1, 4)}}))
            except CapacityExceededError:
                uuids_with_room(own, VCPU, 1)
            else:
                held.append(consumer)
                uuids_with_room(own, VCPU, 4)

    def run(own: Service, seed: int) -> None:
        try:
            work(own, random.Random(seed))
        except BaseException as failure:
            failures.append(failure)

    threads = [
        threading.Thread(target=run, args=(own, seeds.randrange(1000)))
        for own in (service, other)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert is_true(store, service)
    assert is_true(store, other)
