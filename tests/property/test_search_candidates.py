from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.model.requests import CandidateRequest, RequestGroup, SearchResult, SearchSettings
from moorage.model.values import ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match.candidates import Work, find, providers_matching
from moorage.search.match.outcomes import Memory
from tests.oracle.candidates import Canonical, Oracle, canonical
from tests.property.strategies_search import CLASSES, TRAITS, crowded, examples, forests, groups, requests

PLAIN = SearchSettings()


def index_of(records: Iterable[ProviderRecord]) -> Index:
    kept = list(records)
    index = Index()
    index.set_names(CLASSES, TRAITS)
    index.replace_trees({record.root_id for record in kept}, kept)
    return index


def found(result: SearchResult) -> list[Canonical]:
    return [canonical(candidate.allocations, candidate.mappings) for candidate in result.candidates]


def told(result: SearchResult) -> dict[str, object]:
    return {
        summary.uuid: (
            summary.parent_uuid,
            summary.root_uuid,
            dict(summary.resources),
            summary.traits,
        )
        for summary in result.summaries
    }


@examples(6)
@given(forests(), requests())
def test_search_finds_what_its_slow_twin_finds(
    records: list[ProviderRecord], request: CandidateRequest
) -> None:
    oracle = Oracle(records)
    result = find(index_of(records).snapshot(), request, PLAIN, Random(0))
    candidates = found(result)
    assert len(candidates) == len(set(candidates))
    assert set(candidates) == oracle.candidates(request)
    assert told(result) == oracle.summaries(request, candidates)
    assert [stage.left for stage in result.stages if stage.left < 0] == []


@pytest.mark.slow
@examples(3)
@given(crowded())
def test_search_finds_what_its_twin_finds_where_groups_hardly_fit(
    scene: tuple[list[ProviderRecord], CandidateRequest],
) -> None:
    records, request = scene
    candidates = found(find(index_of(records).snapshot(), request, PLAIN, Random(0)))
    assert len(candidates) == len(set(candidates))
    assert set(candidates) == Oracle(records).candidates(request)


@examples(3)
@given(forests(), requests(), st.integers(1, 6), st.booleans(), st.booleans(), st.integers(-1, 4))
def test_a_limited_search_finds_some_of_all(
    records: list[ProviderRecord],
    request: CandidateRequest,
    limit: int,
    breadth_first: bool,
    randomize: bool,
    max_candidates: int,
) -> None:
    oracle = Oracle(records)
    everything = oracle.candidates(request)
    how = SearchSettings(max_candidates, breadth_first, randomize)
    result = find(index_of(records).snapshot(), replace(request, limit=limit), how, Random(1))
    candidates = found(result)
    bound = min(limit, max(1, max_candidates)) if max_candidates >= 0 else limit
    assert len(candidates) == len(set(candidates)) == min(bound, len(everything))
    assert set(candidates) <= everything
    if not request.one_provider_per_tree:
        assert told(result) == oracle.summaries(request, candidates)


@pytest.mark.slow
@examples(3)
@given(forests(least=4), requests(), st.integers(1, 3), st.booleans(), st.booleans(), st.integers(-1, 4))
def test_a_limited_search_of_an_older_client_shows_what_gives_in_candidates_that_were_left_out(
    records: list[ProviderRecord],
    request: CandidateRequest,
    limit: int,
    breadth_first: bool,
    randomize: bool,
    max_candidates: int,
) -> None:
    oracle = Oracle(records)
    older = replace(request, one_provider_per_tree=True, same_subtree=())
    everything = oracle.candidates(older)
    how = SearchSettings(max_candidates, breadth_first, randomize)
    result = find(index_of(records).snapshot(), replace(older, limit=limit), how, Random(1))
    candidates, shown = found(result), told(result)
    of_kept, of_all = (oracle.summaries(older, candidates, others) for others in ((), everything))
    if max_candidates < 0:
        assert shown == of_all
    elif max_candidates <= limit:
        assert shown == of_kept
    else:
        # It is not said which of all candidates such a bound leaves.
        assert of_kept.items() <= shown.items() <= of_all.items()


@examples(2)
@given(forests(), requests(), st.booleans(), st.integers(-1, 6), st.integers(1, 6), st.integers(0, 9))
def test_a_random_answer_is_a_permutation_of_the_default_and_a_limited_one_a_part_of_it(
    records: list[ProviderRecord],
    request: CandidateRequest,
    breadth_first: bool,
    max_candidates: int,
    limit: int,
    seed: int,
) -> None:
    snapshot = index_of(records).snapshot()
    default = SearchSettings(max_candidates, breadth_first)
    randomized = replace(default, randomize=True)
    expected = find(snapshot, request, default, Random(0))
    result = find(snapshot, request, randomized, Random(seed))
    assert len(found(result)) == len(expected.candidates)
    assert set(found(result)) == set(found(expected))
    assert told(result) == told(expected)
    some = found(find(snapshot, replace(request, limit=limit), randomized, Random(seed)))
    assert len(set(some)) == len(some) == min(limit, len(expected.candidates))
    assert set(some) <= set(found(expected))


@examples(2)
@given(forests(), requests(), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9)), max_size=4))
def test_a_random_answer_from_what_blocks_keep_is_a_permutation_of_the_slow_twins(
    records: list[ProviderRecord], request: CandidateRequest, changes: list[tuple[int, int]]
) -> None:
    index, memory, randomized = index_of(records), Memory(), SearchSettings(randomize=True)
    records = list(index.records())
    for number, (place, used) in enumerate([(0, None), *changes]):
        if used is not None:
            changed = records[place % len(records)]
            index.change_used({changed.id: {name: used for name, _, _ in changed.inventories}})
            records = list(index.records())
        oracle = Oracle(records)
        for _ in range(2):
            work = Work()
            result = find(index.snapshot(), request, randomized, Random(number), work, memory)
            assert len(set(found(result))) == len(found(result))
            assert set(found(result)) == oracle.candidates(request)
            assert told(result) == oracle.summaries(request, found(result))
            anew = Work()
            without = find(index.snapshot(), request, randomized, Random(number), anew)
            assert (found(without), anew.done) == (found(result), work.done)


@examples(2)
@given(forests(), requests(), st.booleans())
def test_order_and_strategy_do_not_change_what_is_found(
    records: list[ProviderRecord], request: CandidateRequest, randomize: bool
) -> None:
    index = index_of(records)
    depth_first = found(find(index.snapshot(), request, PLAIN, Random(0)))
    breadth_first = found(find(index.snapshot(), request, SearchSettings(-1, True, randomize), Random(2)))
    assert len(depth_first) == len(breadth_first)
    assert set(depth_first) == set(breadth_first)


@examples(1.5)
@given(forests(), requests(), st.booleans(), st.randoms(use_true_random=False))
def test_the_same_request_gets_the_same_list_however_the_index_came_about(
    records: list[ProviderRecord], request: CandidateRequest, breadth_first: bool, random: Random
) -> None:
    how = SearchSettings(-1, breadth_first, False)
    shuffled = list(records)
    random.shuffle(shuffled)
    first = find(index_of(records).snapshot(), request, how, Random(0))
    again = find(index_of(shuffled).snapshot(), request, how, Random(3))
    assert first == again


@examples(1.5)
@given(forests(), groups("", least_classes=0))
def test_providers_matching_are_those_that_satisfy_a_group_alone(
    records: list[ProviderRecord], group: RequestGroup
) -> None:
    assert providers_matching(index_of(records).snapshot(), group) == Oracle(records).providers_matching(
        group
    )
