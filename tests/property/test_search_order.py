from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.model.mixes import Mix
from moorage.model.orders import SCALE, SLOTS, STRATEGIES, Order, Ranking, Wish
from moorage.model.requests import CandidateRequest
from moorage.model.values import ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match.outcomes import Memory
from moorage.search.order.chances import prices_of
from moorage.search.order.ranking import OrderMemory, best, first
from tests.oracle.candidates import Canonical, canonical
from tests.oracle.order import OrderOracle
from tests.oracle.slots import SlotsOracle
from tests.property.strategies_search import CLASSES, TRAITS, crowded, examples, forests, requests

weights = st.sampled_from([0.0, 0.5, 1.0, 2.0, 10.0])
wishes = st.one_of(
    st.builds(lambda name, weight: Wish(weight, trait=name), st.sampled_from(TRAITS), weights),
    st.builds(
        lambda number, weight: Wish(weight, provider=f"provider-{number:02}"),
        st.sampled_from([1, 4, 7, 10]),
        weights,
    ),
)
some_wishes = st.lists(wishes, max_size=2).map(tuple)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    return Order(
        strategy=draw(st.sampled_from(STRATEGIES)),
        weights=draw(st.dictionaries(st.sampled_from(CLASSES), weights, max_size=2)),
        prefer=draw(some_wishes),
        avoid=draw(some_wishes),
        spare_special=draw(weights),
        seed=draw(st.integers(0, 3)),
        largest=draw(st.dictionaries(st.sampled_from(CLASSES), st.sampled_from([0.0, 4.0]), max_size=1)),
        rare=draw(st.sampled_from([None, frozenset(TRAITS[:2]), frozenset(["CUSTOM_A", "VCPU"])])),
    )


def index_of(records: Iterable[ProviderRecord]) -> Index:
    kept = list(records)
    index = Index()
    index.set_names(CLASSES, TRAITS)
    index.replace_trees({record.root_id for record in kept}, kept)
    return index


mixes = st.lists(st.tuples(requests(), st.sampled_from([1.0, 2.0, 5.0])), min_size=1, max_size=4)
residuals = st.sampled_from(
    [[0.0] * 101, [number / 100 for number in range(101)], [float(number >= 50) for number in range(101)]]
)

Listed = list[tuple[tuple[int, int | str, int], Canonical]]


def listed(records: list[ProviderRecord], found: Ranking, *, by_name: bool = False) -> Listed:
    known = {record.uuid: record for record in records}
    return [
        (
            (
                -round(each.score * SCALE),
                known[each.root].name if by_name else each.tie,
                known[each.root].id,
            ),
            canonical(each.candidate.allocations, each.candidate.mappings),
        )
        for each in found.candidates
    ]


scenes = st.one_of(st.tuples(forests(), requests()), st.tuples(forests(least=5), requests()), crowded())


@pytest.mark.slow
@examples(6)
@given(scenes, orders(), st.integers(1, 12), st.booleans())
def test_the_best_are_those_of_all_sorted(
    scene: tuple[list[ProviderRecord], CandidateRequest], order: Order, limit: int, all_of_tree: bool
) -> None:
    records, request = scene
    left = {(placed.rank, placed.candidate) for placed in OrderOracle(records).all_placed(request, order)}
    feasible = len({rank[2] for rank, _ in left})
    found = best(index_of(records).snapshot(), request, order, limit, all_of_tree=all_of_tree)
    assert (found.feasible_trees, found.exact) == (feasible, True)
    ranked = listed(records, found, by_name=order.strategy == SLOTS)
    for rank, candidate in ranked:
        assert (rank, candidate) in left
        assert rank == min(left)[0]
        left = {other for other in left if other[1] != candidate and (all_of_tree or other[0][2] != rank[2])}
    assert len(ranked) == limit or not left


def named(records: Iterable[ProviderRecord]) -> list[ProviderRecord]:
    """The same providers with names, which do not come in the order of ids."""
    return [replace(record, name=f"name-{record.id * 7 % 10}-{record.id}") for record in records]


@pytest.mark.slow
@examples(6)
@given(
    scenes,
    orders().map(lambda order: replace(order, strategy=SLOTS)),
    mixes,
    residuals,
    st.sampled_from(CLASSES),
    st.integers(1, 12),
    st.booleans(),
)
def test_the_best_for_a_mix_are_those_of_all_sorted(
    scene: tuple[list[ProviderRecord], CandidateRequest],
    order: Order,
    mix: list[tuple[CandidateRequest, float]],
    residual: list[float],
    scored: str,
    limit: int,
    all_of_tree: bool,
) -> None:
    records, request = named(scene[0]), scene[1]
    slots = SlotsOracle(records, mix, scored, residual)
    left = {
        (placed.rank, placed.candidate) for placed in OrderOracle(records, slots).all_placed(request, order)
    }
    feasible = len({rank[2] for rank, _ in left})
    snapshot = index_of(records).snapshot()
    prices = prices_of(snapshot, Mix.of(mix), scored, np.array(residual))
    found = best(snapshot, request, order, limit, all_of_tree=all_of_tree, prices=prices)
    assert (found.feasible_trees, found.exact) == (feasible, True)
    ranked = listed(records, found, by_name=True)
    for rank, candidate in ranked:
        assert (rank, candidate) in left
        assert rank == min(left)[0]
        left = {other for other in left if other[1] != candidate and (all_of_tree or other[0][2] != rank[2])}
    assert len(ranked) == limit or not left


@examples(2)
@given(scenes, orders(), st.integers(1, 4), st.integers(1, 4))
def test_among_the_best_the_seed_draws(
    scene: tuple[list[ProviderRecord], CandidateRequest], order: Order, among: int, limit: int
) -> None:
    records, request = scene
    snapshot = index_of(records).snapshot()
    plain = listed(records, best(snapshot, request, order, max(among, limit)))
    drawn = listed(records, best(snapshot, request, replace(order, among_best=among), limit))
    assert len(drawn) == min(limit, len(plain))
    assert {rank for rank, _ in drawn[:among]} <= {rank for rank, _ in plain[:among]}
    assert [rank for rank, _ in drawn[among:]] == [rank for rank, _ in plain[among:limit]]


@pytest.mark.slow
@examples(2)
@given(
    st.lists(st.tuples(forests(least=3), st.integers(1, 5)), min_size=1, max_size=4),
    requests(),
    orders(),
    mixes,
)
def test_what_blocks_keep_changes_no_answer(
    states: list[tuple[list[ProviderRecord], int]],
    request: CandidateRequest,
    order: Order,
    mix: list[tuple[CandidateRequest, float]],
) -> None:
    memory = OrderMemory(Memory())
    index = index_of(states[0][0])
    prices = prices_of(index.snapshot(), Mix.of(mix))
    known = {record.root_id for record in states[0][0]}
    for records, limit in states:
        roots = {record.root_id for record in records}
        index.replace_trees(known | roots, records)
        known = roots
        snapshot = index.snapshot()
        fresh = best(snapshot, request, order, limit, prices=prices)
        for _ in range(2):
            assert best(snapshot, request, order, limit, memory=memory, prices=prices) == fresh
        chosen = first(snapshot, request, order, memory=memory, prices=prices)
        assert chosen == (fresh.candidates[0] if fresh.candidates else None)
        used = {
            record.id: {name: (taken + 1) % 4 for name, _, taken in record.inventories}
            for record in records[:2]
        }
        index.change_used(used)
        assert best(index.snapshot(), request, order, limit, memory=memory, prices=prices) == best(
            index.snapshot(), request, order, limit, prices=prices
        )
