from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from moorage.model.commands import Claim, DeleteAllocations, NewInventories, ReplaceAllocations, Reshape
from moorage.model.errors import (
    AllocationsNotFoundError,
    CapacityExceededError,
    ConsumerGenerationError,
    InventoryInUseError,
)
from moorage.model.values import ConsumerAllocations, HeldByConsumer, HeldOfProvider, UsageGroup
from moorage.service.facade import Service
from moorage.store import tables
from moorage.store.sql.statements import utcnow
from moorage.store.store import Store
from tests.databases.orders import DISK, MEMORY, VCPU, add_provider, claim, inventories, new_uuid, order


def consumer_rows(store: Store) -> list[str]:
    query = sa.select(tables.consumers.c.uuid)
    return list(store.read(lambda connection: connection.execute(query).scalars().all()))


def test_a_claim_is_read_back_from_both_sides(service: Service) -> None:
    started = utcnow()
    first, second = add_provider(service, VCPU=8, MEMORY_MB=64), add_provider(service, DISK_GB=100)
    consumer = new_uuid()
    order(
        service,
        claim(consumer, {first: {VCPU: 2, MEMORY: 16}, second: {DISK: 10}}, None, "INSTANCE", "p1", "u1"),
    )
    held = service.consumer_allocations(consumer)
    assert held.providers == {
        first: HeldOfProvider(2, {VCPU: 2, MEMORY: 16}),
        second: HeldOfProvider(2, {DISK: 10}),
    }
    assert (held.project_id, held.user_id, held.consumer_type) == ("p1", "u1", "INSTANCE")
    assert held.generation == 1
    given = service.provider_allocations(first)
    assert given.consumers == {consumer: HeldByConsumer(1, {VCPU: 2, MEMORY: 16})}
    assert given.generation == 2
    for modified in (held.modified, given.modified):
        assert isinstance(modified, datetime)
        assert started <= modified <= utcnow()
    assert service.provider_usages(first).usages == {VCPU: 2, MEMORY: 16}


def test_whoever_holds_nothing_is_empty_whatever_the_string(service: Service) -> None:
    provider = add_provider(service, VCPU=1)
    assert service.consumer_allocations("no uuid, and a ' quote") == ConsumerAllocations()
    assert service.provider_allocations(provider).consumers == {}
    assert service.provider_allocations(provider).modified is None
    assert service.usages("nobody") == {}
    assert service.usages_by_type("nobody") == []


def test_a_consumer_moves_changes_hands_and_leaves(store: Store, service: Service) -> None:
    old, new, consumer = add_provider(service, VCPU=4), add_provider(service, VCPU=4), new_uuid()
    order(service, claim(consumer, {old: {VCPU: 4}}, None, "INSTANCE"))
    order(service, claim(consumer, {new: {VCPU: 3}}, 1, "MIGRATION", "other project", "other user"))
    held = service.consumer_allocations(consumer)
    assert held.providers == {new: HeldOfProvider(2, {VCPU: 3})}
    assert (held.generation, held.consumer_type) == (2, "MIGRATION")
    assert (held.project_id, held.user_id) == ("other project", "other user")
    # A provider that is left behind keeps its generation: 1 by its inventory, 1 by the claim.
    assert service.provider(old).generation == 2
    assert service.usages("project") == {}
    assert service.usages("other project", "other user") == {VCPU: 3}

    order(service, claim(consumer, {}, 2))
    assert service.consumer_allocations(consumer) == ConsumerAllocations()
    assert consumer_rows(store) == []
    assert service.provider(new).generation == 3
    order(service, claim(consumer, {old: {VCPU: 1}}, None))
    assert service.consumer_allocations(consumer).generation == 1


def test_deleted_allocations_leave_no_consumer_and_bump_nothing(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 4}}))
    order(service, DeleteAllocations(consumer))
    assert consumer_rows(store) == []
    assert service.provider(provider).generation == 2
    assert service.provider_usages(provider).usages == {VCPU: 0}
    with pytest.raises(AllocationsNotFoundError):
        order(service, DeleteAllocations(consumer))


def test_a_refused_claim_leaves_nothing_behind(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    with pytest.raises(CapacityExceededError):
        order(service, claim(consumer, {provider: {VCPU: 5}}, None, "NEW_TYPE", "new project"))
    with pytest.raises(ConsumerGenerationError):
        order(service, claim(consumer, {provider: {VCPU: 1}}, 3))
    assert consumer_rows(store) == []
    assert service.provider(provider).generation == 1
    assert service.consumer_allocations(consumer) == ConsumerAllocations()


def test_a_consumer_left_behind_without_allocations_counts_as_new(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 1}}))
    with store.engines.write.begin() as connection:
        connection.execute(tables.allocations.delete())
        connection.execute(tables.consumers.update().values(generation=0))
    order(service, claim(consumer, {provider: {VCPU: 2}}, None))
    assert service.consumer_allocations(consumer).generation == 1
    assert consumer_rows(store) == [consumer]


def test_consumers_swap_their_places_in_one_order(service: Service) -> None:
    left, right = add_provider(service, VCPU=4), add_provider(service, VCPU=4)
    one, two = new_uuid(), new_uuid()
    order(service, claim(one, {left: {VCPU: 4}}))
    order(service, claim(two, {right: {VCPU: 4}}))
    order(
        service,
        ReplaceAllocations(
            (
                Claim(one, {right: {VCPU: 4}}, "project", "user", 1),
                Claim(two, {left: {VCPU: 4}}, "project", "user", 1),
            )
        ),
    )
    assert service.consumer_allocations(one).providers == {right: HeldOfProvider(3, {VCPU: 4})}
    assert service.consumer_allocations(two).providers == {left: HeldOfProvider(3, {VCPU: 4})}


def test_what_is_held_is_dated_anew_by_each_claim(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 2}}))
    long_ago = datetime(2020, 1, 1)  # noqa: DTZ001 - as the database keeps times
    with store.engines.write.begin() as connection:
        connection.execute(tables.allocations.update().values(created_at=long_ago, updated_at=None))
    assert service.consumer_allocations(consumer).modified == long_ago
    order(service, claim(consumer, {provider: {VCPU: 2}}))
    modified = service.consumer_allocations(consumer).modified
    assert modified is not None
    assert modified > long_ago


def test_usages_are_grouped_by_type_and_count_each_consumer_once(service: Service) -> None:
    first, second = (
        add_provider(service, VCPU=100, MEMORY_MB=1000),
        add_provider(service, VCPU=100, MEMORY_MB=1000),
    )

    def held(vcpu: int, memory: int) -> dict[str, dict[str, int]]:
        return {first: {VCPU: vcpu}, second: {VCPU: vcpu, MEMORY: memory}}

    order(service, claim(new_uuid(), held(1, 10), None, "INSTANCE", "p", "anne"))
    order(service, claim(new_uuid(), held(2, 20), None, "INSTANCE", "p", "ben"))
    order(service, claim(new_uuid(), held(3, 30), None, "MIGRATION", "p", "anne"))
    order(service, claim(new_uuid(), held(4, 40), None, None, "p", "anne"))
    order(service, claim(new_uuid(), held(50, 500), None, None, "q", "anne"))

    assert service.usages("p") == {VCPU: 20, MEMORY: 100}
    assert service.usages("p", "anne") == {VCPU: 16, MEMORY: 80}
    assert service.usages("p", "nobody") == {}

    instance = UsageGroup("INSTANCE", 2, {MEMORY: 30, VCPU: 6})
    migration = UsageGroup("MIGRATION", 1, {MEMORY: 30, VCPU: 6})
    unknown = UsageGroup("unknown", 1, {MEMORY: 40, VCPU: 8})

    def by_type(*wanted: str | None) -> list[UsageGroup]:
        groups = service.usages_by_type("p", *wanted)
        return sorted(groups, key=lambda group: group.consumer_type)

    assert by_type() == [instance, migration, unknown]
    assert by_type(None, "INSTANCE") == [instance]
    assert by_type(None, "unknown") == [unknown]
    assert by_type(None, "all") == [UsageGroup("all", 4, {MEMORY: 100, VCPU: 20})]
    assert by_type(None, "NO_SUCH_TYPE") == []
    assert by_type("anne", "INSTANCE") == [UsageGroup("INSTANCE", 1, {MEMORY: 10, VCPU: 2})]
    assert by_type("ben") == [UsageGroup("INSTANCE", 1, {MEMORY: 20, VCPU: 4})]


def test_a_type_of_none_is_unknown_and_keep_leaves_it_alone(service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 1}}))
    assert service.consumer_allocations(consumer).consumer_type == "unknown"
    order(service, claim(consumer, {provider: {VCPU: 1}}, consumer_type="INSTANCE"))
    order(service, claim(consumer, {provider: {VCPU: 2}}))
    assert service.consumer_allocations(consumer).consumer_type == "INSTANCE"
    order(service, claim(consumer, {provider: {VCPU: 2}}, consumer_type=None))
    assert service.consumer_allocations(consumer).consumer_type == "unknown"


def test_a_reshape_moves_inventories_and_allocations_at_once(service: Service) -> None:
    root, consumer = add_provider(service, VCPU=4, DISK_GB=10), new_uuid()
    child = add_provider(service, parent=root)
    order(service, claim(consumer, {root: {VCPU: 4, DISK: 10}}))
    without_claim = Reshape(
        {root: NewInventories(2, inventories(DISK_GB=10)), child: NewInventories(0, inventories(VCPU=4))}
    )
    with pytest.raises(InventoryInUseError):
        order(service, without_claim)
    moved = Claim(consumer, {root: {DISK: 10}, child: {VCPU: 4}}, "project", "user", 1)
    order(service, Reshape(without_claim.inventories, (moved,)))
    assert service.provider_inventories(root).inventories == inventories(DISK_GB=10)
    assert service.provider_inventories(child).inventories == inventories(VCPU=4)
    assert service.consumer_allocations(consumer).providers == {
        root: HeldOfProvider(5, {DISK: 10}),
        child: HeldOfProvider(3, {VCPU: 4}),
    }
    assert service.consumer_allocations(consumer).generation == 2
