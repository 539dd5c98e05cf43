"""What locks do not hold off is noticed, and the order is carried out from a new reading."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    KEEP,
    DeleteAllocations,
    Keep,
    ReplaceAllocations,
    SetInventories,
    UpdateProvider,
)
from moorage.model.errors import (
    AllocationsNotFoundError,
    CapacityExceededError,
    ConsumerGenerationError,
    StaleGenerationError,
)
from moorage.service.facade import Service
from moorage.store.store import Store
from moorage.store.tables import consumers, resource_providers, revisions
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order
from tests.databases.prepared import OpenService, OpenStore, Prepare
from tests.databases.sql_watch import before_lock, before_statement
from tests.servers.binaries import POSTGRESQL


def test_a_provider_whose_generation_is_not_what_was_read_is_read_again(
    store: Store, service: Service
) -> None:
    """As a second writer of a cluster could do that does not share locks."""
    provider = add_provider(service, VCPU=4)

    def outrun(connection: sa.Connection) -> None:
        # In the order's own transaction, so that its new reading finds the old generation.
        cursor = connection.connection.cursor()
        cursor.execute("UPDATE resource_providers SET generation = generation + 5")
        cursor.close()

    with before_statement(
        store.engines.write, ("UPDATE resource_providers", "UPDATE JSON_TABLE"), outrun
    ) as met:
        order(service, SetInventories(provider, 1, inventories(VCPU=5)))
    assert len(met) == 1
    assert service.provider(provider).generation == 2
    assert service.provider_inventories(provider).inventories == inventories(VCPU=5)


def test_a_consumer_whose_generation_is_not_what_was_read_is_read_again(
    store: Store, service: Service
) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 1}}))

    def outrun(connection: sa.Connection) -> None:
        cursor = connection.connection.cursor()
        cursor.execute("UPDATE consumers SET generation = generation + 5")
        cursor.close()

    with before_statement(store.engines.write, ("UPDATE consumers", "UPDATE JSON_TABLE"), outrun) as met:
        order(service, claim(consumer, {provider: {VCPU: 2}}, 1))
    assert len(met) == 1
    assert service.consumer_allocations(consumer).generation == 2


def test_a_generation_that_went_on_before_the_lock_is_the_clients_to_hear(
    server_store: Store, server_service: Service, open_service: OpenService
) -> None:
    provider, other = add_provider(server_service, VCPU=4), open_service(server_store)
    order(server_service, SetInventories(provider, 1, inventories(VCPU=5)))
    with (
        before_statement(
            server_store.engines.write,
            "SELECT resource_providers",
            lambda _: order(other, SetInventories(provider, 2, inventories(VCPU=6))),
        ),
        pytest.raises(StaleGenerationError) as stale,
    ):
        order(server_service, SetInventories(provider, 2, inventories(VCPU=7)))
    assert (stale.value.actual, stale.value.given) == (3, 2)


@pytest.mark.databases
def test_a_child_that_comes_while_its_tree_is_being_locked_is_seen(
    prepare: Prepare, open_store: OpenStore, open_service: OpenService
) -> None:
    """PostgreSQL shows a waiting statement what was there when it began: no child that came since."""
    url = prepare(POSTGRESQL)
    store, service = open_store(url), open_service(url)
    root, joined, child = add_provider(service), add_provider(service), new_uuid()
    moved = add_provider(service, parent=root)
    below = add_provider(service, parent=moved)
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    table = resource_providers
    # Another process writes a child at the far end, which holds its parent and its root until COMMIT.
    other = open_store(url).engines.write.connect()
    ids = {row.uuid: row.id for row in other.execute(sa.select(table.c.uuid, table.c.id))}
    other.execute(
        table.insert().values(
            uuid=child,
            name="child",
            generation=0,
            parent_provider_id=ids[below],
            root_provider_id=ids[root],
        )
    )

    done = threading.Event()

    def commit_once_it_is_waited_for() -> None:
        with store.engines.single.connect() as connection:
            while connection.execute(waiting).scalar_one() == 0 and not done.wait(0.001):
                pass
        other.commit()

    between = threading.Thread(target=commit_once_it_is_waited_for)
    between.start()
    try:
        order(service, UpdateProvider(moved, "moved", joined))
    finally:
        done.set()
        between.join()
    other.close()
    assert [service.provider(uuid).root_uuid for uuid in (moved, below, child)] == [joined] * 3


def test_what_a_consumer_held_that_went_before_the_lock_is_not_given_back_twice(
    server_store: Store, server_service: Service, open_service: OpenService
) -> None:
    """Its provider would seem to have room that it has not."""
    provider, other = add_provider(server_service, VCPU=4), open_service(server_store)
    gone, stays = new_uuid(), new_uuid()
    order(server_service, claim(gone, {provider: {VCPU: 3}}))
    order(server_service, claim(stays, {provider: {VCPU: 1}}))
    with (
        before_lock(server_store.engines.write, lambda: order(other, DeleteAllocations(gone))) as met,
        pytest.raises(CapacityExceededError),
    ):
        order(server_service, claim(gone, {provider: {VCPU: 4}}))
    assert met
    assert server_service.provider_usages(provider).usages == {VCPU: 1}


def test_a_consumer_that_went_before_the_lock_cannot_be_deleted_again(
    server_store: Store, server_service: Service, open_service: OpenService
) -> None:
    provider, other = add_provider(server_service, VCPU=4), open_service(server_store)
    consumer = new_uuid()
    order(server_service, claim(consumer, {provider: {VCPU: 3}}))
    with (
        before_lock(server_store.engines.write, lambda: order(other, DeleteAllocations(consumer))) as met,
        pytest.raises(AllocationsNotFoundError),
    ):
        order(server_service, DeleteAllocations(consumer))
    assert met


def test_a_consumer_that_comes_while_it_is_made_is_the_clients_to_hear(
    server_store: Store, server_service: Service, open_service: OpenService
) -> None:
    """Its row is in the way, which PostgreSQL says only at the end of all statements."""
    own, others = add_provider(server_service, VCPU=4), add_provider(server_service, VCPU=4)
    order(server_service, claim(new_uuid(), {own: {VCPU: 1}}))
    other, consumer = open_service(server_store), new_uuid()
    with (
        before_statement(
            server_store.engines.write,
            f"INSERT INTO {consumers.name}",
            lambda _: order(other, claim(consumer, {others: {VCPU: 2}}, None)),
        ) as met,
        pytest.raises(ConsumerGenerationError) as stale,
    ):
        order(server_service, claim(consumer, {own: {VCPU: 1}}, None))
    assert len(met) == 1
    assert (stale.value.actual, stale.value.given) == (1, None)
    assert server_service.provider_usages(own).usages == {VCPU: 1}
    assert server_service.provider_usages(others).usages == {VCPU: 2}


@pytest.mark.parametrize(
    ("generation", "granted"), [(None, False), (KEEP, True)], ids=["only if it is new", "whatever it is"]
)
def test_a_consumer_that_comes_while_it_is_given_nothing_is_seen(
    server_store: Store,
    server_service: Service,
    open_service: OpenService,
    generation: Keep | None,
    granted: bool,
) -> None:
    """Of a consumer that is not there, and gets nothing, no row is written that could be in the way."""
    shared, own = add_provider(server_service, VCPU=4), add_provider(server_service, VCPU=4)
    other = open_service(server_store)
    # So that neither waits for the other to make their project and user.
    order(server_service, claim(new_uuid(), {own: {VCPU: 1}}))
    consumer = new_uuid()
    both = claim(consumer, {}, generation).claims + claim(new_uuid(), {own: {VCPU: 1}}, None).claims
    with before_statement(
        server_store.engines.write,
        f"UPDATE {revisions.name}",
        lambda _: order(other, claim(consumer, {shared: {VCPU: 2}}, None)),
    ) as met:
        if granted:
            order(server_service, ReplaceAllocations(both))
        else:
            with pytest.raises(ConsumerGenerationError) as stale:
                order(server_service, ReplaceAllocations(both))
            assert (stale.value.actual, stale.value.given) == (1, None)
    assert len(met) == 1
    assert server_service.provider_usages(shared).usages == {VCPU: 0 if granted else 2}
    assert server_service.provider_usages(own).usages == {VCPU: 2 if granted else 1}
