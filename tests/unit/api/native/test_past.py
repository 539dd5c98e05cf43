"""``?at=R`` of providers, trees and claims: its form, its errors, and what it shows."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.model.commands import CreateTrait, DeleteAllocations, DeleteProvider, UpdateProvider
from moorage.model.journal import JournalMode
from moorage.service.facade import Service
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.table import each
from tests.unit.api.native.client import NativeClient, problem

V1 = "/moorage/v1"


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


def got(client: NativeClient, path: str) -> Any:
    told = client.get(V1 + path)
    assert told.status == 200, told
    assert told.headers["moorage-revision"] == str(told.json["revision"])
    return told.json


def test_a_provider_and_its_tree_now_and_before_a_claim(
    client: NativeClient, sqlite_service: Service
) -> None:
    host = add_provider(sqlite_service, "host", traits=("HW_CPU_X86_AVX",), VCPU=8)
    child = add_provider(sqlite_service, "child", host, VCPU=4)
    before = sqlite_service.revision()
    order(sqlite_service, claim(new_uuid(), {host: {VCPU: 2}}))
    shown = got(client, f"/providers/{host}")
    assert shown["revision"] == before + 1
    listed = client.get(
        f"{V1}/providers?ids={host}&fields=inventories,used,traits,aggregates,generation,parent"
    ).json["providers"]
    assert {name: value for name, value in shown.items() if name != "revision"} == listed[0]
    earlier = got(client, f"/providers/{host}?at={before}")
    assert earlier["revision"] == before
    assert (earlier["used"], earlier["generation"]) == ({VCPU: 0}, shown["generation"] - 1)
    assert (earlier["traits"], earlier["inventories"]) == (shown["traits"], shown["inventories"])
    tree = got(client, f"/trees/{child}?at={before}")
    assert (tree["revision"], tree["root"]) == (before, host)
    assert {each["uuid"]: each["used"] for each in tree["providers"]} == {host: {VCPU: 0}, child: {VCPU: 0}}
    assert [each["uuid"] for each in got(client, f"/trees/{host}")["providers"]] == sorted((host, child))


def test_what_is_gone_or_in_another_tree_is_found_where_it_was(
    client: NativeClient, sqlite_service: Service
) -> None:
    first, second = (add_provider(sqlite_service, VCPU=8) for _ in range(2))
    child = add_provider(sqlite_service, "child", first, VCPU=4)
    before = sqlite_service.revision()
    order(sqlite_service, UpdateProvider(child, "renamed", second))
    moved = sqlite_service.revision()
    order(sqlite_service, DeleteProvider(child))
    for uuid, revision, query, names in (
        (first, before, "", {"child"}),
        (second, before, "", set()),
        (first, moved, "", set()),
        (second, moved, "", {"renamed"}),
        (child, before, f"&tree={second}", {"child"}),
    ):
        tree = got(client, f"/trees/{uuid}?at={revision}{query}")
        assert {each["name"] for each in tree["providers"]} & {"child", "renamed"} == names
    assert got(client, f"/providers/{child}?at={before}&tree={second}")["root"] == first
    refused = problem(client.get(f"{V1}/providers/{child}?at={before}"))
    assert (refused["code"], refused["revision"]) == ("not_found", before)
    assert problem(client.get(f"{V1}/trees/{child}"))["code"] == "not_found"


def test_a_claim_at_a_revision_has_its_beginning_and_its_ask_as_far_as_they_are_known(
    client: NativeClient, sqlite_service: Service
) -> None:
    host, consumer = add_provider(sqlite_service, VCPU=8), new_uuid()
    empty = sqlite_service.revision()
    body = {
        "claims": [{"consumers": [consumer], "ask": {"query": "resources=VCPU:2"}, "labels": {"job": "1"}}]
    }
    assert client.post(f"{V1}/claims", body).status == 201
    claimed = got(client, f"/claims/{consumer}")
    order(sqlite_service, claim(consumer, {host: {VCPU: 3}}, 1))
    grown = got(client, f"/claims/{consumer}")
    assert got(client, f"/claims/{consumer}?at={grown['revision']}") == grown
    assert got(client, f"/claims/{consumer}?at={claimed['revision']}") == claimed
    order(sqlite_service, DeleteAllocations(consumer))
    order(sqlite_service, claim(consumer, {host: {VCPU: 1}}))
    known = got(client, f"/claims/{consumer}?at={claimed['revision']}")
    assert known == {**claimed, "ask": None, "labels": {}, "decided_at": None}
    nothing = got(client, f"/claims/{consumer}?at={empty}")
    assert (nothing["providers"], nothing["generation"], nothing["project_id"]) == ({}, None, None)
    assert problem(client.get(f"{V1}/claims/{new_uuid()}"))["code"] == "not_found"


def test_a_move_replaces_what_was_asked(client: NativeClient, sqlite_service: Service) -> None:
    add_provider(sqlite_service, VCPU=8)
    consumer = new_uuid()
    entry: dict[str, object] = {"ask": {"query": "resources=VCPU:2"}}
    assert client.post(f"{V1}/claims", {"claims": [{**entry, "consumers": [consumer]}]}).status == 201
    before = got(client, f"/claims/{consumer}")
    moved = {**entry, "consumer": consumer, "generation": before["generation"]}
    assert client.post(f"{V1}/claims", {"claims": [moved]}).status == 201
    earlier = got(client, f"/claims/{consumer}?at={before['revision']}")
    assert earlier == {**before, "ask": None, "decided_at": None}


def test_a_consumer_whose_beginning_was_compacted_has_no_since(
    client: NativeClient, sqlite_service: Service
) -> None:
    host, consumer = add_provider(sqlite_service, VCPU=8), new_uuid()
    order(sqlite_service, claim(consumer, {host: {VCPU: 1}}))
    order(sqlite_service, claim(consumer, {host: {VCPU: 2}}, 1))
    held = sqlite_service.revision()
    order(sqlite_service, DeleteAllocations(consumer))
    assert got(client, f"/claims/{consumer}?at={held}")["since"] is not None
    sqlite_service._store.compact_journal(1, 1e9, 0)
    told = got(client, f"/claims/{consumer}?at={held}")
    assert (told["since"], told["resources"]) == (None, {VCPU: 2})


@each("kind", ["providers", "trees", "claims"])
def test_a_revision_that_the_journal_does_not_lead_to_is_410(
    kind: str, client: NativeClient, sqlite_service: Service
) -> None:
    store, uuid = sqlite_service._store, add_provider(sqlite_service, VCPU=8)
    for name in ("CUSTOM_A", "CUSTOM_B"):
        order(sqlite_service, CreateTrait(name))
    present = store.revision()
    store.compact_journal(1, 1e9, 0)
    path = f"{V1}/{kind}/{uuid}"
    refused = problem(client.get(f"{path}?at={present - 2}"))
    assert (refused["status"], refused["code"]) == (410, "compacted")
    assert (refused["compacted"], refused["restart_after"]) == (present - 1, present)
    for query in (f"at={present + 1}", f"at={present}&epoch=0123456789abcdef"):
        refused = problem(client.get(f"{path}?{query}"))
        assert (refused["status"], refused["code"]) == (410, "different_history")
        assert refused["epoch"] == store.epoch()
    assert client.get(f"{path}?at={present - 1}&epoch={store.epoch()}").status == 200
    store.new_history()
    assert problem(client.get(f"{path}?at={present}"))["code"] == "different_history"
    assert client.get(f"{path}?at={present + 1}").status == 200
    for query in ("at=-1", "at=now", "epoch=x"):
        assert problem(client.get(f"{path}?{query}"))["code"] == "invalid_request"


def in_mode(store: Store, mode: JournalMode) -> Service:
    url = store.engines.write.url.render_as_string(hide_password=False)
    return Service(Store(StoreSettings(url, journal=mode)))


@each("mode", [JournalMode.REFS, JournalMode.OFF])
def test_without_values_there_is_no_past(
    mode: JournalMode, client: NativeClient, sqlite_service: Service
) -> None:
    uuid = add_provider(sqlite_service, VCPU=8)
    start = sqlite_service.revision()
    other = in_mode(sqlite_service._store, mode)
    order(other, claim(new_uuid(), {uuid: {VCPU: 1}}))
    refused = problem(NativeClient(other).get(f"{V1}/providers/{uuid}?at={start}"))
    assert (refused["status"], refused["code"]) == (404, "not_found")
    assert mode.value in refused["detail"]
    assert NativeClient(other).get(f"{V1}/providers/{uuid}").status == 200
    # What another process kept when it was set otherwise does not lead back either.
    refused = problem(client.get(f"{V1}/trees/{uuid}?at={start}"))
    assert (refused["code"], refused["compacted"]) == ("compacted", start + 1)
    other.close()


def test_a_gap_in_the_journal_is_told_by_its_last_revision(
    client: NativeClient, sqlite_service: Service
) -> None:
    uuid = add_provider(sqlite_service, VCPU=8)
    start = sqlite_service.revision()
    other = in_mode(sqlite_service._store, JournalMode.OFF)
    order(other, CreateTrait("CUSTOM_UNKNOWN"))
    order(sqlite_service, CreateTrait("CUSTOM_KNOWN"))
    refused = problem(client.get(f"{V1}/providers/{uuid}?at={start - 1}"))
    assert (refused["code"], refused["compacted"]) == ("compacted", start + 1)
    assert client.get(f"{V1}/providers/{uuid}?at={start + 1}").status == 200
    other.close()
