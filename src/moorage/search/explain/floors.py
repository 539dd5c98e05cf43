"""A lower bound of each tree's distance, in columns: exact where trees have one provider and none shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from moorage.model.explanations import (
    ISOLATED_RULE,
    MEMBER_OF,
    ROOM,
    SUM_RULE,
    TOGETHER,
    AskTerm,
)
from moorage.search.explain.distance import Slot
from moorage.search.explain.filtering import filter_of, named_trees
from moorage.search.explain.terms import UNSUFFIXED, Terms
from moorage.search.index.block import Block
from moorage.search.index.columns import ClassColumn, Mask
from moorage.search.index.index import Snapshot
from moorage.search.match.plan import SHARES, Work

FloatArray = npt.NDArray[np.float64]

TERM_STEPS: Final = 60
"""Steps of one term in one block."""


class Floors:
    """Lower bounds for one request on one snapshot."""

    def __init__(self, snapshot: Snapshot, terms: Terms, slots: Sequence[Slot], work: Work) -> None:
        self._snapshot = snapshot
        self._terms = terms
        self._slots = slots
        self._work = work
        self._trees = named_trees(snapshot, terms)
        common = [
            term for term in terms.all if term.group == UNSUFFIXED and term.kind not in {ROOM, TOGETHER}
        ]
        unsuffixed = [slot for slot in slots if slot.suffix == UNSUFFIXED]
        # What several providers of the unsuffixed group meet together counts apart from their room.
        self._parts = [
            (*slot.rooms, *slot.others) for slot in slots if slot.suffix != UNSUFFIXED or len(unsuffixed) > 1
        ]
        if len(unsuffixed) == 1:
            self._parts.append((*unsuffixed[0].rooms, *common))
        else:
            self._parts += [(term,) for term in common]
        self._shared = self._of_sharers()

    def of(self, number: int) -> FloatArray:
        """The least distance that each tree of a block may have. Raises OutOfStepsError."""
        block = self._snapshot.blocks[number]
        self._work.spend(TERM_STEPS * len(self._terms.all))
        found = np.zeros(block.trees.count)
        for part, shared in zip(self._parts, self._shared, strict=True):
            least = self._of_part(block, part)
            if not block.trees.lone:
                least = np.minimum.reduceat(least, block.trees.starts[:-1])
            found += np.minimum(least, shared)
        for term in self._terms.all:
            if term.group is None and term.kind != TOGETHER:
                found += ~block.trees.at_roots(filter_of(term, self._trees).mask(block))
        if block.trees.lone and not self._snapshot.sharing_blocks:
            for term in self._terms.all:
                found += self._of_rule(block, term)
        return found

    def _of_rule(self, block: Block, term: AskTerm) -> FloatArray | float:
        """What a rule between groups costs where one provider serves them all."""
        if term.rule == SUM_RULE:
            total = self._terms.summed(term.resource_class)
            room = np.maximum(block.rooms(term.resource_class), 0)
            costs: FloatArray = np.maximum(total - room, 0) / total
            return costs
        return float(term.rule == ISOLATED_RULE)

    def _of_sharers(self) -> list[float]:
        """The least cost of each part with any sharing provider."""
        found = [float("inf")] * len(self._parts)
        for number in self._snapshot.sharing_blocks:
            block = self._snapshot.blocks[number]
            share = SHARES.mask(block)
            self._work.spend(TERM_STEPS * len(self._terms.all))
            for at, part in enumerate(self._parts):
                costs = self._of_part(block, part)[share]
                found[at] = min(found[at], float(np.min(costs, initial=np.inf)))
        return found

    def _of_part(self, block: Block, part: Sequence[AskTerm]) -> FloatArray:
        found = np.zeros(len(block))
        for term in part:
            if term.kind == ROOM:
                found += room_costs(block, term)
            else:
                found += ~self._met(block, term)
        return found

    def _met(self, block: Block, term: AskTerm) -> Mask:
        """Entries that meet a term, or may."""
        met = filter_of(term, self._trees).mask(block)
        if term.group == UNSUFFIXED and term.kind == MEMBER_OF:
            met |= block.trees.entries_of(block.trees.at_roots(met))
        return met


def room_costs(block: Block, term: AskTerm) -> FloatArray:
    """What a room term costs with each entry."""
    column = block.columns.get(term.resource_class)
    if column is None:
        return np.ones(len(block))
    costs = _of_column(column, term.amount)
    if column.dense:
        return costs
    found = np.ones(len(block))
    found[column.offsets] = costs
    return found


def _of_column(column: ClassColumn, amount: int) -> FloatArray:
    kinds = column.kinds
    # What is not free of the amount. ``clip`` takes three times as long as both comparisons.
    short = np.minimum(np.maximum(column.used - (kinds.top - amount)[column.codes], 0), amount)
    units = (
        (kinds.min_unit > amount).astype(np.int64)
        + (kinds.max_unit < amount)
        + (amount % kinds.step_size != 0)
    )
    costs: FloatArray = short / amount
    if units.any():
        costs += units[column.codes]
    return costs
