"""Rows that should not be there, in a database that is served: no answer is a 500.

``moorage verify`` names them, and ``moorage db sync`` heals them or says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moorage.api.placement import application
from moorage.auth.policy import default_policy
from moorage.model.errors import SchemaError
from moorage.store import tables as t
from moorage.store.store import Store
from tests.databases.prepared import OpenService
from tests.databases.test_healing import (
    HOLDER,
    Statement,
    allocation,
    findings,
    healed,
    holder,
    inventory,
    provider,
    write,
)
from tests.peer.exchange import Answer, Request, WsgiApplication, call
from tests.peer.world import NEWEST_MINOR, request

NEWCOMER = "00000000-0000-4000-8000-00000000000d"
AGGREGATE = "00000000-0000-4000-8000-0000000000a0"
MISSING = 999
"""An id that no row has."""

SOUND: tuple[Statement, ...] = (
    t.projects.insert().values(id=77, external_id="a-project"),
    t.users.insert().values(id=78, external_id="a-user"),
    provider(1),
    provider(2, parent_provider_id=1, root_provider_id=1),
    provider(3),
    inventory(2),
    inventory(3),
    holder(),
    allocation(3),
)
"""A tree of two providers and one of one, of which a consumer holds something."""

DAMAGE: dict[str, tuple[Statement, ...]] = {
    "inventory of an unknown class": (inventory(3, resource_class_id=MISSING),),
    "inventory of an unknown provider": (inventory(MISSING),),
    "inventory without a step": (t.inventories.update().values(step_size=0),),
    "inventory with a negative step": (t.inventories.update().values(step_size=-2),),
    "inventory of nothing": (t.inventories.update().values(total=-8, max_unit=0, min_unit=0),),
    "inventory with a negative ratio": (t.inventories.update().values(allocation_ratio=-1.0),),
    "inventory with an infinite ratio": (t.inventories.update().values(allocation_ratio=float("inf")),),
    "inventory with more reserved than there is": (t.inventories.update().values(reserved=100),),
    "allocation of an unknown class": (allocation(3, resource_class_id=MISSING),),
    "allocation of an unknown provider": (allocation(MISSING),),
    "allocation to no consumer": (allocation(3, consumer_id=NEWCOMER),),
    "allocation of a class without inventory": (allocation(3, resource_class_id=1),),
    "allocation of nothing": (t.allocations.update().values(used=0),),
    "allocation below nothing": (t.allocations.update().values(used=-3),),
    "allocation that is there twice": (allocation(3),),
    "trait that is not there": (t.provider_traits.insert().values(resource_provider_id=3, trait_id=99_999),),
    "trait of an unknown provider": (
        t.provider_traits.insert().values(resource_provider_id=MISSING, trait_id=1),
    ),
    "aggregate that is not there": (
        t.provider_aggregates.insert().values(resource_provider_id=3, aggregate_id=MISSING),
    ),
    "aggregate of an unknown provider": (
        t.aggregates.insert().values(id=5, uuid=AGGREGATE),
        t.provider_aggregates.insert().values(resource_provider_id=MISSING, aggregate_id=5),
    ),
    "consumer of an unknown project": (t.consumers.update().values(project_id=MISSING),),
    "consumer of an unknown user": (t.consumers.update().values(user_id=MISSING),),
    "consumer of an unknown type": (t.consumers.update().values(consumer_type_id=MISSING),),
    "consumer without a generation": (t.consumers.update().values(generation=-1),),
    "consumer that holds nothing": (holder(uuid=NEWCOMER),),
    "provider with an unknown parent": (provider(4, parent_provider_id=MISSING), inventory(4)),
    "provider with an unknown root": (provider(4, root_provider_id=MISSING), inventory(4)),
    "provider without a root": (provider(4, root_provider_id=None), inventory(4)),
    "provider without a generation": (provider(4, generation=None), inventory(4)),
    "provider with the root of another tree": (
        provider(4, parent_provider_id=1, root_provider_id=3),
        inventory(4),
    ),
    "provider above itself": (
        t.resource_providers.update().where(t.resource_providers.c.id == 1).values(parent_provider_id=2),
    ),
    "provider that is its own parent": (provider(4, parent_provider_id=4), inventory(4)),
}

UUIDS = [f"{number:08d}-0000-4000-8000-000000000000" for number in (1, 2, 3, 4)]


def reads() -> Iterator[Request]:
    for minor in (0, 18, NEWEST_MINOR):
        yield request("GET", "/resource_providers", minor)
        yield request("GET", "/resource_classes", minor)
        yield request("GET", "/traits", minor)
        for uuid in UUIDS:
            path = f"/resource_providers/{uuid}"
            yield request("GET", path, minor)
            for part in ("inventories", "usages", "aggregates", "traits", "allocations"):
                yield request("GET", f"{path}/{part}", minor)
            yield request("GET", "/resource_providers", minor, query=f"in_tree={uuid}")
        for consumer in (HOLDER, NEWCOMER):
            yield request("GET", f"/allocations/{consumer}", minor)
        yield request("GET", "/usages", minor, query="project_id=a-project")
        for query in (
            "resources=VCPU:1",
            "resources=VCPU:2",
            "resources=VCPU:1,MEMORY_MB:1",
            "resources=VCPU:1&resources1=VCPU:1&group_policy=isolate",
            "resources=VCPU:1&resources_A=VCPU:1&same_subtree=_A&group_policy=none",
            f"resources=VCPU:1&member_of={AGGREGATE}",
            f"resources=VCPU:1&in_tree={UUIDS[3]}",
        ):
            yield request("GET", "/allocation_candidates", minor, query=query)
        yield request("GET", "/resource_providers", minor, query="resources=VCPU:1")


def claim(resources: dict[str, int], uuid: str, generation: int | None) -> dict[str, Any]:
    return {
        "project_id": "a-project",
        "user_id": "a-user",
        "consumer_type": "INSTANCE",
        "consumer_generation": generation,
        "allocations": {uuid: {"resources": resources}},
    }


def writes() -> Iterator[Request]:
    minor = NEWEST_MINOR
    for uuid in UUIDS[1:]:
        for amount in (1, 2):
            yield request("PUT", f"/allocations/{NEWCOMER}", minor, claim({"VCPU": amount}, uuid, None))
            yield request("PUT", f"/allocations/{NEWCOMER}", minor, claim({"VCPU": amount}, uuid, 0))
            yield request("PUT", f"/allocations/{NEWCOMER}", minor, claim({"VCPU": amount}, uuid, 1))
            yield request("PUT", f"/allocations/{HOLDER}", minor, claim({"VCPU": amount}, uuid, 3))
            yield request("PUT", f"/allocations/{HOLDER}", 27, claim({"VCPU": amount}, uuid, 3))
    yield request("POST", "/allocations", minor, {HOLDER: claim({"VCPU": 1}, UUIDS[2], 4)})
    for uuid in UUIDS:
        path = f"/resource_providers/{uuid}"
        for generation in range(6):
            body: dict[str, Any] = {"resource_provider_generation": generation}
            offered = {"inventories": {"VCPU": {"total": 16}, "MEMORY_MB": {"total": 5}}}
            yield request("PUT", f"{path}/inventories", minor, body | offered)
            yield request("PUT", f"{path}/traits", minor, body | {"traits": ["COMPUTE_NODE"]})
            yield request("PUT", f"{path}/aggregates", minor, body | {"aggregates": [AGGREGATE]})
            moved = {uuid: body | {"inventories": {"VCPU": {"total": 16}}}}
            yield request("POST", "/reshaper", minor, {"inventories": moved, "allocations": {}})
        body = {"resource_class": "DISK_GB", "total": 5}
        yield request("POST", f"{path}/inventories", minor, body)
        yield request("PUT", path, minor, {"name": f"new-{uuid}", "parent_provider_uuid": UUIDS[0]})
        yield request("PUT", path, minor, {"name": f"new-{uuid}", "parent_provider_uuid": None})
        child = uuid.replace("-0000-", "-1111-")
        yield request(
            "POST", "/resource_providers", minor, {"uuid": child, "name": child, "parent_provider_uuid": uuid}
        )
        yield request("DELETE", f"/resource_providers/{child}", minor)
    yield request("DELETE", f"/allocations/{HOLDER}", minor)
    yield request("DELETE", f"/allocations/{NEWCOMER}", minor)
    for uuid in UUIDS[::-1]:
        yield request("DELETE", f"/resource_providers/{uuid}/traits", minor)
        yield request("DELETE", f"/resource_providers/{uuid}/inventories/VCPU", minor)
        yield request("DELETE", f"/resource_providers/{uuid}/inventories", minor)
        yield request("DELETE", f"/resource_providers/{uuid}", minor)
    yield request("DELETE", "/traits/COMPUTE_NODE", minor)


def failures(served: WsgiApplication) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for asked in (*reads(), *writes(), *reads()):
        answer = call(served, asked)
        if answer.status >= 500:
            found.setdefault(str(asked), answer)
    return found


def served(store: Store, open_service: OpenService, *damage: Statement) -> WsgiApplication:
    write(store, *SOUND, *damage)
    return application.create(open_service(store), policy=default_policy())


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_no_answer_is_a_server_error(damage: str, sqlite_store: Store, open_service: OpenService) -> None:
    assert failures(served(sqlite_store, open_service, *DAMAGE[damage])) == {}


TOLD_ELSEWHERE = {"inventory with more reserved than there is"}
"""Not damaged: an inventory may be so small."""

REFUSED = {
    "inventory of an unknown class",
    "inventory of an unknown provider",
    "inventory without a step",
    "inventory with a negative step",
    "inventory of nothing",
    "inventory with a negative ratio",
    "inventory with an infinite ratio",
    "allocation of an unknown class",
    "allocation of an unknown provider",
    "provider with an unknown parent",
    "provider with an unknown root",
    "provider with the root of another tree",
    "provider above itself",
    "provider that is its own parent",
}
"""What ``db sync`` cannot heal."""

LEFT = {
    "allocation of a class without inventory",
    "allocation of nothing",
    "allocation below nothing",
    "allocation that is there twice",
    "consumer without a generation",
    "consumer that holds nothing",
}
"""What answers as it is written, and only ``verify`` tells of."""


@pytest.mark.slow
@pytest.mark.parametrize("damage", sorted(DAMAGE.keys() - TOLD_ELSEWHERE))
def test_damage_is_named_until_it_is_healed(damage: str, sqlite_store: Store) -> None:
    write(sqlite_store, *SOUND, *DAMAGE[damage])
    assert findings(sqlite_store) != []
    healed(sqlite_store)
    if damage in REFUSED:
        with pytest.raises(SchemaError, match=r"damaged: .*rows with id .* all else is up to date"):
            sqlite_store.check_sound()
        return
    sqlite_store.check_sound()
    assert (findings(sqlite_store) == []) is (damage not in LEFT)


def held(served: WsgiApplication, consumer: str) -> dict[str, Any]:
    body: dict[str, Any] = call(served, request("GET", f"/allocations/{consumer}", NEWEST_MINOR)).json
    return body


def found(served: WsgiApplication, query: str = "resources=VCPU:2") -> set[str]:
    """Providers of the candidates."""
    answer = call(served, request("GET", "/allocation_candidates", NEWEST_MINOR, query=query)).json
    return {uuid for candidate in answer["allocation_requests"] for uuid in candidate["allocations"]}


def put(served: WsgiApplication, consumer: str, body: dict[str, Any]) -> int:
    return call(served, request("PUT", f"/allocations/{consumer}", NEWEST_MINOR, body)).status


@pytest.mark.parametrize(
    "damage",
    ["inventory of an unknown class", "allocation of an unknown class", "allocation of an unknown provider"],
)
def test_a_claim_goes_on_beside_rows_that_lead_nowhere(
    damage: str, sqlite_store: Store, open_service: OpenService
) -> None:
    application = served(sqlite_store, open_service, *DAMAGE[damage])
    assert put(application, HOLDER, claim({"VCPU": 5}, UUIDS[2], 3)) == 204
    assert held(application, HOLDER)["allocations"][UUIDS[2]]["resources"] == {"VCPU": 5}
    assert put(application, NEWCOMER, claim({"VCPU": 3}, UUIDS[2], None)) == 204
    assert found(application) == {UUIDS[1]}


def test_of_an_inventory_without_a_step_nothing_is_given(
    sqlite_store: Store, open_service: OpenService
) -> None:
    application = served(
        sqlite_store,
        open_service,
        t.inventories.update().where(t.inventories.c.resource_provider_id == 3).values(step_size=0),
    )
    assert found(application) == {UUIDS[1]}
    assert put(application, NEWCOMER, claim({"VCPU": 2}, UUIDS[2], None)) == 409
    assert put(application, NEWCOMER, claim({"VCPU": 2}, UUIDS[1], None)) == 204


@pytest.mark.parametrize("root", [None, MISSING])
def test_a_provider_without_a_root_is_absent_everywhere(
    root: int | None, sqlite_store: Store, open_service: OpenService
) -> None:
    application = served(sqlite_store, open_service, provider(4, root_provider_id=root), inventory(4))
    assert found(application) == set(UUIDS[1:3])
    shown = call(application, request("GET", f"/resource_providers/{UUIDS[3]}", NEWEST_MINOR))
    assert shown.status == 404
    assert put(application, NEWCOMER, claim({"VCPU": 2}, UUIDS[3], None)) == 400


def test_a_consumer_without_an_owner_gets_one_by_its_next_claim(
    sqlite_store: Store, open_service: OpenService
) -> None:
    application = served(sqlite_store, open_service, *DAMAGE["consumer of an unknown project"])
    assert held(application, HOLDER) == {"allocations": {}}
    assert put(application, HOLDER, claim({"VCPU": 5}, UUIDS[2], 3)) == 204
    assert held(application, HOLDER)["project_id"] == "a-project"


def test_a_provider_without_a_generation_has_the_first(
    sqlite_store: Store, open_service: OpenService
) -> None:
    application = served(sqlite_store, open_service, provider(4, generation=None), inventory(4))
    path = f"/resource_providers/{UUIDS[3]}"
    assert call(application, request("GET", path, NEWEST_MINOR)).json["generation"] == 0
    body = {"resource_provider_generation": 0, "traits": ["COMPUTE_NODE"]}
    written = call(application, request("PUT", f"{path}/traits", NEWEST_MINOR, body))
    assert (written.status, written.json["resource_provider_generation"]) == (200, 1)


def test_a_generation_that_is_missing_is_raised_on_each_database(
    store: Store, open_service: OpenService
) -> None:
    application = served(store, open_service, provider(4, generation=None), inventory(4))
    assert put(application, NEWCOMER, claim({"VCPU": 2}, UUIDS[3], None)) == 204
    path = f"/resource_providers/{UUIDS[3]}"
    assert call(application, request("GET", path, NEWEST_MINOR)).json["generation"] == 1
    store.check_sound()
    assert healed(store) == {}
