"""openstacksdk's placement proxy, as a program uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token

pytestmark = [
    pytest.mark.journey,
    # What the SDK warns of is its own use of its own functions.
    pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning"),
]


@pytest.fixture
def placement(endpoint: str) -> Iterator[Any]:
    """The proxy. It asks the service which microversions there are."""
    # Each test process would import the SDK to collect these tests, which takes longer than most tests.
    from openstack.connection import Connection

    connection = Connection(session=Session(auth=Token(endpoint, "admin")))
    yield connection.placement
    connection.close()


@pytest.fixture
def host(placement: Any) -> Any:
    """A provider with some inventory."""
    created = placement.create_resource_provider(name=f"sdk-{uuid4()}")
    placement.create_resource_provider_inventory(created, "VCPU", total=8, allocation_ratio=2.0)
    placement.create_resource_provider_inventory(created, "MEMORY_MB", total=1024)
    return placement.get_resource_provider(created.id)


@contextmanager
def refused(words: str) -> Iterator[None]:
    """Within, the service refuses for a conflict and says so with these words.

    The SDK leaves what Placement says to whoever reads the response.
    """
    from openstack import exceptions

    with pytest.raises(exceptions.ConflictException) as caught:
        yield
    response = caught.value.response
    assert response is not None
    (error,) = response.json()["errors"]
    assert words in error["detail"]


def claim(host: Any, project: str, vcpus: int) -> dict[str, Any]:
    return {
        "allocations": {host.id: {"resources": {"VCPU": vcpus}}},
        "project_id": project,
        "user_id": "user",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }


def test_a_provider_is_created_found_changed_and_deleted(placement: Any) -> None:
    name = f"sdk-{uuid4()}"
    root = placement.create_resource_provider(name=name)
    child = placement.create_resource_provider(name=f"{name}-child", parent_provider_id=root.id)
    assert (child.parent_provider_id, child.root_provider_id, child.generation) == (root.id, root.id, 0)
    assert placement.find_resource_provider(name, ignore_missing=False).id == root.id
    in_tree = placement.resource_providers(in_tree=child.id)
    assert {found.id for found in in_tree} == {root.id, child.id}
    renamed = placement.update_resource_provider(child, name=f"{name}-renamed")
    assert renamed.name == f"{name}-renamed"
    with refused("child resource providers"):
        placement.delete_resource_provider(root)
    placement.delete_resource_provider(child)
    placement.delete_resource_provider(root)
    from openstack import exceptions

    with pytest.raises(exceptions.NotFoundException):
        placement.get_resource_provider(root.id)


def test_inventories_are_set_shown_and_deleted(placement: Any, host: Any) -> None:
    found = {item.id: item.total for item in placement.resource_provider_inventories(host)}
    assert found == {"VCPU": 8, "MEMORY_MB": 1024}
    shown = placement.get_resource_provider_inventory("VCPU", host)
    assert (shown.total, shown.allocation_ratio, shown.max_unit) == (8, 2.0, 2147483647)
    changed = placement.update_resource_provider_inventory(
        "VCPU", host, resource_provider_generation=host.generation, total=16
    )
    assert (changed.total, changed.resource_provider_generation) == (16, host.generation + 1)
    with refused("generation conflict"):
        placement.update_resource_provider_inventory(
            "VCPU", host, resource_provider_generation=host.generation, total=4
        )
    placement.delete_resource_provider_inventory("VCPU", host)
    placement.set_resource_provider_inventories(host, {"DISK_GB": {"total": 5}}, host.generation + 2)
    assert [item.id for item in placement.resource_provider_inventories(host)] == ["DISK_GB"]
    placement.delete_resource_provider_inventories(host)
    assert list(placement.resource_provider_inventories(host)) == []


def test_traits_and_aggregates_are_set_and_shown(placement: Any, host: Any) -> None:
    trait = f"CUSTOM_{uuid4().hex.upper()}"
    placement.create_trait(trait)
    assert placement.get_trait(trait).id == trait
    assert trait in {item.id for item in placement.traits(name="startswith:CUSTOM_")}
    of_host = placement.get_resource_provider_trait(host)
    assert of_host.traits == []
    changed = placement.set_resource_provider_trait(of_host, traits=[trait])
    assert changed.traits == [trait]
    with refused("in use"):
        placement.delete_trait(trait)
    placement.delete_resource_provider_trait(host)
    placement.delete_trait(trait)

    aggregate = str(uuid4())
    host = placement.get_resource_provider(host.id)
    assert placement.set_resource_provider_aggregates(host, aggregate).aggregates == [aggregate]
    assert placement.fetch_resource_provider_aggregates(host.id).aggregates == [aggregate]
    assert [found.id for found in placement.resource_providers(member_of=aggregate)] == [host.id]


def test_resource_classes_are_created_listed_and_deleted(placement: Any) -> None:
    name = f"CUSTOM_{uuid4().hex.upper()}"
    placement.create_resource_class(name=name)
    assert placement.get_resource_class(name).name == name
    assert {"VCPU", name} <= {found.name for found in placement.resource_classes()}
    placement.delete_resource_class(name)
    from openstack import exceptions

    with pytest.raises(exceptions.NotFoundException):
        placement.get_resource_class(name)


def test_a_candidate_is_claimed_counted_and_released(placement: Any, host: Any) -> None:
    consumer, project = str(uuid4()), str(uuid4())
    candidates = placement.allocation_candidates(resources="VCPU:3", in_tree=host.id)
    (candidate,) = list(candidates)
    assert candidate.allocations == {host.id: {"resources": {"VCPU": 3}}}
    assert candidate.mappings == {"": [host.id]}
    assert candidate.provider_summaries[host.id]["resources"]["VCPU"] == {"capacity": 16, "used": 0}

    placement.create_allocations({consumer: claim(host, project, 3)})
    held = placement.get_allocation(consumer)
    assert held.allocations[host.id]["resources"] == {"VCPU": 3}
    assert (held.project_id, held.consumer_type, held.consumer_generation) == (project, "INSTANCE", 1)
    (usage,) = list(placement.usages(project))
    assert (usage.consumer_type, usage.consumer_count, usage.resources) == ("INSTANCE", 1, {"VCPU": 3})
    assert placement.fetch_resource_provider_usages(host).usages == {"VCPU": 3, "MEMORY_MB": 0}
    (of_host,) = list(placement.resource_provider_allocations(host))
    assert (of_host.consumer_id, of_host.resources) == (consumer, {"VCPU": 3})

    more = claim(host, project, 5) | {"consumer_generation": held.consumer_generation}
    assert placement.update_allocation(consumer, **more).id == consumer
    assert placement.get_allocation(consumer).allocations[host.id]["resources"] == {"VCPU": 5}
    with refused("consumer generation conflict"):
        placement.create_allocations({consumer: claim(host, project, 1)})
    with refused("exceed the capacity"):
        placement.create_allocations({str(uuid4()): claim(host, project, 12)})

    placement.delete_allocation(consumer)
    assert placement.get_allocation(consumer).allocations == {}
    from openstack import exceptions

    with pytest.raises(exceptions.NotFoundException):
        placement.delete_allocation(consumer, ignore_missing=False)
    # Of no usages at all the SDK makes one that is empty.
    assert [usage.resources for usage in placement.usages(project)] == [{}]
