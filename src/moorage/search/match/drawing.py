"""A random choice of candidates: every set of so many is equally likely, and so is every order of it.

The candidates of a request are numbered in the order in which a search without chance finds them. How many
each tree has is known or counted. So numbers are drawn, and only the candidates with these numbers are made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final, Protocol

import numpy as np

from moorage.search.index.columns import IntArray
from moorage.search.match.division import Division
from moorage.search.match.drawn import FEW_AT_ONCE, DrawingCollector, Drawn
from moorage.search.match.outcomes import Forms, Kind, Outcome
from moorage.search.match.plan import Survey, Work
from moorage.search.match.tree import NumberedChoices
from moorage.search.match.tree_view import View

FEW: Final = 32
"""Up to so many numbers are drawn, and looked up, faster one by one."""

MOST_OF_A_TREE: Final = 1 << 40
MOST: Final = 1 << 61
"""Candidates of a tree, and of all trees together, that are numbered: an array holds no larger numbers."""


class UncountedError(Exception):
    """There are more candidates than can be numbered."""


class Ways(Protocol):
    """The ways in which trees with the same key can serve a request, by number."""

    @property
    def count(self) -> int:
        """How many there are."""

    def outcome(self, number: int) -> Outcome:
        """The one with this number. Raises OutOfStepsError."""


class NumberedWays(Ways):
    """Ways whose number follows without a search: each is made when it is drawn, in ``steps``."""

    def __init__(self, forms: Forms, view: View, numbered: NumberedChoices, work: Work, steps: int) -> None:
        """Raises UncountedError."""
        if numbered.count > MOST_OF_A_TREE:
            raise UncountedError
        self._forms = forms
        self._view = view
        self._numbered = numbered
        self._work = work
        self._steps = steps

    @property
    def count(self) -> int:
        return self._numbered.count

    def outcome(self, number: int) -> Outcome:
        self._work.steps += 1
        self._work.spend(self._steps)
        return self._forms.outcome(self._view, self._numbered.choice(number))


class Portion(ABC):
    """Some of the candidates, numbered from 0 on."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many there are."""

    @abstractmethod
    def take(self, numbers: IntArray, places: IntArray, collector: DrawingCollector) -> None:
        """Give candidates to ``collector``, by number, with their places in the answer.

        Raises OutOfStepsError.
        """


class CountedPortion(Portion):
    """The candidates of a survey's trees, one tree after the other."""

    @property
    @abstractmethod
    def counts(self) -> IntArray:
        """How many candidates each tree has."""

    @abstractmethod
    def leave(self, counts: IntArray) -> None:
        """Leave only the first ``counts`` candidates of each tree."""


LONE_STEPS: Final = 2
"""Steps of a tree of one provider, and of looking into it."""


class LonePortion(CountedPortion):
    """A survey's trees of one provider, each of which serves the whole request in one way."""

    def __init__(self, survey: Survey, kind: Kind) -> None:
        self._survey = survey
        self._kind = kind
        self._left: IntArray | None = None

    @property
    def counts(self) -> IntArray:
        return np.ones(self.count, dtype=np.int64)

    @property
    def count(self) -> int:
        return self._survey.count if self._left is None else len(self._left)

    def leave(self, counts: IntArray) -> None:
        self._left = self._survey.trees[counts > 0]

    def take(self, numbers: IntArray, places: IntArray, collector: DrawingCollector) -> None:
        codes = np.zeros(len(numbers), dtype=np.int64)
        trees = self._survey.trees if self._left is None else self._left
        drawn = Drawn(trees[numbers], places, self._kind.outcomes, codes, LONE_STEPS)
        collector.take_drawn(self._survey, drawn)


class TreesPortion(CountedPortion):
    """A survey's trees, each with its ways."""

    def __init__(
        self,
        survey: Survey,
        division: Division,
        ways: Sequence[Ways],
        view_of: Callable[[int], View],
    ) -> None:
        """``ways`` are those of each key of the ``division`` of the trees."""
        self._survey = survey
        self._ways = ways
        self._ways_of = division.codes
        self._division = division
        self._left: IntArray | None = None
        self._view_of = view_of

    @property
    def counts(self) -> IntArray:
        if self._left is not None:
            return self._left
        each: IntArray = np.array([some.count for some in self._ways], dtype=np.int64)[self._ways_of]
        return each

    @property
    def count(self) -> int:
        if self._left is not None:
            return int(self._left.sum())
        if self._division.census is not None:
            return self._division.census.count
        sizes = self._division.sizes
        return sum([some.count * size for some, size in zip(self._ways, sizes, strict=True)])

    def leave(self, counts: IntArray) -> None:
        self._left = counts

    def take(self, numbers: IntArray, places: IntArray, collector: DrawingCollector) -> None:
        counts = self.counts
        ends = np.cumsum(counts)
        trees = np.searchsorted(ends, numbers, side="right")
        within = numbers - (ends - counts)[trees]
        ways = self._ways_of[trees].astype(np.int64)
        trees = self._survey.trees[trees]
        # Where candidates name only providers of their own trees, all of which are shown.
        at_once = collector.alone and all(isinstance(some, Kind) for some in self._ways)
        if not at_once:
            for place, tree, way, number in zip(
                places.tolist(), trees.tolist(), ways.tolist(), within.tolist(), strict=True
            ):
                collector.take_one_drawn(place, self._view_of(tree), self._ways[way].outcome(number))
            return
        if len(numbers) <= FEW_AT_ONCE:
            outcomes = [
                self._ways[way].outcome(number)
                for way, number in zip(ways.tolist(), within.tolist(), strict=True)
            ]
            collector.take_few(self._survey, trees.tolist(), places.tolist(), outcomes)
            return
        each = int(within.max()) + 1
        found, codes = np.unique(ways * each + within, return_inverse=True)
        outcomes = [self._ways[code // each].outcome(code % each) for code in found.tolist()]
        collector.take_drawn(self._survey, Drawn(trees, places, outcomes, codes, 0))


class FoundPortion(Portion):
    """Candidates that were found one by one."""

    def __init__(self, found: Sequence[tuple[View, Outcome]]) -> None:
        self._found = found

    @property
    def count(self) -> int:
        return len(self._found)

    def take(self, numbers: IntArray, places: IntArray, collector: DrawingCollector) -> None:
        for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
            collector.take_one_drawn(place, *self._found[number])


def leave_first(portions: Sequence[CountedPortion], most: int, *, breadth_first: bool) -> None:
    """Leave the first ``most`` of more candidates, in the order of trees or of one from each tree in turn."""
    counts = np.concatenate([portion.counts for portion in portions])
    left = (first_in_turn if breadth_first else first_in_order)(counts, most)
    start = 0
    for portion in portions:
        stop = start + len(portion.counts)
        portion.leave(left[start:stop])
        start = stop


@dataclass(slots=True)
class Pool:
    """All candidates of which some are drawn, in portions."""

    portions: Sequence[Portion]

    def draw(self, most: int, random: Random, collector: DrawingCollector) -> None:
        """Give ``most`` candidates, or all if there are fewer, to ``collector`` in random order.

        Raises OutOfStepsError.
        """
        ends = [*accumulate([portion.count for portion in self.portions])]
        numbers = drawn(ends[-1], most, random)
        collector.begin_draw(len(numbers))
        if len(numbers) <= FEW:
            places: dict[int, list[int]] = {}
            for place, number in enumerate(numbers.tolist()):
                places.setdefault(bisect_right(ends, number), []).append(place)
            parts = [(at, np.array(some)) for at, some in places.items()]
        else:
            portions = np.searchsorted(ends, numbers, side="right")
            parts = [(at, np.flatnonzero(portions == at)) for at in dict.fromkeys(portions.tolist())]
        for at, some_places in parts:
            first = ends[at - 1] if at else 0
            self.portions[at].take(numbers[some_places] - first, some_places, collector)


def first_in_order(counts: IntArray, most: int) -> IntArray:
    """How many of the first ``most`` candidates each tree has, if the trees come one after the other."""
    before = np.cumsum(counts) - counts
    left: IntArray = np.minimum(np.maximum(most - before, 0), counts)
    return left


def first_in_turn(counts: IntArray, most: int) -> IntArray:
    """How many of the first ``most`` candidates each tree has, if each tree gives one in its turn.

    There are more candidates than ``most``.
    """
    rounds, too_many = 0, int(counts.max())
    while too_many - rounds > 1:
        between = (rounds + too_many) // 2
        if int(np.minimum(counts, between).sum()) > most:
            too_many = between
        else:
            rounds = between
    taken: IntArray = np.minimum(counts, rounds)
    more = np.flatnonzero(counts > rounds)[: most - int(taken.sum())]
    taken[more] += 1
    return taken


def drawn(count: int, most: int, random: Random) -> IntArray:
    """``most`` of the numbers from 0 up to ``count``, or all if there are fewer, in random order."""
    wanted = min(count, most)
    if wanted <= FEW:
        return np.array(random.sample(range(count), wanted), dtype=np.int64)
    generator = np.random.Generator(np.random.PCG64(random.getrandbits(128)))
    found: IntArray = generator.choice(np.int64(count), wanted, replace=False)
    return found
