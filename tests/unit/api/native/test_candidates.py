"""Ordered candidates over the native API: the list, what decides it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from moorage.api.http.settings import Limits
from moorage.api.native.application import create
from moorage.api.native.orders import INLINE
from moorage.api.placement.query import newest_request
from moorage.auth.identity import Identity
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import ForbiddenError, Policy, Target
from moorage.model.orders import Order, Profiles
from moorage.model.requests import SearchSettings
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.unit.api.native.client import NativeClient, problem

PATH = "/moorage/v1/candidates"
ASK: dict[str, Any] = {"groups": {"": {"resources": {"VCPU": 2}}}}


class Cloud:
    """Three hosts of 8 VCPU with 0, 4 and 2 in use, the last one with a device."""

    def __init__(self, service: Service) -> None:
        self.hosts = [
            add_provider(service, f"host-{number}", None, traits, VCPU=8)
            for number, traits in enumerate([("HW_NIC_SRIOV",), (), ()])
        ]
        self.device = add_provider(service, "device", self.hosts[2], PGPU=1)
        for host, amount in zip(self.hosts[1:], (4, 2), strict=True):
            order(service, claim(new_uuid(), {host: {"VCPU": amount}}, None, "INSTANCE", "p1"))


@pytest.fixture
def cloud(sqlite_service: Service) -> Cloud:
    return Cloud(sqlite_service)


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


def listed(client: NativeClient, **fields: Any) -> Any:
    told = client.post(PATH, {"ask": ASK, **fields})
    assert told.status == 200, told.body
    assert told.headers["moorage-revision"] == str(told.json["revision"])
    return told.json


def roots(told: Any) -> list[str]:
    return [each["root"] for each in told["candidates"]]


def test_the_best_come_first_with_score_and_parts(cloud: Cloud, client: NativeClient) -> None:
    told = listed(client, order={"strategy": "pack"})
    assert roots(told) == [cloud.hosts[1], cloud.hosts[2], cloud.hosts[0]]
    assert [each["score"] for each in told["candidates"]] == [0.75, 0.5, 0.25]
    first = told["candidates"][0]
    assert first["parts"] == {"pack": 0.75}
    assert first["allocations"] == {cloud.hosts[1]: {"VCPU": 2}}
    assert first["mappings"] == {"": [cloud.hosts[1]]}
    assert (told["exact"], told["feasible_trees"], told["per_tree"]) == (True, 3, "best")
    assert "summaries" not in told


def test_without_an_order_the_oldest_come_first(cloud: Cloud, client: NativeClient) -> None:
    told = listed(client, limit=2)
    assert roots(told) == cloud.hosts[:2]
    assert told["order"]["strategy"] == "first"


def test_what_was_compared_and_drawn_is_told_and_decides_the_same_again(
    cloud: Cloud, client: NativeClient
) -> None:
    wish = {"prefer": [{"provider": cloud.hosts[0].replace("-", ""), "weight": 3}, {"trait": "HW_NIC_SRIOV"}]}
    told = listed(client, order={"strategy": "best_fit", "spare_special": 1, "among_best": 2, **wish})
    assert told["order"]["largest"] == {"VCPU": 8.0}
    assert told["order"]["rare"] == []
    assert told["order"]["prefer"] == [
        {"provider": cloud.hosts[0], "weight": 3.0},
        {"trait": "HW_NIC_SRIOV", "weight": 1.0},
    ]
    again = listed(client, order=told["order"])
    assert again["candidates"] == told["candidates"]
    assert again["order"] == told["order"]


def test_chance_draws_a_seed_where_none_is_given(cloud: Cloud, client: NativeClient) -> None:
    drawn = [listed(client, order={"strategy": "random"})["order"]["seed"] for _ in range(5)]
    assert len(set(drawn)) == 5
    assert listed(client, order={"strategy": "pack"})["order"]["seed"] == 0
    seeded = [roots(listed(client, order={"strategy": "random", "seed": 7})) for _ in range(2)]
    assert seeded[0] == seeded[1]


def test_all_of_a_tree_and_its_providers_are_shown_on_demand(
    cloud: Cloud, client: NativeClient, sqlite_service: Service
) -> None:
    numa = add_provider(sqlite_service, "numa", cloud.hosts[2], VCPU=4)
    told = listed(client, order={"avoid": [{"trait": "HW_NIC_SRIOV"}]}, per_tree="all", summaries=True)
    assert roots(told) == [cloud.hosts[1], cloud.hosts[2], cloud.hosts[2], cloud.hosts[0]]
    assert told["per_tree"] == "all"
    assert set(told["summaries"]) == {*cloud.hosts, cloud.device, numa}
    assert told["summaries"][numa] == {
        "root": cloud.hosts[2],
        "parent": cloud.hosts[2],
        "resources": {"VCPU": {"capacity": 4, "used": 0}},
        "traits": [],
    }


def test_a_request_that_fits_nowhere_has_no_candidates(cloud: Cloud, client: NativeClient) -> None:
    told = client.post(PATH, {"ask": {"query": "resources=VCPU:9&limit=3"}}).json
    assert (told["candidates"], told["feasible_trees"]) == ([], 0)
    assert told["notes"] == ["limit in the query was ignored"]


@pytest.mark.parametrize(
    ("body", "pointer", "nearest"),
    [
        ({}, "/ask", None),
        ({"order": {"strategy": "packs"}}, "/order/strategy", "pack"),
        ({"order": {"strategie": "pack"}}, "/order/strategie", "strategy"),
        ({"order": {"weights": {"VCPU": -1}}}, "/order/weights/VCPU", None),
        ({"order": {"prefer": [{}]}}, "/order/prefer/0", None),
        ({"order": {"avoid": [{"trait": "A", "provider": new_uuid()}]}}, "/order/avoid/0", None),
        ({"order": {"prefer": [{"provider": "host-1"}]}}, "/order/prefer/0/provider", None),
        ({"order": {"rare": ["VCPU"] * 10_001}}, "/order/rare", None),
        ({"order": {"prefer": [{"trait": "HW_NIC_SRIOV"}] * 101}}, "/order/prefer", None),
        ({"order": {"seed": 2**53}}, "/order/seed", None),
        ({"order": {"among_best": 0}}, "/order/among_best", None),
        ({"limit": 0}, "/limit", None),
        ({"limit": 10_001}, "/limit", None),
        ({"per_tree": "bests"}, "/per_tree", "best"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(
    cloud: Cloud, client: NativeClient, body: dict[str, Any], pointer: str, nearest: str | None
) -> None:
    told = problem(client.post(PATH, body if pointer == "/ask" else {"ask": ASK, **body}))
    assert (told["status"], told["code"], told["pointer"]) == (400, "invalid_request", pointer)
    if nearest is not None:
        assert nearest in told["nearest"]


@pytest.mark.parametrize(
    ("given", "pointer", "nearest"),
    [
        ({"weights": {"VCPUS": 1}}, "/order/weights/VCPUS", "VCPU"),
        ({"largest": {"VCPUS": 1}}, "/order/largest/VCPUS", "VCPU"),
        ({"prefer": [{"trait": "HW_NIC_SRIOW"}]}, "/order/prefer/0/trait", "HW_NIC_SRIOV"),
        ({"rare": ["PGPUS"]}, "/order/rare/0", "PGPU"),
    ],
)
def test_unknown_names_are_refused_with_those_that_look_alike(
    cloud: Cloud, client: NativeClient, given: dict[str, Any], pointer: str, nearest: str
) -> None:
    told = problem(client.post(PATH, {"ask": ASK, "order": given}))
    assert (told["status"], told["code"], told["pointer"]) == (400, "unknown_name", pointer)
    assert nearest in told["names"][0]["nearest"]


def test_a_search_that_is_too_hard_is_refused(cloud: Cloud, sqlite_service: Service) -> None:
    settings = replace(ServiceSettings(), search=SearchSettings(step_limit=10))
    told = problem(NativeClient(Service(sqlite_service._store, settings)).post(PATH, {"ask": ASK}))
    assert (told["status"], told["code"], told["steps"]) == (422, "too_hard", 10)


class Profiled(NativeClient):
    """A client of a service with two profiles, the second by default, and with the rules ``allowed``."""

    def __init__(self, service: Service, allowed: bool = True) -> None:
        profiles = Profiles({"full": Order("pack", among_best=2), "empty": Order("spread")}, "empty")
        with_profiles = Service(service._store, profiles=lambda: profiles)
        policy: Policy = Everything() if allowed else AllBut(INLINE)
        self.app = create(with_profiles, newest_request, Limits(), NoAuth(), policy)


class Everything:
    def authorise(self, identity: Identity, rule: str, target: Target | None = None) -> None:
        """Allow all."""


class AllBut:
    def __init__(self, rule: str) -> None:
        self._rule = rule

    def authorise(self, identity: Identity, rule: str, target: Target | None = None) -> None:
        if rule == self._rule:
            raise ForbiddenError(rule)


def test_a_profile_is_an_order_by_name(cloud: Cloud, sqlite_service: Service) -> None:
    client = Profiled(sqlite_service)
    assert listed(client)["order"]["profile"] == "empty"
    assert roots(listed(client)) == [cloud.hosts[0], cloud.hosts[2], cloud.hosts[1]]
    told = listed(client, order={"profile": "full", "among_best": 1, "seed": 3})
    assert roots(told) == [cloud.hosts[1], cloud.hosts[2], cloud.hosts[0]]
    assert (told["order"]["strategy"], told["order"]["seed"]) == ("pack", 3)
    assert len({listed(client, order={"profile": "full"})["order"]["seed"] for _ in range(3)}) == 3
    inline = listed(client, order={"strategy": "pack"})["order"]
    assert ("profile" in inline, inline["strategy"]) == (False, "pack")
    refused = problem(client.post(PATH, {"ask": ASK, "order": {"profile": "ful"}}))
    assert (refused["status"], refused["pointer"], refused["nearest"]) == (400, "/order/profile", ["full"])


def test_without_the_rule_requests_name_profiles_only(cloud: Cloud, sqlite_service: Service) -> None:
    client = Profiled(sqlite_service, allowed=False)
    assert listed(client, order={"profile": "full", "seed": 3})["order"]["profile"] == "full"
    refused = problem(client.post(PATH, {"ask": ASK, "order": {"strategy": "pack"}}))
    assert (refused["status"], refused["code"]) == (403, "forbidden")
    assert INLINE in refused["detail"]
