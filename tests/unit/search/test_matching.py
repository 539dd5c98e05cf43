from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.search.match.constraints import Matching
from moorage.search.match.plan import Work


def can_be_matched(domains: list[list[int]]) -> bool:
    slots = sorted({slot for domain in domains for slot in domain})
    return any(
        all(slot in domain for slot, domain in zip(chosen, domains, strict=True))
        for chosen in permutations(slots, len(domains))
    )


@given(st.lists(st.lists(st.integers(0, 5), unique=True, max_size=4), max_size=5))
def test_a_matching_is_found_exactly_if_there_is_one(domains: list[list[int]]) -> None:
    assert Matching(dict(enumerate(domains)), Work()).complete() == can_be_matched(domains)


def test_others_make_way_for_the_one_that_has_no_choice() -> None:
    matching = Matching({0: [1, 2], 1: [2, 3], 2: [1]}, Work())
    assert matching.complete()
    assert matching.fix(0, 2)
    assert matching.fix(1, 3)
    assert matching.fix(2, 1)


def test_a_slot_that_the_rest_cannot_do_without_is_refused_and_nothing_changes() -> None:
    matching = Matching({0: [1, 2], 1: [1]}, Work())
    assert matching.complete()
    assert not matching.fix(0, 1)
    assert not matching.is_fixed(1)
    assert matching.fix(0, 2)
    assert matching.fix(1, 1)


def test_a_fixed_slot_is_refused_until_it_is_released() -> None:
    matching = Matching({0: [1, 2], 1: [1, 2]}, Work())
    assert matching.complete()
    assert matching.fix(0, 1)
    assert not matching.fix(1, 1)
    matching.release(0, 1)
    assert matching.fix(0, 2)
    assert matching.fix(1, 1)


@pytest.mark.parametrize("size", [1, 2_000])
def test_long_chains_do_not_need_a_deep_stack(size: int) -> None:
    chain = {number: [number, number + 1] for number in range(size)}
    chain[size] = [0]
    matching = Matching(chain, Work())
    assert matching.complete()
