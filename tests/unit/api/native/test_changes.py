"""``GET /moorage/v1/changes``: its form, its errors, and what a reader of one project sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moorage.auth.identity import Identity
from moorage.auth.noauth import NoAuth
from moorage.model.commands import CreateTrait
from moorage.model.errors import BusyError
from moorage.model.journal import JournalMode
from moorage.model.values import Requester
from moorage.service import watching
from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.table import each
from tests.unit.api.native.client import NativeClient, policy_of, problem

PATH = "/moorage/v1/changes"


class Reader(NoAuth):
    """Identifies a reader of one project."""

    def identify(self, environ: Any) -> Identity:
        return Identity(user_id="u", project_id="red", roles=frozenset(("reader",)))


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


def test_a_change_has_its_request_and_all_that_changed(client: NativeClient, sqlite_service: Service) -> None:
    provider, consumer = add_provider(sqlite_service, VCPU=8), new_uuid()
    start = sqlite_service.revision()
    order(sqlite_service, claim(consumer, {provider: {VCPU: 2}}))
    told = client.get(f"{PATH}?after={start}")
    assert told.status == 200
    assert told.headers["moorage-revision"] == str(start + 1)
    body = told.json
    [change] = body.pop("changes")
    assert body == {
        "revision": start + 1,
        "epoch": sqlite_service._store.epoch(),
        "next_after": start + 1,
        "more": False,
        "freed_at": None,
    }
    assert change.pop("at").endswith("Z")
    assert change == {
        "revision": start + 1,
        "kind": "allocations.replace",
        "path": "service",
        "by": {
            "user_id": "asker",
            "project_id": "askers",
            "request_id": "req-1",
            "global_request_id": None,
        },
        "providers": {provider: {"tree": provider, "generation": [1, 2], "used": {VCPU: [0, 2]}}},
        "consumers": {
            consumer: {
                "project_id": [None, "project"],
                "user_id": [None, "user"],
                "consumer_type": [None, None],
                "generation": [None, 1],
                "held": {provider: {VCPU: [0, 2]}},
            }
        },
    }
    [short] = client.get(f"{PATH}?after={start}&view=refs").json["changes"]
    assert short["providers"] == {provider: {"tree": provider}}
    assert short["consumers"] == {consumer: {"project_id": [None, "project"]}}


def test_parameters_become_a_selection(client: NativeClient, sqlite_service: Service) -> None:
    start = sqlite_service.revision()
    order(sqlite_service, CreateTrait("CUSTOM_A"))
    order(sqlite_service, CreateTrait("CUSTOM_B"))
    first = client.get(f"{PATH}?after={start}&limit=1").json
    assert (first["next_after"], first["more"], len(first["changes"])) == (start + 1, True, 1)
    epoch = first["epoch"]
    assert (
        client.get(f"{PATH}?after={start}&epoch={epoch}&kinds=allocations,provider.create").json["changes"]
        == []
    )
    assert client.get(f"{PATH}?after=now&wait=0s").json["next_after"] == start + 2
    uuid = new_uuid()
    for name in ("tree", "consumer", "project_id"):
        assert client.get(f"{PATH}?after={start}&{name}={uuid}").json["changes"] == []
    told = client.get(f"{PATH}?after={start}&frees=VCPU,CUSTOM_GPU").json
    assert (told["changes"], told["freed_at"], told["next_after"]) == ([], None, start + 2)


@each(
    "query",
    [
        "",
        "after=x",
        "after=-1",
        "after=0&wait=31s",
        "after=0&wait=5",
        "after=0&epoch=x",
        "after=0&kinds=A",
        "after=0&frees=a",
    ],
)
def test_a_query_that_is_not_of_the_form_is_refused(query: str, client: NativeClient) -> None:
    assert problem(client.get(f"{PATH}?{query}"))["code"] == "invalid_request"


def test_what_is_gone_or_of_another_history_is_410(client: NativeClient, sqlite_service: Service) -> None:
    store = sqlite_service._store
    for name in ("CUSTOM_A", "CUSTOM_B"):
        order(sqlite_service, CreateTrait(name))
    present = store.revision()
    store.compact_journal(1, 1e9, 0)
    refused = problem(client.get(f"{PATH}?after=0"))
    assert (refused["status"], refused["code"]) == (410, "compacted")
    assert (refused["compacted"], refused["restart_after"]) == (present - 1, present)
    refused = problem(client.get(f"{PATH}?after={present + 1}"))
    assert (refused["status"], refused["code"]) == (410, "different_history")
    assert refused["epoch"] == store.epoch()
    assert (
        problem(client.get(f"{PATH}?after={present}&epoch=0123456789abcdef"))["code"] == "different_history"
    )


def test_too_many_waiting_clients_get_503_with_advice(
    client: NativeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BusyError(16)

    monkeypatch.setattr(Service, "changes", busy)
    told = client.get(f"{PATH}?after=now&wait=1s")
    refused = problem(told)
    assert (refused["status"], refused["code"]) == (503, "busy")
    assert told.headers["retry-after"] == "5"


def test_without_a_journal_there_are_no_changes(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "journal", JournalMode.OFF)
    client, uuid = NativeClient(Service(sqlite_store)), new_uuid()
    for path in (
        f"{PATH}?after=now",
        f"/moorage/v1/claims/{uuid}/history",
        f"/moorage/v1/providers/{uuid}/history",
    ):
        refused = problem(client.get(path))
        assert (refused["status"], refused["code"]) == (404, "not_found")


def test_the_histories_of_a_consumer_and_of_a_provider(client: NativeClient, sqlite_service: Service) -> None:
    provider, consumer = add_provider(sqlite_service, VCPU=8), new_uuid()
    order(sqlite_service, claim(consumer, {provider: {VCPU: 2}}))
    present = sqlite_service.revision()
    told = client.get(f"/moorage/v1/claims/{consumer}/history").json
    [change] = told.pop("changes")
    assert told == {"revision": present, "begins": told["begins"], "next_before": None}
    assert change["consumers"][consumer]["held"] == {provider: {VCPU: [0, 2]}}
    told = client.get(f"/moorage/v1/providers/{provider}/history?limit=2&view=refs").json
    assert [each["revision"] for each in told["changes"]] == [present, present - 1]
    assert told["next_before"] == present - 1
    assert told["changes"][0]["providers"] == {provider: {"tree": provider}}
    query = f"tree={provider}&before={present - 1}"
    earlier = client.get(f"/moorage/v1/providers/{provider}/history?{query}").json
    assert [each["kind"] for each in earlier["changes"]] == ["provider.create"]


def test_a_reader_of_one_project_sees_its_own_consumers_only(sqlite_service: Service) -> None:
    client = NativeClient(sqlite_service, authenticator=Reader())
    providers = [add_provider(sqlite_service, VCPU=8) for _ in range(2)]
    own, passed_on = new_uuid(), new_uuid()
    start = sqlite_service.revision()
    order(sqlite_service, claim(own, {uuid: {VCPU: 1} for uuid in providers}, project_id="red"))
    order(sqlite_service, claim(new_uuid(), {providers[0]: {VCPU: 1}}, project_id="blue"))
    order(sqlite_service, claim(passed_on, {providers[0]: {VCPU: 1}}, project_id="blue"))
    order(sqlite_service, claim(passed_on, {providers[0]: {VCPU: 2}}, project_id="red"))
    sqlite_service._store.new_history()
    told = client.get(f"{PATH}?after={start}&project_id=red").json
    assert [change["revision"] for change in told["changes"]] == [start + 1, start + 4, start + 5]
    assert all("providers" not in change and change["by"] is None for change in told["changes"])
    assert told["changes"][0]["consumers"] == {
        own: {
            "project_id": [None, "red"],
            "user_id": [None, "user"],
            "consumer_type": [None, None],
            "generation": [None, 1],
            "resources": {VCPU: [None, 2]},
        }
    }
    assert told["changes"][1]["consumers"][passed_on] == {
        "project_id": [None, "red"],
        "generation": [None, 2],
        "resources": {VCPU: [None, 2]},
    }
    assert "adopted" in told["changes"][2]
    for query in (f"after={start}", f"after={start}&project_id=blue"):
        assert problem(client.get(f"{PATH}?{query}"))["code"] == "forbidden"


def test_a_reader_who_names_no_project_sees_no_request(sqlite_service: Service, tmp_path: Path) -> None:
    """Not those of no project either, such as an administrator's of Moorage's own tokens."""
    policy = policy_of(tmp_path, {"moorage:changes:list": "role:reader"})
    client = NativeClient(sqlite_service, authenticator=Reader(), policy=policy)
    start = sqlite_service.revision()
    sqlite_service.execute(CreateTrait("CUSTOM_SEEN"), Requester("root", "", "req-2"))
    order(sqlite_service, CreateTrait("CUSTOM_SEEN_TOO"))
    told = client.get(f"{PATH}?after={start}").json["changes"]
    assert [(change["by"], "traits" in change) for change in told] == [(None, False)] * 2


def ended(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let streams end after their first page."""
    monkeypatch.setattr(watching, "MOST_SECONDS", -1.0)


def test_a_stream_of_lines_has_records_a_bookmark_and_an_end(
    client: NativeClient, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(sqlite_service, monkeypatch)
    start = sqlite_service.revision()
    order(sqlite_service, CreateTrait("CUSTOM_A"))
    order(sqlite_service, CreateTrait("CUSTOM_B"))
    told = client.get(f"{PATH}?after={start}", accept="application/x-ndjson")
    assert (told.status, told.headers["content-type"]) == (200, "application/x-ndjson")
    assert told.headers["x-accel-buffering"] == "no"
    lines = [json.loads(line) for line in told.body.splitlines()]
    assert [line.get("revision") for line in lines] == [start + 1, start + 2, None]
    assert lines[0]["traits"] == {"CUSTOM_A": [False, True]}
    assert lines[2] == {"end": "again"}
    filtered = client.get(f"{PATH}?after={start}&kinds=allocations", accept="application/x-ndjson")
    epoch = sqlite_service._store.epoch()
    assert [json.loads(line) for line in filtered.body.splitlines()] == [
        {"bookmark": start + 2, "epoch": epoch},
        {"end": "again"},
    ]


def test_a_browser_resumes_after_the_last_event_that_it_has(
    client: NativeClient, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(sqlite_service, monkeypatch)
    start = sqlite_service.revision()
    order(sqlite_service, CreateTrait("CUSTOM_A"))
    order(sqlite_service, CreateTrait("CUSTOM_B"))
    told = client.get(f"{PATH}?after=0", accept="text/event-stream", last_event_id=str(start + 1))
    first, end = told.body.decode().strip().split("\n\n")
    assert first.startswith(f'id: {start + 2}\ndata: {{"revision":{start + 2},')
    assert end == 'event: end\ndata: {"end":"again"}'
    refused = client.get(f"{PATH}?after=0", accept="text/event-stream", last_event_id="x")
    assert problem(refused)["code"] == "invalid_request"
    assert client.get(f"{PATH}?after=0", accept="text/html").status == 406


def test_a_stream_that_cannot_begin_is_an_error_and_one_that_ended_leaves_its_place(
    client: NativeClient, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(sqlite_service, monkeypatch)
    present = sqlite_service.revision()
    asked = client.get(f"{PATH}?after={present + 1}", accept="application/x-ndjson")
    assert problem(asked)["code"] == "different_history"
    watch = sqlite_service._watch
    places = watch._free._value
    assert client.get(f"{PATH}?after=now", accept="application/x-ndjson").status == 200
    assert watch._free._value == places
    for _ in range(places):
        watch._free.acquire()
    assert problem(client.get(f"{PATH}?after=now", accept="application/x-ndjson"))["code"] == "busy"
