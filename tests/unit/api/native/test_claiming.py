"""Claims over the native API."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.api.native.explanations import SEE_HOLDERS
from moorage.api.native.kept_explanations import KeptForms
from moorage.auth.identity import Identity
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import ForbiddenError
from moorage.model.commands import DeleteProvider
from moorage.service import facade
from moorage.service.facade import MOST_EXPLANATIONS, Service
from moorage.store.store import Store
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


LETTERS = "abcdefab-cdef-4abc-8def-abcdefabcdef"
ONE, TWO = "0b9f1c4e-3f5b-4a52-9d38-1f8f6f0c2a11", "5f0f2a55-8f6e-4d0e-9a35-6f6a1e0b7c22"


@each(
    ("entry", "pointer"),
    [
        ({}, "/claims/0"),
        (holding(ONE, 1, ask={"groups": {"": {"resources": {"VCPU": 1}}}}), "/claims/0"),
        ({"ask": {}}, "/claims/0/ask"),
        ({"ask": {"groups": {"": {}}}}, "/claims/0/ask/groups"),
        ({"allocations": {}}, "/claims/0/allocations"),
        (holding("x", 1), "/claims/0/allocations/x"),
        (holding(ONE, 0), f"/claims/0/allocations/{ONE}/resources/VCPU"),
        (holding(ONE, 1, counts=2), "/claims/0/counts"),
        (holding(ONE, 1, count=0), "/claims/0/count"),
        (holding(ONE, 1, count=2, consumers=[TWO]), "/claims/0/consumers"),
        (holding(ONE, 1, consumers=["not-a-uuid"]), "/claims/0/consumers"),
        (holding(ONE, 1, count=2, consumers=[TWO, TWO.upper()]), "/claims/0/consumers/1"),
        (
            {"allocations": {each: {"resources": {"VCPU": 1}} for each in (LETTERS, LETTERS.upper())}},
            "/claims/0/allocations",
        ),
        (holding(ONE, 1, count=2, consumers=[TWO, TWO]), "/claims/0/consumers/1"),
        (holding(ONE, 1, project_id=""), "/claims/0/project_id"),
        (holding(ONE, 1, generation=1), "/claims/0/generation"),
        (holding(ONE, 1, order={"strategy": "pack"}), "/claims/0/order"),
        ({"ask": {"query": "resources=VCPU:1"}, "order": {"strategy": "pck"}}, "/claims/0/order/strategy"),
        (holding(ONE, 1, keep_old_as=TWO), "/claims/0/keep_old_as"),
        (holding(ONE, 1, consumer=TWO, generation=1, count=1), "/claims/0/count"),
        (holding(ONE, 1, consumer=TWO, generation=1, consumers=[TWO]), "/claims/0/consumers"),
    ],
)
def test_a_malformed_entry_is_refused_with_its_place(entry: object, pointer: str) -> None:

    told = refused(NativeClient(FakeService()), entry)
    assert (told["status"], told["code"]) == (400, "invalid_request")
    assert told["pointer"].startswith(pointer) or pointer.startswith(told["pointer"])


def test_uuids_are_kept_in_one_form(sqlite_service: Service, client: NativeClient, provider: str) -> None:
    consumer, taker = new_uuid(), new_uuid()
    made(client, holding(provider.upper(), 1, consumers=[consumer.upper()]))
    assert sqlite_service.claim(consumer)[1] is not None
    moved = {
        **asking(2),
        "consumer": consumer.replace("-", ""),
        "generation": 1,
        "keep_old_as": taker.upper(),
    }
    (told,) = made(client, moved)["claims"]
    assert told["consumer"] == consumer
    assert sqlite_service.generations([consumer, taker]) == {consumer: 2, taker: 1}


def test_unknown_names_get_the_nearest_ones(client: NativeClient, provider: str) -> None:
    told = refused(client, wishing({"resources": {"VCPUS": 1}}))
    assert (told["code"], told["status"]) == ("unknown_name", 400)
    assert told["names"] == [{"name": "VCPUS", "nearest": ["VCPU", "VGPU", "PCPU"]}]
    assert (told["entry"], told["index"]) == (0, 0)
    told = refused(client, wishing({"resources": {"VCPU": 1}, "required": ["HW_CPU_X86_AVX3"]}))
    assert told["names"][0]["name"] == "HW_CPU_X86_AVX3"
    assert "HW_CPU_X86_AVX2" in told["names"][0]["nearest"]
    told = refused(client, {"allocations": {provider: {"resources": {"VCPUS": 1}}}})
    assert told["names"][0]["nearest"][0] == "VCPU"


def test_a_granted_claim_is_explained_if_wanted(sqlite_service: Service, client: NativeClient) -> None:
    small, large = add_provider(sqlite_service, VCPU=4), add_provider(sqlite_service, VCPU=8)
    told = made(
        client,
        {**asking(2), "order": {"strategy": "spread"}, "count": 2},
        asking(1),
        explain="always",
    )
    first, second, third = told["claims"]
    assert list(first["allocations"]) == [large]
    why = first["explanation"]
    assert (why["verdict"], why["feasible"]) == ("fits", 2)
    assert why["chosen"]["allocations"] == {large: {"VCPU": 2}}
    assert why["chosen"]["parts"] == first["parts"] == {"spread": 0.75}
    (other,) = why["alternatives"]
    assert (list(other["allocations"]), other["score"]) == ([small], 0.5)
    assert "explanation" not in second
    assert third["explanation"]["chosen"]["allocations"] == {small: {"VCPU": 1}}
    assert "explanation" not in made(client, asking(1))["claims"][0]
    exact = {"allocations": {large: {"resources": {"VCPU": 1}}}}
    assert "explanation" not in made(client, exact, explain="always")["claims"][0]
    mixed = made(client, exact, asking(1), explain="always")["claims"]
    assert ["explanation" in each for each in mixed] == [False, True]


def test_a_repeated_answer_explains_no_more(client: NativeClient, provider: str) -> None:
    body = {"claims": [asking(1)], "explain": "always"}
    first = client.ask("POST", PATH, value=body, headers={"Idempotency-Key": "k"}).json
    again = client.ask("POST", PATH, value=body, headers={"Idempotency-Key": "k"}).json
    assert first["claims"][0].pop("explanation")
    assert again["claims"] == first["claims"]


@pytest.mark.parametrize("in_tree", [True, False])
def test_without_the_rule_a_granted_claim_is_explained_in_counts(
    sqlite_service: Service, provider: str, in_tree: bool
) -> None:
    client = NativeClient(sqlite_service, policy=Blind())
    more = {"in_tree": provider} if in_tree else {}
    (told,) = made(client, wishing({"resources": {"VCPU": 1}, **more}), explain="always")["claims"]
    if in_tree:
        assert "explanation" not in told
    else:
        assert told["explanation"]["feasible"] == 1
        assert "chosen" not in told["explanation"]


def test_a_granted_claim_is_not_explained_if_that_takes_too_much(
    sqlite_service: Service, client: NativeClient, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MOST_EXPLANATIONS):
        sqlite_service._explaining.acquire()
    assert "explanation" not in made(client, asking(1), explain="always")["claims"][0]
    for _ in range(MOST_EXPLANATIONS):
        sqlite_service._explaining.release()
    monkeypatch.setattr(facade, "REFUSAL_STEPS", 0)
    order = {"strategy": "pack"}
    assert "explanation" not in made(client, {**asking(1), "order": order}, explain="always")["claims"][0]


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


def asking(amount: int, **more: object) -> dict[str, object]:
    """An entry that asks for VCPU anywhere."""
    return {"ask": {"groups": {"": {"resources": {"VCPU": amount}}}}, **more}


def wishing(group: object) -> dict[str, object]:
    """An entry with an ask of this group."""
    return {"ask": {"groups": {"": group}}}


def test_an_ask_is_placed(sqlite_service: Service, client: NativeClient, provider: str) -> None:
    before = sqlite_service.revision()
    told = made(client, asking(3, name="w", count=2))
    assert (told["revision"], told["decided_at"]) == (before + 1, before)
    assert [(one["name"], one["index"], one["mappings"]) for one in told["claims"]] == [
        ("w", 0, {"": [provider]}),
        ("w", 1, {"": [provider]}),
    ]
    assert told["claims"][0]["allocations"] == {provider: {"resources": {"VCPU": 3}}}
    again = made(client, {"ask": {"query": "resources=VCPU:1&limit=5"}}, holding(provider, 1))
    assert again["decided_at"] == before + 1


def test_a_replay_says_where_it_was_decided(client: NativeClient, provider: str) -> None:
    def ask() -> Any:
        told = client.ask("POST", PATH, value={"claims": [asking(1)]}, headers={"idempotency-key": "k"})
        return told.json

    first = ask()
    made(client, asking(1))
    assert ask() == {**first, "replayed": True, "state_now": "held"}


def test_what_finds_no_room_is_explained(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    made(client, holding(provider, 6))
    before = sqlite_service.revision()
    told = refused(client, asking(3, name="w"))
    assert (told["status"], told["code"], told["retry"]) == (409, "no_room", {"when": "state_changes"})
    assert (told["revision"], told["entry"], told["name"], told["index"]) == (before, 0, "w", 0)
    assert told["explanation"]["verdict"] == "no_room"
    (near,) = told["explanation"]["nearest"]
    assert near["missing"][0]["short"] == 1
    assert near["held_by"][0]["resources"] == {"VCPU": 6}
    assert [each["op"] for each in told["explanation"]["relaxations"][0]["changes"]] == ["amount"]


def test_what_never_fits_has_a_code_of_its_own(client: NativeClient, provider: str) -> None:
    told = refused(client, asking(9))
    assert (told["code"], told["explanation"]["verdict"]) == ("never_fits", "never_fits")
    told = refused(client, {"ask": {"groups": {"": {"resources": {"PGPU": 1}}}}})
    assert (told["code"], told["explanation"]["verdict"]) == ("never_fits", "nobody_offers")
    told = refused(client, {"ask": {"groups": {"": {"resources": {"CUSTOM_NO": 1}}}}})
    assert told["code"] == "unknown_name"


def test_without_explanations_there_is_a_code_all_the_same(client: NativeClient, provider: str) -> None:
    told = refused(client, asking(9), explain="never")
    assert told["code"] == "never_fits"
    assert "explanation" not in told
    assert "explanation" not in told["unplaced"][0]


def test_what_could_not_be_placed_is_explained_once_for_each_entry(
    client: NativeClient, provider: str
) -> None:
    told = made(client, asking(5, count=3), *(asking(amount) for amount in (6, 7, 8, 9)), mode="each")
    assert len(told["claims"]) == 1
    codes = [one["code"] for one in told["unplaced"]]
    assert codes == ["no_room"] * 6
    assert ["explanation" in one for one in told["unplaced"]] == [True, True, True, True, False, False]


def test_without_the_rule_holders_and_single_trees_are_not_shown(
    sqlite_service: Service, provider: str
) -> None:
    client = NativeClient(sqlite_service, policy=Blind())
    made(client, holding(provider, 6))
    told = refused(client, asking(3))
    assert told["explanation"]["verdict"] == "no_room"
    assert "nearest" not in told["explanation"]
    one_tree = {"ask": {"groups": {"": {"resources": {"VCPU": 3}, "in_tree": provider}}}}
    told = refused(client, one_tree)
    assert (told["code"], "explanation" in told) == ("no_room", False)


class Blind:
    """Allows all but to see holders."""

    def authorise(self, identity: Identity, rule: str, target: Any = None) -> None:
        if rule == SEE_HOLDERS:
            raise ForbiddenError("no")


def test_if_too_much_is_explained_the_explanation_comes_later(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    for _ in range(MOST_EXPLANATIONS):
        sqlite_service._explaining.acquire()
    told = refused(client, asking(9))
    assert (told["code"], told["explanation"]) == (
        "no_room",
        {"later": f"/moorage/v1/explanations/{told['request_id']}"},
    )
    assert "explanation" not in refused(client, asking(9), explain="never")


def test_an_explanation_that_takes_too_long_comes_later(
    client: NativeClient, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facade, "REFUSAL_STEPS", 1)
    assert "later" in refused(client, asking(9))["explanation"]


def test_a_refused_claim_is_kept_as_what_was_not_found(sqlite_store: Store) -> None:
    service = Service(sqlite_store, unmet_forms=KeptForms())
    client = NativeClient(service)
    provider = add_provider(service, VCPU=8)
    told = refused(client, asking(9))
    service.settle_unmet()
    kept = client.get(f"/moorage/v1/explanations/{told['request_id']}")
    assert kept.json["verdict"] == "never_fits"
    assert provider in str(kept.json)


def moving(consumer: str, generation: int, **more: object) -> dict[str, object]:
    """An entry that moves a consumer."""
    return {"consumer": consumer, "generation": generation, "project_id": "project", **more}


@pytest.fixture
def consumer(sqlite_service: Service, provider: str) -> str:
    """A consumer that holds 6 of 8 VCPU of ``provider``."""
    made = new_uuid()
    order(sqlite_service, claim(made, {provider: {"VCPU": 6}}, None, "INSTANCE"))
    return made


def test_what_a_move_frees_counts_for_its_new_place(
    sqlite_service: Service, client: NativeClient, provider: str, consumer: str
) -> None:
    before = sqlite_service.revision()
    told = made(client, moving(consumer, 1, **asking(8)))
    assert told["revision"] == before + 1
    assert (told["claims"][0]["consumer"], told["claims"][0]["generation"]) == (consumer, 2)
    shown = client.get(f"{PATH}/{consumer}").json
    assert (shown["project_id"], shown["user_id"], shown["consumer_type"]) == ("project", "user", "INSTANCE")
    assert shown["providers"] == {provider: {"VCPU": 8}}
    told = made(client, moving(consumer, 2, **holding(provider, 3), user_id="other", consumer_type=None))
    shown = client.get(f"{PATH}/{consumer}").json
    assert (shown["user_id"], shown["consumer_type"]) == ("other", None)
    assert sqlite_service.provider_usages(provider).usages == {"VCPU": 3}


def test_what_it_held_may_be_kept_for_another_consumer(
    sqlite_service: Service, client: NativeClient, provider: str, consumer: str
) -> None:
    other, migration = add_provider(sqlite_service, VCPU=8), new_uuid()
    before = sqlite_service.revision()
    told = made(client, moving(consumer, 1, keep_old_as=migration, **asking(6)))
    assert told["revision"] == sqlite_service.revision() == before + 1
    shown = {each: client.get(f"{PATH}/{each}").json for each in (consumer, migration)}
    assert shown[consumer]["providers"] == {other: {"VCPU": 6}}
    assert shown[migration]["providers"] == {provider: {"VCPU": 6}}
    assert (shown[migration]["project_id"], shown[migration]["generation"]) == ("project", 1)
    again = new_uuid()
    told = refused(client, moving(consumer, 2, keep_old_as=again, **holding(provider, 3)))
    assert (told["code"], sqlite_service.claim(again)[1]) == ("no_room", None)
    taken = refused(client, moving(consumer, 2, keep_old_as=migration, **holding(provider, 1)))
    assert taken["code"] == "already_holds"


def test_a_move_needs_the_present_generation(
    sqlite_service: Service, client: NativeClient, provider: str, consumer: str
) -> None:
    before = sqlite_service.revision()
    for entry in (
        moving(consumer, 2, **asking(1)),
        moving(new_uuid(), 1, **asking(1)),
        {"consumer": consumer, **holding(provider, 1)},
    ):
        told = refused(client, asking(1), entry)
        assert (told["status"], told["code"]) == (409, "generation_conflict")
    told = refused(client, moving(consumer, 1, project_id="other", **asking(1)))
    assert (told["status"], told["code"]) == (403, "forbidden")
    assert sqlite_service.revision() == before


def test_a_move_that_was_made_is_answered_again(client: NativeClient, consumer: str) -> None:
    def ask() -> Any:
        value = {"claims": [moving(consumer, 1, **asking(8))]}
        return client.ask("POST", PATH, value=value, headers={"idempotency-key": "k"})

    first, again = ask(), ask()
    assert (first.status, again.status) == (201, 201)
    assert again.json == {**first.json, "replayed": True, "state_now": "held"}


def test_an_order_chooses_the_best_place(
    sqlite_service: Service, client: NativeClient, provider: str
) -> None:
    other = add_provider(sqlite_service, VCPU=8)
    made(client, holding(other, 1))
    (packed,) = made(client, asking(1, order={"strategy": "pack"}))["claims"]
    (spread,) = made(client, asking(1, order={"strategy": "spread", "seed": 7}))["claims"]
    assert (list(packed["allocations"]), list(spread["allocations"])) == ([other], [provider])
    assert (packed["score"], packed["parts"], packed["ranked_of"]) == (0.25, {"pack": 0.25}, 2)


def test_without_the_rule_an_order_is_named_and_not_made(sqlite_service: Service, provider: str) -> None:
    class Named(Blind):
        def authorise(self, identity: Identity, rule: str, target: Any = None) -> None:
            if rule == "moorage:order:inline":
                raise ForbiddenError("no")

    client = NativeClient(sqlite_service, policy=Named())
    assert refused(client, asking(1, order={"strategy": "pack"}))["code"] == "forbidden"
    assert made(client, asking(1, order={"seed": 7}))["claims"]
    told = refused(client, asking(1, order={"profile": "none such"}))
    assert told["pointer"] == "/claims/0/order/profile"


def test_what_was_asked_for_and_labels_are_kept_and_shown(client: NativeClient, provider: str) -> None:
    entry = {**asking(1), "labels": {"job": "42"}, "order": {"strategy": "pack"}}
    told = made(client, entry)
    (made_one,) = told["claims"]
    shown = client.get(f"{PATH}/{made_one['consumer']}").json
    assert (shown["ask"], shown["labels"]) == (entry["ask"], {"job": "42"})
    assert (shown["profile"], shown["decided_at"]) == (None, told["decided_at"])
    move = {"consumer": made_one["consumer"], "generation": 1}
    told = made(client, {**asking(2), **move})
    shown = client.get(f"{PATH}/{made_one['consumer']}").json
    assert (shown["ask"]["groups"][""]["resources"], shown["labels"]) == ({"VCPU": 2}, {"job": "42"})
    made(client, holding(provider, 1, labels={"job": "43"}, **{**move, "generation": 2}))
    shown = client.get(f"{PATH}/{made_one['consumer']}").json
    assert (shown["ask"], shown["labels"], shown["decided_at"]) == (None, {"job": "43"}, None)


def test_exact_claims_have_labels_only_if_they_give_some(client: NativeClient, provider: str) -> None:
    with_it, without = made(client, holding(provider, 1, labels={"a": "b"}), holding(provider, 1))["claims"]
    assert client.get(f"{PATH}/{with_it['consumer']}").json["labels"] == {"a": "b"}
    shown = client.get(f"{PATH}/{without['consumer']}").json
    assert (shown["labels"], shown["ask"], shown["decided_at"]) == ({}, None, None)


@pytest.mark.parametrize("labels", [{"": "x"}, {"a b": "x"}, {"a": 1}, {"a": "x" * 256}, []])
def test_bad_labels_are_refused_with_their_place(labels: object) -> None:
    told = refused(NativeClient(FakeService()), holding(ONE, 1, labels=labels))
    assert told["pointer"].startswith("/claims/0/labels")
