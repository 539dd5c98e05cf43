"""What one order, or one group of orders, may do to the same rows more than once."""

from __future__ import annotations

import pytest

from moorage.model.commands import (
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    DeleteResourceClass,
    DeleteTrait,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.errors import (
    CapacityExceededError,
    ProviderExistsError,
    ProviderHasChildrenError,
    ProviderNotFoundError,
    ResourceClassNotFoundError,
    TraitNotFoundError,
)
from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order, uuids_with_room
from tests.databases.prepared import OpenService


def batch(*commands: Command[object]) -> Batch:
    return Batch(commands)


@pytest.fixture
def other(store: Store, service: Service, open_service: OpenService) -> Service:
    """A second process, which knows the state before the test's own orders."""
    other = open_service(store)
    add_provider(service, "watched", VCPU=1_000)
    assert len(uuids_with_room(other, VCPU, 1_000)) == 1
    return other


def test_a_batch_answers_for_each_of_its_commands(service: Service) -> None:
    uuid = new_uuid()
    created, set_, trait, again = order(
        service,
        batch(
            CreateProvider(uuid, "one"),
            SetInventories(uuid, 0, inventories(VCPU=4)),
            CreateTrait("CUSTOM_T"),
            CreateTrait("CUSTOM_T"),
        ),
    )
    assert getattr(created, "uuid", None) == uuid
    assert getattr(set_, "generation", None) == 1
    assert (trait, again) == (True, False)
    assert order(service, batch()) == ()


def test_a_batch_whose_last_command_is_refused_changes_nothing(store: Store, service: Service) -> None:
    uuid, revision = new_uuid(), store.revision()
    with pytest.raises(CapacityExceededError):
        order(
            service,
            batch(
                CreateProvider(uuid, "one"),
                SetInventories(uuid, 0, inventories(VCPU=4)),
                claim(new_uuid(), {uuid: {VCPU: 5}}),
            ),
        )
    with pytest.raises(ProviderNotFoundError):
        service.provider(uuid)
    assert store.revision() == revision


def test_a_whole_tree_comes_in_one_batch(service: Service, other: Service) -> None:
    root, middle, leaf = new_uuid(), new_uuid(), new_uuid()
    order(
        service,
        batch(
            CreateProvider(root, "root"),
            CreateProvider(middle, "middle", root),
            CreateProvider(leaf, "leaf", middle),
            SetInventories(leaf, 0, inventories(VCPU=2_000)),
            SetTraits(leaf, 1, frozenset(("HW_CPU_X86_AVX",))),
            SetAggregates(leaf, 2, (new_uuid(),)),
            claim(new_uuid(), {leaf: {VCPU: 500}}),
        ),
    )
    assert (service.provider(leaf).parent_uuid, service.provider(leaf).root_uuid) == (middle, root)
    assert (service.provider(middle).parent_uuid, service.provider(root).root_uuid) == (root, root)
    assert service.provider(leaf).generation == 4
    assert uuids_with_room(other, VCPU, 1_500) == {leaf}


def test_a_tree_goes_in_one_batch_children_first(service: Service, other: Service) -> None:
    root = add_provider(service, VCPU=2_000)
    child = add_provider(service, parent=root, VCPU=2_000)
    leaf = add_provider(service, parent=child, VCPU=2_000)
    assert uuids_with_room(other, VCPU, 2_000) == {root, child, leaf}
    with pytest.raises(ProviderHasChildrenError):
        order(service, batch(DeleteProvider(leaf), DeleteProvider(root), DeleteProvider(child)))
    order(service, batch(DeleteProvider(leaf), DeleteProvider(child), DeleteProvider(root)))
    with pytest.raises(ProviderNotFoundError):
        service.provider(root)
    assert uuids_with_room(other, VCPU, 2_000) == set()


def test_a_provider_that_is_deleted_and_created_again_is_new_for_everybody(
    service: Service, other: Service
) -> None:
    uuid = add_provider(service, "name", VCPU=2_000, traits=("HW_CPU_X86_AVX",), aggregates=(new_uuid(),))
    assert uuids_with_room(other, VCPU, 2_000) == uuids_with_room(service, VCPU, 2_000) == {uuid}
    order(
        service,
        batch(
            DeleteProvider(uuid),
            CreateProvider(uuid, "name"),
            SetInventories(uuid, 0, inventories(VCPU=5_000)),
        ),
    )
    assert service.provider(uuid).generation == 1
    assert service.provider_inventories(uuid).inventories == inventories(VCPU=5_000)
    assert service.provider_traits(uuid).traits == ()
    assert service.provider_aggregates(uuid).aggregates == ()
    for process in (service, other):
        assert uuids_with_room(process, VCPU, 5_000) == {uuid}
    order(service, batch(DeleteProvider(uuid), CreateProvider(uuid, "name")))
    for process in (service, other):
        assert uuids_with_room(process, VCPU, 1_001) == set()


def test_a_tree_that_is_deleted_and_created_again_is_new_for_everybody(
    service: Service, other: Service
) -> None:
    root = add_provider(service, "root", VCPU=2_000)
    child = add_provider(service, "child", parent=root, VCPU=2_000)
    assert uuids_with_room(other, VCPU, 2_000) == {root, child}
    order(
        service,
        batch(
            DeleteProvider(child),
            DeleteProvider(root),
            CreateProvider(child, "root"),
            CreateProvider(root, "child", child),
            SetInventories(root, 0, inventories(VCPU=3_000)),
        ),
    )
    assert (service.provider(root).parent_uuid, service.provider(root).root_uuid) == (child, child)
    for process in (service, other):
        assert uuids_with_room(process, VCPU, 2_000) == {root}


def test_a_name_is_free_for_another_provider_in_the_batch_that_frees_it(service: Service) -> None:
    old, renamed = add_provider(service, "deleted"), add_provider(service, "renamed")
    new, newer = new_uuid(), new_uuid()
    order(
        service,
        batch(
            DeleteProvider(old),
            CreateProvider(new, "deleted"),
            UpdateProvider(renamed, "elsewhere"),
            CreateProvider(newer, "renamed"),
        ),
    )
    assert service.provider(new).name == "deleted"
    assert service.provider(newer).name == "renamed"
    assert service.provider(renamed).name == "elsewhere"


def test_providers_swap_names_in_one_batch(service: Service) -> None:
    one, two = add_provider(service, "one"), add_provider(service, "two")
    order(
        service, batch(UpdateProvider(one, "aside"), UpdateProvider(two, "one"), UpdateProvider(one, "two"))
    )
    assert (service.provider(one).name, service.provider(two).name) == ("two", "one")
    with pytest.raises(ProviderExistsError):
        order(service, batch(UpdateProvider(one, "one")))


def test_children_outlive_a_parent_that_is_deleted_and_created_again(
    service: Service, other: Service
) -> None:
    root = add_provider(service, "root")
    freed = add_provider(service, "freed", parent=root, VCPU=2_000)
    kept = add_provider(service, "kept", parent=root, VCPU=2_000)
    assert uuids_with_room(other, VCPU, 2_000) == {freed, kept}
    order(
        service,
        batch(
            UpdateProvider(freed, "freed", None),
            UpdateProvider(kept, "kept", freed),
            DeleteProvider(root),
            CreateProvider(root, "root"),
            UpdateProvider(kept, "kept", root),
            SetInventories(root, None, inventories(VCPU=3_000)),
        ),
    )
    assert (service.provider(freed).parent_uuid, service.provider(freed).root_uuid) == (None, freed)
    assert (service.provider(kept).parent_uuid, service.provider(kept).root_uuid) == (root, root)
    for process in (service, other):
        assert uuids_with_room(process, VCPU, 2_000) == {root, freed, kept}


def test_a_consumer_that_goes_and_comes_again_is_new(service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 4}}, consumer_type="OLD", project_id="old"))
    order(
        service,
        batch(DeleteAllocations(consumer), claim(consumer, {provider: {VCPU: 3}}, None, project_id="new")),
    )
    held = service.consumer_allocations(consumer)
    assert (held.generation, held.project_id, held.consumer_type) == (1, "new", "unknown")
    assert service.provider_usages(provider).usages == {VCPU: 3}
    comes_and_goes = new_uuid()
    order(
        service,
        batch(claim(comes_and_goes, {provider: {VCPU: 1}}, None), claim(comes_and_goes, {}, 1)),
    )
    assert service.provider_usages(provider).usages == {VCPU: 3}


def test_a_consumer_claims_twice_in_one_batch(service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=4), new_uuid()
    order(
        service,
        batch(
            claim(consumer, {provider: {VCPU: 4}}, None),
            ReplaceAllocations((Claim(consumer, {provider: {VCPU: 1}}, "p", "u", 1, "T"),)),
        ),
    )
    held = service.consumer_allocations(consumer)
    assert (held.generation, held.project_id, held.consumer_type) == (2, "p", "T")
    assert held.providers[provider].resources == {VCPU: 1}


def test_names_come_and_go_within_a_batch(service: Service, other: Service) -> None:
    order(service, CreateTrait("CUSTOM_KEPT"))
    order(service, CreateResourceClass("CUSTOM_KEPT"))
    order(
        service,
        batch(
            CreateTrait("CUSTOM_BRIEF"),
            DeleteTrait("CUSTOM_BRIEF"),
            DeleteTrait("CUSTOM_KEPT"),
            CreateTrait("CUSTOM_KEPT"),
            CreateResourceClass("CUSTOM_BRIEF"),
            DeleteResourceClass("CUSTOM_BRIEF"),
            DeleteResourceClass("CUSTOM_KEPT"),
            CreateResourceClass("CUSTOM_KEPT"),
        ),
    )
    with pytest.raises(TraitNotFoundError):
        service.trait("CUSTOM_BRIEF")
    with pytest.raises(ResourceClassNotFoundError):
        service.resource_class("CUSTOM_BRIEF")
    assert service.trait("CUSTOM_KEPT").name == service.resource_class("CUSTOM_KEPT").name == "CUSTOM_KEPT"
    assert uuids_with_room(other, "CUSTOM_KEPT", 1) == set()
