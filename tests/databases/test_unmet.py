"""Searches that found nothing, over both APIs: found by the ids of their requests, from every process."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from moorage.api.http.settings import Limits
from moorage.api.native.application import create
from moorage.api.native.kept_explanations import KeptForms
from moorage.api.placement import application
from moorage.api.placement.query import newest_request
from moorage.auth.noauth import NoAuth
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.store.store import Store
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenStore
from tests.table import each
from tests.unit.api.fake import Client, Result, usual_policy
from tests.unit.api.native.client import NativeClient, problem
from tests.unit.api.native.test_explanations import OnlyRules

SHOW = "moorage:explanations:show"
HOLDERS = "moorage:holders:list"
NAMES = "placement:resource_providers:list"


class Worker:
    """A process that serves both APIs on a database."""

    def __init__(self, store: Store, kept: int = 100) -> None:
        self.service = Service(store, ServiceSettings(unmet_kept=kept), unmet_forms=KeptForms())
        self.native = NativeClient(self.service)
        self._placement = Client.__new__(Client)
        self._placement.app = application.create(self.service, policy=usual_policy())

    def search(self, query: str, minor: int = 39, **headers: str) -> str:
        """Search in vain with a query of Placement; returns the id that the service gave the request."""
        sent: dict[str, str | None] = {name.replace("_", "-"): text for name, text in headers.items()}
        told = self._placement.ask("GET", f"/allocation_candidates?{query}", minor, headers=sent)
        assert told.status == 200
        assert told.json["allocation_requests"] == []
        self.service.settle_unmet()
        return told.headers["x-openstack-request-id"]

    def explain(self, query: str) -> Any:
        told = self.native.post("/moorage/v1/explanations", {"ask": {"query": query}})
        assert told.status == 200
        return told.json

    def why(self, request_id: str) -> Result:
        return self.native.get(f"/moorage/v1/explanations/{request_id}")

    def unmet(self, query: str = "") -> Any:
        told = self.native.get(f"/moorage/v1/unmet{query}")
        assert told.status == 200, told.body
        return told.json["unmet"]


def own_id() -> str:
    return f"req-{uuid4()}"


@pytest.fixture
def world(store: Store) -> Worker:
    """On a host with GPUs that another project holds."""
    worker = Worker(store)
    host = add_provider(worker.service, "host-1", None, ("HW_NIC_SRIOV",), VCPU=16)
    gpus = add_provider(worker.service, "host-1-gpus", host, PGPU=8)
    order(worker.service, claim(new_uuid(), {gpus: {"PGPU": 5}}, None, "INSTANCE", "p2", "u2"))
    return worker


QUERY = "resources=VCPU:1&resources1=PGPU:4&required1=!HW_NIC_SRIOV&group_policy=none"


def test_a_search_of_one_process_is_explained_by_another_one_and_after_a_restart(
    world: Worker, prepared_url: str, open_store: OpenStore
) -> None:
    nova = own_id()
    then = world.explain(QUERY)
    ours = world.search(QUERY, x_openstack_request_id=nova)
    # What happens afterwards changes no explanation.
    add_provider(world.service, "host-2", VCPU=16, PGPU=8)
    world.service.close()
    for worker in (Worker(open_store(prepared_url)), Worker(open_store(prepared_url))):
        assert worker.explain(QUERY)["verdict"] == "fits"
        for request_id in (ours, nova):
            told = worker.why(request_id)
            assert told.status == 200
            assert told.headers["moorage-revision"] == str(then["revision"])
            found = told.json
            more = {name: found.pop(name) for name in ("ask", "at", "others", "global_request_id")}
            assert found == {**then, "request_id": ours}
            assert more["global_request_id"] == nova
            assert more["others"] == []
            assert more["at"].endswith("Z")
            again = worker.native.post("/moorage/v1/explanations", {"ask": more["ask"]})
            assert again.json["constraints"][0]["id"] == then["constraints"][0]["id"]
    assert then["nearest"][0]["held_by"][0]["project_id"] == "p2"


def test_processes_list_what_all_of_them_were_asked_in_vain(
    world: Worker, prepared_url: str, open_store: OpenStore
) -> None:
    other = Worker(open_store(prepared_url))
    nova = own_id()
    world.search("resources=PGPU:4")
    world.search("resources=PGPU:9&limit=5")
    last = other.search("limit=1000&resources=PGPU:4", x_openstack_request_id=nova)
    first, second = other.unmet()
    assert first["count"] == 2
    assert (first["verdict"], first["ask"]) == ("no_room", {"groups": {"": {"resources": {"PGPU": 4}}}})
    assert (first["request_id"], first["global_request_id"]) == (last, nova)
    assert first["first_at"] <= first["last_at"]
    assert (second["count"], second["verdict"], second["global_request_id"]) == (1, "never_fits", None)
    assert world.unmet() == [first, second]
    assert world.unmet("?limit=1") == [first]


@each(
    ("since", "count"),
    [("", 1), ("?since=1h", 1), ("?since=2020-01-01T00:00:00Z", 1), ("?since=2020-01-01", 1)],
)
def test_the_list_goes_back_as_far_as_it_is_asked_to(sqlite_store: Store, since: str, count: int) -> None:
    worker = Worker(sqlite_store)
    add_provider(worker.service, VCPU=1)
    worker.search("resources=VCPU:2")
    assert len(worker.unmet(since)) == count
    assert worker.unmet("?since=2100-01-01T00:00:00%2B02:00") == []


@each("since", ["yesterday", "1w", "-5", "2020-13-01", "0001-01-01T00:00:00%2B23:59x"])
def test_a_time_that_is_none_is_refused(sqlite_store: Store, since: str) -> None:
    told = problem(Worker(sqlite_store).native.get(f"/moorage/v1/unmet?since={since}"))
    assert (told["code"], told["parameter"]) == ("invalid_request", "since")


@each("since", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "999999d"])
def test_times_at_the_ends_are_times(sqlite_store: Store, since: str) -> None:
    assert Worker(sqlite_store).unmet(f"?since={since}") == []


@each("request_id", ["req-1", own_id(), "%F0%9F%98%80", "x" * 65, "%27%20OR%201=1"])
def test_an_id_that_is_not_kept_is_not_found_and_the_answer_says_how_many_are(
    sqlite_store: Store, request_id: str
) -> None:
    told = problem(Worker(sqlite_store, 10_000).why(request_id))
    assert told["code"] == "not_found"
    assert "The newest 10,000 are kept" in told["detail"]


def test_a_service_that_keeps_none_says_so(sqlite_store: Store) -> None:
    worker = Worker(sqlite_store, 0)
    add_provider(worker.service, VCPU=1)
    request_id = worker.search("resources=VCPU:2")
    assert "unmet_kept in [moorage] is 0" in problem(worker.why(request_id))["detail"]
    told = worker.native.get("/moorage/v1/unmet").json
    assert (told["unmet"], told["kept"]) == ([], 0)


@each("told", ["nova", "req-1", "req-11111111-1111-4111-8111-11111111111g", "REQ-" + "1" * 36])
def test_an_id_of_a_client_that_has_another_form_is_not_kept(sqlite_store: Store, told: str) -> None:
    worker = Worker(sqlite_store)
    add_provider(worker.service, VCPU=1)
    ours = worker.search("resources=VCPU:2", x_openstack_request_id=told)
    assert worker.why(ours).json["global_request_id"] is None


def test_several_searches_of_one_client_s_request_are_named(sqlite_store: Store) -> None:
    worker, nova = Worker(sqlite_store), own_id()
    add_provider(worker.service, VCPU=1)
    ids = [worker.search(f"resources=VCPU:{amount}", x_openstack_request_id=nova) for amount in (2, 3, 4)]
    told = worker.why(nova).json
    assert (told["request_id"], told["others"]) == (ids[2], [ids[1], ids[0]])


def test_a_client_of_an_old_version_is_explained_too(sqlite_store: Store) -> None:
    worker = Worker(sqlite_store)
    host = add_provider(worker.service, VCPU=1)
    add_provider(worker.service, "device", host, DISK_GB=10)
    told = worker.why(worker.search("resources=VCPU:1,DISK_GB:1", minor=17)).json
    assert told["verdict"] == "never_fits"
    assert told["ask"] == {"groups": {"": {"resources": {"DISK_GB": 1, "VCPU": 1}}}}


def test_who_may_not_see_holders_or_names_gets_none_of_the_past_either(world: Worker) -> None:
    ours = world.search("resources=PGPU:4")

    def seen(*rules: str) -> Any:
        client = NativeClient(world.service)
        client.app = create(world.service, newest_request, Limits(), NoAuth(), OnlyRules(SHOW, *rules))
        return client.get(f"/moorage/v1/explanations/{ours}").json

    whole = seen(HOLDERS, NAMES)
    assert whole["nearest"][0]["name"] == "host-1"
    unnamed = seen(HOLDERS)
    assert "host-1" not in json.dumps(unnamed)
    assert unnamed["nearest"][0]["held_by"] == whole["nearest"][0]["held_by"]
    redacted = seen(NAMES)
    assert "nearest" not in redacted
    assert "p2" not in json.dumps(redacted)
    assert redacted["relaxations"] == whole["relaxations"]


def test_a_past_search_of_one_tree_is_shown_to_none_who_may_not_see_holders(sqlite_store: Store) -> None:
    worker = Worker(sqlite_store)
    host = add_provider(worker.service, "host-1", VCPU=16)
    ours = worker.search(f"resources=VCPU:17&in_tree={host}")
    assert worker.why(ours).json["ask"]["groups"][""]["in_tree"] == host
    worker.native.app = create(worker.service, newest_request, Limits(), NoAuth(), OnlyRules(SHOW, NAMES))
    refused = problem(worker.why(ours))
    assert (refused["code"], HOLDERS in refused["detail"]) == ("forbidden", True)


def test_readers_may_see_neither_by_default(sqlite_store: Store) -> None:
    worker = Worker(sqlite_store)
    for path in ("/moorage/v1/unmet", "/moorage/v1/explanations/req-1"):
        told = worker.native.get(path, x_auth_token="reader", x_roles="reader,member")
        assert problem(told)["code"] == "forbidden"
