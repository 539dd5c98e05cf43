"""The comparison sees what it has to see."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.peer import compare, state
from tests.peer.exchange import Answer, Request
from tests.peer.sequence import steps
from tests.peer.world import World, request

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


@pytest.mark.parametrize(
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


def test_a_generation_is_the_same_however_its_number_is_spelled() -> None:
    ours, theirs = (refusal(f"expected 3 but got {number} ") for number in ("5", "5.0"))
    assert compare.differences(ASKED, ours, theirs) == []
    assert compare.differences(ASKED, ours, refusal("expected 3 but got 6.0 "))


def test_contradictions_are_the_same_however_often_they_are_told() -> None:
    told = "Conflicting required and forbidden traits found in the following traits keys: "
    ours = refusal(f"{told}required1: (A), required_b-2: (A, B)  ")
    again = refusal(f"{told}required_b-2: (A, B), required1: (A), required1: (A)  ")
    assert compare.differences(ASKED, ours, again) == []
    assert compare.differences(ASKED, ours, refusal(f"{told}required_b-2: (A, B)  "))
    assert compare.differences(ASKED, ours, refusal(f"{told}required1: (A), required_b-2: (A)  "))


def test_numbers_beyond_what_json_keeps_exactly_are_as_near_as_a_double_is() -> None:
    assert compare.differences(ASKED, answer({"a": 2**63}), answer({"a": float(2**63)})) == []
    assert compare.differences(ASKED, answer({"a": 2**53 - 1}), answer({"a": 2**53}))
    assert compare.differences(ASKED, answer({"a": 10**400}), answer({"a": 10**401}))


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


def test_a_bound_wants_as_many_candidates_as_there_may_be_and_no_others() -> None:
    def found(*amounts: int) -> Answer:
        candidates = [{"allocations": {"p": {"resources": {"VCPU": amount}}}} for amount in amounts]
        return answer({"allocation_requests": candidates, "provider_summaries": {"p": {}} if amounts else {}})

    limited = request("GET", "/allocation_candidates", 39, query="resources=VCPU:1&limit=2")
    assert compare.bounded_differences(limited, found(1, 2), found(3, 2), found(1, 2, 3)) == []
    assert compare.bounded_differences(limited, found(1), found(1), found(1, 2, 3))
    assert compare.bounded_differences(limited, found(1, 4), found(1, 2), found(1, 2, 3))


def test_a_seed_stands_for_one_sequence() -> None:
    def peek(asked: Request) -> Answer:
        return answer({"allocations": {}, "generation": 0})

    first, second = ([build(peek) for build in steps(7)] for _ in range(2))
    assert first == second
    assert first != [build(peek) for build in steps(8)]
    assert World(random.Random(7), 3) != World(random.Random(8), 3)
