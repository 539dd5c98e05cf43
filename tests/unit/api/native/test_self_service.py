"""What members of a project may do where projects help themselves, and that others are not there for them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from moorage.api.http.settings import Limits
from moorage.api.native.application import create
from moorage.api.native.kept_explanations import KeptForms
from moorage.api.placement.query import newest_request
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import Policy, default_policy
from moorage.model.orders import Order, Profiles
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.store.store import Store
from tests.databases.orders import add_provider, new_uuid
from tests.table import each
from tests.unit.api.fake import Result
from tests.unit.api.native.client import NativeClient, policy_of, problem

POLICY = default_policy(self_service=True)

ASK = {"groups": {"": {"resources": {"VCPU": 2}}}}
TOO_MUCH = {"groups": {"": {"resources": {"VCPU": 7}}}}


class Member(NativeClient):
    """A member of a project; of none as an administrator."""

    def __init__(self, service: Service, project: str | None, policy: Policy = POLICY) -> None:
        self.app = create(service, newest_request, Limits(), NoAuth(), policy)
        self.headers: dict[str, str | None] = {"x-auth-token": "admin:cloud", "x-roles": "admin"}
        if project is not None:
            self.headers = {"x-auth-token": f"{project}-user:{project}", "x-roles": "member,reader"}

    def ask(self, method: str, path: str, *args: Any, **options: Any) -> Result:
        options["headers"] = {**self.headers, **(options.get("headers") or {})}
        return super().ask(method, path, *args, **options)

    def claim(self, consumer: str | None = None, **entry: object) -> Any:
        """Claim 2 VCPU; the claim as it was answered."""
        wanted = {"ask": ASK, **({} if consumer is None else {"consumers": [consumer]}), **entry}
        told = self.post("/moorage/v1/claims", {"claims": [wanted]})
        assert told.status == 201, told
        return told.json["claims"][0]


@pytest.fixture
def service(sqlite_store: Store) -> Service:
    profiles = Profiles({"fullest": Order(strategy="pack")})
    return Service(
        sqlite_store, ServiceSettings(unmet_kept=100), unmet_forms=KeptForms(), profiles=lambda: profiles
    )


@pytest.fixture
def host(service: Service) -> str:
    return add_provider(service, "host", None, ("HW_NUMA_ROOT",), (), VCPU=8)


@pytest.fixture
def own(service: Service, host: str) -> Member:
    return Member(service, "mine")


@pytest.fixture
def another(service: Service, host: str) -> Member:
    return Member(service, "theirs")


@pytest.fixture
def theirs(another: Member) -> str:
    """A consumer of another project, whose claim has labels."""
    claimed: str = another.claim(labels={"secret": "labelled"})["consumer"]
    return claimed


def without_names(told: Result, *names: str) -> tuple[int, str]:
    """An answer without what differs between any two requests, and without ``names``."""
    text = re.sub(r'"request_id":\s*"[^"]*"', "", told.body.decode())
    text = re.sub(r"req-[0-9a-f-]{36}", "", text)
    for name in names:
        text = text.replace(name, "NAME")
    return told.status, text


def test_a_member_claims_shows_moves_and_releases_for_its_own_project(own: Member) -> None:
    claimed = own.claim()
    consumer = claimed["consumer"]
    path = f"/moorage/v1/claims/{consumer}"
    shown = own.get(path).json
    assert (shown["project_id"], shown["user_id"], shown["resources"]) == ("mine", "mine-user", {"VCPU": 2})
    assert [each["consumer"] for each in own.get("/moorage/v1/claims").json["claims"]] == [consumer]
    bigger = {"groups": {"": {"resources": {"VCPU": 4}}}}
    moved = own.post(
        "/moorage/v1/claims", {"claims": [{"consumer": consumer, "generation": 1, "ask": bigger}]}
    )
    assert moved.status == 201
    assert own.get(path).json["resources"] == {"VCPU": 4}
    assert len(own.get(f"{path}/history").json["changes"]) == 2
    assert own.ask("DELETE", path).status == 200
    assert own.get(path).status == 404
    second = own.claim()["consumer"]
    assert own.post("/moorage/v1/releases", {"consumers": [second]}).json["released"] == [second]


LEASE = {"owner": "agent-7", "ttl": "24h"}


def test_a_member_holds_leases_of_its_own(own: Member) -> None:
    lease = own.post("/moorage/v1/leases", LEASE).json["lease"]
    path = f"/moorage/v1/leases/{lease}"
    told = own.get(path).json
    assert (told["project_id"], told["user_id"], told["state"]) == ("mine", "mine-user", "active")
    assert [each["lease"] for each in own.get("/moorage/v1/leases").json["leases"]] == [lease]
    consumer = own.claim(lease=lease)["consumer"]
    second = own.claim()["consumer"]
    renewed = own.post("/moorage/v1/leases/renewals", {"leases": [lease, new_uuid()]}).json
    assert [each["lease"] for each in renewed["renewed"]] == [lease]
    assert own.ask("PUT", f"{path}/claims/{second}").status == 200
    assert own.ask("DELETE", f"{path}/claims/{second}").status == 200
    on_it = own.get(f"/moorage/v1/claims?lease={lease}").json["claims"]
    assert [each["consumer"] for each in on_it] == [consumer]
    assert own.post(f"{path}/resolution", {"action": "release"}).status == 403
    assert own.ask("DELETE", f"{path}?claims=release").status == 200
    assert own.get(f"/moorage/v1/claims/{consumer}").status == 404
    assert own.get(f"/moorage/v1/claims/{second}").status == 200


def of_lease(lease: str, own_lease: str, own_consumer: str, consumer: str) -> list[tuple[str, str, object]]:
    """Requests that name a lease and a consumer of another project, or ones that there are not."""
    path = f"/moorage/v1/leases/{lease}"
    return [
        ("GET", path, None),
        ("DELETE", path, None),
        ("DELETE", f"{path}?claims=release", None),
        ("PUT", f"{path}/claims/{own_consumer}", None),
        ("DELETE", f"{path}/claims/{own_consumer}", None),
        ("PUT", f"{path}/claims/{consumer}", None),
        ("DELETE", f"{path}/claims/{consumer}", None),
        ("PUT", f"/moorage/v1/leases/{own_lease}/claims/{consumer}", None),
        ("DELETE", f"/moorage/v1/leases/{own_lease}/claims/{consumer}", None),
        ("POST", "/moorage/v1/leases/renewals", {"leases": [lease]}),
        ("POST", "/moorage/v1/claims", {"claims": [{"ask": ASK, "lease": lease}]}),
        ("GET", f"/moorage/v1/claims?lease={lease}", None),
        ("GET", f"/moorage/v1/leases?after={lease}&owner=their-agent", None),
    ]


def test_leases_of_another_project_are_answered_as_ones_that_there_are_not(
    own: Member, another: Member, service: Service
) -> None:
    theirs = another.post("/moorage/v1/leases", {**LEASE, "owner": "their-agent"}).json["lease"]
    consumer = another.claim(lease=theirs)["consumer"]
    admin = Member(service, None)
    before = [admin.get(f"/moorage/v1/{path}").json for path in (f"leases/{theirs}", f"claims/{consumer}")]
    mine = own.post("/moorage/v1/leases", LEASE).json["lease"]
    held = own.claim()["consumer"]
    absent, nothing = new_uuid(), new_uuid()
    for one, other in zip(
        of_lease(theirs, mine, held, consumer), of_lease(absent, mine, held, nothing), strict=True
    ):
        answers = []
        for (method, path, value), names in ((one, (theirs, consumer)), (other, (absent, nothing))):
            answers.append(without_names(own.ask(method, path, value=value), *names))
        assert answers[0] == answers[1], one
    assert own.get("/moorage/v1/leases?project_id=theirs").status == 403
    after = [admin.get(f"/moorage/v1/{path}").json for path in (f"leases/{theirs}", f"claims/{consumer}")]
    for told in (*before, *after):
        for name in ("revision", "remaining"):
            told.pop(name, None)
    assert after == before


def test_a_claim_for_another_project_is_forbidden(own: Member, host: str) -> None:
    entries = [{"ask": ASK}, {"ask": ASK, "project_id": "theirs"}]
    refused = own.post("/moorage/v1/claims", {"claims": entries})
    assert problem(refused)["code"] == "forbidden"
    exact = {"allocations": {host: {"resources": {"VCPU": 1}}}, "project_id": "theirs"}
    assert own.post("/moorage/v1/claims", {"claims": [exact]}).status == 403
    assert own.get("/moorage/v1/claims").json["claims"] == []


def hidden(uuid: str) -> list[tuple[str, str, object]]:
    """Requests that name a consumer of another project, or one that there is not."""
    move = {"consumer": uuid, "generation": 1, "ask": ASK}
    return [
        ("GET", f"/moorage/v1/claims/{uuid}", None),
        ("GET", f"/moorage/v1/claims/{uuid}?at=%d", None),
        ("GET", f"/moorage/v1/claims/{uuid}/history", None),
        ("GET", f"/moorage/v1/claims/{uuid}/history?limit=1&before=3", None),
        ("DELETE", f"/moorage/v1/claims/{uuid}", None),
        ("POST", "/moorage/v1/releases", {"consumers": [uuid]}),
        ("POST", "/moorage/v1/claims", {"claims": [move]}),
        ("POST", "/moorage/v1/claims", {"claims": [{**move, "keep_old_as": new_uuid()}]}),
        ("POST", "/moorage/v1/claims", {"claims": [{**move, "allocations": {}}]}),
        ("GET", f"/moorage/v1/changes?after=0&project_id=mine&consumer={uuid}", None),
    ]


def test_consumers_of_another_project_are_answered_as_ones_that_there_are_not(
    service: Service, own: Member, theirs: str
) -> None:
    before = Member(service, None).get(f"/moorage/v1/claims/{theirs}").json
    absent = new_uuid()
    for one, other in zip(hidden(theirs), hidden(absent), strict=True):
        answers = []
        for (method, path, value), uuid in ((one, theirs), (other, absent)):
            path = path.replace("%d", str(service.revision()))
            answers.append(without_names(own.ask(method, path, value=value), uuid))
        assert answers[0] == answers[1], one
    assert Member(service, None).get(f"/moorage/v1/claims/{theirs}").json == before


def test_a_consumer_that_another_project_holds_cannot_be_taken_and_nothing_is_told_of_it(
    own: Member, another: Member, theirs: str
) -> None:
    another.post(
        "/moorage/v1/claims", {"claims": [{"consumer": theirs, "generation": 1, "ask": ASK, "labels": {}}]}
    )
    for entry in ({"consumers": [theirs]}, {"consumer": own.claim()["consumer"], "keep_old_as": theirs}):
        more = {"generation": 1} if "consumer" in entry else {}
        told = own.post("/moorage/v1/claims", {"claims": [{**entry, **more, "ask": ASK}]})
        refused = problem(told)
        assert refused["code"] == "already_holds"
        assert refused["detail"] == (
            f"The consumer {theirs} cannot be used. Choose another UUID, or leave that to the service."
        )
        assert refused["unplaced"][0]["detail"] == refused["detail"]
        assert b"theirs" not in told.body


def test_the_project_of_a_list_is_ones_own(own: Member, theirs: str) -> None:
    assert own.get("/moorage/v1/claims").json["claims"] == []
    assert own.get("/moorage/v1/claims?project_id=mine").json["claims"] == []
    assert own.get("/moorage/v1/claims?project_id=theirs").status == 403
    assert own.get("/moorage/v1/changes?after=0").status == 403
    assert own.get("/moorage/v1/changes?after=0&project_id=theirs").status == 403


def test_candidates_are_in_their_order_without_what_tells_how_full_trees_are(
    service: Service, own: Member, theirs: str, host: str
) -> None:
    empty = add_provider(service, "empty", None, (), (), VCPU=8)
    asked = {"ask": ASK, "order": {"profile": "fullest", "seed": 5}}
    told = own.post("/moorage/v1/candidates", asked).json
    assert [set(each) for each in told["candidates"]] == [{"allocations", "mappings", "root"}] * 2
    assert [each["root"] for each in told["candidates"]] == [host, empty]
    assert told["order"] == {"profile": "fullest", "seed": 5}
    assert set(own.post("/moorage/v1/candidates", {"ask": ASK}).json["order"]) == {"seed"}
    assert own.post("/moorage/v1/candidates", {**asked, "summaries": True}).status == 403
    in_tree = {"groups": {"": {"resources": {"VCPU": 2}, "in_tree": host}}}
    assert own.post("/moorage/v1/candidates", {"ask": in_tree}).status == 403
    assert own.post("/moorage/v1/candidates", {"ask": ASK, "order": {"strategy": "pack"}}).status == 403
    claimed = own.claim(order={"profile": "fullest"})
    assert claimed["allocations"] == {host: {"resources": {"VCPU": 2}}}
    assert not claimed.keys() & {"score", "parts", "ranked_of"}


def test_reasons_name_neither_trees_nor_holders(own: Member, theirs: str, host: str) -> None:
    for value in ({"ask": TOO_MUCH}, {"ask": TOO_MUCH, "project_id": "mine"}):
        told = own.post("/moorage/v1/explanations", value)
        assert (told.json["verdict"], told.json["feasible"]) == ("no_room", 0)
        assert "what is missing is held by others" in told.json["notes"]
        assert not told.json.keys() & {"nearest", "unlocked_by"}
        assert not any(secret in told.body.decode() for secret in (theirs, host, "theirs"))
    assert own.post("/moorage/v1/explanations", {"ask": ASK, "project_id": "theirs"}).status == 403
    refused = own.post("/moorage/v1/claims", {"claims": [{"ask": TOO_MUCH}]})
    assert problem(refused)["explanation"]["relaxations"]
    assert not any(secret in refused.body.decode() for secret in (theirs, host, "theirs"))


def test_a_refusal_is_found_by_the_project_that_was_refused(
    service: Service, own: Member, another: Member
) -> None:
    headers: dict[str, str | None] = {"x-openstack-request-id": "req-00000000-0000-4000-8000-000000000001"}
    found: dict[str, str] = {}
    for client, amount in ((own, 9), (another, 10)):
        ask = {"groups": {"": {"resources": {"VCPU": amount}}}}
        told = client.ask("POST", "/moorage/v1/claims", value={"claims": [{"ask": ask}]}, headers=headers)
        found[told.headers["x-openstack-request-id"]] = json.dumps(ask)
        service.settle_unmet()
    first, second = found
    path = "/moorage/v1/explanations/"
    shown = own.get(path + first).json
    assert (shown["request_id"], shown["others"]) == (first, [])
    assert own.get(path + str(headers["x-openstack-request-id"])).json["request_id"] == first
    assert another.get(path + str(headers["x-openstack-request-id"])).json["request_id"] == second
    answers = [without_names(own.get(path + each), each) for each in (second, "req-not-there")]
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_a_member_sees_the_trees_that_its_project_holds_something_of(
    service: Service, own: Member, another: Member, host: str
) -> None:
    disk = add_provider(service, "disk", host, (), (), DISK_GB=10)
    path = f"/moorage/v1/trees/{disk}"
    another.claim()
    assert another.get(path).status == 200
    hidden, absent = own.get(path), own.get(f"/moorage/v1/trees/{new_uuid()}")
    assert (hidden.status, problem(hidden)["code"]) == (absent.status, problem(absent)["code"])
    own.claim()
    told = own.get(path).json
    assert {each["name"] for each in told["providers"]} == {"host", "disk"}
    fields = {"uuid", "name", "root", "inventories", "traits", "parent"}
    assert [set(each) for each in told["providers"]] == [fields] * 2
    assert own.get(f"{path}?at={service.revision()}").status == 403
    assert own.get(f"/moorage/v1/providers/{host}").status == 403


def test_a_member_learns_when_room_was_made_and_not_by_whom(own: Member, another: Member, host: str) -> None:
    """A search would show it the same. Where room is in one tree it may not ask, and a reader not at all."""
    consumer = another.claim()["consumer"]
    released = another.ask("DELETE", f"/moorage/v1/claims/{consumer}").json["revision"]
    path = "/moorage/v1/changes?after=0&project_id=mine&frees="
    told = own.get(f"{path}CUSTOM_NOTHING").json
    grown = told["freed_at"]
    assert told["changes"] == []
    assert grown < released
    path = path.replace("after=0", f"after={grown}")
    assert own.get(f"{path}VCPU&kinds=allocations").json["changes"] == []
    assert own.get(f"{path.replace(str(grown), str(released - 1))}VCPU").json == {
        "revision": released,
        "epoch": told["epoch"],
        "next_after": released,
        "more": False,
        "freed_at": released,
        "changes": [],
    }
    assert own.get(f"{path}VCPU&tree={host}").status == 403
    own.headers["x-roles"] = "reader"
    assert own.get(f"{path}VCPU").status == 403


def test_changes_and_histories_tell_of_the_own_part_of_a_consumer_only(
    service: Service, own: Member, another: Member, host: str
) -> None:
    """The consumer belongs to one project, then to nobody, then to another one, and back again."""
    consumer = new_uuid()
    path = f"/moorage/v1/claims/{consumer}"
    revisions: dict[str, list[int]] = {"mine": [], "theirs": []}
    for client, project in ((own, "mine"), (another, "theirs"), (own, "mine"), (another, "theirs")):
        client.claim(consumer)
        revisions[project].append(service.revision())
        assert client.ask("DELETE", path).status == 200
        revisions[project].append(service.revision())
    for client, project in ((own, "mine"), (another, "theirs")):
        wanted = revisions[project]
        told = client.get(f"/moorage/v1/changes?after=0&project_id={project}&consumer={consumer}")
        listed = [each["revision"] for each in told.json["changes"] if each["kind"].startswith("alloc")]
        assert listed == wanted
        whole = client.get(f"{path}/history").json
        assert [each["revision"] for each in whole["changes"]] == wanted[::-1]
        assert whole["next_before"] is None
        assert all("providers" not in each for each in whole["changes"])
        page = client.get(f"{path}/history?limit=3").json
        assert [each["revision"] for each in page["changes"]] == wanted[:0:-1]
        rest = client.get(f"{path}/history?limit=1&before={page['next_before']}").json
        assert [each["revision"] for each in rest["changes"]] == wanted[:1]
        assert rest["next_before"] is None
        assert host not in told.body.decode()
        others = {"mine": "theirs", "theirs": "mine"}[project]
        assert others not in told.body.decode()


def test_keys_of_another_project_are_other_keys(own: Member, another: Member) -> None:
    headers: dict[str, str | None] = {"idempotency-key": "job-1"}
    body = {"claims": [{"ask": ASK}]}
    found = [
        client.ask("POST", "/moorage/v1/claims", value=body, headers=headers).json
        for client in (own, another, own, another)
    ]
    consumers = [each["claims"][0]["consumer"] for each in found]
    assert consumers[0] == consumers[2] != consumers[1] == consumers[3]
    assert [each["replayed"] for each in found] == [False, False, True, True]


def test_a_repeated_answer_does_not_tell_of_another_project_that_took_the_consumer_over(
    own: Member, another: Member
) -> None:
    headers: dict[str, str | None] = {"idempotency-key": "job-1"}
    consumer = new_uuid()
    body = {"claims": [{"ask": ASK, "consumers": [consumer]}]}
    own.ask("POST", "/moorage/v1/claims", value=body, headers=headers)
    own.ask("DELETE", f"/moorage/v1/claims/{consumer}")
    another.claim(consumer)
    told = own.ask("POST", "/moorage/v1/claims", value=body, headers=headers).json
    assert (told["replayed"], told["state_now"]) == (True, "released")


FORBIDDEN = [
    ("GET", "/moorage/v1/providers", None),
    ("GET", "/moorage/v1/overview", None),
    ("GET", "/moorage/v1/unmet", None),
    ("GET", f"/moorage/v1/providers/{new_uuid()}", None),
    ("GET", f"/moorage/v1/providers/{new_uuid()}/history", None),
]


@each(("method", "path", "value"), FORBIDDEN)
def test_what_is_of_the_whole_cloud_stays_forbidden(
    method: str, path: str, value: object, own: Member
) -> None:
    assert own.ask(method, path, value=value).status == 403


def test_without_self_service_a_member_may_do_nothing_of_this(service: Service, host: str) -> None:
    off = Member(service, "mine", default_policy())
    assert off.post("/moorage/v1/claims", {"claims": [{"ask": ASK}]}).status == 403
    assert off.post("/moorage/v1/candidates", {"ask": ASK}).status == 403
    assert off.post("/moorage/v1/explanations", {"ask": ASK}).status == 403
    assert off.get("/moorage/v1/claims").status == 403
    assert off.get("/moorage/v1/changes?after=now&project_id=mine").status == 200


STUDENTS = {
    "moorage:claims:create": "rule:admin_or_service_api or (role:student and project_id:%(project_id)s)",
    "moorage:claims:show": "rule:admin_or_service_api or (role:student and project_id:%(project_id)s)",
    "moorage:claims:delete": "rule:admin_or_service_api or role:student",
}


def test_a_policy_file_confines_roles_of_an_operator_s_own_in_the_same_way(
    service: Service, host: str, theirs: str, tmp_path: Path
) -> None:
    student = Member(service, "mine", policy_of(tmp_path, STUDENTS))
    student.headers["x-roles"] = "student"
    consumer = student.claim()["consumer"]
    assert student.get(f"/moorage/v1/claims/{consumer}").status == 200
    assert student.get(f"/moorage/v1/claims/{theirs}").status == 404
    assert (
        student.post("/moorage/v1/claims", {"claims": [{"ask": ASK, "project_id": "theirs"}]}).status == 403
    )
    assert student.get("/moorage/v1/claims").status == 403
    # A rule that does not ask for the project confines nothing.
    assert student.ask("DELETE", f"/moorage/v1/claims/{theirs}").status == 200


def test_administrators_are_not_confined(service: Service, host: str, theirs: str) -> None:
    admin = Member(service, None)
    assert admin.get(f"/moorage/v1/claims/{theirs}").json["labels"] == {"secret": "labelled"}
    assert [each["consumer"] for each in admin.get("/moorage/v1/claims").json["claims"]] == [theirs]
    (best,) = admin.post("/moorage/v1/candidates", {"ask": ASK}).json["candidates"]
    assert best.keys() >= {"score", "parts", "tie"}
    assert admin.ask("DELETE", f"/moorage/v1/claims/{theirs}").status == 200
