"""Counts of clouds whose trees have one provider each: one pass over the columns gives all of them.

Each tree is a number with a bit for each term that it fails. How often each number occurs says for any terms
how many trees meet them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from moorage.model.explanations import ISOLATED_RULE, ROOM, TOGETHER, AskTerm
from moorage.search.explain.counting import Ground
from moorage.search.explain.filtering import filter_of, named_trees
from moorage.search.explain.terms import Terms
from moorage.search.index.block import Block
from moorage.search.index.columns import IntArray, Mask
from moorage.search.match.filters import InTree, no_entry
from moorage.search.match.plan import OutOfStepsError, Work

MOST_TERMS: Final = 14
"""Terms of a request that is counted so: each doubles the numbers that there may be."""

TERM_STEPS: Final = 50
"""Steps of one term in one block."""

NUMBER_STEPS: Final = 40
NUMBERS_PER_STEP: Final = 1000
"""Steps of counting the numbers of a block, and further numbers that one step covers."""


class Rows:
    """How many trees fail which terms, now and with nothing in use."""

    def __init__(self, terms: Terms) -> None:
        self._bits = {term: 1 << number for number, term in enumerate(terms.all)}
        self._now = np.zeros(1 << len(terms.all), dtype=np.int64)
        self._empty = self._now.copy()
        self.complete = True
        """Whether the steps sufficed for all trees."""

    @staticmethod
    def of(ground: Ground, emptied: Ground, terms: Terms, work: Work) -> Rows | None:
        """The counts of one request; None if it must be looked at tree by tree."""
        snapshot = ground.snapshot
        several = any(count > 1 for count in terms.asking().values())
        apart = ground.at is None and snapshot.all_lone and not snapshot.sharing_blocks and not several
        if not apart or len(terms.all) > MOST_TERMS:
            return None
        rows = Rows(terms)
        trees = named_trees(snapshot, terms)
        try:
            for block, empty in zip(snapshot.blocks, emptied.snapshot.blocks, strict=True):
                work.spend(TERM_STEPS * len(terms.all) + NUMBER_STEPS + len(rows._now) // NUMBERS_PER_STEP)
                rows._add(block, empty, trees)
        except OutOfStepsError:
            rows.complete = False
        return rows

    def count(self, terms: Sequence[AskTerm], *, emptied: bool = False) -> int:
        """Trees that meet ``terms``, all of them those of the request."""
        wanted = sum([self._bits[term] for term in terms])
        met = (np.arange(len(self._now)) & wanted) == 0
        return int((self._empty if emptied else self._now)[met].sum())

    def _add(self, block: Block, empty: Block, trees: Mapping[str, InTree]) -> None:
        now = np.zeros(len(block), dtype=np.int64)
        use = now.copy()
        for term, bit in self._bits.items():
            if term.kind == ROOM:
                now += bit * ~_room(block, term)
                use += bit * ~_room(empty, term)
            elif term.kind == TOGETHER:
                # One provider cannot serve two groups that must not share one. It keeps all other rules.
                failing = bit * (term.rule == ISOLATED_RULE)
                now += failing
                use += failing
            else:
                failed: IntArray = bit * ~filter_of(term, trees).mask(block)
                now += failed
                use += failed
        self._now += np.bincount(now, minlength=len(self._now))
        self._empty += np.bincount(use, minlength=len(self._now))


def _room(block: Block, term: AskTerm) -> Mask:
    column = block.columns.get(term.resource_class)
    return no_entry(block) if column is None else column.with_room(len(block), term.amount)
