from __future__ import annotations

from datetime import datetime

import pytest

from moorage.model.commands import (
    AddInventory,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteInventory,
    DeleteProvider,
    DeleteResourceClass,
    DeleteTrait,
    RenameResourceClass,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateInventory,
    UpdateProvider,
)
from moorage.model.errors import (
    ProviderNotFoundError,
    ResourceClassInUseError,
    ResourceClassNotFoundError,
    TraitInUseError,
    TraitNotFoundError,
)
from moorage.model.requests import ProviderFilter, RequestGroup
from moorage.model.values import Inventory
from moorage.service.facade import Service
from moorage.store.sql.statements import utcnow
from moorage.store.store import Store
from tests.databases.orders import (
    DISK,
    MEMORY,
    VCPU,
    add_provider,
    claim,
    inventories,
    new_uuid,
    order,
    uuids_with_room,
)
from tests.databases.prepared import OpenService


@pytest.fixture
def started() -> datetime:
    return utcnow()


def test_a_provider_is_read_as_it_was_created(service: Service, started: datetime) -> None:
    root, child = new_uuid(), new_uuid()
    created = order(service, CreateProvider(root, "Röot ☃"))
    nested = order(service, CreateProvider(child, "child", root))
    found = service.provider(root)
    assert (found.uuid, found.name, found.generation) == (root, "Röot ☃", 0)
    assert (found.parent_uuid, found.root_uuid) == (None, root)
    assert found.created_at is not None
    assert started <= found.created_at <= utcnow()
    assert (created.uuid, created.name, created.root_uuid) == (root, "Röot ☃", root)
    found = service.provider(child)
    assert (found.parent_uuid, found.root_uuid) == (nested.parent_uuid, nested.root_uuid) == (root, root)


def test_every_read_of_an_unknown_provider_is_refused(service: Service) -> None:
    for read in (
        service.provider,
        service.provider_inventories,
        service.provider_traits,
        service.provider_aggregates,
        service.provider_usages,
        service.provider_allocations,
    ):
        with pytest.raises(ProviderNotFoundError):
            read("00000000-0000-0000-0000-000000000000")


def test_providers_are_filtered_by_uuid_name_and_group_and_come_by_id(service: Service) -> None:
    first = add_provider(service, "first", VCPU=4, aggregates=("a" * 36,))
    second = add_provider(service, "second", VCPU=8, traits=("HW_CPU_X86_AVX",))
    third = add_provider(service, "third", parent=first)

    def names(wanted: ProviderFilter) -> list[str]:
        return [found.name for found in service.providers(wanted)]

    assert names(ProviderFilter()) == ["first", "second", "third"]
    assert names(ProviderFilter(uuid=second)) == ["second"]
    assert names(ProviderFilter(name="third")) == ["third"]
    assert names(ProviderFilter(uuid=second, name="third")) == []
    assert names(ProviderFilter(group=RequestGroup(resources={VCPU: 2}))) == ["first", "second"]
    assert names(ProviderFilter(name="second", group=RequestGroup(resources={VCPU: 2}))) == ["second"]
    assert names(ProviderFilter(group=RequestGroup(resources={VCPU: 5}))) == ["second"]
    assert names(ProviderFilter(group=RequestGroup(in_tree=third))) == ["first", "third"]
    assert names(ProviderFilter(group=RequestGroup(member_of=(frozenset(["a" * 36]),)))) == ["first"]
    with pytest.raises(TraitNotFoundError):
        names(ProviderFilter(group=RequestGroup(required=(frozenset(["NO_SUCH_TRAIT"]),))))


def test_a_renamed_provider_keeps_its_place_and_its_generation(service: Service) -> None:
    root = add_provider(service, VCPU=1)
    child = add_provider(service, parent=root)
    answered = order(service, UpdateProvider(child, "another name"))
    found = service.provider(child)
    assert (found.name, found.parent_uuid, found.root_uuid, found.generation) == (
        "another name",
        root,
        root,
        0,
    )
    assert (answered.name, answered.root_uuid) == ("another name", root)
    assert found.updated_at is not None


def test_a_subtree_moves_with_its_top_between_deep_trees(service: Service) -> None:
    tops = [add_provider(service), add_provider(service)]
    chain = [tops[0]]
    for _ in range(6):
        chain.append(add_provider(service, parent=chain[-1], VCPU=2))
    leaf = add_provider(service, parent=chain[3], DISK_GB=5)

    order(service, UpdateProvider(chain[2], "moved", tops[1]))
    assert [service.provider(uuid).root_uuid for uuid in chain] == [tops[0]] * 2 + [tops[1]] * 5
    assert service.provider(leaf).root_uuid == tops[1]
    assert service.provider(chain[2]).parent_uuid == tops[1]
    assert [service.provider(uuid).parent_uuid for uuid in chain[3:]] == chain[2:-1]

    order(service, UpdateProvider(chain[4], "freed", None))
    assert [service.provider(uuid).root_uuid for uuid in chain[4:]] == [chain[4]] * 3
    assert service.provider(leaf).root_uuid == tops[1]
    in_tree = service.providers(ProviderFilter(group=RequestGroup(in_tree=chain[6])))
    assert {found.uuid for found in in_tree} == set(chain[4:])


def test_a_deleted_provider_leaves_nothing_behind(service: Service) -> None:
    provider = add_provider(service, "gone", VCPU=4, traits=("HW_CPU_X86_AVX",), aggregates=(new_uuid(),))
    assert uuids_with_room(service, VCPU, 1) == {provider}
    order(service, DeleteProvider(provider))
    with pytest.raises(ProviderNotFoundError):
        service.provider(provider)
    assert uuids_with_room(service, VCPU, 1) == set()
    again = add_provider(service, "gone")
    assert service.provider_inventories(again).inventories == {}
    assert service.provider_traits(again).traits == ()
    assert service.provider_aggregates(again).aggregates == ()


def test_inventories_are_read_as_they_were_set(service: Service, started: datetime) -> None:
    provider = add_provider(service)
    odd = Inventory(100, 7, 2, 64, 2, 16.5)
    answered = order(service, SetInventories(provider, 0, {VCPU: odd, DISK: Inventory(2**31 - 1)}))
    found = service.provider_inventories(provider)
    assert found.inventories == answered.inventories == {VCPU: odd, DISK: Inventory(2**31 - 1)}
    assert found.generation == answered.generation == 1
    assert found.modified is not None
    assert started <= found.modified <= utcnow()
    assert found.dates.keys() == {VCPU, DISK}
    assert max(found.dates.values()) == found.modified

    order(service, AddInventory(provider, MEMORY, Inventory(512)))
    order(service, UpdateInventory(provider, 2, VCPU, Inventory(50)))
    order(service, DeleteInventory(provider, DISK))
    found = service.provider_inventories(provider)
    assert (found.generation, found.inventories) == (4, {VCPU: Inventory(50), MEMORY: Inventory(512)})

    order(service, SetInventories(provider, 4, inventories(DISK_GB=1, VCPU=50)))
    assert service.provider_inventories(provider).inventories == inventories(DISK_GB=1, VCPU=50)
    assert service.provider_usages(provider).usages == {VCPU: 0, DISK: 0}
    order(service, SetInventories(provider, None, {}))
    found = service.provider_inventories(provider)
    assert (found.generation, found.inventories, found.modified) == (6, {}, None)


def test_traits_come_by_id_whatever_the_order_they_were_set_in(service: Service) -> None:
    order(service, CreateTrait("CUSTOM_A"))
    provider = add_provider(service)
    order(service, SetTraits(provider, 0, frozenset(("CUSTOM_A", "HW_NUMA_ROOT", "HW_CPU_X86_AVX"))))
    found = service.provider_traits(provider)
    assert found.traits == ("HW_CPU_X86_AVX", "HW_NUMA_ROOT", "CUSTOM_A")
    assert found.generation == 1
    assert found.modified is not None
    order(service, SetTraits(provider, 1, frozenset(("CUSTOM_A", "COMPUTE_NODE"))))
    assert service.provider_traits(provider).traits == ("COMPUTE_NODE", "CUSTOM_A")
    order(service, SetTraits(provider, None, frozenset()))
    assert (service.provider_traits(provider).traits, service.provider_traits(provider).modified) == (
        (),
        None,
    )


def test_aggregates_are_kept_as_they_are_written(service: Service) -> None:
    first, second, third = sorted(new_uuid() for _ in range(3))
    provider, other = add_provider(service), add_provider(service)
    order(service, SetAggregates(provider, None, (second, first)))
    order(service, SetAggregates(other, 0, (third, second)))
    assert set(service.provider_aggregates(provider).aggregates) == {first, second}
    assert service.provider_aggregates(provider).generation == 0
    assert set(service.provider_aggregates(other).aggregates) == {second, third}
    assert service.provider_aggregates(other).generation == 1
    order(service, SetAggregates(provider, 0, (third,)))
    assert service.provider_aggregates(provider).aggregates == (third,)
    order(service, SetAggregates(provider, 1, ()))
    assert service.provider_aggregates(provider).aggregates == ()


def test_traits_are_listed_by_names_beginning_and_use(service: Service, started: datetime) -> None:
    for name in ("CUSTOM_ONE", "CUSTOM_TWO", "CUSTOM_XTHREE"):
        assert order(service, CreateTrait(name)) is True
    assert order(service, CreateTrait("CUSTOM_ONE")) is False
    add_provider(service, traits=("CUSTOM_TWO", "COMPUTE_NODE"))

    def names(**wanted: object) -> list[str]:
        return [item.name for item in service.traits(**wanted)]  # type: ignore[arg-type]

    assert names(prefix="CUSTOM_") == ["CUSTOM_ONE", "CUSTOM_TWO", "CUSTOM_XTHREE"]
    # wire: wildcards of LIKE work in the prefix
    assert names(prefix="CUSTOM_%T") == ["CUSTOM_TWO", "CUSTOM_XTHREE"]
    assert names(names=frozenset(("CUSTOM_TWO", "COMPUTE_NODE", "NO_SUCH"))) == ["COMPUTE_NODE", "CUSTOM_TWO"]
    assert names(associated=True) == ["COMPUTE_NODE", "CUSTOM_TWO"]
    assert names(prefix="CUSTOM", associated=False) == ["CUSTOM_ONE", "CUSTOM_XTHREE"]
    assert len(names()) > 300
    modified = service.trait("CUSTOM_ONE").modified
    assert modified is not None
    assert started <= modified <= utcnow()

    with pytest.raises(TraitInUseError):
        order(service, DeleteTrait("CUSTOM_TWO"))
    order(service, DeleteTrait("CUSTOM_ONE"))
    with pytest.raises(TraitNotFoundError):
        service.trait("CUSTOM_ONE")


def test_custom_classes_get_ids_from_ten_thousand_and_come_after_the_standard_ones(service: Service) -> None:
    assert order(service, CreateResourceClass("CUSTOM_B")) is True
    assert order(service, CreateResourceClass("CUSTOM_A")) is True
    assert order(service, CreateResourceClass("CUSTOM_A", may_exist=True)) is False
    names = [item.name for item in service.resource_classes()]
    assert names[0] == VCPU
    assert names[-2:] == ["CUSTOM_B", "CUSTOM_A"]
    assert service.resource_class("CUSTOM_A").modified is not None
    order(service, DeleteResourceClass("CUSTOM_B"))
    with pytest.raises(ResourceClassNotFoundError):
        service.resource_class("CUSTOM_B")


def test_a_renamed_class_keeps_its_inventories_and_what_is_held_of_it(service: Service) -> None:
    order(service, CreateResourceClass("CUSTOM_OLD"))
    provider, consumer = add_provider(service, CUSTOM_OLD=9), new_uuid()
    order(service, claim(consumer, {provider: {"CUSTOM_OLD": 3}}))
    assert uuids_with_room(service, "CUSTOM_OLD", 6) == {provider}

    order(service, RenameResourceClass("CUSTOM_OLD", "CUSTOM_NEW"))
    assert service.provider_inventories(provider).inventories == {"CUSTOM_NEW": Inventory(9)}
    assert service.provider_usages(provider).usages == {"CUSTOM_NEW": 3}
    assert service.consumer_allocations(consumer).providers[provider].resources == {"CUSTOM_NEW": 3}
    assert uuids_with_room(service, "CUSTOM_NEW", 6) == {provider}
    with pytest.raises(ResourceClassNotFoundError):
        uuids_with_room(service, "CUSTOM_OLD", 6)
    with pytest.raises(ResourceClassInUseError):
        order(service, DeleteResourceClass("CUSTOM_NEW"))
    assert order(service, CreateResourceClass("CUSTOM_OLD")) is True
    assert uuids_with_room(service, "CUSTOM_OLD", 1) == set()


def test_another_process_reads_a_renamed_class_too(
    store: Store, service: Service, open_service: OpenService
) -> None:
    order(service, CreateResourceClass("CUSTOM_OLD"))
    provider = add_provider(service, CUSTOM_OLD=9)
    other = open_service(store)
    assert uuids_with_room(other, "CUSTOM_OLD", 9) == {provider}
    order(service, RenameResourceClass("CUSTOM_OLD", "CUSTOM_NEW"))
    assert uuids_with_room(other, "CUSTOM_NEW", 9) == {provider}
