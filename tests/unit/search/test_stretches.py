"""Numbers of providers that are shown, put in order and together as stretches without gaps."""

from __future__ import annotations

import numpy as np

from moorage.search.index.columns import IntArray
from moorage.search.match.answers import _in_order, _stretches


def stretches(some: set[int], at_once: list[IntArray | list[int]]) -> list[tuple[int, int]]:
    return _stretches(_in_order(some, at_once))


def test_numbers_are_put_together_as_first_and_last_ones() -> None:
    assert stretches({7, 3}, [np.array([1, 2])]) == [(1, 3), (7, 7)]
    assert stretches(set(), [np.array([1, 2]), [3]]) == [(1, 3)]
    assert stretches({4, 3}, []) == [(3, 4)]


def test_trees_may_come_in_any_order() -> None:
    assert stretches(set(), [np.array([4, 2]), [3, 1]]) == [(1, 4)]
    assert stretches(set(), [[9, 1], np.array([5])]) == [(1, 1), (5, 5), (9, 9)]
    assert stretches({8}, [[9, 1]]) == [(1, 1), (8, 9)]
    assert stretches(set(), [[1, 9, 3]]) == [(1, 1), (3, 3), (9, 9)]


def test_nothing_shown_has_no_stretch() -> None:
    assert stretches(set(), []) == []
