"""Explanations over the native API: the whole answer, what it needs, and what it hides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from moorage.api.http.settings import Limits
from moorage.api.native.application import create
from moorage.api.placement.query import newest_request
from moorage.auth.identity import Identity
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import ForbiddenError, Target
from moorage.model.commands import ReplaceAllocations, SetInventories
from moorage.model.values import Inventory
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.table import each
from tests.unit.api.native.client import NativeClient, problem

PATH = "/moorage/v1/explanations"
AGGREGATE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


def explained(client: NativeClient, ask: dict[str, Any], **more: object) -> Any:
    told = client.post(PATH, {"ask": ask, **more})
    assert told.status == 200, told.body
    assert told.headers["moorage-revision"] == str(told.json["revision"])
    assert told.json["request_id"] == told.headers["x-openstack-request-id"]
    return told.json


def amounts(**resources: int) -> dict[str, Any]:
    return {"groups": {"": {"resources": resources}}}


class Cloud:
    """A host whose GPUs are nearly all held by one consumer, and a small host without any."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.host = add_provider(service, "host-1", None, ("HW_NIC_SRIOV",), (AGGREGATE,), VCPU=16)
        self.gpus = add_provider(service, "host-1-gpus", self.host, PGPU=8)
        self.small = add_provider(service, "host-2", VCPU=2)
        self.consumer = new_uuid()
        order(service, claim(self.consumer, {self.gpus: {"PGPU": 5}}, None, "INSTANCE", "p2", "u2"))


@pytest.fixture
def cloud(sqlite_service: Service) -> Cloud:
    return Cloud(sqlite_service)


def test_what_does_not_fit_is_explained_with_the_nearest_tree_and_who_holds_what_it_lacks(
    cloud: Cloud, client: NativeClient
) -> None:
    told = explained(client, amounts(VCPU=4, PGPU=4))
    assert (told["verdict"], told["exact"], told["feasible"], told["trees"]) == ("no_room", True, 0, 2)
    assert told["empty_cloud"] == 1
    by_class = {each["resource_class"]: each for each in told["constraints"]}
    assert by_class["VCPU"]["alone"] == 1
    gpus = by_class["PGPU"]
    assert (gpus["alone"], gpus["without"], gpus["empty_cloud"]) == (0, 1, 1)
    nearest = told["nearest"][0]
    assert (nearest["root"], nearest["name"], nearest["distance"]) == (cloud.host, "host-1", 0.25)
    (missing,) = nearest["missing"]
    assert missing == {
        "constraint": by_class["PGPU"]["id"],
        "provider": cloud.gpus,
        "name": "host-1-gpus",
        "resource_class": "PGPU",
        "need": 4,
        "room": 3,
        "short": 1,
    }
    (holder,) = nearest["held_by"]
    assert holder.pop("since")[-1] == "Z"
    assert holder == {
        "consumer": cloud.consumer,
        "consumer_type": "INSTANCE",
        "project_id": "p2",
        "resources": {"PGPU": 5},
    }
    assert told["holders_revision"] == told["revision"]
    assert {"op": "amount", "constraint": by_class["PGPU"]["id"], "from": 4, "to": 3} in [
        change for relaxation in told["relaxations"] for change in relaxation["changes"]
    ]
    (freed,) = told["unlocked_by"][0]
    assert (freed["event"], freed["name"], freed["resource_class"]) == ("freed", "host-1-gpus", "PGPU")
    assert (freed["provider"], freed["amount"]) == (cloud.gpus, 1)
    assert "in an empty cloud 1 could" in told["summary"]
    assert "host-1 lacks 1 PGPU" in told["summary"]
    assert "With PGPU:3, 1 tree could." in told["summary"]


def test_what_fits_is_shown_with_the_first_candidate_and_the_next_ones(
    cloud: Cloud, client: NativeClient
) -> None:
    told = explained(client, amounts(VCPU=1))
    assert (told["verdict"], told["feasible"]) == ("fits", 2)
    assert told["summary"] == "2 of 2 trees can serve this now."
    shown = [told["chosen"], *told["alternatives"]]
    assert {uuid for each in shown for uuid in each["allocations"]} == {cloud.host, cloud.small}
    assert told["chosen"]["names"].keys() == told["chosen"]["allocations"].keys()
    assert told["nearest"] == told["relaxations"] == []
    alone = explained(client, amounts(VCPU=1), alternatives=0)
    assert alone["alternatives"] == []


def test_one_tree_can_be_asked_for_by_uuid_and_by_name(cloud: Cloud, client: NativeClient) -> None:
    for at in (cloud.small, "host-2"):
        told = explained(client, amounts(VCPU=4), at=at)
        assert (told["verdict"], told["trees"]) == ("never_fits", 1)
        assert [miss["root"] for miss in told["nearest"]] == [cloud.small]
    assert explained(client, amounts(VCPU=4), at="host-1-gpus")["verdict"] == "fits"
    refused = problem(client.post(PATH, {"ask": amounts(VCPU=4), "at": "host-3"}))
    assert (refused["status"], refused["code"]) == (404, "not_found")


def test_a_pasted_query_is_explained_and_its_limit_is_noted(cloud: Cloud, client: NativeClient) -> None:
    line = 'GET /placement/allocation_candidates?limit=1000&resources=VCPU%3A99 HTTP/1.1" 200'
    told = explained(client, {"query": line})
    assert told["verdict"] == "never_fits"
    assert told["notes"][:2] == ["limit in the query was ignored", "the text around the query was left out"]


def test_holders_are_left_out_if_they_are_not_wanted_or_if_the_tree_has_changed(
    cloud: Cloud, client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = explained(client, amounts(PGPU=4), holders=False)
    assert "held_by" not in told["nearest"][0]
    assert "holders_revision" not in told
    store = cloud.service._store
    ask = store.holders_at

    def meddled(*asked: Any) -> Any:
        order(cloud.service, claim(new_uuid(), {cloud.gpus: {"PGPU": 1}}))
        return ask(*asked)

    monkeypatch.setattr(store, "holders_at", meddled)
    told = explained(client, amounts(PGPU=4))
    assert told["holders_revision"] == told["revision"] + 1
    assert "held_by" not in told["nearest"][0]


def test_of_many_holders_the_largest_are_shown(sqlite_service: Service, client: NativeClient) -> None:
    pool = add_provider(sqlite_service, "pool", None, DISK_GB=300)
    claims = [claim(new_uuid(), {pool: {"DISK_GB": size}}).claims[0] for size in range(1, 24)]
    order(sqlite_service, ReplaceAllocations(tuple(claims)))
    nearest = explained(client, amounts(DISK_GB=100))["nearest"][0]
    assert [holder["resources"]["DISK_GB"] for holder in nearest["held_by"]] == list(range(23, 3, -1))
    assert nearest["held_by_more"] is True


@each(
    ("body", "pointer", "nearest"),
    [
        ({"aks": {}}, "/aks", ["ask"]),
        ({"ask": {"groupes": {}}}, "/ask/groupes", ["groups"]),
        ({"ask": {}, "at": ""}, "/at", None),
        ({"ask": {}}, "/ask", None),
        ({"ask": amounts(VCPU=1), "nearest": 21}, "/nearest", None),
        ({}, "/ask", None),
        ([], "", None),
    ],
)
def test_a_fault_is_named_with_its_place(
    body: object, pointer: str, nearest: list[str] | None, sqlite_service: Service
) -> None:
    told = problem(NativeClient(sqlite_service).post(PATH, body))
    assert (told["status"], told["code"], told["pointer"]) == (400, "invalid_request", pointer)
    assert told.get("nearest") == nearest


def test_unknown_names_get_the_nearest_known_ones(cloud: Cloud, client: NativeClient) -> None:
    told = problem(client.post(PATH, {"ask": amounts(VCPUS=1)}))
    assert (told["status"], told["code"]) == (400, "unknown_name")
    assert told["names"][0]["name"] == "VCPUS"
    assert told["revision"] == cloud.service.revision()
    assert "VCPU" in told["names"][0]["nearest"]
    group = {"resources": {"VCPU": 1}, "required": ["HW_NIC_SRIOF"]}
    told = problem(client.post(PATH, {"ask": {"groups": {"": group}}}))
    assert told["names"][0]["nearest"][0] == "HW_NIC_SRIOV"


def test_sizes_of_an_ask_are_limited(sqlite_service: Service) -> None:
    client = NativeClient(sqlite_service, Limits(request_groups=1, body_bytes=500))
    two = {"groups": {"_A": {"resources": {"VCPU": 1}}, "_B": {"resources": {"VCPU": 1}}}}
    assert "at most 1 are allowed" in problem(client.post(PATH, {"ask": two}))["detail"]
    assert problem(client.post(PATH, {"ask": {"query": "x" * 500}}))["code"] == "body_too_large"
    refused = client.ask("POST", PATH, body=b"{}", headers={"content-type": "text/plain"})
    assert problem(refused)["code"] == "unsupported_media_type"
    assert problem(client.ask("POST", PATH, body=b"{"))["code"] == "invalid_request"


def test_explanations_that_wait_too_long_for_their_turn_are_503(
    sqlite_service: Service, client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.service.facade.EXPLAIN_PATIENCE_SECONDS", 0.01)
    assert sqlite_service._explaining.acquire()
    assert sqlite_service._explaining.acquire()
    assert problem(client.post(PATH, {"ask": amounts(VCPU=1)}))["code"] == "unavailable"
    sqlite_service._explaining.release()
    assert explained(client, amounts(VCPU=1))


# Who may see what


class OnlyRules:
    """Allows only some rules; the first one for a project only, if one is given."""

    def __init__(self, *rules: str, project: str | None = None) -> None:
        self.rules = rules
        self.project = project

    def authorise(self, identity: Identity, rule: str, target: Target | None = None) -> None:
        of_project = rule != self.rules[0] or self.project is None or target == Target(self.project)
        if rule not in self.rules or not of_project:
            raise ForbiddenError(f"Policy does not allow {rule} to be performed.")


def restricted(service: Service, policy: OnlyRules) -> NativeClient:
    client = NativeClient(service)
    client.app = create(service, newest_request, Limits(), NoAuth(), policy)
    return client


EXPLAIN = "moorage:explanations:create"
HOLDERS = "moorage:holders:list"


def test_admins_and_services_may_ask_by_default_and_readers_may_not(client: NativeClient) -> None:
    headers: dict[str, str | None] = {"x-auth-token": "reader", "x-roles": "reader,member"}
    refused = client.ask("POST", PATH, value={"ask": amounts(VCPU=1)}, headers=headers)
    assert problem(refused)["code"] == "forbidden"


def test_a_policy_may_let_members_ask_for_their_own_project(cloud: Cloud) -> None:
    client = restricted(cloud.service, OnlyRules(EXPLAIN, project="p1"))
    assert explained(client, amounts(VCPU=99), project_id="p1")["verdict"] == "never_fits"
    for body in ({"ask": amounts(VCPU=99), "project_id": "p2"}, {"ask": amounts(VCPU=99)}):
        assert problem(client.post(PATH, body))["code"] == "forbidden"


def test_without_the_rule_for_names_there_are_none(cloud: Cloud) -> None:
    client = restricted(cloud.service, OnlyRules(EXPLAIN, HOLDERS))
    told = explained(client, amounts(PGPU=4))
    assert told["nearest"][0]["held_by"]
    assert "host-1" not in json.dumps(told)
    assert "names" not in explained(client, amounts(VCPU=1))["chosen"]


def test_without_the_rule_for_holders_there_are_counts_and_relaxations_only(cloud: Cloud) -> None:
    client = restricted(cloud.service, OnlyRules(EXPLAIN))
    told = explained(client, amounts(VCPU=4, PGPU=4))
    assert told.keys() & {"nearest", "unlocked_by", "chosen", "alternatives", "holders_revision"} == set()
    assert (told["verdict"], told["empty_cloud"]) == ("no_room", 1)
    assert told["relaxations"]
    assert told["notes"] == ["what is missing is held by others"]
    fits = explained(client, amounts(VCPU=1))
    assert (fits["feasible"], fits["notes"]) == (2, [])


def test_without_the_rule_for_holders_no_single_tree_may_be_named(cloud: Cloud) -> None:
    client = restricted(cloud.service, OnlyRules(EXPLAIN))
    ask = amounts(VCPU=1)
    in_tree = {"groups": {"": {"resources": {"VCPU": 1}, "in_tree": cloud.host}}}
    pasted = {"query": f"resources=VCPU:1&in_tree={cloud.host}"}
    bodies = [{"ask": ask, "at": "host-1"}, {"ask": ask, "at": "no-host"}, {"ask": in_tree}, {"ask": pasted}]
    for body in bodies:
        refused = problem(client.post(PATH, body))
        assert (refused["code"], HOLDERS in refused["detail"]) == ("forbidden", True)
    allowed = restricted(cloud.service, OnlyRules(EXPLAIN, HOLDERS))
    assert [allowed.post(PATH, body).status for body in bodies] == [200, 404, 200, 200]


@contextmanager
def _cloud_of(service: Service, sizes: list[tuple[int, int]]) -> Iterator[set[str]]:
    """Hosts with so much room, of which other projects hold so much; what must not be told."""
    secrets: set[str] = set()
    for number, (size, used) in enumerate(sizes):
        name = f"secret-host-{number}-{new_uuid()}"
        host = add_provider(service, name, None, ("HW_NIC_SRIOV",), VCPU=size, DISK_GB=1000)
        consumer, project, user = new_uuid(), f"secret-project-{number}", f"secret-user-{number}"
        order(service, claim(consumer, {host: {"VCPU": min(used, size)}}, None, "INSTANCE", project, user))
        secrets |= {name, host, consumer, project, user}
    yield secrets


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some.lists(some.tuples(some.integers(1, 9), some.integers(1, 9)), min_size=1, max_size=4),
    some.integers(1, 12),
    some.booleans(),
)
def test_an_answer_to_a_reader_names_no_provider_consumer_project_or_user(
    sqlite_service: Service, sizes: list[tuple[int, int]], wanted: int, with_trait: bool
) -> None:
    with _cloud_of(sqlite_service, sizes) as secrets:
        client = restricted(sqlite_service, OnlyRules(EXPLAIN))
        group = {"resources": {"VCPU": wanted}, "required": ["HW_NIC_SRIOV"] if with_trait else []}
        told = client.post(PATH, {"ask": {"groups": {"": group}}, "nearest": 9, "alternatives": 9})
        assert told.status == 200
        text = told.body.decode()
        assert [secret for secret in secrets if secret in text] == []


def test_every_kind_of_constraint_is_shown_with_what_it_asks_for(cloud: Cloud, client: NativeClient) -> None:
    other = new_uuid()
    ask = {
        "groups": {
            "": {
                "resources": {"VCPU": 99},
                "required": ["HW_NUMA_ROOT", {"any": ["HW_NIC_SRIOV", "HW_NUMA_ROOT"]}],
                "forbidden": ["HW_NIC_SRIOV"],
                "member_of": [{"any": [other, AGGREGATE]}],
                "not_member_of": [AGGREGATE],
                "in_tree": cloud.host,
            },
            "_A": {"resources": {"PGPU": 1}},
            "_B": {"resources": {"PGPU": 1}},
        },
        "group_policy": "isolate",
        "root_required": ["HW_NUMA_ROOT"],
        "root_forbidden": ["HW_NIC_SRIOV"],
        "same_subtree": [["_A", "_B"]],
    }
    told = explained(client, ask)
    shown = {each["kind"]: each for each in told["constraints"]}
    assert shown.keys() >= {
        "room",
        "required",
        "forbidden",
        "member_of",
        "not_member_of",
        "in_tree",
        "root_required",
        "root_forbidden",
        "together",
    }
    assert shown["member_of"]["aggregates"] == sorted([other, AGGREGATE])
    assert shown["in_tree"]["in_tree"] == cloud.host
    rules = {each["rule"] for each in told["constraints"] if each["kind"] == "together"}
    assert rules >= {"isolate", "same_subtree"}
    assert told["summary"].startswith("No ")


@each(
    ("ask", "words"),
    [
        ({"resources": {"VCPU": 1}, "required": ["HW_NUMA_ROOT"]}, "No provider has required HW_NUMA_ROOT."),
        ({"resources": {"VCPU": 99}}, "No tree could serve this even if nothing were used."),
        ({"resources": {"VCPU": 3}, "in_tree": "host-2"}, "With VCPU:2, 1 tree could."),
        ({"resources": {"PGPU": 1}, "forbidden": ["HW_NIC_SRIOV"]}, "1 of 2 trees can serve this now."),
        ({"resources": {"VCPU": 1}, "member_of": ["other"]}, "No provider has member of "),
    ],
)
def test_an_explanation_is_summed_up_in_words(
    ask: dict[str, Any], words: str, sqlite_service: Service
) -> None:
    if not sqlite_service.provider_count():
        Cloud(sqlite_service)
    client = NativeClient(sqlite_service)
    uuids = {each["name"]: each["uuid"] for each in client.get("/moorage/v1/providers").json["providers"]}
    asked = {**ask}
    if "in_tree" in asked:
        asked["in_tree"] = uuids[asked["in_tree"]]
    if "member_of" in asked:
        asked["member_of"] = [new_uuid()]
    assert words in explained(client, {"groups": {"": asked}})["summary"]


def test_a_summary_names_the_first_of_many_aggregates(cloud: Cloud, client: NativeClient) -> None:
    uuids = [new_uuid() for _ in range(20)]

    def summary(member_of: list[Any]) -> str:
        told = explained(client, {"groups": {"": {"resources": {"VCPU": 1}, "member_of": member_of}}})
        return str(told["summary"])

    assert summary(uuids).count(" or 15 more. Nearest: ") == 1
    assert summary(uuids).endswith(" and 15 more.")
    assert summary([{"any": uuids}]).count(" or 15 more. Nearest: ") == 1


def test_what_a_provider_lacks_besides_room_is_named(sqlite_service: Service, client: NativeClient) -> None:
    host = add_provider(sqlite_service, "host")
    stepped = {"VCPU": Inventory(total=64, step_size=4, max_unit=16)}
    order(sqlite_service, SetInventories(host, None, stepped))
    group = {"resources": {"VCPU": 17}, "required": ["HW_NUMA_ROOT"], "member_of": [AGGREGATE]}
    (miss,) = explained(client, {"groups": {"": group}})["nearest"]
    lacks = [lack for each in miss["missing"] for lack in each if lack in ("units", "traits", "aggregates")]
    assert sorted(lacks) == ["aggregates", "traits", "units"]
