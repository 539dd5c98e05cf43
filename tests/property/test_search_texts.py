"""Answers written by the thousand are those of their parts, whatever was remembered before."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from moorage.api.placement import allocation_candidates as candidate_body
from moorage.model.requests import CandidateRequest, SearchResult, SearchSettings
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match.candidates import find
from moorage.search.match.outcomes import Memory
from tests.property.strategies_search import CLASSES, examples, forests, requests
from tests.property.test_search_candidates import index_of

COPIES = 12
"""Equal trees: enough that their texts are made together."""


def copies(records: list[ProviderRecord], *, full_uuids: bool, anyone_shares: bool) -> list[ProviderRecord]:
    """The same trees again and again; providers without a root of theirs stay alone."""
    step = 1 + max((max(record.id, record.root_id) for record in records), default=0)
    return [
        replace(
            record,
            id=record.id + step * copy,
            uuid=str(UUID(int=record.id + step * copy)) if full_uuids else f"p{record.id + step * copy}",
            parent_id=None if record.parent_id is None else record.parent_id + step * copy,
            root_id=record.root_id + step * copy,
            traits=tuple(name for name in record.traits if anyone_shares or name != SHARING_TRAIT),
        )
        for copy in range(COPIES)
        for record in records
    ]


def text(result: SearchResult, minor: int) -> object:
    return json.loads(candidate_body.encoded(result, frozenset(CLASSES), minor))


def told_plainly(result: SearchResult) -> SearchResult:
    return SearchResult(list(result.candidates), list(result.summaries))


@examples(1)
@given(
    forests(),
    requests(),
    st.lists(st.sampled_from([None, None, None, 30, 5, 1]), min_size=1, max_size=3),
    st.sampled_from([True, True, False]),
    st.sampled_from([False, False, True]),
    st.sampled_from([False, False, True]),
    st.sampled_from([39, 39, 29, 12, 10]),
)
def test_an_answer_written_together_is_the_answer_written_one_by_one(
    records: list[ProviderRecord],
    request: CandidateRequest,
    limits: list[int | None],
    full_uuids: bool,
    anyone_shares: bool,
    breadth_first: bool,
    minor: int,
) -> None:
    memory = Memory()
    index = index_of(copies(records, full_uuids=full_uuids, anyone_shares=anyone_shares))
    for limit in limits:
        how = SearchSettings(-1 if limit is None else limit, breadth_first)
        for _ in ("first", "again"):
            result = find(index.snapshot(), request, how, Random(0), memory=memory)
            without = find(index.snapshot(), request, how, Random(0))
            assert result == without
            assert text(result, minor) == text(told_plainly(without), minor)
        _make_busier(index)


def _make_busier(index: Index) -> None:
    """One more unit is used of the first provider that has something."""
    for record in index.records():
        if record.inventories:
            (name, inventory, used), *others = record.inventories
            busier = replace(record, inventories=((name, inventory, used + 1), *others))
            tree = [each for each in index.records() if each.root_id == record.root_id]
            index.replace_trees([record.root_id], [busier if each == record else each for each in tree])
            return
