"""What trees of one provider are worth by prices, from their make and what is free of each class alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory
from moorage.rules.capacity import capacity
from moorage.search.index.columns import FloatArray, IntArray, Mask
from moorage.search.order.chances import (
    CHUNK,
    MANY,
    MOST_WORTH,
    NO_CONDITION,
    ClassDemand,
    Condition,
    Prices,
    TreeCondition,
    meets,
)
from moorage.search.order.options import unclipped
from moorage.search.order.residuals import GRAINS

EXACT: Final = float(1 << 52)
"""Sums of whole numbers below this are exact in any order."""

MOST_LISTED: Final = 65_536
"""Amounts up to which it is listed what a tree with so much free is worth."""


@valueclass(frozen=True, slots=True)
class Make:
    """Traits and inventories of a provider, the inventories by class."""

    traits: frozenset[str]
    inventories: tuple[tuple[str, Inventory], ...]


@valueclass(frozen=True, slots=True, eq=False)
class OneClass:
    """What trees cost in which one class, that of row ``scored``, bounds how often each shape fits.

    ``listed`` is their worth by what is free of it. They are such trees if of each other class at least
    ``amounts`` are free for ``of_scored`` of that class.
    """

    listed: FloatArray
    scored: int
    amounts: FloatArray
    of_scored: FloatArray

    def costs(self, free: FloatArray, asked: FloatArray) -> IntArray | None:
        """What it costs trees with so much free to give what is ``asked``, as ``Sheet.costs`` has it.

        Both have a row for each class. None if one of them is no such tree, before it gives or after.
        """
        count = free.shape[1]
        both = np.concatenate([free, np.maximum(free - asked, 0.0)], axis=1)
        scored = both[self.scored]
        if not (both * self.of_scored >= scored * self.amounts).all():
            return None
        # More than there is may be free for a moment.
        if scored.max(initial=0.0) >= len(self.listed):
            return None
        worth = self.listed[scored.astype(np.int64)]
        return unclipped(worth[:count], worth[count:])


class LoneWorth:
    """What trees of one provider are worth by ``prices``.

    Where one class alone bounds how often each shape fits, and nothing else counts, only what is free of that
    class matters. Hosts that run out of processors first are so. Shapes that ask for the same amount of it
    count as one there.
    """

    def __init__(self, prices: Prices, makes: Sequence[Make]) -> None:
        """``makes`` are what numbers of makes stand for."""
        self.prices = prices
        self._admits: dict[str, Mask] = {}
        self._fits: dict[str, Mask] = {}
        admits_all: Mask = np.ones(len(makes), dtype=np.bool_)
        for name, asked in prices.terms.asked.items():
            admits = np.array(
                [[_admits(make, name, size) for make in makes] for size in asked.sizes.tolist()]
            )
            if not admits.all():
                self._admits[name] = admits.reshape(len(asked.sizes), len(makes))
                admits_all &= self._admits[name].all(axis=0)
            if len(asked.conditions) > 1:
                self._fits[name] = np.array(
                    [[meets(make.traits, each) for make in makes] for each in asked.conditions]
                ).reshape(len(asked.conditions), len(makes))
        self._trees = [
            np.array([_tree_meets(make, each) for make in makes], dtype=np.bool_)
            for each in prices.terms.trees
        ]
        self._admits_all = None if admits_all.all() else admits_all
        self._ratios = None if self._fits or self._trees else _ratios(prices)
        self._prices_by_size: FloatArray = np.zeros(len(prices.sizes), dtype=np.float64)
        self._lost_by_size: FloatArray = np.zeros(len(prices.sizes), dtype=np.float64)
        if self._ratios is not None:
            np.add.at(self._prices_by_size, prices.size_of, prices.slot_prices)
            np.add.at(self._lost_by_size, prices.size_of, prices.lost)
        self._listed = self._all_listed(makes)

    def _all_listed(self, makes: Sequence[Make]) -> FloatArray | None:
        """By what is free of the scored class the worth where that is the bound.

        None if that is too much, or where sums are not exact.
        """
        if self._ratios is None:
            return None
        offers = [each for make in makes for name, each in make.inventories if name == self.prices.scored]
        most = max(map(capacity, offers), default=0)
        largest = max([amount for amount, _ in self._ratios.values()], default=1)
        if most > MOST_LISTED or most * largest >= EXACT:
            return None
        worth, exact = self._by_one(np.arange(max(0, most) + 1, dtype=np.float64))
        return worth if exact.all() else None

    @property
    def classes(self) -> Collection[str]:
        """The classes that count."""
        return self.prices.classes

    def by_one_class(self, columns: Mapping[str, int]) -> OneClass | None:
        """What trees cost where the scored class is the bound; None if that is not listed for all makes.

        ``columns`` numbers the classes that there are.
        """
        if self._listed is None or self._ratios is None or self._admits_all is not None:
            return None
        if not columns.keys() >= {self.prices.scored, *self._ratios}:
            return None
        amounts: FloatArray = np.zeros((len(columns), 1), dtype=np.float64)
        of_scored: FloatArray = np.zeros((len(columns), 1), dtype=np.float64)
        for name, (amount, scored) in self._ratios.items():
            amounts[columns[name]], of_scored[columns[name]] = amount, scored
        return OneClass(self._listed, columns[self.prices.scored], amounts, of_scored)

    def of(self, makes: IntArray, free: Mapping[str, FloatArray]) -> FloatArray:
        """What trees of some makes are worth, times ``FINE``.

        ``free``: what is free of each class, 0 where there is nothing of it. A class that is not there is as
        if there were nothing.
        """
        bound = self._bound(makes, free)
        if bound is None:
            return self._clipped_by_all(makes, free)
        scored = free[self.prices.scored]
        if self._listed is not None:
            found = self._listed.take(scored.astype(np.int64), mode="clip")
        else:
            found, exact = self._by_one(scored)
            bound &= exact
        if not bound.all():
            rest = np.flatnonzero(~bound)
            some = {name: amounts[rest] for name, amounts in free.items()}
            found[rest] = self._clipped_by_all(makes[rest], some)
        return found

    def _clipped_by_all(self, makes: IntArray, free: Mapping[str, FloatArray]) -> FloatArray:
        found = np.zeros(len(makes), dtype=np.float64)
        for start in range(0, len(makes), CHUNK):
            part = slice(start, start + CHUNK)
            found[part] = self._by_all(makes[part], {name: amounts[part] for name, amounts in free.items()})
        return np.clip(found, -MOST_WORTH, MOST_WORTH)

    def _bound(self, makes: IntArray, free: Mapping[str, FloatArray]) -> Mask | None:
        """The trees in which the scored class alone bounds all shapes; None if that is never so."""
        if self._ratios is None or self.prices.scored not in free:
            return None
        scored = free[self.prices.scored]
        # More than there is may be free for a moment.
        found: Mask = scored < (EXACT if self._listed is None else len(self._listed))
        if self._admits_all is not None:
            found &= self._admits_all[makes]
        for name, (amount, of_scored) in self._ratios.items():
            if name not in free:
                return None
            wanted = scored * amount
            found &= free[name] * of_scored >= wanted
            if self._listed is None:
                found &= wanted < EXACT
        return found

    def _by_one(self, free: FloatArray) -> tuple[FloatArray, Mask]:
        """The worth where the scored class is the bound, and whether sums are exact."""
        prices = self.prices
        sizes = prices.sizes[:, np.newaxis]
        found: FloatArray = self._prices_by_size @ np.floor(free / sizes)
        lost = free * prices.all_lost
        of_use = self._lost_by_size @ (free >= sizes)
        exact: Mask = (np.maximum(found, lost) < EXACT) & (found >= 0)
        return found - (lost - of_use * free) + prices.residuals[_grains(free, prices)], exact

    def _by_all(self, makes: IntArray, free: Mapping[str, FloatArray]) -> FloatArray:
        prices, terms = self.prices, self.prices.terms
        parts = np.zeros((terms.parts + 1, len(makes)), dtype=np.float64)
        parts[terms.parts] = MANY
        for name, asked in terms.asked.items():
            if name in free:
                found = self._slots(name, asked, makes, free[name])
                parts[asked.first : asked.first + len(found)] = found
        for number, each in enumerate(self._trees, terms.parts - len(self._trees)):
            parts[number] = np.where(each[makes], MANY, 0.0)
        slots: FloatArray = np.full((len(terms.shapes), len(makes)), MANY, dtype=np.float64)
        for numbers in terms.of_shapes:
            np.minimum(slots, parts[numbers], out=slots)
        worth: FloatArray = prices.slot_prices @ slots
        amounts = free.get(prices.scored)
        if amounts is None:
            return worth
        usable = (amounts >= prices.sizes[:, np.newaxis]) * amounts
        of_use = usable[prices.size_of] * (slots[prices.with_device] > 0)
        fragments = amounts * prices.all_lost - prices.lost @ of_use
        return worth - fragments + prices.residuals[_grains(amounts, prices)]

    def _slots(self, name: str, asked: ClassDemand, makes: IntArray, free: FloatArray) -> FloatArray:
        """How often each part of a class fits."""
        times = np.floor(free / asked.sizes[:, np.newaxis])
        if name in self._admits:
            times *= self._admits[name][:, makes]
        each: FloatArray = times[asked.size] if asked.repeats else times
        if name in self._fits:
            each *= self._fits[name][asked.condition][:, makes]
        if (asked.count > 1).any():
            each = np.floor(each / asked.count[:, np.newaxis])
            # One provider serves no two that must be apart.
            each[(asked.count > 1) & asked.apart] = 0.0
        return each


def _grains(free: FloatArray, prices: Prices) -> IntArray:
    return np.minimum(free * (GRAINS / prices.whole), GRAINS).astype(np.int64)


def _admits(make: Make, name: str, size: int) -> bool:
    """Whether the units of a make's inventory admit an amount. What it has none of does not matter."""
    inventory = dict(make.inventories).get(name)
    if inventory is None:
        return True
    within = inventory.min_unit <= size <= inventory.max_unit
    return within and bool(inventory.step_size) and size % inventory.step_size == 0


def _tree_meets(make: Make, condition: TreeCondition) -> bool:
    root: Condition = tuple([(name,) for name in condition.root_required]), condition.root_forbidden
    return meets(make.traits, root) and meets(make.traits, (condition.required, ()))


def _ratios(prices: Prices) -> dict[str, tuple[int, int]] | None:
    """For each other class the most that a shape asks of it for what it asks of the scored class.

    Both amounts are those of that shape. None if a shape asks for nothing of the scored class, or for more
    than one provider's.
    """
    found: dict[str, tuple[int, int]] = {}
    for shape in prices.terms.shapes:
        asked = {part.resource_class: part.amount for part in shape.parts}
        if len(asked) < len(shape.parts) or prices.scored not in asked:
            return None
        if any(part.count > 1 or (part.required, part.forbidden) != NO_CONDITION for part in shape.parts):
            return None
        for name, amount in asked.items():
            if name == prices.scored:
                continue
            pair = amount, asked[prices.scored]
            if name not in found or Fraction(*pair) > Fraction(*found[name]):
                found[name] = pair
    return found
