from __future__ import annotations

import json
from typing import Any

import pytest

from moorage.api.placement import allocation_candidates as candidate_body
from moorage.model.requests import CandidateRequest, KeptSummaries, PatternedCandidates, SearchResult
from moorage.model.values import SHARING_TRAIT, Inventory
from moorage.search.index.index import Index
from tests.table import each
from tests.unit.search.builders import group, index_of, provider, search

MINORS = (10, 11, 12, 16, 17, 26, 27, 28, 29, 33, 34, 39)


@pytest.fixture(scope="module")
def index() -> Index:
    """Trees and a provider that shares; the names of some could be taken for a template's."""
    root = provider(1, {"VCPU": 4}, traits=["RED"], aggregates=["a"])
    children = [provider(number, {"VF": 2}, below=root) for number in (2, 3)]
    share = provider(9, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
    return index_of(root, *children, share, provider(4, {"VCPU": 2, "DISK_GB": 5, "VF": 3}))


REQUESTS = [
    CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 2, "VF": 1}),)),
    CandidateRequest(
        (group("", {"VCPU": 1}), group("_A-1", {"VF": 1}), group("_B", {"VF": 1})), group_policy="none"
    ),
    CandidateRequest((group("", {"VCPU": 1}), group("_none", required=[["RED"]]))),
    CandidateRequest((group("", {"VCPU": 99}),)),
    CandidateRequest((group("_1", {"VCPU": 1}),), limit=1),
    CandidateRequest((group(),)),
]


def plainly(result: SearchResult) -> SearchResult:
    """The same answer as simple lists."""
    return SearchResult(list(result.candidates), list(result.summaries))


@each("minor", MINORS)
@each("request_", REQUESTS)
def test_an_answer_by_the_thousand_is_that_of_its_parts(
    index: Index, request_: CandidateRequest, minor: int
) -> None:
    result = search(index, request_)
    assert isinstance(result.candidates, PatternedCandidates)
    assert isinstance(result.summaries, KeptSummaries)
    requested = frozenset(["VCPU", "VF"])
    expected: Any = json.loads(candidate_body.encoded(plainly(result), requested, minor))
    for _ in ("first", "from what was kept"):
        assert json.loads(candidate_body.encoded(result, requested, minor)) == expected


def test_summaries_are_kept_where_they_do_not_depend_on_what_was_asked(index: Index) -> None:
    result = search(index, CandidateRequest((group("", {"VCPU": 1}),)))
    wide = candidate_body.encoded(result, frozenset(["VCPU"]), 29)
    assert wide == candidate_body.encoded(result, frozenset(), 29)
    assert b"DISK_GB" not in candidate_body.encoded(result, frozenset(["VCPU"]), 26)
    assert b"DISK_GB" in wide


def test_a_capacity_beyond_64_bits_is_written_to_the_last_digit() -> None:
    ratio = 3.4e38
    huge = Inventory(1000, allocation_ratio=ratio)
    result = search(index_of(provider(1, {"VCPU": huge})), CandidateRequest((group("", {"VCPU": 1}),)))
    for minor in (17, 39):
        answer = json.loads(candidate_body.encoded(result, frozenset(["VCPU"]), minor))
        assert answer["provider_summaries"]["p1"]["resources"]["VCPU"]["capacity"] == int(1000 * ratio)
