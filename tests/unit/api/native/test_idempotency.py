"""Idempotency keys on native writes."""

from __future__ import annotations

import pytest

from moorage.api.http.wire_error import WireError
from moorage.api.native.openapi import EVERYTHING, document
from moorage.api.native.writes import key_in
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.table import each
from tests.unit.api.fake import Result
from tests.unit.api.native.client import NativeClient, problem

PATH = "/moorage/v1/claims"


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


@pytest.fixture
def provider(sqlite_service: Service) -> str:
    return add_provider(sqlite_service, VCPU=8)


def asked(client: NativeClient, path: str, value: object, key: str, **headers: str | None) -> Result:
    return client.ask("POST", path, value=value, headers={"idempotency-key": key, **headers})


def one(provider: str, **more: object) -> dict[str, object]:
    return {"claims": [{"allocations": {provider: {"resources": {"VCPU": 1}}}, **more}]}


def test_a_replay_is_the_first_answer(sqlite_service: Service, client: NativeClient, provider: str) -> None:
    first = asked(client, PATH, one(provider), '"k 1"')
    assert (first.status, first.json["replayed"]) == (201, False)
    assert "idempotency-replayed" not in first.headers
    order(sqlite_service, claim(new_uuid(), {provider: {"VCPU": 1}}))
    again = asked(client, PATH, one(provider), '"k 1"')
    assert again.status == 201
    assert again.json == {**first.json, "replayed": True, "state_now": "held"}
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["moorage-revision"] == str(first.json["revision"])
    assert sqlite_service.provider_usages(provider).usages == {"VCPU": 2}


def test_a_replay_says_what_has_become_of_the_claims(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    value = one(provider, count=2)
    first, second = (each["consumer"] for each in asked(client, PATH, value, "k").json["claims"])

    def now() -> str:
        return str(asked(client, PATH, value, "k").json["state_now"])

    order(sqlite_service, claim(first, {provider: {"VCPU": 2}}, 1))
    assert now() == "changed"
    order(sqlite_service, claim(first, {}, 2))
    assert now() == "changed"
    order(sqlite_service, claim(second, {}, 1))
    assert now() == "released"


def test_a_replay_of_a_release_says_whether_it_still_holds(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    consumer = new_uuid()
    order(sqlite_service, claim(consumer, {provider: {"VCPU": 1}}))

    def released() -> Result:
        return client.ask("DELETE", f"{PATH}/{consumer}", headers={"idempotency-key": "k"})

    first = released()
    assert (first.status, first.json["replayed"]) == (200, False)
    assert released().json == {**first.json, "replayed": True, "state_now": "released"}
    many = {"consumers": [consumer]}
    assert asked(client, "/moorage/v1/releases", many, "m").json["absent"] == [consumer]
    order(sqlite_service, claim(consumer, {provider: {"VCPU": 1}}))
    assert released().json["state_now"] == "changed"
    # It released nothing, so that nothing can have come back.
    assert asked(client, "/moorage/v1/releases", many, "m").json["state_now"] == "released"


def test_the_key_is_for_one_request(sqlite_service: Service, client: NativeClient, provider: str) -> None:
    asked(client, PATH, one(provider), "k")
    start = sqlite_service.revision()
    told = problem(asked(client, PATH, one(provider, name="other"), "k"))
    assert (told["status"], told["code"], told["outcome"]) == (422, "key_reused", "nothing_changed")
    told = problem(asked(client, "/moorage/v1/releases", {"consumers": [new_uuid()]}, "k"))
    assert told["code"] == "key_reused"
    assert sqlite_service.revision() == start
    # The order of fields and the form of the key do not matter; its case does.
    turned = {"claims": [dict(reversed(one(provider)["claims"][0].items()))]}  # type: ignore[index]
    assert asked(client, PATH, turned, '"k"').json["replayed"]
    assert not asked(client, PATH, one(provider), "K").json["replayed"]


def test_keys_of_projects_are_their_own(client: NativeClient, provider: str) -> None:
    tokens = {"x-roles": "admin,service"}
    first = asked(client, PATH, one(provider), "k", **{"x-auth-token": "jim:p1"}, **tokens)
    other = asked(client, PATH, one(provider), "k", **{"x-auth-token": "jim:p2"}, **tokens)
    assert (first.status, other.status) == (201, 201)
    assert not other.json["replayed"]
    # Another user of the same project asks another request.
    told = problem(asked(client, PATH, one(provider), "k", **{"x-auth-token": "joe:p1"}, **tokens))
    assert told["code"] == "key_reused"


def test_a_refusal_leaves_the_key_free(sqlite_service: Service, client: NativeClient, provider: str) -> None:
    holder = new_uuid()
    order(sqlite_service, claim(holder, {provider: {"VCPU": 8}}))
    assert problem(asked(client, PATH, one(provider), "k"))["code"] == "no_room"
    order(sqlite_service, claim(holder, {}))
    told = asked(client, PATH, one(provider), "k")
    assert (told.status, told.json["replayed"]) == (201, False)


@each(
    ("header", "key"),
    [
        ('"k"', "k"),
        ("k", "k"),
        (' "a b" ', "a b"),
        (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("k" * 255, "k" * 255),
    ],
)
def test_a_key_is_a_string_in_quotes_or_without(header: str, key: str) -> None:
    assert key_in(header) == key


@each("header", ["", '""', "a b", '"a', 'a"b', "ü", '"ü"', "k" * 256, '"\t"', '"a" ; p=1'])
def test_any_other_key_is_refused(header: str) -> None:
    with pytest.raises(WireError) as refused:
        key_in(header)
    assert (refused.value.status, refused.value.extra["header"]) == (400, "idempotency-key")


def test_a_malformed_key_changes_nothing(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    start = sqlite_service.revision()
    assert problem(asked(client, PATH, one(provider), '"'))["code"] == "invalid_request"
    assert sqlite_service.revision() == start


def test_every_write_takes_a_key() -> None:
    questions = {"/moorage/v1/explanations", "/moorage/v1/candidates"}
    # A report says what there is, so that sending it twice is no different from sending it once.
    questions.add("/moorage/v1/reports/{source}")
    # A renewal may be done twice.
    questions.add("/moorage/v1/leases/renewals")
    for endpoint in EVERYTHING:
        assert endpoint.writes == (endpoint.method != "GET" and endpoint.path not in questions), endpoint.name
        operation = document()["paths"][endpoint.path][endpoint.method.lower()]
        named = [parameter["name"] for parameter in operation["parameters"]]
        assert ("Idempotency-Key" in named) == endpoint.writes
