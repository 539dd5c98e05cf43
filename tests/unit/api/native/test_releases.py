"""Single claims over the native API, and their end."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.model.errors import EqualNameError, UnavailableError
from moorage.service.facade import Service
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.unit.api.fake import FakeService
from tests.unit.api.native.client import NativeClient, problem


@pytest.fixture
def client(sqlite_service: Service) -> NativeClient:
    return NativeClient(sqlite_service)


def claimed(service: Service, count: int = 1) -> list[str]:
    """Consumers that hold something of one provider."""
    provider = add_provider(service, VCPU=8)
    consumers = [new_uuid() for _ in range(count)]
    for consumer in consumers:
        order(service, claim(consumer, {provider: {"VCPU": 1}}, None, "INSTANCE", "p1"))
    return consumers


def told(client: NativeClient, method: str, path: str, value: object = None) -> Any:
    """The body of a success, true at the revision that its header has too."""
    answer = client.ask(method, path, value=value)
    assert answer.status == 200, answer
    assert answer.headers["moorage-revision"] == str(answer.json["revision"])
    return answer.json


def test_a_claim_is_shown_as_the_list_has_it(sqlite_service: Service, client: NativeClient) -> None:
    first, _ = claimed(sqlite_service, 2)
    shown = told(client, "GET", f"/moorage/v1/claims/{first}")
    assert shown.pop("revision") == sqlite_service.revision()
    asked = {name: shown.pop(name) for name in ("ask", "profile", "labels", "decided_at")}
    assert not any(asked.values()), "this claim named its place"
    assert shown["lease"] is None
    listed = told(client, "GET", "/moorage/v1/claims")["claims"]
    assert [each for each in listed if each["consumer"] == first] == [shown]
    assert shown["resources"] == {"VCPU": 1}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_consumer_that_holds_nothing_is_not_found(
    method: str, sqlite_service: Service, client: NativeClient
) -> None:
    claimed(sqlite_service)
    refused = problem(client.ask(method, f"/moorage/v1/claims/{new_uuid()}"))
    assert (refused["status"], refused["code"], refused["outcome"]) == (404, "not_found", "nothing_changed")
    assert refused["revision"] == sqlite_service.revision()


def test_a_release_is_a_revision_of_its_own(sqlite_service: Service, client: NativeClient) -> None:
    first, second = claimed(sqlite_service, 2)
    before = sqlite_service.revision()
    assert told(client, "DELETE", f"/moorage/v1/claims/{first}") == {
        "revision": before + 1,
        "consumer": first,
        "replayed": False,
    }
    assert sqlite_service.revision() == before + 1
    assert sqlite_service.claim(first) == (before + 1, None)
    assert sqlite_service.claim(second)[1] is not None
    assert client.ask("DELETE", f"/moorage/v1/claims/{first}").status == 404


def test_several_are_released_in_one_commit_and_absent_ones_named(
    sqlite_service: Service, client: NativeClient
) -> None:
    consumers, absent = claimed(sqlite_service, 3), new_uuid()
    before = sqlite_service.revision()
    asked = {"consumers": [absent, *consumers[:2], consumers[0]]}
    assert told(client, "POST", "/moorage/v1/releases", asked) == {
        "revision": before + 1,
        "released": consumers[:2],
        "absent": [absent],
        "replayed": False,
    }
    assert [sqlite_service.claim(each)[1] is None for each in consumers] == [True, True, False]


def test_a_release_of_what_nobody_holds_is_answered_with_the_present_revision(
    sqlite_service: Service, client: NativeClient
) -> None:
    claimed(sqlite_service)
    before, absent = sqlite_service.revision(), new_uuid()
    answer = told(client, "POST", "/moorage/v1/releases", {"consumers": [absent]})
    assert answer == {"revision": before, "released": [], "absent": [absent], "replayed": False}
    assert sqlite_service.revision() == before


@pytest.mark.parametrize("asked", [{}, {"consumers": []}, {"consumers": [1]}, {"consumer": ["x"]}])
def test_a_malformed_release_changes_nothing(
    asked: object, sqlite_service: Service, client: NativeClient
) -> None:
    claimed(sqlite_service)
    before = sqlite_service.revision()
    assert problem(client.post("/moorage/v1/releases", asked))["code"] == "invalid_request"
    assert sqlite_service.revision() == before


def test_too_many_consumers_are_refused(sqlite_service: Service, client: NativeClient) -> None:
    asked = {"consumers": ["x"] * 20_001}
    refused = problem(client.post("/moorage/v1/releases", asked))
    assert "at most" in refused["detail"]


@pytest.mark.parametrize(
    ("error", "code"), [(UnavailableError("gone"), "unavailable"), (EqualNameError(), "already_holds")]
)
def test_what_no_outcome_can_tell_is_a_problem_too(error: Exception, code: str) -> None:
    client = NativeClient(FakeService(error=error))
    assert problem(client.ask("DELETE", f"/moorage/v1/claims/{new_uuid()}"))["code"] == code
