"""Claims, moves and releases of the client, and how often it sends them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from moorage_client import (
    AlreadyHoldsError,
    AnswerTimeoutError,
    Ask,
    Entry,
    GenerationConflictError,
    KeyReusedError,
    Moorage,
    NeverFitsError,
    NoRoomError,
    NotFoundError,
    OutcomeUnknownError,
    Token,
    UnavailableError,
    UnreachableError,
)
from moorage_client.transport import PROBLEM_TYPE, quoted

from moorage.api.http.validation import BODY_FORMATS, Validator
from moorage.api.native import entries
from tests.unit.cli.client.conftest import Terminal
from tests.unit.native_client.conftest import Said, saying

CLAIMED = {
    "revision": 918273,
    "decided_at": 918272,
    "replayed": False,
    "claims": [
        {
            "entry": 0,
            "name": "worker",
            "index": 0,
            "consumer": "0b",
            "generation": 1,
            "allocations": {"9a": {"resources": {"VCPU": 4}}},
            "mappings": {"": ["9a"]},
            "score": 0.81,
            "parts": {"pack": 0.81},
            "ranked_of": 12,
        }
    ],
    "unplaced": [{"entry": 0, "name": "worker", "index": 1, "code": "no_room", "detail": "No tree can."}],
}
RELEASED = {"revision": 7, "replayed": False, "released": ["0b"], "absent": ["1c"]}
DONE = Said(201, CLAIMED)


def problem(status: int, code: str) -> Said:
    return Said(status, {"code": code}, {"Retry-After": "3"}, PROBLEM_TYPE)


Write = Callable[[Moorage], object]

WRITES: dict[str, tuple[Write, Said]] = {
    "claim": (lambda moorage: moorage.claim("resources=VCPU:4"), DONE),
    "release": (lambda moorage: moorage.release(["0b", "1c"]), Said(200, RELEASED)),
}


@pytest.fixture(params=WRITES)
def write(request: pytest.FixtureRequest) -> tuple[Write, Said]:
    return WRITES[request.param]


@pytest.fixture
def host(url: str) -> str:
    """The UUID of a host with eight cores, the only one of the service."""
    terminal = Terminal(url)
    terminal.does("provider", "create", "host1")
    terminal.does("inventory", "set", "host1", "VCPU=8")
    found: str = terminal.json("provider", "show", "host1")["uuid"]
    return found


# What is sent


def test_an_entry_is_sent_as_the_api_reads_it() -> None:
    first, second, third = (str(uuid.UUID(int=number)) for number in range(3))
    ask = Ask.of({"VCPU": 4})
    given = [
        Entry(
            ask,
            count=2,
            name="worker",
            order={"strategy": "pack"},
            consumers=(first, second),
            consumer_type="INSTANCE",
            project_id="p1",
            user_id="u1",
        ),
        Entry("resources=VCPU:4", consumer=third, generation=3, keep_old_as=first),
        Entry(allocations={first: {"VCPU": 1}}),
    ]
    with saying(lambda _: DONE) as heard, Moorage(heard.url) as moorage:
        moorage.claim(entries=given, mode={"at_least": 2}, explain="never")
        [(method, path, body)] = heard.requests
    assert (method, path) == ("POST", "/moorage/v1/claims")
    assert body == {
        "claims": [
            {
                "ask": ask.to_json(),
                "count": 2,
                "name": "worker",
                "order": {"strategy": "pack"},
                "consumers": [first, second],
                "consumer_type": "INSTANCE",
                "project_id": "p1",
                "user_id": "u1",
            },
            {
                "ask": {"query": "resources=VCPU:4"},
                "consumer": third,
                "generation": 3,
                "keep_old_as": first,
            },
            {"allocations": {first: {"resources": {"VCPU": 1}}}},
        ],
        "mode": {"at_least": 2},
        "explain": "never",
    }
    assert Validator(entries.SCHEMA, BODY_FORMATS).error(body) is None


def test_one_claim_is_the_parts_of_its_entry() -> None:
    with saying(lambda _: DONE) as heard, Moorage(heard.url) as moorage:
        moorage.claim("resources=VCPU:4", count=2, project_id="p1")
        assert heard.requests[0][2] == {
            "claims": [{"ask": {"query": "resources=VCPU:4"}, "count": 2, "project_id": "p1"}]
        }


@pytest.mark.parametrize("more", [{"ask": "resources=VCPU:1"}, {"count": 2}])
def test_entries_and_an_ask_are_not_mixed(more: Any) -> None:
    with saying(lambda _: DONE) as heard, Moorage(heard.url) as moorage:
        with pytest.raises(ValueError, match="in place of an ask"):
            moorage.claim(entries=[Entry("resources=VCPU:4")], **more)
        assert heard.requests == []


def test_the_answer_is_objects() -> None:
    with saying(lambda _: DONE) as heard, Moorage(heard.url) as moorage:
        found = moorage.claim("resources=VCPU:4")
    assert (found.revision, found.decided_at, found.replayed, found.state_now) == (
        918273,
        918272,
        False,
        None,
    )
    [claim] = found.claims
    assert (claim.consumer, claim.generation, claim.name, claim.index) == ("0b", 1, "worker", 0)
    assert (claim.allocations, claim.mappings) == ({"9a": {"VCPU": 4}}, {"": ("9a",)})
    assert (claim.score, claim.parts, claim.ranked_of) == (0.81, {"pack": 0.81}, 12)
    [other] = found.unplaced
    assert (other.code, other.index, other.explanation) == ("no_room", 1, None)


def test_an_explanation_that_comes_later_is_none_yet() -> None:
    body = {"code": "no_room", "explanation": {"later": "/moorage/v1/explanations/req-1"}}
    with (
        saying(lambda _: Said(409, body, media_type=PROBLEM_TYPE)) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(NoRoomError) as refused,
    ):
        moorage.claim("resources=VCPU:4")
    assert (refused.value.explanation, refused.value.body) == (None, body)


# Keys and attempts


def test_every_write_has_a_key_of_its_own(write: tuple[Write, Said]) -> None:
    one, said = write
    with saying(lambda _: said) as heard, Moorage(heard.url) as moorage:
        one(moorage)
        one(moorage)
        first, second = heard.keys
    assert first != second
    assert {str(uuid.UUID(str(key).strip('"'))) for key in (first, second)} == {
        str(key).strip('"') for key in (first, second)
    }


def test_a_read_has_no_key() -> None:
    shown = {"consumer": "0b", "project_id": "p", "user_id": "u"}
    with saying(lambda _: Said(200, shown)) as heard, Moorage(heard.url) as moorage:
        assert moorage.claim_of("0b/c").project_id == "p"
        assert heard.requests == [("GET", "/moorage/v1/claims/0b%2Fc", None)]
        assert heard.keys == [None]


def test_a_key_of_your_own_is_sent_as_a_string_of_structured_fields() -> None:
    with saying(lambda _: DONE) as heard, Moorage(heard.url) as moorage:
        moorage.claim("resources=VCPU:4", key='job "7" \\ a')
        assert heard.keys == ['"job \\"7\\" \\\\ a"']


@pytest.mark.parametrize("key", ["", "ä", "a\nb", "a" * 256])
def test_what_is_no_key_is_not_sent(key: str) -> None:
    with saying(lambda _: DONE) as heard, Moorage(heard.url) as moorage:
        with pytest.raises(ValueError, match="1 to 255 visible"):
            moorage.claim("resources=VCPU:4", key=key)
        assert heard.requests == []
    assert quoted("a" * 255) == f'"{"a" * 255}"'


@pytest.mark.parametrize(
    "failure", [None, problem(503, "busy"), problem(503, "unavailable"), problem(503, "outcome_unknown")]
)
def test_a_write_without_an_outcome_is_sent_again_with_its_key(
    failure: Said | None, write: tuple[Write, Said]
) -> None:
    one, said = write
    pauses: list[float] = []
    with (
        saying(lambda number: failure if number < 3 else said) as heard,
        Moorage(heard.url, sleep=pauses.append) as moorage,
    ):
        one(moorage)
        assert len(heard.requests) == 3
        assert len(set(heard.keys)) == 1
        assert len({str(request) for request in heard.requests}) == 1
    assert len(pauses) == 2
    if failure is None:
        assert 0.1 <= pauses[0] <= 0.2 <= pauses[1] <= 0.4
    else:
        assert pauses == [3.0, 3.0]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (None, UnreachableError),
        (problem(503, "unavailable"), UnavailableError),
        (problem(503, "outcome_unknown"), OutcomeUnknownError),
    ],
)
def test_attempts_of_a_write_end(failure: Said | None, kind: type[Exception]) -> None:
    with (
        saying(lambda _: failure) as heard,
        Moorage(heard.url, attempts=3, sleep=lambda _: None) as moorage,
    ):
        with pytest.raises(kind):
            moorage.claim("resources=VCPU:4")
        assert len(heard.requests) == 3


def test_a_write_without_an_answer_in_time_is_sent_again_with_its_key() -> None:
    patience = threading.Event()

    def slow(number: int) -> Said:
        if number == 1:
            patience.wait(10)
        return DONE

    with saying(slow) as heard, Moorage(heard.url, timeout=0.5, sleep=lambda _: None) as moorage:
        assert moorage.claim("resources=VCPU:4").revision == 918273
        patience.set()
        assert len(heard.requests) == 2
        assert len(set(heard.keys)) == 1


def test_a_write_that_is_never_answered_is_an_error() -> None:
    patience = threading.Event()

    def slow(_: int) -> Said:
        patience.wait(10)
        return DONE

    with saying(slow) as heard, Moorage(heard.url, timeout=0.1, attempts=2, sleep=lambda _: None) as moorage:
        with pytest.raises(AnswerTimeoutError):
            moorage.release(["0b"])
        patience.set()
        assert len(heard.requests) == 2


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (problem(409, "no_room"), NoRoomError),
        (problem(409, "already_holds"), AlreadyHoldsError),
        (problem(422, "key_reused"), KeyReusedError),
    ],
)
def test_a_refusal_is_not_sent_again(said: Said, kind: type[Exception]) -> None:
    with saying(lambda _: said) as heard, Moorage(heard.url) as moorage:
        with pytest.raises(kind):
            moorage.claim("resources=VCPU:4")
        assert len(heard.requests) == 1


def test_a_new_token_keeps_the_key() -> None:
    tokens = iter(["old", "new"])
    refused = problem(401, "unauthenticated")
    with (
        saying(lambda number: refused if number == 1 else DONE) as heard,
        Moorage(heard.url, Token(lambda: next(tokens))) as moorage,
    ):
        moorage.claim("resources=VCPU:4")
        assert heard.tokens == ["old", "new"]
        assert heard.keys[0] == heard.keys[1]


# Against the service itself


def test_what_is_claimed_is_shown_and_released(moorage: Moorage, host: str) -> None:
    found = moorage.claim(
        Ask.of({"VCPU": 2}), count=2, order={"strategy": "pack"}, consumer_type="INSTANCE", project_id="p1"
    )
    assert [claim.allocations for claim in found.claims] == [{host: {"VCPU": 2}}] * 2
    assert found.claims[0].ranked_of == 1
    assert found.unplaced == ()
    first, second = (claim.consumer for claim in found.claims)
    held = moorage.claim_of(first)
    assert (held.providers, held.project_id, held.consumer_type, held.generation) == (
        {host: {"VCPU": 2}},
        "p1",
        "INSTANCE",
        found.claims[0].generation,
    )
    absent = str(uuid.uuid4())
    gone = moorage.release([first, second, absent])
    assert (sorted(gone.released), gone.absent) == (sorted([first, second]), (absent,))
    assert gone.revision == found.revision + 1
    with pytest.raises(NotFoundError):
        moorage.claim_of(first)
    assert moorage.release(first).absent == (first,)


def test_a_consumer_moves_with_its_generation(moorage: Moorage, host: str) -> None:
    [made] = moorage.claim(allocations={host: {"VCPU": 6}}, project_id="p1").claims
    move: dict[str, Any] = {"consumer": made.consumer, "project_id": "p1"}
    [moved] = moorage.claim(Ask.of({"VCPU": 8}), generation=made.generation, **move).claims
    assert (moved.consumer, moved.allocations) == (made.consumer, {host: {"VCPU": 8}})
    with pytest.raises(GenerationConflictError):
        moorage.claim(Ask.of({"VCPU": 1}), generation=made.generation, **move)
    kept = str(uuid.uuid4())
    with pytest.raises(NoRoomError):
        moorage.claim(Ask.of({"VCPU": 1}), generation=moved.generation, keep_old_as=kept, **move)
    [less] = moorage.claim(Ask.of({"VCPU": 4}), generation=moved.generation, **move).claims
    moorage.claim(Ask.of({"VCPU": 4}), generation=less.generation, keep_old_as=kept, **move)
    assert moorage.claim_of(kept).providers == {host: {"VCPU": 4}}


def test_the_same_key_gives_the_first_answer(moorage: Moorage, host: str) -> None:
    first = moorage.claim("resources=VCPU:4", project_id="p1", key="job-7")
    again = moorage.claim("resources=VCPU:4", project_id="p1", key="job-7")
    assert again.claims == first.claims
    assert (again.revision, again.replayed, again.state_now) == (first.revision, True, "held")
    with pytest.raises(KeyReusedError):
        moorage.claim("resources=VCPU:5", project_id="p1", key="job-7")
    assert len(list(moorage.claims(provider=host))) == 1


def test_what_does_not_fit_is_explained(moorage: Moorage, host: str) -> None:
    found = moorage.claim(Ask.of({"VCPU": 5}), count=2, mode="each", project_id="p1")
    [claim], [unplaced] = found.claims, found.unplaced
    assert claim.allocations == {host: {"VCPU": 5}}
    assert (unplaced.code, unplaced.index) == ("no_room", 1)
    assert unplaced.explanation is not None
    assert unplaced.explanation.nearest[0].missing[0].short == 2
    with pytest.raises(NeverFitsError) as never:
        moorage.claim(Ask.of({"VCPU": 9}), project_id="p1")
    assert never.value.explanation is not None
    with pytest.raises(NeverFitsError) as silent:
        moorage.claim(Ask.of({"VCPU": 9}), project_id="p1", explain="never")
    assert silent.value.explanation is None


def test_labels_and_what_was_asked_for_come_back(url: str, host: str) -> None:
    with Moorage(url, Token("admin")) as moorage:
        made = moorage.claim("resources=VCPU:1", labels={"job": "42"}, explain="always", project_id="demo")
        (one,) = made.claims
        assert one.explanation is not None
        assert one.explanation.verdict == "fits"
        shown = moorage.claim_of(one.consumer)
    assert (shown.labels, shown.ask) == ({"job": "42"}, {"query": "resources=VCPU:1"})
    assert (shown.profile, shown.decided_at) == (None, made.decided_at)
    assert list(one.allocations) == [host]
