"""The Ask: JSON and pasted queries mean the same request, and each fault is named with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from moorage.api.http.settings import Limits
from moorage.api.http.validation import BODY_FORMATS, Validator
from moorage.api.http.wire_error import WireError
from moorage.api.native import ask, strict
from moorage.api.native.ask import DecodedAsk, query_in
from moorage.api.placement.query import newest_request
from moorage.model.requests import ISOLATE, CandidateRequest, RequestGroup
from moorage.model.values import MAX_INT
from tests.table import each
from tests.unit.api.fake import OTHER, UUID

ASK = Validator(ask.SCHEMA, BODY_FORMATS)


def decoded(value: Mapping[str, Any]) -> DecodedAsk:
    strict.check(value, ASK)
    return ask.decode(value, newest_request, Limits())


def refused(value: Mapping[str, Any]) -> WireError:
    with pytest.raises(WireError) as caught:
        decoded(value)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_request"
    return caught.value


WHOLE: Mapping[str, Any] = {
    "groups": {
        "": {
            "resources": {"VCPU": 4, "MEMORY_MB": 8192},
            "required": ["HW_CPU_X86_AVX2", {"any": ["CUSTOM_A", "CUSTOM_B"]}],
            "forbidden": ["CUSTOM_C"],
            "member_of": [{"any": [UUID, OTHER]}],
            "not_member_of": [OTHER],
            "in_tree": UUID,
        },
        "_GPU": {"resources": {"PGPU": 1}},
        "_NUMA": {"required": ["HW_NUMA_ROOT"], "in_tree": None},
    },
    "group_policy": "isolate",
    "root_required": ["CUSTOM_R"],
    "root_forbidden": ["CUSTOM_S"],
    "same_subtree": [["_GPU", "_NUMA"]],
}
QUERY = (
    "resources=VCPU:4,MEMORY_MB:8192&required=HW_CPU_X86_AVX2,!CUSTOM_C&required=in:CUSTOM_A,CUSTOM_B"
    f"&member_of=in:{UUID},{OTHER}&member_of=!{OTHER}&in_tree={UUID}&resources_GPU=PGPU:1"
    "&required_NUMA=HW_NUMA_ROOT&group_policy=isolate&root_required=CUSTOM_R,!CUSTOM_S"
    "&same_subtree=_GPU,_NUMA"
)


def test_an_ask_means_what_the_query_with_the_same_words_means() -> None:
    assert decoded(WHOLE).request == decoded({"query": QUERY}).request
    assert decoded(WHOLE).notes == ()


def test_the_smallest_ask_has_one_amount() -> None:
    (group,) = decoded({"groups": {"": {"resources": {"VCPU": 1}}}}).request.groups
    assert group == RequestGroup("", {"VCPU": 1})


def test_groups_may_share_providers_unless_the_ask_isolates_them() -> None:
    two = {"_A": {"resources": {"VCPU": 1}}, "_B": {"resources": {"VCPU": 1}}}
    assert decoded({"groups": two}).request.group_policy is None
    assert decoded({"groups": two, "group_policy": "none"}).request.group_policy is None
    assert decoded({"groups": two, "group_policy": "isolate"}).request.group_policy == ISOLATE


def test_an_amount_that_no_inventory_can_hold_is_asked_as_the_least_such_amount() -> None:
    (group,) = decoded({"groups": {"": {"resources": {"VCPU": 10**30}}}}).request.groups
    assert group.resources == {"VCPU": MAX_INT + 1}


def test_an_ask_that_was_decoded_before_is_the_same_one() -> None:
    first, second = ({"groups": {"": {"resources": {"VCPU": amount}}}} for amount in (171, 172))
    assert decoded(first) is decoded(json.loads(json.dumps(first)))
    assert decoded(first) != decoded(second)
    assert decoded(first).single.limit == 1
    assert decoded(first).request.limit is None


def test_a_fault_is_found_again_at_its_own_place() -> None:
    for at in (("ask",), ("claims", 3, "ask")):
        with pytest.raises(WireError) as caught:
            ask.decode({"groups": {}}, newest_request, Limits(), at)
        assert caught.value.extra["pointer"] == "/" + "/".join(map(str, at)) + "/groups"


@each("odd", [{"resources": {"VCPU": 1 << 70}}, {"resources": {"VCPU": 1}, "member_of": ["\ud800"]}])
def test_an_ask_that_has_no_plain_text_is_decoded_each_time(odd: Mapping[str, Any]) -> None:
    found = ask.decode({"groups": {"": odd}}, newest_request, Limits())
    assert found == ask.decode({"groups": {"": odd}}, newest_request, Limits())


def test_the_limit_of_a_pasted_query_is_ignored_and_named() -> None:
    for query in ("limit=1000&resources=VCPU:1", "resources=VCPU:1;limit=5", "resources=VCPU:1&limit=x"):
        asked = decoded({"query": query})
        assert (asked.request.limit, asked.notes) == (None, ("limit in the query was ignored",))


TRIMMED = (ask.TRIMMED,)


@each(
    ("text", "notes"),
    [
        ("resources=VCPU:1,DISK_GB:2&required=A", ()),
        ("  resources=VCPU:1,DISK_GB:2&required=A\n", ()),
        ("?resources=VCPU:1,DISK_GB:2&required=A", ()),
        ("resources=VCPU%3A1%2CDISK_GB%3A2&required=A", ()),
        ("/allocation_candidates?resources=VCPU:1,DISK_GB:2&required=A", TRIMMED),
        (
            "http://placement:8778/placement/allocation_candidates?resources=VCPU:1,DISK_GB:2&required=A",
            TRIMMED,
        ),
        ("https://[::1]/x?resources=VCPU:1,DISK_GB:2&required=A#here", TRIMMED),
        (
            '10.0.0.1 "GET /x/allocation_candidates?resources=VCPU%3A1%2CDISK_GB%3A2&required=A" status: 200',
            TRIMMED,
        ),
        (
            "DEBUG nova [req-1] GET /allocation_candidates?resources=VCPU:1,DISK_GB:2&required=A HTTP/1.1",
            TRIMMED,
        ),
        ("asked with query: resources=VCPU:1,DISK_GB:2&required=A, and found nothing", TRIMMED),
        ("(resources=VCPU:1,DISK_GB:2&required=A)", TRIMMED),
        ("<required=A&resources=VCPU:1,DISK_GB:2>", TRIMMED),
    ],
)
def test_a_query_is_found_in_a_url_a_path_or_a_line_of_a_log(text: str, notes: tuple[str, ...]) -> None:
    asked = decoded({"query": text})
    wanted = RequestGroup("", {"DISK_GB": 2, "VCPU": 1}, required=(frozenset({"A"}),))
    assert asked.request.groups == (wanted,)
    assert asked.notes == notes


@each(
    ("change", "pointer", "nearest"),
    [
        ({"group": {}}, "/group", ["groups"]),
        ({"groups": {"": {"resource": {"VCPU": 1}}}}, "/groups//resource", ["resources", "required"]),
        (
            {"groups": {"": {"resources": {"VCPU": 1}, "memberof": []}}},
            "/groups//memberof",
            ["member_of", "not_member_of"],
        ),
        ({"groups": {"a/b": {"resources": {"VCPU": 1}}}}, "/groups/a~1b", []),
        ({"groups": {"": {"resources": {"VCPU": 0}}}}, "/groups//resources/VCPU", None),
        ({"groups": {"": {"resources": {"VCPU": "1"}}}}, "/groups//resources/VCPU", None),
        ({"groups": {"": {"resources": {"vcpu": 1}}}}, "/groups//resources/vcpu", []),
        ({"groups": {"": {"resources": {"VCPU": 1}, "required": ["a"]}}}, "/groups//required/0", None),
        ({"groups": {"": {"resources": {"VCPU": 1}, "member_of": ["a"]}}}, "/groups//member_of/0", None),
        ({"groups": {}}, "/groups", None),
        ({"group_policy": "isolated"}, "/group_policy", ["isolate"]),
        ({"query": ""}, "/query", None),
        ({"same_subtree": [[]]}, "/same_subtree/0", None),
    ],
)
def test_a_fault_of_the_form_is_named_with_its_place_and_the_nearest_name(
    change: dict[str, Any], pointer: str, nearest: list[str] | None
) -> None:
    error = refused({"groups": WHOLE["groups"], **change})
    assert error.extra["pointer"] == pointer
    assert error.extra.get("nearest") == nearest


@each(
    ("value", "pointer", "word"),
    [
        ({}, "/ask", "groups, or a query"),
        ({"query": "resources=VCPU:1", "group_policy": "none"}, "/ask/group_policy", "beside"),
        ({"query": "resources=VCPU"}, "/ask/query", "Badly formed resources"),
        ({"query": "resource=VCPU:1"}, "/ask/query", "resource"),
        ({"query": "nothing at all"}, "/ask/query", "nothing"),
        ({"groups": {"": {"required": ["A"]}}}, "/ask/groups", "must have resources"),
        (
            {"groups": {"": {"resources": {"A": 1}, "required": ["A"], "forbidden": ["A"]}}},
            "/ask/groups//required/0",
            "requires and forbids A",
        ),
        (
            {"groups": {"": {"resources": {"A": 1}}, "_X": {"required": ["A"]}}},
            "/ask/groups/_X",
            "without resources",
        ),
        (
            {"groups": {"": {"resources": {"A": 1}}}, "same_subtree": [[""]]},
            "/ask/same_subtree/0",
            "unsuffixed",
        ),
        (
            {"groups": {"_GPU": {"resources": {"A": 1}}}, "same_subtree": [["_GPUS"]]},
            "/ask/same_subtree/0",
            "no group '_GPUS'",
        ),
        (
            {"groups": {"": {"resources": {"A": 1}}}, "root_required": ["A"], "root_forbidden": ["A"]},
            "/ask/root_forbidden",
            "both name A",
        ),
    ],
)
def test_an_ask_that_contradicts_itself_is_refused_with_the_place(
    value: dict[str, Any], pointer: str, word: str
) -> None:
    error = refused(value)
    assert error.extra["pointer"] == pointer
    assert word in error.message


@each(
    "value",
    [
        {"groups": {"_" + "A" * 9000: {"resources": {"A": 1}}}},
        {"groups": {"_A": {"resources": {"A": 1}, "B" * 9000: 1}}},
        {"groups": {"_A": {"resources": {"A": 1}}}, "same_subtree": [["_" + "A" * 9000]]},
        {
            "groups": {
                "": {
                    "resources": {"A": 1},
                    "required": [{"any": [f"A{number}" for number in range(3000)]}],
                    "forbidden": [f"A{number}" for number in range(3000)],
                }
            }
        },
    ],
)
def test_a_refusal_quotes_the_beginning_of_long_names(value: dict[str, Any]) -> None:
    error = refused(value)
    assert len(error.message) < 600
    assert len(str(error.extra["pointer"])) < 600


def test_a_misspelt_group_in_a_subtree_gets_the_nearest_one() -> None:
    value = {"groups": {"_GPU": {"resources": {"A": 1}}}, "same_subtree": [["_GPUS"]]}
    assert refused(value).extra["nearest"] == ["_GPU"]


@each(
    ("value", "counts"),
    [
        (WHOLE, {"request groups": 3, "subtree groups": 2, "traits": 7, "aggregates": 3}),
        ({"query": QUERY}, {"request groups": 0, "subtree groups": 0, "traits": 0, "aggregates": 0}),
        (
            {"groups": [1], "same_subtree": 3},
            {"request groups": 1, "subtree groups": 0, "traits": 0, "aggregates": 0},
        ),
        (None, {"request groups": 0, "subtree groups": 0, "traits": 0, "aggregates": 0}),
    ],
)
def test_what_an_ask_names_is_counted_whatever_its_form(value: object, counts: dict[str, int]) -> None:
    assert {what: count(value) for what, count in ask.COUNTS} == counts
    assert {what: count({"ask": value}) for what, count in ask.counts_within("ask")} == counts


def test_a_pasted_query_keeps_to_the_limits() -> None:
    with pytest.raises(WireError, match="at most 1 are allowed") as caught:
        ask.decode({"query": "resources=A:1&resources1=A:1"}, newest_request, Limits(request_groups=1))
    assert caught.value.extra == {"pointer": "/ask/query"}


@each("value", ask.EXAMPLES)
def test_the_examples_are_valid(value: Mapping[str, Any]) -> None:
    assert isinstance(decoded(json.loads(json.dumps(value))).request, CandidateRequest)


NAMES = some.text("ABC_", min_size=1, max_size=3)
GROUPS = some.dictionaries(
    some.sampled_from(["", "_A", "_B", "1"]),
    some.dictionaries(NAMES, some.integers(1, 99), min_size=1, max_size=3),
    min_size=1,
)


@given(GROUPS, some.sampled_from(["", "GET /x?", "http://h/allocation_candidates?"]), some.booleans())
def test_any_amounts_survive_being_pasted(
    groups: dict[str, dict[str, int]], before: str, is_quoted: bool
) -> None:
    pairs = [
        (f"resources{suffix}", ",".join(f"{name}:{amount}" for name, amount in amounts.items()))
        for suffix, amounts in groups.items()
    ]
    query = "&".join(f"{key}={quote(value) if is_quoted else value}" for key, value in pairs)
    pasted = decoded({"query": f"{before}{query}&group_policy=none"}).request
    assert pasted == decoded({"groups": {key: {"resources": value} for key, value in groups.items()}}).request


@given(some.text(max_size=60))
def test_a_text_that_is_no_query_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with suppress(WireError):
        decoded({"query": text})
    assert len(query_in(text)) <= len(text)
