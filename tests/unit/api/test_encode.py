"""What comes back, at every version at which it changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from moorage.api.http.application import http_date
from moorage.api.placement import allocation_candidates as candidate_body
from moorage.api.placement import encode
from moorage.model.requests import CandidateRequest, SearchResult
from moorage.model.values import ConsumerAllocations, HeldOfProvider
from tests.table import each
from tests.unit.api.fake import CONSUMER, MODIFIED, OTHER, UUID, Client, FakeService

PROVIDER = f"/resource_providers/{UUID}"
FIVE_LINKS = ["self", "inventories", "usages", "aggregates", "traits", "allocations"]
INVENTORY = {
    "total": 8,
    "reserved": 0,
    "min_unit": 1,
    "max_unit": 2147483647,
    "step_size": 1,
    "allocation_ratio": 1.0,
}


def shown(path: str, minor: int) -> Any:
    result = Client(FakeService()).ask("GET", path, minor)
    assert result.status == 200
    return result.json


@pytest.mark.parametrize(("minor", "count"), [(0, 3), (1, 4), (5, 4), (6, 5), (10, 5), (11, 6)])
def test_a_provider_has_links_to_what_its_version_has(minor: int, count: int) -> None:
    links = shown(PROVIDER, minor)["links"]
    assert [link["rel"] for link in links] == FIVE_LINKS[:count]
    assert [link["href"] for link in links][:2] == [PROVIDER, f"{PROVIDER}/inventories"]


@pytest.mark.parametrize("minor", [13, 14])
def test_a_provider_has_parent_and_root_from_1_14_on(minor: int) -> None:
    family = {"parent_provider_uuid": OTHER, "root_provider_uuid": OTHER} if minor >= 14 else {}
    provider = shown(PROVIDER, minor)
    links = provider.pop("links")
    assert provider == {"uuid": UUID, "name": "one", "generation": 3} | family
    assert shown("/resource_providers", minor) == {"resource_providers": [provider | {"links": links}]}


def test_a_new_provider_is_shown_from_1_20_on() -> None:
    body = {"name": "one", "uuid": UUID}
    before = Client(FakeService()).ask("POST", "/resource_providers", 19, body)
    after = Client(FakeService()).ask("POST", "/resource_providers", 20, body)
    assert (before.status, before.body) == (201, b"")
    assert (after.status, after.json["uuid"]) == (200, UUID)
    assert before.headers["location"] == after.headers["location"]


def test_inventories_have_the_generation_beside_them_and_one_has_it_within() -> None:
    assert shown(f"{PROVIDER}/inventories", 0) == {
        "resource_provider_generation": 4,
        "inventories": {"VCPU": INVENTORY},
    }
    one = INVENTORY | {"resource_provider_generation": 4}
    assert shown(f"{PROVIDER}/inventories/VCPU", 0) == one


def test_an_inventory_that_is_not_there_is_not_found() -> None:
    result = Client(FakeService()).ask("GET", f"{PROVIDER}/inventories/NOPE", 0)
    assert result.status == 404
    assert f"No inventory of class NOPE for {UUID}" in result.detail


@pytest.mark.parametrize("minor", [1, 18, 19])
def test_aggregates_have_a_generation_from_1_19_on(minor: int) -> None:
    generation = {"resource_provider_generation": 3} if minor >= 19 else {}
    assert shown(f"{PROVIDER}/aggregates", minor) == {"aggregates": [OTHER]} | generation


def test_traits_and_usages_and_allocations_of_a_provider() -> None:
    generation = {"resource_provider_generation": 3}
    traits = {"traits": ["HW_NUMA_ROOT", "CUSTOM_A"]}
    assert shown(f"{PROVIDER}/traits", 6) == traits | generation
    usages = {"usages": {"VCPU": 0, "DISK_GB": 5}}
    assert shown(f"{PROVIDER}/usages", 0) == usages | generation
    held: dict[str, Any] = {"resources": {"VCPU": 1}}
    path = f"{PROVIDER}/allocations"
    assert shown(path, 27) == {"allocations": {CONSUMER: held}} | generation
    held["consumer_generation"] = 2
    assert shown(path, 28) == {"allocations": {CONSUMER: held}} | generation


@pytest.mark.parametrize("minor", [0, 11, 12, 27, 28, 37, 38])
def test_allocations_of_a_consumer_say_whose_it_is(minor: int) -> None:
    expected: dict[str, Any] = {"allocations": {UUID: {"resources": {"VCPU": 1}, "generation": 3}}}
    if minor >= 12:
        expected |= {"project_id": "project", "user_id": "user"}
    if minor >= 28:
        expected["consumer_generation"] = 2
    if minor >= 38:
        expected["consumer_type"] = "unknown"
    assert shown(f"/allocations/{CONSUMER}", minor) == expected


def test_a_consumer_has_its_type_from_1_38_on() -> None:
    held = {UUID: HeldOfProvider(3, {"VCPU": 1})}
    items = ConsumerAllocations(held, "project", "user", 2, "INSTANCE")
    assert encode.consumer_allocations(items, 38)["consumer_type"] == "INSTANCE"


@pytest.mark.parametrize("consumer", ["whoever", "%C3%A9", "x" * 10_000])
def test_any_other_consumer_holds_nothing(consumer: str) -> None:
    assert shown(f"/allocations/{consumer}", 39) == {"allocations": {}}


def test_usages_come_by_type_from_1_38_on() -> None:
    assert shown("/usages?project_id=p", 37) == {"usages": {"VCPU": 7}}
    by_type = {"INSTANCE": {"consumer_count": 2, "VCPU": 7}}
    assert shown("/usages?project_id=p", 38) == {"usages": by_type}
    assert shown("/usages?project_id=p&consumer_type=NOBODY", 38) == {"usages": {}}


def test_names_are_listed() -> None:
    assert shown("/traits", 6) == {"traits": ["CUSTOM_A"]}
    classes = shown("/resource_classes", 2)["resource_classes"]
    assert [item["name"] for item in classes] == ["VCPU", "CUSTOM_A"]
    one = {"name": "VCPU", "links": [{"rel": "self", "href": "/resource_classes/VCPU"}]}
    assert classes[0] == one
    assert shown("/resource_classes/VCPU", 2) == one


def test_a_renamed_class_is_shown_with_its_new_name() -> None:
    result = Client(FakeService()).ask("PUT", "/resource_classes/CUSTOM_A", 2, {"name": "CUSTOM_B"})
    assert result.status == 200
    assert result.json["name"] == "CUSTOM_B"
    assert result.json["links"][0]["href"] == "/resource_classes/CUSTOM_B"


@each("minor", [10, 11, 12, 16, 17, 26, 27, 28, 29, 33, 34, 39])
def test_candidates_have_the_shape_of_their_version(minor: int) -> None:
    body = shown("/allocation_candidates?resources=VCPU:1", minor)
    candidate: dict[str, Any] = {"allocations": {UUID: {"resources": {"VCPU": 1}}}}
    if minor < 12:
        listed = [{"resource_provider": {"uuid": UUID}, "resources": {"VCPU": 1}}]
        candidate = {"allocations": listed}
    if minor >= 34:
        candidate["mappings"] = {"": [UUID]}
    summary: dict[str, Any] = {"resources": {"VCPU": {"capacity": 8, "used": 1}}}
    if minor >= 17:
        summary["traits"] = ["CUSTOM_A"]
    if minor >= 27:
        summary["resources"]["DISK_GB"] = {"capacity": 100, "used": 0}
    if minor >= 29:
        summary |= {"parent_provider_uuid": None, "root_provider_uuid": UUID}
    assert body == {"allocation_requests": [candidate], "provider_summaries": {UUID: summary}}


def test_an_answer_that_is_given_again_is_written_once_for_each_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service, path = FakeService(), "/allocation_candidates?resources=VCPU:1"
    found = service.candidates(CandidateRequest(()))
    monkeypatch.setattr(service, "candidates", lambda *_: found)
    written: list[int] = []
    real = candidate_body.encoded

    def encoded(result: SearchResult, requested: frozenset[str], minor: int) -> bytes:
        written.append(minor)
        return real(result, requested, minor)

    monkeypatch.setattr(candidate_body, "encoded", encoded)
    first = {minor: Client(service).ask("GET", path, minor).body for minor in (10, 39)}
    assert first[10] != first[39]
    assert {minor: Client(service).ask("GET", path, minor).body for minor in (10, 39)} == first
    assert written == [10, 39]


def test_the_date_of_a_list_is_that_of_its_newest_item_or_the_present() -> None:
    later = datetime(2025, 1, 1)  # noqa: DTZ001 - times of the model are naive
    assert encode.newest([MODIFIED, later, MODIFIED]) == later
    assert encode.newest([MODIFIED, None]) is None
    assert encode.newest([]) is None
    assert http_date(later) == "Wed, 01 Jan 2025 00:00:00 GMT"
    assert http_date(None).endswith(" GMT")
