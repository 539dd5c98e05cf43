"""Bulk reads over the native API: providers, the overview and claims, each page at one revision."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.api.native.parameters import LARGE
from moorage.model.commands import DeleteProvider, UpdateProvider
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.table import each
from tests.unit.api.native.client import NativeClient, problem

AGGREGATE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


def body(client: NativeClient, path: str) -> Any:
    """An answer from the account: true at the revision that it names."""
    told = client.get(path)
    assert told.status == 200, told
    assert told.headers["moorage-revision"] == str(told.json["revision"])
    return told.json


def test_providers_are_listed_with_what_is_asked_for(sqlite_service: Service, client: NativeClient) -> None:
    root = add_provider(sqlite_service, "host", None, ("HW_NUMA_ROOT",), (AGGREGATE,), VCPU=8, MEMORY_MB=64)
    child = add_provider(sqlite_service, "device", root, PGPU=2)
    order(sqlite_service, claim(new_uuid(), {root: {"VCPU": 3}, child: {"PGPU": 1}}))
    assert body(client, "/moorage/v1/providers?name=host") == {
        "revision": sqlite_service.revision(),
        "providers": [{"uuid": root, "name": "host", "root": root}],
        "next": None,
    }
    told = body(client, "/moorage/v1/providers?fields=inventories,used,traits,aggregates,generation,parent")
    by_name = {shown.pop("name"): shown for shown in told["providers"]}
    inventory = {
        "total": 8,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 2**31 - 1,
        "step_size": 1,
        "allocation_ratio": 1.0,
    }
    assert by_name["host"] == {
        "uuid": root,
        "root": root,
        "inventories": {"VCPU": inventory, "MEMORY_MB": {**inventory, "total": 64}},
        "used": {"VCPU": 3, "MEMORY_MB": 0},
        "traits": ["HW_NUMA_ROOT"],
        "aggregates": [AGGREGATE],
        "generation": sqlite_service.provider(root).generation,
        "parent": None,
    }
    assert by_name["device"]["parent"] == root
    assert by_name["device"]["used"] == {"PGPU": 1}


def test_providers_are_selected_by_uuid_and_tree(sqlite_service: Service, client: NativeClient) -> None:
    roots = sorted(add_provider(sqlite_service) for _ in range(3))
    child = add_provider(sqlite_service, parent=roots[1])

    def uuids(query: str) -> list[str]:
        return [shown["uuid"] for shown in body(client, f"/moorage/v1/providers?{query}")["providers"]]

    assert uuids(f"ids={roots[0]},{roots[2]},{new_uuid()}") == [roots[0], roots[2]]
    assert uuids(f"in_tree={child}") == sorted([roots[1], child])
    assert uuids(f"in_tree={child}&ids={child},{roots[0]}") == [child]
    assert uuids(f"in_tree={new_uuid()}") == []


def test_a_renamed_provider_has_its_new_name_in_the_next_answer(
    sqlite_service: Service, client: NativeClient
) -> None:
    uuid = add_provider(sqlite_service, "before")
    assert body(client, "/moorage/v1/providers?name=before")["providers"]
    order(sqlite_service, UpdateProvider(uuid, "nachher-ü"))
    assert body(client, "/moorage/v1/providers?name=before")["providers"] == []
    (shown,) = body(client, "/moorage/v1/providers?name=nachher-%C3%BC")["providers"]
    assert shown["name"] == "nachher-ü"
    assert body(client, "/moorage/v1/overview")["trees"]["name"] == ["nachher-ü"]


@pytest.mark.parametrize("kind", ["providers", "claims"])
def test_pages_follow_each_other_by_the_last_key(
    sqlite_service: Service, client: NativeClient, kind: str
) -> None:
    provider = add_provider(sqlite_service, VCPU=100)
    wanted = sorted([provider, *(add_provider(sqlite_service) for _ in range(6))])
    if kind == "claims":
        wanted = sorted(new_uuid() for _ in range(7))
        for consumer in wanted:
            order(sqlite_service, claim(consumer, {provider: {"VCPU": 1}}))
    found: list[str] = []
    path = f"/moorage/v1/{kind}?limit=3"
    sizes = []
    told = body(client, path)
    while True:
        sizes.append(len(told[kind]))
        found += [shown["uuid" if kind == "providers" else "consumer"] for shown in told[kind]]
        if told["next"] is None:
            break
        told = body(client, f"{path}&after={told['next']}")
    assert (found, sizes) == (wanted, [3, 3, 1])


def test_the_overview_has_a_place_for_each_tree(sqlite_service: Service, client: NativeClient) -> None:
    root = add_provider(sqlite_service, "host", None, (), (AGGREGATE,), VCPU=8)
    child = add_provider(sqlite_service, "device", root, VCPU=4, PGPU=2)
    lone = add_provider(sqlite_service, "other")
    order(sqlite_service, claim(new_uuid(), {root: {"VCPU": 3}, child: {"VCPU": 1}}))
    told = body(client, "/moorage/v1/overview")
    trees = told["trees"]
    rows = {
        uuid: (name, providers, told["aggregate_sets"][number])
        for uuid, name, providers, number in zip(
            trees["root"], trees["name"], trees["providers"], trees["aggregate_set"], strict=True
        )
    }
    assert rows == {root: ("host", 2, [AGGREGATE]), lone: ("other", 1, [])}
    place = trees["root"].index(root)
    assert {name: (of["capacity"][place], of["used"][place]) for name, of in told["classes"].items()} == {
        "VCPU": (12, 4),
        "PGPU": (2, 0),
    }


def test_claims_show_what_each_consumer_holds_of_which_provider(
    sqlite_service: Service, client: NativeClient
) -> None:
    one, two = add_provider(sqlite_service, VCPU=8, MEMORY_MB=64), add_provider(sqlite_service, VCPU=8)
    consumer = new_uuid()
    held = {one: {"VCPU": 2, "MEMORY_MB": 5}, two: {"VCPU": 1}}
    order(sqlite_service, claim(consumer, held, None, "INSTANCE", "p1", "u1"))
    (shown,) = body(client, "/moorage/v1/claims")["claims"]
    since = shown.pop("since")
    assert since[10] == "T"
    assert since[-1] == "Z"
    assert shown == {
        "consumer": consumer,
        "consumer_type": "INSTANCE",
        "project_id": "p1",
        "user_id": "u1",
        "generation": 1,
        "resources": {"MEMORY_MB": 5, "VCPU": 3},
        "providers": held,
        "lease": None,
    }


def test_claims_are_selected_by_project_provider_and_type(
    sqlite_service: Service, client: NativeClient
) -> None:
    one, two = add_provider(sqlite_service, VCPU=8), add_provider(sqlite_service, VCPU=8)
    consumers = {name: new_uuid() for name in "abc"}
    order(sqlite_service, claim(consumers["a"], {one: {"VCPU": 1}}, None, "INSTANCE", "p1"))
    order(sqlite_service, claim(consumers["b"], {two: {"VCPU": 1}}, None, "MIGRATION", "p1"))
    order(sqlite_service, claim(consumers["c"], {one: {"VCPU": 1}, two: {"VCPU": 1}}, None, None, "p2"))

    def names(query: str) -> str:
        found = {shown["consumer"] for shown in body(client, f"/moorage/v1/claims?{query}")["claims"]}
        return "".join(sorted(name for name, uuid in consumers.items() if uuid in found))

    assert names("") == "abc"
    assert names("project_id=p1") == "ab"
    assert names("project_id=nobody") == ""
    assert names(f"provider={one}") == "ac"
    assert names(f"provider={two}&project_id=p1") == "b"
    assert names("type=INSTANCE") == "a"
    assert names("type=unknown") == "c"


def test_claims_of_a_provider_that_does_not_exist_are_404(client: NativeClient) -> None:
    told = problem(client.get(f"/moorage/v1/claims?provider={new_uuid()}"))
    assert (told["status"], told["code"]) == (404, "not_found")


@each(
    ("query", "parameter", "nearest"),
    [
        ("providers?field=used", "field", ["fields"]),
        ("providers?fields=use", "fields", ["used"]),
        ("providers?fields=used,used", "fields", None),
        ("providers?limit=0", "limit", None),
        ("providers?limit=5001", "limit", None),
        ("providers?limit=many", "limit", None),
        ("providers?limit=99999999999999999999", "limit", None),
        ("providers?limit=1&limit=2", "limit", None),
        ("providers?after=", "after", None),
        ("providers?name=%00", "name", None),
        ("providers?ids=", "ids", None),
        ("claims?project=p1", "project", ["project_id"]),
        ("overview?x=1", "x", []),
    ],
)
def test_a_fault_of_the_query_is_named_with_the_parameter(
    query: str, parameter: str, nearest: list[str] | None, sqlite_service: Service
) -> None:
    told = problem(NativeClient(sqlite_service).get(f"/moorage/v1/{query}"))
    assert (told["status"], told["code"], told["parameter"]) == (400, "invalid_request", parameter)
    assert told.get("nearest") == nearest


def test_of_a_long_value_the_first_fault_is_told(
    client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Comparing the errors of thousands of items takes seconds.
    monkeypatch.setattr("jsonschema.exceptions.best_match", lambda _errors: pytest.fail("errors compared"))
    told = problem(client.get(f"/moorage/v1/providers?fields={'used,' * LARGE}use"))
    assert (told["parameter"], told["nearest"]) == ("fields", ["used"])


@each("path", ["providers", "overview", "claims"])
def test_only_admins_and_services_may_read_in_bulk(path: str, sqlite_service: Service) -> None:
    client = NativeClient(sqlite_service)
    headers: dict[str, str | None] = {"x-auth-token": "reader", "x-roles": "reader,member"}
    told = problem(client.ask("GET", f"/moorage/v1/{path}", headers=headers))
    assert (told["status"], told["code"]) == (403, "forbidden")
    assert f"moorage:{path}" in told["detail"]
    allowed: dict[str, str | None] = {"x-auth-token": "service", "x-roles": "service"}
    assert client.ask("GET", f"/moorage/v1/{path}", headers=allowed).status == 200


def test_generations_are_those_of_the_revision_though_claims_come_in_between(
    sqlite_service: Service, client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = add_provider(sqlite_service, VCPU=8)
    client.get("/moorage/v1/providers")
    store = sqlite_service._store
    ask = store.news_of_providers

    def meddled(*asked: Any) -> Any:
        order(sqlite_service, claim(new_uuid(), {uuid: {"VCPU": 1}}))
        return ask(*asked)

    monkeypatch.setattr(store, "news_of_providers", meddled)
    told = body(client, "/moorage/v1/providers?fields=used,generation")
    assert told["revision"] == sqlite_service.revision()
    (shown,) = told["providers"]
    assert shown["used"] == {"VCPU": 1}
    assert shown["generation"] == sqlite_service.provider(uuid).generation


def test_a_page_begins_anew_if_more_than_claims_comes_in_between(
    sqlite_service: Service, client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add_provider(sqlite_service, "first")
    gone = add_provider(sqlite_service, "gone")
    store = sqlite_service._store
    ask = store.news_of_providers
    asked_for: list[object] = []

    def meddled(*asked: Any) -> Any:
        if not asked_for:
            order(sqlite_service, DeleteProvider(gone))
        asked_for.append(asked)
        return ask(*asked)

    monkeypatch.setattr(store, "news_of_providers", meddled)
    told = body(client, "/moorage/v1/providers?fields=generation")
    assert [shown["uuid"] for shown in told["providers"]] == [first]
    assert told["revision"] == sqlite_service.revision()
    assert len(asked_for) == 2

    monkeypatch.setattr(store, "news_of_providers", lambda *_asked: None)
    refused = problem(client.get("/moorage/v1/providers?fields=generation"))
    assert (refused["status"], refused["code"]) == (503, "unavailable")


def test_a_page_of_nothing_has_no_generations(client: NativeClient) -> None:
    assert body(client, "/moorage/v1/providers?fields=generation")["providers"] == []
