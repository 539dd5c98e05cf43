"""Claims over the native API."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.auth.identity import Identity
from moorage.auth.noauth import NoAuth
from moorage.model.commands import DeleteProvider
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.table import each
from tests.unit.api.fake import FakeService
from tests.unit.api.native.client import NativeClient, problem

PATH = "/moorage/v1/claims"


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


@pytest.fixture
def provider(sqlite_service: Service) -> str:
    return add_provider(sqlite_service, VCPU=8)


def holding(provider: str, amount: int, **more: object) -> dict[str, object]:
    """An entry that claims VCPU of one provider."""
    return {"allocations": {provider: {"resources": {"VCPU": amount}}}, **more}


def made(client: NativeClient, *entries: object, **more: object) -> Any:
    told = client.post(PATH, {"claims": list(entries), **more})
    assert told.status == 201, told
    assert told.headers["moorage-revision"] == str(told.json["revision"])
    return told.json


def refused(client: NativeClient, *entries: object, **more: object) -> Any:
    return problem(client.post(PATH, {"claims": list(entries), **more}))


def test_a_claim_holds_what_its_entry_says(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    before, consumer = sqlite_service.revision(), new_uuid()
    entry = holding(
        provider, 3, name="db", consumers=[consumer], consumer_type="INSTANCE", project_id="p1", user_id="u1"
    )
    assert made(client, entry) == {
        "revision": before + 1,
        "claims": [
            {
                "entry": 0,
                "name": "db",
                "index": 0,
                "consumer": consumer,
                "generation": 1,
                "allocations": {provider: {"resources": {"VCPU": 3}}},
            }
        ],
        "unplaced": [],
        "replayed": False,
    }
    shown = client.get(f"{PATH}/{consumer}").json
    assert (shown["project_id"], shown["user_id"], shown["consumer_type"]) == ("p1", "u1", "INSTANCE")
    assert (shown["generation"], shown["providers"]) == (1, {provider: {"VCPU": 3}})


def test_owner_and_consumer_are_filled_in(client: NativeClient, provider: str) -> None:
    told = client.ask(
        "POST", PATH, value={"claims": [holding(provider, 1)]}, headers={"x-auth-token": "jim:jims"}
    )
    assert told.status == 403
    (claimed,) = made(client, holding(provider, 1))["claims"]
    shown = client.get(f"{PATH}/{claimed['consumer']}").json
    assert (shown["project_id"], shown["user_id"], shown["consumer_type"]) == ("admin", "admin", None)


def test_several_claims_are_one_revision(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    before = sqlite_service.revision()
    told = made(client, holding(provider, 1, name="a", count=3), holding(provider, 2))
    assert sqlite_service.revision() == before + 1
    assert [(one["entry"], one["name"], one["index"]) for one in told["claims"]] == [
        (0, "a", 0),
        (0, "a", 1),
        (0, "a", 2),
        (1, None, 0),
    ]
    assert len({one["consumer"] for one in told["claims"]}) == 4


def test_all_or_none_is_the_rule(sqlite_service: Service, client: NativeClient, provider: str) -> None:
    before = sqlite_service.revision()
    told = refused(client, holding(provider, 5), holding(provider, 2, name="w", count=3))
    assert (told["status"], told["code"], told["outcome"]) == (409, "no_room", "nothing_changed")
    assert told["retry"] == {"when": "state_changes"}
    assert (told["entry"], told["name"], told["index"], told["revision"]) == (1, "w", 1, before)
    assert [(one["index"], one["code"]) for one in told["unplaced"]] == [(1, "no_room")]
    assert sqlite_service.revision() == before
    assert client.get(PATH).json["claims"] == []


@pytest.mark.parametrize(
    ("mode", "fits"), [("each", True), ({"at_least": 2}, True), ({"at_least": 3}, False), ("all", False)]
)
def test_fewer_may_do(client: NativeClient, provider: str, mode: object, fits: bool) -> None:
    entries = [holding(provider, 4, count=2), holding(provider, 1)]
    if not fits:
        assert refused(client, *entries, mode=mode)["code"] == "no_room"
        return
    told = made(client, *entries, mode=mode)
    assert [(one["entry"], one["index"]) for one in told["claims"]] == [(0, 0), (0, 1)]
    (unplaced,) = told["unplaced"]
    assert (unplaced["entry"], unplaced["index"], unplaced["code"]) == (1, 0, "no_room")
    assert "exceed the capacity" in unplaced["detail"]


def test_nothing_placed_is_a_refusal_in_every_mode(client: NativeClient, provider: str) -> None:
    told = refused(client, holding(provider, 9), holding(provider, 10), mode="each")
    assert [one["entry"] for one in told["unplaced"]] == [0, 1]


def test_each_refusal_has_its_code(sqlite_service: Service, client: NativeClient, provider: str) -> None:
    taken = new_uuid()
    order(sqlite_service, claim(taken, {provider: {"VCPU": 1}}))
    gone = add_provider(sqlite_service, VCPU=8)
    order(sqlite_service, DeleteProvider(gone))
    classes = {"allocations": {provider: {"resources": {"PGPU": 1}}}}
    unknown = {"allocations": {provider: {"resources": {"CUSTOM_NO": 1}}}}
    assert refused(client, holding(provider, 1, consumers=[taken]))["code"] == "already_holds"
    assert refused(client, holding(provider, 8))["code"] == "no_room"
    assert refused(client, classes)["code"] == "never_fits"
    assert refused(client, unknown)["code"] == "unknown_name"
    assert refused(client, holding(gone, 1))["code"] == "invalid_request"


ONE, TWO = "0b9f1c4e-3f5b-4a52-9d38-1f8f6f0c2a11", "5f0f2a55-8f6e-4d0e-9a35-6f6a1e0b7c22"


@each(
    ("entry", "pointer"),
    [
        ({}, "/claims/0/allocations"),
        ({"allocations": {}}, "/claims/0/allocations"),
        (holding("x", 1), "/claims/0/allocations/x"),
        (holding(ONE, 0), f"/claims/0/allocations/{ONE}/resources/VCPU"),
        (holding(ONE, 1, counts=2), "/claims/0/counts"),
        (holding(ONE, 1, count=0), "/claims/0/count"),
        (holding(ONE, 1, count=2, consumers=[TWO]), "/claims/0/consumers"),
        (holding(ONE, 1, consumers=[TWO.upper()]), "/claims/0/consumers"),
        (holding(ONE, 1, count=2, consumers=[TWO, TWO]), "/claims/0/consumers/1"),
        (holding(ONE, 1, project_id=""), "/claims/0/project_id"),
    ],
)
def test_a_malformed_entry_is_refused_with_its_place(entry: object, pointer: str) -> None:

    told = refused(NativeClient(FakeService()), entry)
    assert (told["status"], told["code"]) == (400, "invalid_request")
    assert told["pointer"].startswith(pointer) or pointer.startswith(told["pointer"])


def test_counts_are_bounded(client: NativeClient, provider: str) -> None:
    told = refused(client, holding(provider, 1, count=600), holding(provider, 1, count=600))
    assert "1000 claims at most" in told["detail"]
    assert refused(client, holding(provider, 1), mode={"at_least": 2})["pointer"] == "/mode/at_least"


def test_a_token_without_a_project_must_name_one(sqlite_service: Service, provider: str) -> None:
    class Nowhere(NoAuth):
        def identify(self, environ: Any) -> Identity:
            return super().identify(environ)._replace(project_id=None)

    client = NativeClient(sqlite_service, authenticator=Nowhere())
    assert refused(client, holding(provider, 1))["pointer"] == "/claims/0/project_id"
    assert made(client, holding(provider, 1, project_id="p"))["claims"]
