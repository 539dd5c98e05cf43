"""Reports and findings over the native API."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.model.reports import LEAKED, MISSING
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.unit.api.native.client import NativeClient, problem

REPORT = "/moorage/v1/reports/nova"
FINDINGS = "/moorage/v1/findings"


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


@pytest.fixture
def host(sqlite_service: Service) -> str:
    return add_provider(sqlite_service, VCPU=8)


def report(host: str, consumers: dict[str, Any], **more: object) -> dict[str, object]:
    return {"covers": {"trees": [host]}, "complete": True, "consumers": consumers, **more}


def told(client: NativeClient, method: str, path: str, value: object = None, **headers: str) -> Any:
    answer = client.ask(method, path, value=value, headers={**headers})
    assert answer.status == 200, answer
    assert answer.headers["moorage-revision"] == str(answer.json["revision"])
    return answer.json


def leaked(service: Service, client: NativeClient, host: str) -> tuple[str, Any]:
    """A consumer that the source does not report, and the finding about it."""
    consumer = new_uuid()
    order(service, claim(consumer, {host: {"VCPU": 2}}, None, "INSTANCE", "p1"))
    (finding,) = told(client, "PUT", REPORT, report(host, {}, accept_shrink=True))["findings"]
    return consumer, finding


def test_a_report_is_answered_with_what_it_and_the_account_disagree_about(
    sqlite_service: Service, client: NativeClient, host: str
) -> None:
    consumer, finding = leaked(sqlite_service, client, host)
    since = finding.pop("since")
    assert since.endswith("Z")
    assert finding == {
        "id": finding["id"],
        "source": "nova",
        "kind": LEAKED,
        "state": "open",
        "consumer": consumer,
        "tree": host,
        "held": {host: {"VCPU": 2}},
        "reported": None,
        "rest": {},
        "project_id": "p1",
        "consumer_type": "INSTANCE",
        "age_seconds": 0,
        "compared_at": sqlite_service.revision(),
        "action": None,
        "due_in_seconds": None,
        "trouble": None,
    }
    answer = told(client, "PUT", REPORT, report(host, {consumer: None}))
    assert answer == {
        "revision": sqlite_service.revision(),
        "source": "nova",
        "compared_at": sqlite_service.revision(),
        "suspect": [],
        "actions": [],
        "held_back": 0,
        "findings": [],
        "total": 0,
    }


def test_findings_are_listed_and_shown(sqlite_service: Service, client: NativeClient, host: str) -> None:
    consumer, finding = leaked(sqlite_service, client, host)
    lost = new_uuid()
    owners = {lost: {"project_id": "p1", "user_id": "u1", "consumer_type": "INSTANCE"}}
    told(client, "PUT", REPORT, report(host, {lost: {host: {"VCPU": 1}}}, owners=owners))
    assert {each["kind"] for each in told(client, "GET", FINDINGS)["findings"]} == {LEAKED, MISSING}
    for query in (f"kind={LEAKED}", f"consumer={consumer}", f"kind={LEAKED}&source=nova"):
        page = told(client, "GET", f"{FINDINGS}?{query}")
        assert ([each["id"] for each in page["findings"]], page["total"]) == ([finding["id"]], 1)
        assert page["next"] is None
    assert told(client, "GET", f"{FINDINGS}?source=lab")["findings"] == []
    page = told(client, "GET", f"{FINDINGS}?limit=1")
    assert page["next"] == page["findings"][0]["id"]
    assert len(told(client, "GET", f"{FINDINGS}?after={page['next']}")["findings"]) == 1
    shown = told(client, "GET", f"{FINDINGS}/{finding['id']}")
    assert (shown["id"], shown["consumer"]) == (finding["id"], consumer)
    assert problem(client.ask("GET", f"{FINDINGS}/nothing"))["code"] == "not_found"


def test_sources_are_listed_and_forgotten_with_their_findings(
    sqlite_service: Service, client: NativeClient, host: str
) -> None:
    _, finding = leaked(sqlite_service, client, host)
    (source,) = told(client, "GET", "/moorage/v1/reports")["sources"]
    assert source.pop("last_at").endswith("Z")
    kinds = {"leaked": 1, "missing": 0, "differs": 0, "moved": 0}
    assert source == {"source": "nova", "findings": kinds, "suspect_trees": 0}
    assert told(client, "DELETE", REPORT)["source"] == "nova"
    assert told(client, "GET", "/moorage/v1/reports")["sources"] == []
    for path in (REPORT, f"{FINDINGS}/{finding['id']}"):
        method = "DELETE" if path == REPORT else "GET"
        assert problem(client.ask(method, path))["code"] == "not_found"


def test_a_finding_is_healed_once_for_each_key(
    sqlite_service: Service, client: NativeClient, host: str
) -> None:
    consumer, finding = leaked(sqlite_service, client, host)
    path = f"{FINDINGS}/{finding['id']}/resolution"
    done = told(client, "POST", path, {"action": "heal"}, **{"idempotency-key": "k"})
    assert done == {
        "revision": sqlite_service.revision(),
        "finding": finding["id"],
        "state": "healed",
        "consumer": consumer,
        "generation": 0,
        "held": {},
        "replayed": False,
    }
    again = told(client, "POST", path, {"action": "heal"}, **{"idempotency-key": "k"})
    assert again == {**done, "replayed": True, "state_now": "released"}
    assert problem(client.ask("POST", path, value={"action": "heal"}))["code"] == "not_found"
    (change,) = told(client, "GET", f"/moorage/v1/changes?after={done['revision'] - 1}")["changes"]
    assert change["reason"] == {
        "finding": finding["id"],
        "kind": LEAKED,
        "source": "nova",
        "action": "release",
        "compared_at": finding["compared_at"],
    }


def test_a_claim_that_has_changed_is_not_healed(
    sqlite_service: Service, client: NativeClient, host: str
) -> None:
    consumer, finding = leaked(sqlite_service, client, host)
    order(sqlite_service, claim(consumer, {host: {"VCPU": 3}}))
    refused = problem(client.ask("POST", f"{FINDINGS}/{finding['id']}/resolution", value={"action": "heal"}))
    assert (refused["status"], refused["code"]) == (409, "generation_conflict")


def test_what_is_missing_needs_an_owner_and_room(
    sqlite_service: Service, client: NativeClient, host: str
) -> None:
    lost = new_uuid()
    (finding,) = told(client, "PUT", REPORT, report(host, {lost: {host: {"VCPU": 9}}}))["findings"]
    path = f"{FINDINGS}/{finding['id']}/resolution"
    assert problem(client.ask("POST", path, value={"action": "heal"}))["code"] == "cannot_heal"
    owned = report(host, {lost: {host: {"VCPU": 8}}}, owners={lost: {"project_id": "p", "user_id": "u"}})
    order(sqlite_service, claim(new_uuid(), {host: {"VCPU": 1}}))
    told(client, "PUT", REPORT, owned)
    assert problem(client.ask("POST", path, value={"action": "heal"}))["code"] == "no_room"
    told(client, "POST", path, {"action": "heal", "allow_overcommit": True})
    assert sqlite_service.provider_usages(host).usages == {"VCPU": 9}


def test_a_finding_is_ignored_and_reopened(sqlite_service: Service, client: NativeClient, host: str) -> None:
    _, finding = leaked(sqlite_service, client, host)
    path = f"{FINDINGS}/{finding['id']}"
    for action, state in (("ignore", "ignored"), ("reopen", "open")):
        done = told(client, "POST", f"{path}/resolution", {"action": action})
        assert (done["state"], done["replayed"]) == (state, False)
        assert told(client, "GET", path)["state"] == state
    wrong = {"action": "ignore", "allow_overcommit": True}
    refused = problem(client.ask("POST", f"{path}/resolution", value=wrong))
    assert refused["pointer"] == "/allow_overcommit"
    for missing in ("ignore", "heal"):
        refused = problem(client.ask("POST", f"{FINDINGS}/none/resolution", value={"action": missing}))
        assert refused["code"] == "not_found"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"complete": None}, "/complete"),
        ({"covers": {"trees": []}}, "/covers/trees"),
        ({"covers": {"trees": ["x"], "all": True}}, "/covers/all"),
        ({"consumers": {"c": {}}}, "/consumers/c"),
        ({"consumers": {"c": {"p": {"VCPU": 0}}}}, "/consumers/c/p/VCPU"),
        ({"owners": {"c": {"project_id": "p"}}}, "/owners/c/user_id"),
        ({"consumer": {}}, "/consumer"),
    ],
)
def test_a_malformed_report_is_refused(
    client: NativeClient, host: str, change: dict[str, object], place: str
) -> None:
    refused = problem(client.ask("PUT", REPORT, value={**report(host, {}), **change}))
    assert (refused["code"], refused["pointer"]) == ("invalid_request", place)


def test_a_report_covers_trees_that_there_are_and_names_nothing_else(client: NativeClient, host: str) -> None:
    for body in (report(new_uuid(), {}), report(host, {new_uuid(): {new_uuid(): {"VCPU": 1}}})):
        assert problem(client.ask("PUT", REPORT, value=body))["code"] == "invalid_request"
    refused = problem(client.ask("PUT", "/moorage/v1/reports/-nova", value=report(host, {})))
    assert "name of a source" in refused["detail"]
    many = {str(number): None for number in range(20_001)}
    assert "at most" in problem(client.ask("PUT", REPORT, value=report(host, many)))["detail"]
