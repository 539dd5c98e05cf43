from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.model.requests import CandidateRequest, SearchSettings
from moorage.model.values import ProviderRecord
from moorage.search.index.building import block_of
from moorage.search.index.index import Index
from moorage.search.match.candidates import find
from tests.oracle.columns import columns_of
from tests.property.strategies_search import AGGREGATES, CLASSES, TRAITS, examples, forests, requests

Forest = list[ProviderRecord]


def fresh(records: Forest) -> Index:
    index = Index()
    index.set_names(CLASSES, TRAITS)
    index.replace_trees([], records)
    return index


def refresh(index: Index, before: Forest, after: Forest, random: Random) -> None:
    """Tell ``index`` of the trees that differ, a few at a time, each with all that belong to them."""
    old = {record.id: record for record in before}
    new = {record.id: record for record in after}
    changed = sorted(identifier for identifier in old | new if old.get(identifier) != new.get(identifier))
    random.shuffle(changed)
    while changed:
        part, changed = changed[:2], changed[2:]
        roots = {
            forest[identifier].root_id for identifier in part for forest in (old, new) if identifier in forest
        }
        members = [record for record in after if record.root_id in roots]
        random.shuffle(members)
        index.replace_trees(roots, members)


@examples(2)
@given(st.lists(forests(least=0), min_size=1, max_size=4), requests(), st.randoms(use_true_random=False))
def test_a_refreshed_index_equals_a_rebuilt_one(
    states: list[Forest], request: CandidateRequest, random: Random
) -> None:
    index = fresh(states[0])
    for before, after in pairwise(states):
        refresh(index, before, after, random)
    rebuilt = fresh(states[-1])
    assert list(index.records()) == list(rebuilt.records()) == states[-1]
    assert len(index) == len(states[-1])
    plain = SearchSettings()
    assert find(index.snapshot(), request, plain, Random(0)) == find(
        rebuilt.snapshot(), request, plain, Random(0)
    )


@pytest.mark.slow
@examples(2)
@given(
    st.lists(forests(), min_size=1, max_size=3), requests(), st.randoms(use_true_random=False), st.booleans()
)
def test_an_index_made_of_columns_equals_one_made_of_records(
    parts: list[Forest], request: CandidateRequest, random: Random, changes: bool
) -> None:
    records: Forest = []
    index = Index()
    index.set_names(CLASSES, TRAITS)
    for number, part in enumerate(parts):
        added = [moved(record, 100 * number) for record in part]
        records += added
        index.append(block_of(columns_of(added, random, CLASSES, TRAITS, AGGREGATES)))
    expected = fresh(records)
    assert list(index.records()) == list(expected.records()) == records
    if changes:
        # A later change finds what it needs.
        last = records[-1].root_id
        for each in (index, expected):
            each.replace_trees([last], [])
            each.change_used({record.id: {} for record in each.records()})
        assert list(index.records()) == list(expected.records())
    plain = SearchSettings()
    assert find(index.snapshot(), request, plain, Random(0)) == find(
        expected.snapshot(), request, plain, Random(0)
    )


def moved(record: ProviderRecord, distance: int) -> ProviderRecord:
    """The same provider with other ids."""
    return replace(
        record,
        id=record.id + distance,
        uuid=f"{record.uuid}-{distance}",
        name=f"name {record.id + distance}",
        parent_id=None if record.parent_id is None else record.parent_id + distance,
        root_id=record.root_id + distance,
    )


@examples(1)
@given(forests(), st.integers(0, 9), requests())
def test_new_amounts_are_taken_like_a_new_provider(
    records: Forest, used: int, request: CandidateRequest
) -> None:
    index = fresh(records)
    claimed = [
        replace(
            record,
            inventories=tuple(
                (name, replace(inventory, step_size=3 - inventory.step_size), used)
                for name, inventory, _ in record.inventories
            ),
        )
        for record in records
    ]
    roots = {record.root_id for record in records}
    index.replace_trees(roots, claimed)
    index.replace_trees(roots, claimed)
    assert list(index.records()) == claimed
    plain = SearchSettings()
    assert find(index.snapshot(), request, plain, Random(0)) == find(
        fresh(claimed).snapshot(), request, plain, Random(0)
    )


@examples(1)
@given(forests(), st.randoms(use_true_random=False))
def test_records_may_come_one_by_one_in_any_order(records: Forest, random: Random) -> None:
    index = fresh([])
    shuffled = list(records)
    random.shuffle(shuffled)
    for record in shuffled:
        index.replace_trees([], [record])
    assert list(index.records()) == records
    index.replace_trees({record.root_id for record in records}, [])
    assert list(index.records()) == []
    assert len(index) == 0


@pytest.mark.slow
@examples(2)
@given(
    forests(),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([*CLASSES, "NOT_OFFERED"]), st.integers(0, 9))),
    st.lists(st.integers(0, 30), max_size=5),
    requests(),
)
def test_new_use_alone_is_taken_as_whole_trees_with_that_use_are(
    records: Forest, uses: list[tuple[int, str, int]], roots: list[int], request: CandidateRequest
) -> None:
    used: dict[int, dict[str, int]] = {}
    for identifier, name, amount in uses:
        used.setdefault(identifier, {})[name] = amount
    concerned = {record.root_id for record in records if record.root_id in roots or record.id in roots}
    expected = [
        replace(
            record,
            inventories=tuple(
                (name, inventory, used.get(record.id, {}).get(name, 0))
                for name, inventory, _ in record.inventories
            ),
        )
        if record.root_id in concerned
        else record
        for record in records
    ]
    index, plain = fresh(records), SearchSettings()
    before = index.snapshot()
    # Whoever asked before has looked at what room there is.
    find(before, request, plain, Random(0))
    for _ in range(2):
        index.set_used([*concerned, 1_000], used)
        assert list(index.records()) == expected
    assert list(before.records()) == records
    again = fresh(expected)
    assert find(index.snapshot(), request, plain, Random(0)) == find(
        again.snapshot(), request, plain, Random(0)
    )


@examples(2)
@given(
    forests(),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([*CLASSES, "NOT_OFFERED"]), st.integers(0, 9))),
)
def test_new_use_of_single_providers_leaves_their_trees_as_they_were(
    records: Forest, uses: list[tuple[int, str, int]]
) -> None:
    used: dict[int, dict[str, int]] = {}
    for identifier, name, amount in uses:
        if identifier in {record.id for record in records}:
            used.setdefault(identifier, {})[name] = amount
    expected = [
        replace(
            record,
            inventories=tuple(
                (name, inventory, used[record.id].get(name, 0)) for name, inventory, _ in record.inventories
            ),
        )
        if record.id in used
        else record
        for record in records
    ]
    index = fresh(records)
    before = index.snapshot()
    for _ in range(2):
        index.change_used(used)
        assert list(index.records()) == expected
    assert list(before.records()) == records
    with pytest.raises(KeyError, match="1000"):
        index.change_used({record.id: {} for record in records} | {1_000: {}})
    assert list(index.records()) == expected


def test_an_index_without_providers_takes_use_as_well() -> None:
    index = fresh([])
    index.set_used([1], {1: {"VCPU": 1}})
    index.change_used({})
    assert list(index.records()) == []
