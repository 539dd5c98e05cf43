"""Options: the places within a tree that a request may take, and what each of them costs.

Providers of a tree that differ in nothing that counts are one option. Where the places of a request follow
from which of its providers gives the scored class, all trees of a block are looked at together. Else the ways
of a tree are listed one by one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import islice
from typing import Final

import numpy as np

from moorage.model.orders import SCALE
from moorage.model.valueclass import valueclass
from moorage.search.index.block import Block
from moorage.search.index.columns import NONE, CodeArray, FloatArray, IntArray, Mask
from moorage.search.match.candidates import Search
from moorage.search.match.outcomes import Outcome
from moorage.search.match.plan import Survey
from moorage.search.match.tree_view import View
from moorage.search.match.variables import UNSUFFIXED, Variable
from moorage.search.order.chances import FINE, Prices, Taken
from moorage.search.order.remembered import remembered

MOST_WAYS: Final = 1_000
"""Ways of one tree that are looked at one by one. With more, the best one may be left out."""

FEW_TREES: Final = 32
"""Trees up to which looking at them again is cheaper than remembering what they are worth."""

MOST_COST: Final = 1_000_000_000
"""The largest cost of a placement, in devices."""

Amounts = Mapping[str, Sequence[tuple[int, int]]]
"""By class: offsets of providers in a block, and the amounts that they give."""

Marks = IntArray | CodeArray
"""Numbers of providers, equal for those that do not differ."""

NO_OFFSETS: Final[IntArray] = np.zeros(0, dtype=np.int64)


@valueclass(frozen=True, slots=True, eq=False)
class OptionRows:
    """Options of the first trees of a list whose options follow from columns.

    ``plain`` marks these trees. For each option ``rows`` has the number of its tree among them all, in
    ascending order, and ``offsets`` the providers of each variable.
    """

    plain: Mask
    rows: IntArray
    offsets: Sequence[IntArray]


class Options:
    """The options of a request, and their costs by ``prices``."""

    def __init__(self, search: Search, prices: Prices) -> None:
        self._search = search
        self._prices = prices
        self._variables = search.plan.variables
        self._device = [
            number
            for number, variable in enumerate(self._variables)
            if any(name == prices.scored for name, _ in variable.demands)
        ]
        self.exact = True

    def costs(self, survey: Survey, trees: IntArray, owner: object) -> IntArray:
        """What the best option of each of ``trees`` costs, in 1 / ``SCALE`` of a device.

        The block remembers it for ``owner``, if one is given, and for prices.
        """
        return remembered(survey.block, owner, trees, lambda some: self._least(survey, some))

    def able(self, survey: Survey) -> Mask | None:
        """The trees of a survey that can serve the request; None where that takes a look into each one."""
        rules, trees = self._search.rules, survey.trees
        if not rules.makers:
            return np.ones(len(trees), dtype=np.bool_)
        if not rules.isolation_only or not self._alike(survey):
            return None
        counts, _ = _having(survey.block, survey.own[self._device[0]], trees)
        return counts >= len(self._device)

    def best(self, survey: Survey, trees: IntArray) -> list[Outcome]:
        """The best option of each of ``trees``, which ascend."""
        rows = self._rows(survey, trees)
        numbers: list[int] = np.flatnonzero(rows.plain).tolist()
        starts: list[int] = rows.rows.searchsorted(numbers).tolist()
        if len(numbers) < len(rows.rows):
            costs = self._costs_of(survey.block, trees, rows)
            stops = [*starts[1:], len(costs)]
            starts = [
                start + int(np.argmin(costs[start:stop])) for start, stop in zip(starts, stops, strict=True)
            ]
        found: dict[int, Outcome] = {}
        for number, place in zip(numbers, starts, strict=True):
            offsets = [int(each[place]) for each in rows.offsets]
            found[number] = self._search.outcome_at(survey, int(trees[number]), offsets)
        for number in np.flatnonzero(~rows.plain).tolist():
            found[number] = self._listed(survey, int(trees[number]))[0][0]
        return [found[number] for number in range(len(trees))]

    def every(self, survey: Survey, tree: int) -> list[tuple[Outcome, int]]:
        """All ways of a tree with their costs, the best first; equal ones in the order of a search."""
        return self._listed(survey, tree)

    # Trees together

    def _least(self, survey: Survey, trees: IntArray) -> IntArray:
        rows = self._rows(survey, trees)
        found = np.zeros(len(trees), dtype=np.int64)
        if len(rows.rows):
            costs = self._costs_of(survey.block, trees, rows)
            numbers = np.flatnonzero(rows.plain)
            found[numbers] = np.minimum.reduceat(costs, rows.rows.searchsorted(numbers))
        for number in np.flatnonzero(~rows.plain).tolist():
            found[number] = self._listed(survey, int(trees[number]))[0][1]
        return found

    def _rows(self, survey: Survey, trees: IntArray) -> OptionRows:
        """The options of those trees in which only the scored class leaves a choice."""
        rules = self._search.rules
        apart = rules.isolation_only
        device = self._device
        if (rules.makers and not apart) or (not apart and len(device) > 1):
            return _no_rows(trees)
        if apart and not self._alike(survey):
            return _no_rows(trees)
        block = survey.block
        plain = np.ones(len(trees), dtype=np.bool_)
        givers: list[IntArray] = [NO_OFFSETS] * len(self._variables)
        fixed = [number for number in range(len(self._variables)) if number not in device]
        for number in fixed:
            counts, firsts = _having(block, survey.own[number], trees)
            # It does not matter which provider serves what takes nothing.
            plain &= (counts == 1) if self._variables[number].demands else (counts > 0)
            givers[number] = firsts
        if not device:
            rows = np.flatnonzero(plain)
            return OptionRows(plain, rows, [each[rows] for each in givers])
        entries, rows = _entries(block, survey.own[device[0]], trees)
        marks = self._marks(block, self._variables[device[0]], entries)
        if apart:
            counts = np.bincount(rows, minlength=len(trees))
            starts = np.cumsum(counts) - counts
            plain &= counts >= len(device)
            same = np.ones(len(trees), dtype=np.bool_)
            for mark in marks:
                differs = mark != mark[starts[rows]]
                same[rows[differs]] = False
            plain &= same
            rows = np.flatnonzero(plain)
            for position, number in enumerate(device):
                givers[number] = entries[starts[rows] + position]
        else:
            chosen = _different(rows, marks)
            chosen = chosen[plain[rows[chosen]]]
            rows = rows[chosen]
            givers[device[0]] = entries[chosen]
        for number in fixed:
            givers[number] = givers[number][rows]
        return OptionRows(plain, rows, givers)

    def _alike(self, survey: Survey) -> bool:
        """Whether all suffixed variables ask for the same of the scored class, and of the same providers."""
        device = self._device
        suffixed = [number for number, each in enumerate(self._variables) if each.suffix != UNSUFFIXED]
        if device != suffixed:
            return False
        demands = {tuple(sorted(self._variables[number].demands)) for number in device}
        first = survey.own[device[0]]
        return len(demands) == 1 and all(np.array_equal(first, survey.own[number]) for number in device)

    def _marks(self, block: Block, variable: Variable, entries: IntArray) -> list[Marks]:
        """What counts of the providers at ``entries``, number by number."""
        found: list[Marks] = [block.traits.codes[entries]]
        for name, _ in variable.demands:
            column = block.columns[name]
            rows = entries if column.dense else column.offsets.searchsorted(entries)
            found += [column.codes[rows], column.used[rows]]
        return found

    def _costs_of(self, block: Block, trees: IntArray, rows: OptionRows) -> IntArray:
        numbers = np.arange(len(rows.rows))
        taken: dict[str, Taken] = {}
        for name in sorted({name for variable in self._variables for name, _ in variable.demands}):
            givers = [
                (rows.offsets[number], amount)
                for number, variable in enumerate(self._variables)
                for each, amount in variable.demands
                if each == name
            ]
            if len(givers) == 1:
                taken[name] = Taken(numbers, *givers[0])
                continue
            offsets = np.stack([offsets for offsets, _ in givers], axis=1).reshape(-1)
            amounts = np.tile(np.array([amount for _, amount in givers], dtype=np.int64), len(numbers))
            taken[name] = Taken(np.repeat(numbers, len(givers)), offsets, amounts)
        return self._lost(block, trees[rows.rows], taken)

    def _lost(self, block: Block, trees: IntArray, taken: Mapping[str, Taken]) -> IntArray:
        """What rows of ``trees`` are worth less once they gave what is taken."""
        prices = self._prices
        different, numbers = np.unique(trees, return_inverse=True)
        if len(different) > FEW_TREES:
            # Other requests look at these trees as well.
            before = remembered(
                block, prices.key, different, lambda some: prices.worth(block, some).astype(np.int64)
            )
            after = prices.worth(block, trees, taken)
        else:
            # One pass tells both: trees as they are come after the rows that give something.
            worth = prices.worth(block, np.concatenate([trees, different]), taken)
            before, after = worth[len(trees) :].astype(np.int64), worth[: len(trees)]
        return lost_between(before[numbers], after)

    # Trees one by one

    def _listed(self, survey: Survey, tree: int) -> list[tuple[Outcome, int]]:
        """The ways of a tree with their costs, the best first."""
        view, outcomes = self._search.visit((survey, tree))
        some = list(islice(outcomes, MOST_WAYS + 1))
        self.exact = self.exact and len(some) <= MOST_WAYS
        del some[MOST_WAYS:]
        placements = [self.amounts(view, outcome)[survey.number] for outcome in some]
        costs = self._costs_of_amounts(survey.block, tree, placements)
        order = sorted(range(len(some)), key=costs.__getitem__)
        return [(some[number], costs[number]) for number in order]

    def placement_cost(self, view: View, outcome: Outcome) -> int:
        """What a placement costs all trees that it takes from."""
        blocks = view.views.plan.snapshot.blocks
        found = 0
        for number, amounts in self.amounts(view, outcome).items():
            block = blocks[number]
            by_tree: dict[int, dict[str, list[tuple[int, int]]]] = {}
            for name, givers in amounts.items():
                for offset, amount in givers:
                    tree = int(block.trees.tree_of[offset])
                    by_tree.setdefault(tree, {}).setdefault(name, []).append((offset, amount))
            for tree, some in by_tree.items():
                found += self._costs_of_amounts(block, tree, [some])[0]
        return found

    def amounts(self, view: View, outcome: Outcome) -> dict[int, dict[str, list[tuple[int, int]]]]:
        """What a placement takes: by number of the block and class."""
        within = view.stop - view.start
        number = view.views.survey.number
        found: dict[int, dict[str, list[tuple[int, int]]]] = {number: {}}
        beyond = iter(outcome.outside)
        for giver, amounts in self._search.forms.pattern(outcome.form).allocations.items():
            node = outcome.positions[giver]
            at, offset = (number, view.start + node) if node < within else next(beyond)
            for name, amount in amounts.items():
                found.setdefault(at, {}).setdefault(name, []).append((offset, amount))
        return found

    def _costs_of_amounts(self, block: Block, tree: int, placements: Sequence[Amounts]) -> list[int]:
        """What each of some placements costs a tree; equal ones are looked at once."""
        numbers: dict[Hashable, int] = {}
        of_placements = [
            numbers.setdefault(tuple([(name, *some) for name, some in sorted(each.items())]), len(numbers))
            for each in placements
        ]
        rows: dict[str, list[tuple[int, int, int]]] = {}
        for row, key in enumerate(numbers):
            for name, *some in key:  # type: ignore[attr-defined]
                rows.setdefault(name, []).extend([(row, offset, amount) for offset, amount in some])
        taken = {
            name: Taken(*[np.array(each, dtype=np.int64) for each in zip(*some, strict=True)])
            for name, some in rows.items()
        }
        costs: list[int] = self._lost(block, np.full(len(numbers), tree), taken).tolist()
        return [costs[number] for number in of_placements]


def lost_between(before: IntArray | FloatArray, after: FloatArray) -> IntArray:
    """Costs, in 1 / ``SCALE`` of a device, of what was worth ``before`` and is worth ``after``."""
    most = MOST_COST * SCALE
    return np.clip(_lost(before, after), -most, most).astype(np.int64)


def unclipped(before: FloatArray, after: FloatArray) -> IntArray:
    """As ``lost_between``, where neither is worth as much as ``MOST_COST`` devices."""
    return _lost(before, after).astype(np.int64)


def _lost(before: IntArray | FloatArray, after: FloatArray) -> FloatArray:
    found: FloatArray = np.rint((before - after) * (SCALE / FINE))
    return found


def _no_rows(trees: IntArray) -> OptionRows:
    """No tree is plain."""
    return OptionRows(np.zeros(len(trees), dtype=np.bool_), NO_OFFSETS, ())


def _entries(block: Block, own: Mask, trees: IntArray) -> tuple[IntArray, IntArray]:
    """The entries of ``own`` that are in ``trees``, which ascend, and the number of the tree of each."""
    numbers = np.full(block.trees.count, NONE, dtype=np.int64)
    numbers[trees] = np.arange(len(trees))
    entries = np.flatnonzero(own)
    rows = numbers[block.trees.tree_of[entries]]
    inside = rows != NONE
    return entries[inside], rows[inside]


def _having(block: Block, own: Mask, trees: IntArray) -> tuple[IntArray, IntArray]:
    """For each of ``trees`` how many of its entries are in ``own``, and the first of them."""
    entries, rows = _entries(block, own, trees)
    counts = np.bincount(rows, minlength=len(trees))
    firsts = np.zeros(len(trees), dtype=np.int64)
    firsts[rows[::-1]] = entries[::-1]
    return counts, firsts


def _different(rows: IntArray, marks: Sequence[Marks]) -> IntArray:
    """Places of the first entry of each tree with each combination of marks, in order."""
    order = np.lexsort((*marks, rows))
    differs = np.ones(len(order), dtype=np.bool_)
    differs[1:] = False
    for values in (rows, *marks):
        sorted_ = values[order]
        differs[1:] |= sorted_[1:] != sorted_[:-1]
    # Sorting is stable, so that the first of equal entries is the one with the least offset.
    return np.sort(order[differs])
