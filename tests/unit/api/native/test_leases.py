"""Leases over the native API."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from moorage.api.native import durations
from moorage.api.placement import application
from moorage.model.commands import ExpireLeases
from moorage.model.leases import SLACK_MS
from moorage.rules import leases as rules
from moorage.service import leases
from moorage.service.facade import Service
from moorage.service.keeper import SERVICE
from moorage.store.leases import LeaseTable
from moorage.store.nouns import leases as nouns
from tests.databases.orders import add_provider, new_uuid
from tests.unit.api.fake import Client, usual_policy
from tests.unit.api.native.client import NativeClient, problem

LEASES = "/moorage/v1/leases"


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


def told(
    client: NativeClient, method: str, path: str, value: object = None, status: int = 200, **headers: str
) -> Any:
    named: dict[str, str | None] = {name.replace("_", "-"): text for name, text in headers.items()}
    answer = client.ask(method, path, value=value, headers=named)
    assert answer.status == status, answer
    assert answer.headers["moorage-revision"] == str(answer.json["revision"])
    return answer.json


def refused(client: NativeClient, method: str, path: str, value: object = None) -> Any:
    return problem(client.ask(method, path, value=value))


def granted(client: NativeClient, **parts: object) -> Any:
    return told(client, "POST", LEASES, {"owner": "agent", "ttl": "10s", **parts}, 201)


def claimed(client: NativeClient, provider: str, lease: str | None, **parts: object) -> Any:
    entry = {"allocations": {provider: {"resources": {"VCPU": 1}}}, "project_id": "p1", **parts}
    if lease is not None:
        entry["lease"] = lease
    return told(client, "POST", "/moorage/v1/claims", {"claims": [entry]}, 201)["claims"][0]["consumer"]


def expire(service: Service, lease: str, milliseconds: int = 10_000 + SLACK_MS) -> None:
    table = LeaseTable(service._store)
    known = table.look()
    assert table.advance(known, known.ticks + milliseconds)
    service.execute(ExpireLeases((lease,)), SERVICE)


def test_a_lease_is_granted_and_shown(client: NativeClient) -> None:
    made = granted(client, grace="5m", max_life="24h", on_expiry="release")
    assert made == {
        "revision": made["revision"],
        "lease": made["lease"],
        "owner": "agent",
        "project_id": made["project_id"],
        "user_id": made["user_id"],
        "state": "active",
        "remaining": "10s",
        "ttl": "10s",
        "grace": "5m",
        "on_expiry": "release",
        "ends_in": "86402.5s",
        "fence": made["revision"],
        "replayed": False,
    }
    shown = told(client, "GET", f"{LEASES}/{made['lease']}")
    assert (shown["claims"], shown["fence"], shown["changed_at"]) == (0, made["fence"], made["fence"])
    assert told(client, "GET", f"{LEASES}?owner=agent&state=active")["leases"][0]["lease"] == made["lease"]
    assert told(client, "GET", f"{LEASES}?state=released") == {
        "revision": made["revision"],
        "leases": [],
        "next": None,
    }
    assert granted(client)["on_expiry"] == "quarantine"
    page = told(client, "GET", f"{LEASES}?limit=1")
    assert told(client, "GET", f"{LEASES}?after={page['next']}")["next"] is None


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ({"ttl": "10"}, "/ttl"),
        ({"ttl": "500ms"}, "/ttl"),
        ({"ttl": "999999d"}, "/ttl"),
        ({"grace": "-1s"}, "/grace"),
        ({"max_life": "0s"}, "/max_life"),
        ({"on_expiry": "explode"}, "/on_expiry"),
        ({"owner": ""}, "/owner"),
        ({"life": "1s"}, "/life"),
    ],
)
def test_a_wrong_grant_is_refused(client: NativeClient, parts: dict[str, str], pointer: str) -> None:
    found = refused(client, "POST", LEASES, {"owner": "agent", "ttl": "10s", **parts})
    assert (found["code"], found["pointer"]) == ("invalid_request", pointer)


@pytest.mark.parametrize(
    ("text", "amount", "told_as"),
    [
        ("500ms", 500, "0.5s"),
        ("1.5s", 1_500, "1.5s"),
        ("60s", 60_000, "60s"),
        ("5m", 300_000, "5m"),
        ("90s", 90_000, "90s"),
        ("24h", 86_400_000, "24h"),
        ("2d", 172_800_000, "48h"),
        ("0s", 0, "0s"),
    ],
)
def test_durations_are_read_and_told(text: str, amount: int, told_as: str) -> None:
    assert durations.milliseconds(text) == amount
    assert durations.told(amount) == told_as


def test_a_grant_with_a_key_is_given_once(client: NativeClient, sqlite_service: Service) -> None:
    body = {"owner": "agent", "ttl": "10s"}
    first = told(client, "POST", LEASES, body, 201, Idempotency_Key="k")
    granted(client)
    again = told(client, "POST", LEASES, body, 201, Idempotency_Key="k")
    assert again == {**first, "replayed": True, "state_now": "active"}
    told(client, "DELETE", f"{LEASES}/{first['lease']}")
    again = told(client, "POST", LEASES, body, 201, Idempotency_Key="k")
    assert again["state_now"] == "released"
    LeaseTable(sqlite_service._store).forget(1)
    assert told(client, "POST", LEASES, body, 201, Idempotency_Key="k")["state_now"] == "gone"


def test_leases_are_renewed_together(client: NativeClient, sqlite_service: Service) -> None:
    one, two, ended, unknown = (granted(client)["lease"] for _ in range(4))
    told(client, "DELETE", f"{LEASES}/{ended}")
    unknown = str(uuid4())
    expire(sqlite_service, two)
    expire(sqlite_service, one, 0)
    told(client, "POST", f"{LEASES}/renewals", {"leases": [one]})
    found = told(client, "POST", f"{LEASES}/renewals", {"leases": [one.upper(), ended, unknown]})
    assert found["renewed"] == [{"lease": one, "remaining": "10s", "revived": False}] or found["gone"]
    assert {"lease": unknown, "state": None, "revision": None} in found["gone"]
    assert any(each["lease"] == ended and each["state"] == "released" for each in found["gone"])


def test_an_expired_lease_is_revived(client: NativeClient, sqlite_service: Service) -> None:
    lease = granted(client, grace="5m")["lease"]
    expire(sqlite_service, lease)
    shown = told(client, "GET", f"{LEASES}/{lease}")
    assert (shown["state"], shown["remaining"]) == ("expired", "300s")
    found = told(client, "POST", f"{LEASES}/renewals", {"leases": [lease]})
    assert found["renewed"] == [{"lease": lease, "remaining": "10s", "revived": True}]
    assert told(client, "GET", f"{LEASES}/{lease}")["state"] == "active"


def test_claims_hang_on_a_lease(client: NativeClient, sqlite_service: Service) -> None:
    provider = add_provider(sqlite_service, VCPU=8)
    lease = granted(client)["lease"]
    consumer, free = claimed(client, provider, lease), claimed(client, provider, None)
    assert told(client, "GET", f"/moorage/v1/claims/{consumer}")["lease"] == lease
    assert told(client, "GET", f"/moorage/v1/claims/{free}")["lease"] is None
    listed = told(client, "GET", f"/moorage/v1/claims?lease={lease}")["claims"]
    assert [each["consumer"] for each in listed] == [consumer]
    at = told(client, "PUT", f"{LEASES}/{lease}/claims/{free}")
    assert (at["consumer"], at["state"], at["replayed"]) == (free, "active", False)
    before = told(client, "GET", f"/moorage/v1/claims/{free}?at={at['revision'] - 1}")
    assert before["lease"] is None
    assert told(client, "GET", f"{LEASES}/{lease}")["claims"] == 2
    told(client, "DELETE", f"{LEASES}/{lease}/claims/{free}")
    assert told(client, "GET", f"/moorage/v1/claims/{free}")["lease"] is None
    assert told(client, "GET", f"/moorage/v1/claims/{free}?at={at['revision']}")["lease"] == lease
    assert refused(client, "DELETE", f"{LEASES}/{lease}/claims/{free}")["code"] == "not_found"
    assert refused(client, "PUT", f"{LEASES}/{uuid4()}/claims/{free}")["code"] == "not_found"
    assert refused(client, "PUT", f"{LEASES}/{lease}/claims/{uuid4()}")["code"] == "not_found"


def test_a_claim_with_an_ask_hangs_on_its_lease(client: NativeClient, sqlite_service: Service) -> None:
    add_provider(sqlite_service, VCPU=8)
    lease = granted(client)["lease"]
    entry = {"ask": {"groups": {"": {"resources": {"VCPU": 1}}}}, "project_id": "p1", "lease": lease}
    made = told(client, "POST", "/moorage/v1/claims", {"claims": [entry]}, 201)["claims"][0]
    assert told(client, "GET", f"/moorage/v1/claims/{made['consumer']}")["lease"] == lease


def test_a_lease_that_is_gone_takes_no_claim(client: NativeClient, sqlite_service: Service) -> None:
    provider = add_provider(sqlite_service, VCPU=8)
    lease = granted(client)["lease"]
    told(client, "DELETE", f"{LEASES}/{lease}")
    for named in (lease, str(uuid4())):
        entry = {
            "allocations": {provider: {"resources": {"VCPU": 1}}},
            "project_id": "p1",
            "lease": named,
        }
        found = refused(client, "POST", "/moorage/v1/claims", {"claims": [entry]})
        assert (found["status"], found["code"], found["entry"]) == (409, "lease_gone", 0)
    assert refused(client, "DELETE", f"{LEASES}/{lease}")["code"] == "lease_gone"
    assert refused(client, "DELETE", f"{LEASES}/{uuid4()}")["code"] == "not_found"
    assert refused(client, "GET", f"{LEASES}/{uuid4()}")["code"] == "not_found"


@pytest.mark.parametrize(("query", "left"), [("", 1), ("?claims=keep", 1), ("?claims=release", 0)])
def test_a_lease_ends_with_its_claims_or_without(
    client: NativeClient, sqlite_service: Service, query: str, left: int
) -> None:
    provider = add_provider(sqlite_service, VCPU=8)
    lease = granted(client)["lease"]
    claimed(client, provider, lease)
    found = told(client, "DELETE", f"{LEASES}/{lease}{query}", Idempotency_Key="k")
    assert (found["state"], found["remaining"]) == ("released", "0s")
    assert sqlite_service.provider_usages(provider).usages["VCPU"] == left
    again = told(client, "DELETE", f"{LEASES}/{lease}{query}", Idempotency_Key="k")
    assert (again["replayed"], again["state_now"]) == (True, "released")
    assert [each["lease"] for each in told(client, "GET", f"{LEASES}?state=released")["leases"]] == [lease]


def test_a_lease_ends_that_has_more_claims_than_one_write_takes_off(
    client: NativeClient, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (rules, nouns, leases):
        monkeypatch.setattr(module, "MOST_LEFT", 2)
    provider = add_provider(sqlite_service, VCPU=8)
    lease = granted(client)["lease"]
    for _ in range(5):
        claimed(client, provider, lease)
    before = sqlite_service.revision()
    found = told(client, "DELETE", f"{LEASES}/{lease}", Idempotency_Key="k")
    assert (found["state"], found["revision"]) == ("released", before + 3)
    assert told(client, "GET", f"{LEASES}/{lease}")["claims"] == 0
    assert sqlite_service.provider_usages(provider).usages["VCPU"] == 5
    again = told(client, "DELETE", f"{LEASES}/{lease}", Idempotency_Key="k")
    assert (again["replayed"], again["revision"]) == (True, before + 3)


@pytest.mark.parametrize(("action", "state", "left"), [("restore", "active", 1), ("release", "released", 0)])
def test_a_quarantine_is_resolved(
    client: NativeClient, sqlite_service: Service, action: str, state: str, left: int
) -> None:
    provider = add_provider(sqlite_service, VCPU=8)
    lease = granted(client)["lease"]
    claimed(client, provider, lease)
    expire(sqlite_service, lease)
    assert told(client, "GET", f"{LEASES}?state=quarantined")["leases"][0]["claims"] == 1
    found = told(client, "POST", f"{LEASES}/{lease}/resolution", {"action": action})
    assert found["state"] == state
    assert sqlite_service.provider_usages(provider).usages["VCPU"] == left
    found = refused(client, "POST", f"{LEASES}/{lease}/resolution", {"action": action})
    assert found["code"] == "lease_gone"


@pytest.mark.parametrize(("to", "hangs"), [("p1", True), ("p2", False)])
def test_a_placement_client_takes_a_claim_off_its_lease_by_another_project(
    client: NativeClient, sqlite_service: Service, to: str, hangs: bool
) -> None:
    provider, lease = add_provider(sqlite_service, VCPU=8), granted(client)["lease"]
    consumer = claimed(client, provider, lease, user_id="u")
    placement = Client.__new__(Client)
    placement.app = application.create(sqlite_service, policy=usual_policy())
    body = {
        "allocations": {provider: {"resources": {"VCPU": 2}}},
        "project_id": to,
        "user_id": "u",
        "consumer_generation": 1,
        "consumer_type": "INSTANCE",
    }
    assert placement.ask("PUT", f"/allocations/{consumer}", 39, body).status == 204
    assert told(client, "GET", f"/moorage/v1/claims/{consumer}")["lease"] == (lease if hangs else None)
    told(client, "DELETE", f"{LEASES}/{lease}?claims=release")
    assert client.get(f"/moorage/v1/claims/{consumer}").status == (404 if hangs else 200)


def test_the_journal_shows_leases(client: NativeClient, sqlite_service: Service) -> None:
    start = sqlite_service.revision()
    made = granted(client)
    found = told(client, "GET", f"/moorage/v1/changes?after={start}&kinds=leases")["changes"]
    assert [each["kind"] for each in found] == ["leases.grant"]
    assert found[0]["leases"][made["lease"]]["state"] == [None, "active"]


def test_a_consumer_is_not_shown_a_lease_that_it_never_had(
    client: NativeClient, sqlite_service: Service
) -> None:
    provider = add_provider(sqlite_service, VCPU=8)
    consumer = claimed(client, provider, None)
    at = sqlite_service.revision()
    assert told(client, "GET", f"/moorage/v1/claims/{consumer}?at={at - 1}")["lease"] is None
    assert new_uuid() != consumer
