"""The comparison sees what it has to see."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.peer import compare, state
from tests.peer.exchange import Answer, Request
from tests.peer.sequence import steps
from tests.peer.world import World, request
from tests.table import each

ASKED = request("GET", "/resource_providers", 39)
HEADERS = {"content-type": "application/json", "vary": "openstack-api-version"}


WRITTEN = "Wed, 25 Nov 2026 19:00:00 GMT"


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, HEADERS | named, json.dumps(body).encode())


def refusal(detail: str, code: str = "placement.undefined_code") -> Answer:
    body = {"errors": [{"status": 400, "detail": detail, "code": code, "request_id": "req-1"}]}
    return answer(body, 400, x_openstack_request_id="req-1")


def test_order_of_lists_and_ids_of_requests_say_nothing() -> None:
    ours = answer({"a": [1, {"b": [2, 3]}], "request_id": "req-1"})
    theirs = answer({"a": [{"b": [3, 2]}, 1], "request_id": "req-2"})
    assert compare.differences(ASKED, ours, theirs) == []


@each(
    ("ours", "theirs"),
    [
        (answer({"a": 1}), answer({"a": 2})),
        (answer({"a": [1]}), answer({"a": [1, 1]})),
        (answer({"a": 1}), answer({})),
        (answer({}), answer({}, 400)),
        (answer({}), answer({}, allow="GET")),
        (answer({}, location="/a"), answer({}, location="/b")),
        (answer({}), replace(answer({}), headers={})),
        (replace(answer({}), headers={"content-type": "application/json"}), answer({})),
        (answer({}), replace(answer({}), headers=HEADERS | {"last-modified": "now"})),
        (refusal("one"), refusal("two")),
        (refusal("one"), refusal("one", "placement.other")),
        (
            answer({}, last_modified=WRITTEN),
            answer({}, last_modified=WRITTEN.replace("19:00", "20:00")),
        ),
        (
            replace(refusal("one"), headers=HEADERS | {"x-openstack-request-id": "req-2"}),
            refusal("one"),
        ),
    ],
)
def test_what_a_client_can_tell_apart_differs(ours: Answer, theirs: Answer) -> None:
    assert compare.differences(ASKED, ours, theirs)


def test_what_happened_about_the_same_time_is_the_same() -> None:
    ours, theirs = (answer({}, last_modified=WRITTEN.replace("00 GMT", f"{at} GMT")) for at in ("00", "59"))
    assert compare.differences(ASKED, ours, theirs) == []


def test_contradictions_are_the_same_however_often_they_are_told() -> None:
    told = "Conflicting required and forbidden traits found in the following traits keys: "
    ours = refusal(f"{told}required1: (A), required_b-2: (A, B)  ")
    again = refusal(f"{told}required_b-2: (A, B), required1: (A), required1: (A)  ")
    assert compare.differences(ASKED, ours, again) == []
    assert compare.differences(ASKED, ours, refusal(f"{told}required_b-2: (A, B)  "))
    assert compare.differences(ASKED, ours, refusal(f"{told}required1: (A), required_b-2: (A)  "))


def test_numbers_are_the_same_only_if_they_are_spelled_so() -> None:
    def shown(number: str) -> Answer:
        return replace(answer({}), body=f'{{"a": [{{"b": {number}}}]}}'.encode())

    for ours, theirs in (
        *(("16", "16.0"), ("100", "1e2"), ("0.00001", "1e-05"), ("0", "-0"), ("1", '"1"')),
        (str(2**63), str(2**63 + 1)),
    ):
        assert compare.differences(ASKED, shown(ours), shown(theirs)), ours
        assert compare.differences(ASKED, shown(theirs), shown(theirs)) == []
        told = [refusal(f"expected 3 but got {number} ") for number in (ours, theirs)]
        assert compare.differences(ASKED, *told), ours


def test_a_longer_vary_is_seen_but_none_in_the_reference_is_not() -> None:
    without = replace(answer({}), headers={"content-type": "application/json"})
    assert compare.differences(ASKED, answer({}), without) == []
    assert compare.differences(ASKED, answer({}, vary="accept"), answer({}))


def test_of_a_schema_only_the_refusal_counts() -> None:
    text = "JSON does not validate: {} is small  Failed validating 'x' in schema['{}']:     1  On instance"
    ours = refusal(text.format(1, "a"))
    assert compare.differences(ASKED, ours, refusal(text.format(1, "b"))) == []
    assert compare.differences(ASKED, ours, refusal(text.format(2, "a")))


def test_amounts_that_cannot_be_had_may_be_named_in_any_order_only_if_there_are_several() -> None:
    first, second = (refusal(f"Unable to allocate inventory: {which}") for which in "ab")
    one, two = (
        Request("PUT", "/allocations/x", body=json.dumps({"resources": dict.fromkeys(names, 1)}).encode())
        for names in ("A", "AB")
    )
    assert compare.differences(one, first, second)
    assert compare.differences(two, first, second) == []


def test_a_row_that_only_one_database_has_is_told_as_often_as_it_is_there() -> None:
    empty: state.State = {kind: [] for kind in state.QUERIES}
    full = empty | {"allocations": ["row", "row"]}
    assert state.differences(full, empty | {"allocations": ["row"]}) == ["allocations: only Moorage has row"]
    assert state.differences(empty, full) == ["allocations: only the reference has row"] * 2


def test_a_database_goes_back_to_what_it_held_while_others_have_it_open(tmp_path: Path) -> None:
    database = tmp_path / "kept.sqlite"
    with closing(sqlite3.connect(database)) as reader, closing(sqlite3.connect(database)) as writer:
        writer.execute("CREATE TABLE traits (name)")
        writer.execute("INSERT INTO traits VALUES ('before')")
        writer.commit()
        with closing(state.keep(database)) as kept:
            writer.execute("INSERT INTO traits VALUES ('after')")
            writer.commit()
            assert reader.execute("SELECT count(*) FROM traits").fetchone() == (2,)
            state.restore(database, kept)
        assert reader.execute("SELECT name FROM traits").fetchall() == [("before",)]


def found(providers: str, shown: str, **more: object) -> Answer:
    """A candidate of each provider, a letter, and summaries of those that are ``shown``."""
    candidates = [{"allocations": {name: {"resources": {"VCPU": 1}}}} for name in providers]
    return answer({"allocation_requests": candidates, "provider_summaries": dict.fromkeys(shown, more)})


def limited(limit: int, max_candidates: int = -1) -> Request:
    asked = request("GET", "/allocation_candidates", 39, query=f"resources=VCPU:1&limit={limit}")
    return replace(asked, max_candidates=max_candidates)


def test_a_bound_wants_as_many_candidates_as_there_may_be_and_no_others() -> None:
    whole = found("abc", "abc", parent_provider_uuid=None)
    assert compare.bounded_differences(limited(2), found("ab", "ab"), found("cb", "cb"), whole) == []
    assert compare.bounded_differences(limited(2), found("a", "a"), found("a", "a"), whole)
    assert compare.bounded_differences(limited(2), found("ad", "ad"), found("ab", "ab"), whole)


def root_of(provider: str) -> str:
    """There are the trees of A, with b and c, and of X, with y."""
    return "A" if provider in "Abc" else "X"


def test_before_1_29_a_limit_leaves_summaries_of_all_that_give_something_in_the_trees_that_are_left() -> None:
    whole = found("bcy", "bcy")
    for asked, kept, least, most in (
        (limited(1), "b", "bc", "bc"),
        (limited(2), "bc", "bc", "bc"),
        (limited(2), "by", "bcy", "bcy"),
        (limited(3), "bcy", "bcy", "bcy"),
        (limited(2, 1), "b", "b", "b"),
        (limited(2, 2), "by", "by", "bcy"),
        (limited(1, 2), "b", "b", "bc"),
    ):
        for shown in ("b", "bc", "by", "bcy", "c", ""):
            lines = compare.shown_differences(asked, found(kept, shown), whole, root_of)
            assert (not lines) == (set(least) <= set(shown) <= set(most)), (asked, shown, lines)


def test_from_1_29_on_the_trees_that_are_left_are_shown_whole() -> None:
    whole = found("bcy", "AbcXy", parent_provider_uuid=None)
    for asked in (limited(1), limited(1, 2), limited(2, 1)):
        for shown in ("b", "bc", "Abc", "AbcXy"):
            bounded = found("b", shown, parent_provider_uuid=None)
            lines = compare.shown_differences(asked, bounded, whole, root_of)
            assert (not lines) == (shown == "Abc"), (asked, shown, lines)


def test_a_summary_says_the_same_whatever_is_left() -> None:
    whole, changed = found("b", "b", used=1), found("b", "b", used=1.0)
    assert compare.shown_differences(limited(1), whole, whole, root_of) == []
    assert compare.shown_differences(limited(1), changed, whole, root_of)


def test_a_seed_stands_for_one_sequence() -> None:
    def peek(asked: Request) -> Answer:
        return answer({"allocations": {}, "generation": 0})

    first, second = ([build(peek) for build in steps(7)] for _ in range(2))
    assert first == second
    assert first != [build(peek) for build in steps(8)]
    assert World(random.Random(7), 3) != World(random.Random(8), 3)
