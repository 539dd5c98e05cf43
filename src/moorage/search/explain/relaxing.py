"""The smallest changes with which a request fits: of one term, or of two where no single one suffices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from typing import Final

import numpy as np

from moorage.model.explanations import (
    AMOUNT,
    DROP,
    REQUIRED,
    ROOM,
    SUM_RULE,
    AskTerm,
    Relaxation,
    TermChange,
)
from moorage.search.explain.counting import Ground, Served, count, exists, serving
from moorage.search.explain.rows import Rows
from moorage.search.explain.terms import UNSUFFIXED, Terms
from moorage.search.index.block import Block
from moorage.search.index.columns import Mask
from moorage.search.match.plan import SHARES, OutOfStepsError, Work

MOST_TERMS_FOR_PAIRS: Final = 12
"""A request with more terms gets no pairs: their number grows with the square."""

TOO_MANY: Final = f"pairs of relaxations: not searched with more than {MOST_TERMS_FOR_PAIRS} constraints"
ENDED: Final = "there may be more relaxations"
"""Notes on relaxations that were not looked for."""

AMOUNT_STEPS: Final = 40
"""Steps of looking for amounts in one block."""


class Relaxations:
    """Looks for relaxations of a request that fits nowhere."""

    def __init__(self, ground: Ground, terms: Terms, work: Work, rows: Rows | None) -> None:
        self._ground = ground
        self._terms = terms
        self._work = work
        self._rows = rows
        self._may_change = [term for term in terms.all if term.rule != SUM_RULE]

    def found(self, hopeless: Collection[AskTerm], most: int) -> tuple[list[Relaxation], str]:
        """Up to ``most`` of all minimal ones, the cheapest first; and a note if not all were looked for.

        ``hopeless`` are terms whose change alone does not suffice.
        """
        found: list[Relaxation] = []
        note = ""
        try:
            found += self._all(
                (term,) for term in self._may_change if term not in hopeless or self._may_carry(term)
            )
            if not found and len(self._terms.all) > MOST_TERMS_FOR_PAIRS:
                note = TOO_MANY
            elif not found:
                found += self._all(combinations(self._may_change, 2))
        except OutOfStepsError:
            note = ENDED
        return sorted(found, key=self._worth)[:most], note

    def _all(self, changed: Iterable[tuple[AskTerm, ...]]) -> Iterator[Relaxation]:
        for terms in changed:
            found = self._of(terms)
            if found is not None:
                yield found

    def _worth(self, relaxation: Relaxation) -> tuple[float, int]:
        """The cheapest first; of equal ones, those that give up no amount, as this is what a client wants."""
        rooms = {term.id for term in self._terms.all if term.kind == ROOM}
        given_up = [change for change in relaxation.changes if change.op == DROP and change.term in rooms]
        return relaxation.cost, len(given_up)

    def _of(self, changed: tuple[AskTerm, ...]) -> Relaxation | None:
        """The cheapest relaxation that changes all of some terms; None if there is none."""
        rest = self._terms.but(*changed)
        carriers = [term for term in changed if self._may_carry(term)]
        if not self._suffices(self._untied(rest) if carriers else rest):
            return None
        ways = [
            self._lowered(rest, order, some) for order in permutations(changed) for some in _subsets(carriers)
        ]
        ways.sort(key=lambda way: sum(change.cost for change in way.values()))
        for way in ways:
            kept = [replace(term, amount=way[term.id].after) for term in changed if way[term.id].op == AMOUNT]
            feasible = count(self._ground, self._terms.wanted([*rest, *kept]), self._work)
            if feasible:
                return Relaxation(tuple([way[term.id] for term in changed]), feasible)
        return None

    def _may_carry(self, term: AskTerm) -> bool:
        """Whether a provider may count for required traits only because this amount comes from it.

        Then a smaller amount may fit where none at all does not.
        """
        own = [each for each in self._terms.all if each.group == UNSUFFIXED]
        return (
            self._rows is None
            and term.kind == ROOM
            and term.group == UNSUFFIXED
            and any(each.kind == REQUIRED for each in own)
            and sum(each.kind == ROOM for each in own) > 1
        )

    @staticmethod
    def _untied(terms: Sequence[AskTerm]) -> list[AskTerm]:
        """Terms without the traits that amounts may carry: all trees that serve any amounts serve these."""
        return [term for term in terms if not (term.kind == REQUIRED and term.group == UNSUFFIXED)]

    def _suffices(self, terms: Sequence[AskTerm]) -> bool:
        """Whether any tree serves these of the terms."""
        if self._rows is not None:
            return self._rows.count(terms) > 0
        return exists(self._ground, self._terms.wanted(terms), self._work)

    def _lowered(
        self, rest: Sequence[AskTerm], changed: Sequence[AskTerm], carriers: Sequence[AskTerm]
    ) -> dict[str, TermChange]:
        """Changes of terms one after the other: each keeps as much as the rest and those before leave.

        Of ``carriers`` there is the least amount while those before them are looked at.
        """
        later = {term.id: replace(term, amount=1) for term in carriers}
        kept: dict[str, AskTerm] = {}
        changes: dict[str, TermChange] = {}
        for term in changed:
            later.pop(term.id, None)
            beside = [*rest, *kept.values(), *later.values()]
            lower = self._largest(term, beside) if term.kind == ROOM else 0
            if lower:
                kept[term.id] = replace(term, amount=lower)
                changes[term.id] = TermChange(AMOUNT, term.id, term.amount, lower)
            else:
                changes[term.id] = TermChange(DROP, term.id)
        return changes

    def _largest(self, term: AskTerm, kept: Sequence[AskTerm]) -> int:
        """The largest smaller amount of a room term that fits with the terms ``kept``; 0 if none does."""
        name = term.resource_class
        others = [other.amount for other in kept if other.kind == ROOM and other.resource_class == name]
        able = self._untied(kept) if self._may_carry(term) else kept
        trees = list(serving(self._ground, self._terms.wanted(able), self._work))
        amounts = self._amounts(term, others, trees)
        low, high = 0, len(amounts)
        if self._any_amount(name):
            # What fits fits all the more if it is less.
            while low < high:
                middle = (low + high) // 2
                if self._fits(term, amounts[middle], kept):
                    high = middle
                else:
                    low = middle + 1
            return amounts[low] if low < len(amounts) else 0
        return next((amount for amount in amounts if self._fits(term, amount, kept)), 0)

    def _fits(self, term: AskTerm, amount: int, kept: Sequence[AskTerm]) -> bool:
        wanted = self._terms.wanted([*kept, replace(term, amount=amount)])
        return exists(self._ground, wanted, self._work)

    def _any_amount(self, name: str) -> bool:
        """Whether no inventory of a class refuses an amount for being small."""
        columns = [block.columns[name] for block in self._ground.snapshot.blocks if name in block.columns]
        return all(
            bool((column.kinds.min_unit <= 1).all() and (column.kinds.step_size == 1).all())
            for column in columns
        )

    def _amounts(self, term: AskTerm, others: Sequence[int], trees: Sequence[Served]) -> list[int]:
        """Amounts below that of ``term``, the largest first: what a provider may have left beside others."""
        beside = {0}
        for amount in others:
            # Each amount may double the sums that there are.
            self._work.spend(AMOUNT_STEPS * len(beside))
            beside |= {amount + more for more in beside}
        found: set[int] = set()
        blocks = self._ground.snapshot.blocks
        for number, some in trees:
            mask = np.zeros(blocks[number].trees.count, dtype=np.bool_)
            mask[some] = True
            found.update(self._left(blocks[number], blocks[number].trees.entries_of(mask), term, beside))
        for number in self._ground.snapshot.sharing_blocks:
            found.update(self._left(blocks[number], SHARES.mask(blocks[number]), term, beside))
        return sorted(found, reverse=True)

    def _left(
        self,
        block: Block,
        entries: Mask,
        term: AskTerm,
        beside: set[int],
    ) -> set[int]:
        self._work.spend(AMOUNT_STEPS * len(beside))
        column = block.columns.get(term.resource_class)
        if column is None:
            return set()
        kinds, codes = column.kinds, column.codes
        found: set[int] = set()
        for taken in beside:
            left = np.minimum(column.room - taken, term.amount - 1)
            left -= left % kinds.step_size[codes]
            fit = entries[column.offsets] & (left >= np.maximum(kinds.min_unit[codes], 1))
            found.update(np.unique(left[fit]).tolist())
        return found


def _subsets(terms: Sequence[AskTerm]) -> Iterator[tuple[AskTerm, ...]]:
    for size in range(len(terms) + 1):
        yield from combinations(terms, size)
