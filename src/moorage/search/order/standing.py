"""A standing: the best trees of a block for a request under an order, true as long as the block exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.search.index.columns import FloatArray, IntArray
from moorage.search.match.candidates import Search
from moorage.search.match.outcomes import Kind
from moorage.search.match.plan import Work
from moorage.search.order.measure import Measure, TieArray
from moorage.search.order.options import Options

FEWEST_BEST: Final = 16
"""The fewest trees that a standing keeps, if there are as many. It keeps a power of two times as many if more
are asked for, so that requests for 10 and for 12 share one."""

STANDING_BYTES: Final = 1_200
ARRAY_BYTES: Final = 120
"""Bytes of a standing, and of each part, besides the numbers."""

BYTES_PER_TREE: Final = 40


@valueclass(frozen=True, slots=True, eq=False)
class Standing:
    """The best trees of a block, the best first, with their kinds, scores, ties and ids of roots.

    There are no kinds where the costs of options decide: these tell the ways of a tree.

    ``feasible`` counts all trees that can serve the request. ``steps`` is what finding all this took.
    """

    feasible: int
    trees: IntArray
    units: IntArray
    ties: TieArray
    root_ids: IntArray
    kinds: Sequence[Kind]
    parts: Mapping[str, FloatArray]
    steps: int

    def suffices(self, most: int) -> bool:
        """Whether the best ``most`` trees are in it."""
        return len(self.trees) >= min(most, self.feasible)

    @property
    def size(self) -> int:
        """Bytes of memory."""
        each = BYTES_PER_TREE + self.ties.itemsize + 8 * len(self.parts)
        return STANDING_BYTES + ARRAY_BYTES * len(self.parts) + each * len(self.trees)


MOST_BEST: Final = 2048
"""Trees of a standing that is kept. A longer one serves a single answer."""


def kept_length(most: int) -> int:
    """How many trees a standing has for a request for ``most``."""
    return max(FEWEST_BEST, 1 << (most - 1).bit_length())


NOTHING: Final[IntArray] = np.zeros(0, dtype=np.int64)


def standing_of(
    search: Search,
    measure: Measure,
    number: int,
    most: int,
    work: Work,
    options: Options | None = None,
    owner: object = None,
    finder: object = None,
) -> Standing:
    """The standing of block ``number``, with at least the best ``most`` trees. Raises OutOfStepsError.

    ``options`` are given where their costs decide; the block remembers these for ``owner``, and what it finds
    for ``finder``.
    """
    before = work.done
    survey = search.plan.survey(number, work, finder)
    if survey is None:
        return Standing(0, NOTHING, NOTHING, NOTHING, NOTHING, (), {}, work.done - before)
    work.spend(measure.steps(survey.block))
    trees = survey.trees
    able = None if options is None else options.able(survey)
    kinds: Sequence[Kind] = ()
    if able is None:
        kinds = search.kinds(survey)
        if not survey.settled:
            able = np.array([bool(kind.outcomes) for kind in kinds], dtype=np.bool_)
            if not able.all():
                kinds = [kind for kind in kinds if kind.outcomes]
    if able is not None and not able.all():
        trees = trees[able]
    costs = None if options is None else options.costs(survey, trees, owner)
    scores = measure.scores(survey.block, trees, costs=costs)
    # Ties of trees that others surpass by their score need not be known.
    places = contenders(scores.units, most)
    ties = measure.ties(survey.block, trees[places])
    root_ids = survey.block.ids[survey.block.trees.roots[trees[places]]]
    order = best_of(scores.units[places], ties, root_ids, most)
    chosen = places[order]
    return Standing(
        len(trees),
        trees[chosen],
        scores.units[chosen],
        ties[order],
        root_ids[order],
        [kinds[place] for place in chosen.tolist()] if options is None else (),
        {name: values[chosen] for name, values in scores.parts.items()},
        work.done - before,
    )


def contenders(units: IntArray, most: int) -> IntArray:
    """Places of all that may be among the best ``most`` by their score."""
    if len(units) <= 2 * most:
        return np.arange(len(units))
    least = np.partition(units, len(units) - most)[len(units) - most]
    return np.flatnonzero(units >= least)


def best_of(units: IntArray, ties: TieArray, root_ids: IntArray, most: int) -> IntArray:
    """Places of the best ``most``, the best first: by score, then by least tie, then by least root id."""
    places = contenders(units, most)
    order = np.lexsort((root_ids[places], ties[places], -units[places]))
    found: IntArray = places[order[:most]]
    return found
