"""Chances: how often the requests that usually come still fit a tree, and what the tree is worth to them.

A *device* is a provider's inventory of the scored class. The worth of a tree is in devices:

    worth = sum of price[k] * slots[k]  -  fragments  +  RESIDUAL * residual worth of all devices

``slots[k]`` is how many requests of shape k fit the tree alone, one after the other. ``price[k]`` is the
share of the shape, divided by all slots of the cloud, times what is free in the cloud. ``fragments`` is what
is free and no use to the mean request. All that depends on the tree's own free amounts only, as long as
prices stay.

Numbers are whole multiples of 1 / ``FINE``, so that sums are exact and their order decides no rank.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from math import ceil
from types import MappingProxyType
from typing import Final

import numpy as np

from moorage.model.mixes import Mix, Names, Shape, ShapePart
from moorage.model.orders import SCALE
from moorage.model.valueclass import valueclass
from moorage.search.index.block import Block
from moorage.search.index.columns import ClassColumn, FloatArray, IntArray, Mask
from moorage.search.index.index import Snapshot
from moorage.search.order.facts import kept_fact
from moorage.search.order.residuals import GRAINS

FINE: Final = 1_000 * SCALE
"""Worths are whole multiples of 1 / ``FINE``."""

FRAGMENT: Final = 1.0
RESIDUAL: Final = 30.0
"""What a device that is a fragment counts, and what is left of a device."""

BASE: Final = 10.0
"""Devices that are added to what is free in the cloud, so that prices do not vanish with it."""

FEWEST_SLOTS: Final = 0.001
MOST_PRICE: Final = 1_000.0
"""The fewest slots that a price is divided by, and the largest price, in devices."""

MANY: Final = float(1 << 40)
"""More slots than any tree has."""

MOST_WORTH: Final = float(1 << 62)
"""The largest worth, times ``FINE``: an integer of 64 bits holds it. Prices that are old may lead beyond."""

CHUNK: Final = 512
"""Trees that are counted at once."""

NO_RESIDUALS: Final[FloatArray] = np.zeros(GRAINS + 1, dtype=np.float64)

Condition = tuple[tuple[Names, ...], Names]
"""Traits that a provider must have (one of each) and must not have."""

NO_CONDITION: Final[Condition] = ((), ())


@valueclass(frozen=True, slots=True, eq=False)
class Taken:
    """Amounts of a class that rows of trees would give: numbers of rows, offsets in the block, amounts."""

    rows: IntArray
    offsets: IntArray
    amounts: IntArray | int


NOTHING_TAKEN: Final[Mapping[str, Taken]] = MappingProxyType({})


@valueclass(frozen=True, slots=True, eq=False)
class ClassDemand:
    """What all shapes ask of one class. ``first`` is the number of its first part.

    ``sizes`` are the different amounts, and ``repeats`` says that several parts have the same. For each part:
    ``size`` is the number of its amount, ``condition`` that of its traits, ``count`` and ``apart`` are as in
    ``ShapePart``.
    """

    first: int
    sizes: IntArray
    size: IntArray
    condition: IntArray
    count: IntArray
    apart: Mask
    conditions: tuple[Condition, ...]
    repeats: bool


@valueclass(frozen=True, slots=True, eq=False)
class TreeCondition:
    """Traits that a tree as a whole must have: see ``Shape``."""

    required: tuple[Names, ...]
    root_required: Names
    root_forbidden: Names


class MixTerms:
    """A mix, prepared for counting: parts of all shapes by class, and how shapes consist of them."""

    def __init__(self, mix: Mix) -> None:
        self.shapes: Sequence[Shape] = tuple(mix.shares)
        self.shares: FloatArray = np.array(list(mix.shares.values()), dtype=np.float64)
        wanted: dict[str, set[Key]] = {}
        for shape in self.shapes:
            for part in shape.parts:
                wanted.setdefault(part.resource_class, set()).add(_key(part))
        # In order of amount, so that parts of different amounts have the numbers of their amounts.
        by_class = {
            name: {key: number for number, key in enumerate(sorted(keys))} for name, keys in wanted.items()
        }
        self.asked: dict[str, ClassDemand] = {}
        first = 0
        for name, numbers in by_class.items():
            self.asked[name] = _asked(first, list(numbers))
            first += len(numbers)
        trees: dict[Hashable, int] = {}
        self.trees: list[TreeCondition] = []
        parts: list[list[int]] = []
        for shape in self.shapes:
            mine = [
                self.asked[part.resource_class].first + by_class[part.resource_class][_key(part)]
                for part in shape.parts
            ]
            whole = shape.required, shape.root_required, shape.root_forbidden
            if any(whole):
                if whole not in trees:
                    trees[whole] = len(trees)
                    self.trees.append(TreeCondition(*whole))
                mine.append(first + trees[whole])
            parts.append(mine)
        self.parts = first + len(self.trees)
        width = max(map(len, parts), default=0)
        # The row after the last one stands for no part.
        padded = [[*mine, *[self.parts] * (width - len(mine))] for mine in parts]
        self.of_shapes: IntArray = np.array(padded, dtype=np.int64).reshape(len(parts), width).T

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return 1_000 + 600 * len(self.shapes) + 200 * self.parts


Key = tuple[int, int, bool, Condition]
"""A part of a shape without its class: amount, count, whether apart, traits."""


def _key(part: ShapePart) -> Key:
    return part.amount, part.count, part.apart, (part.required, part.forbidden)


def _asked(first: int, parts: Sequence[Key]) -> ClassDemand:
    sizes = sorted({amount for amount, _, _, _ in parts})
    conditions = list(dict.fromkeys([NO_CONDITION, *[condition for _, _, _, condition in parts]]))
    return ClassDemand(
        first,
        np.array(sizes, dtype=np.int64),
        np.array([sizes.index(amount) for amount, _, _, _ in parts], dtype=np.int64),
        np.array([conditions.index(condition) for _, _, _, condition in parts], dtype=np.int64),
        np.array([count for _, count, _, _ in parts], dtype=np.int64),
        np.array([apart for _, _, apart, _ in parts], dtype=np.bool_),
        tuple(conditions),
        len(sizes) < len(parts),
    )


class Held:
    """Inventories of a class in some trees: a row for each, tree after tree.

    ``starts`` are the first rows of the trees that have any, and ``having`` are the numbers of these trees.
    """

    __slots__ = (
        "_all",
        "_column",
        "_firsts",
        "_single",
        "_traits",
        "count",
        "free",
        "having",
        "positions",
        "starts",
    )

    def __init__(self, block: Block, column: ClassColumn, name: str, trees: IntArray) -> None:
        bounds = _bounds_of(block, column, name)
        self._column = column
        self._traits = block.traits.codes
        firsts = bounds[trees]
        lengths = bounds[trees + 1] - firsts
        ends = np.cumsum(lengths)
        begins = ends - lengths
        self.count = len(trees)
        self._single = bool((lengths == 1).all())
        self.positions: IntArray = np.repeat(firsts - begins, lengths) + np.arange(len(firsts) and ends[-1])
        self.having: IntArray = np.flatnonzero(lengths)
        self.starts: IntArray = begins[self.having]
        self._firsts = firsts
        self._all = begins
        codes = column.codes[self.positions]
        free = column.kinds.top[codes] - column.used[self.positions]
        self.free: FloatArray = np.maximum(free, 0).astype(np.float64)

    def give(self, taken: Taken) -> None:
        """Take away what rows of trees would give."""
        column = self._column
        rows = taken.offsets if column.dense else column.offsets.searchsorted(taken.offsets)
        places = self._all[taken.rows] + rows - self._firsts[taken.rows]
        np.subtract.at(self.free, places, taken.amounts)
        np.maximum(self.free, 0.0, out=self.free)

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums over each tree of ``values``, whose last axis has the rows."""
        if self._single:
            return values
        shape = (*values.shape[:-1], self.count)
        found = np.zeros(shape, dtype=np.float64)
        if len(self.having):
            found[..., self.having] = np.add.reduceat(values, self.starts, axis=-1)
        return found

    def slots(self, asked: ClassDemand, fits: Mask | None, admits: Mask | None) -> FloatArray:
        """For each part of a class (first axis) and each tree: how often the part fits.

        ``fits`` are the sets of traits that meet each condition; ``admits`` are the amounts that
        units of each kind of inventory admit. None stands for all.
        """
        times = np.floor(self.free / asked.sizes[:, np.newaxis])
        if admits is not None:
            times *= admits[:, self._column.codes[self.positions]]
        each = times[asked.size] if asked.repeats else times
        if fits is not None:
            each *= fits[asked.condition][:, self._traits[self._column.offsets[self.positions]]]
        found = self.sums(each)
        many = np.flatnonzero(asked.count > 1)
        if len(many):
            count = asked.count[many, np.newaxis].astype(np.float64)
            some = np.floor(found[many] / count)
            apart = np.flatnonzero(asked.apart[many])
            if len(apart):
                some[apart] = self._apart(each[many[apart]], some[apart], count[apart])
            found[many] = some
        return found

    def _apart(self, each: FloatArray, most: FloatArray, count: FloatArray) -> FloatArray:
        """How many requests for ``count`` different providers fit, at most ``most``.

        ``each`` says how often a part fits each provider. So many requests fit if each provider serves each
        of them at most once, and that suffices for all.
        """
        if not len(self.having):
            return most
        lengths = np.diff(np.append(self.starts, each.shape[-1]))
        while True:
            capped = np.minimum(each, np.repeat(most[:, self.having], lengths, axis=-1))
            fewer = np.floor(self.sums(capped) / count)
            if np.array_equal(fewer, most):
                return most
            most = fewer


def _bounds_of(block: Block, column: ClassColumn, name: str) -> IntArray:
    """The first row of each tree in a column, and the number of rows."""
    return kept_fact(
        block,
        ("rows", name),
        lambda: column.offsets.searchsorted(block.trees.starts),
        lambda each: each.nbytes,
    )


def _fits_of(block: Block, conditions: tuple[Condition, ...]) -> Mask | None:
    """For each condition the sets of traits that meet it, by the block's codes; None if each meets all."""
    if len(conditions) == 1:
        return None
    return kept_fact(
        block,
        ("fits", conditions),
        lambda: np.array([_sets_meeting(block, each) for each in conditions]),
        lambda found: found.nbytes,
    )


def meets(traits: frozenset[str], condition: Condition) -> bool:
    """Whether a provider with these traits meets a condition."""
    required, forbidden = condition
    return all(not traits.isdisjoint(names) for names in required) and traits.isdisjoint(forbidden)


def _sets_meeting(block: Block, condition: Condition) -> Mask:
    found = [meets(frozenset(traits), condition) for traits in block.traits.sets]
    return np.array(found, dtype=np.bool_)


def _meeting(block: Block, condition: Condition) -> Mask:
    found: Mask = _sets_meeting(block, condition)[block.traits.codes]
    return found


def _admitted(column: ClassColumn, asked: ClassDemand) -> Mask | None:
    """For each amount the kinds of inventories whose units admit it; None for all."""
    kinds, sizes = column.kinds, asked.sizes[:, np.newaxis]
    admits: Mask = (kinds.min_unit <= sizes) & (sizes <= kinds.max_unit) & (sizes % kinds.step_size == 0)
    return None if admits.all() else admits


def _trees_meeting(block: Block, conditions: Sequence[TreeCondition], trees: IntArray) -> FloatArray:
    found = np.zeros((len(conditions), len(trees)), dtype=np.float64)
    for number, condition in enumerate(conditions):
        meets = kept_fact(
            block,
            ("tree", condition.required, condition.root_required, condition.root_forbidden),
            lambda condition=condition: _tree_meeting(block, condition),  # type: ignore[misc]
            lambda each: each.nbytes,
        )
        found[number] = np.where(meets[trees], MANY, 0.0)
    return found


def _tree_meeting(block: Block, condition: TreeCondition) -> Mask:
    root = tuple([(name,) for name in condition.root_required]), condition.root_forbidden
    found: Mask = block.trees.at_roots(_meeting(block, root))
    for names in condition.required:
        found = found & block.trees.with_any(_meeting(block, ((names,), ())))
    return found


class Counted:
    """How many requests of each shape fit some trees of a block, and what is free there of the scored class.

    ``slots`` has a row for each shape. ``scored`` are the inventories of the scored class.
    """

    def __init__(
        self,
        block: Block,
        terms: MixTerms,
        trees: IntArray,
        taken: Mapping[str, Taken],
        scored: str,
    ) -> None:
        parts = np.zeros((terms.parts + 1, len(trees)), dtype=np.float64)
        parts[terms.parts] = MANY
        self.scored: Held | None = None
        for name in (*terms.asked, *([scored] if scored not in terms.asked else ())):
            column = block.columns.get(name)
            if column is None:
                continue
            held = Held(block, column, name, trees)
            if name in taken:
                held.give(taken[name])
            if name == scored:
                self.scored = held
            asked = terms.asked.get(name)
            if asked is not None:
                fits = _fits_of(block, asked.conditions)
                found = held.slots(asked, fits, _admitted(column, asked))
                parts[asked.first : asked.first + len(found)] = found
        if terms.trees:
            parts[terms.parts - len(terms.trees) : terms.parts] = _trees_meeting(block, terms.trees, trees)
        slots: FloatArray = np.full((len(terms.shapes), len(trees)), MANY, dtype=np.float64)
        for numbers in terms.of_shapes:
            np.minimum(slots, parts[numbers], out=slots)
        self.slots = slots


class Prices:
    """What slots, fragments and residuals are worth in a cloud, for as long as its prices stay.

    ``free`` is what is free of the ``scored`` class, in devices of ``whole``, the largest one. ``key`` is
    different for prices that differ.
    """

    def __init__(
        self,
        terms: MixTerms,
        scored: str,
        whole: float,
        totals: FloatArray,
        free: float,
        residuals: FloatArray,
    ) -> None:
        """``totals`` are the slots of each shape in the cloud, ``residuals`` as ``values_of`` gives them."""
        self.terms = terms
        self.scored = scored
        self.whole = whole
        self.totals = totals
        self.free = free
        self.key: Hashable = object()
        scale = free + BASE
        prices = np.minimum(terms.shares * scale / np.maximum(totals, FEWEST_SLOTS), MOST_PRICE)
        self.slot_prices: FloatArray = np.rint(prices * FINE)
        self.residuals: FloatArray = np.rint(residuals * (RESIDUAL * FINE))
        lost = np.rint(terms.shares * (FRAGMENT * FINE / whole))
        self.all_lost = float(np.sum(lost))
        sizes: list[int] = []
        shapes: list[int] = []
        for number, shape in enumerate(terms.shapes):
            amounts = [part.amount for part in shape.parts if part.resource_class == scored]
            if amounts:
                shapes.append(number)
                sizes.append(max(amounts))
        self.sizes: FloatArray = np.array(sorted(set(sizes)), dtype=np.float64)
        self.size_of: IntArray = self.sizes.searchsorted(sizes)
        self.with_device: IntArray = np.array(shapes, dtype=np.int64)
        self.lost: FloatArray = lost[self.with_device]

    def with_residuals(self, residuals: FloatArray) -> Prices:
        """The same prices, but for what is left of devices."""
        return Prices(self.terms, self.scored, self.whole, self.totals, self.free, residuals)

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return self.terms.size

    @property
    def shapes(self) -> int:
        """How many shapes there are."""
        return len(self.terms.shapes)

    @property
    def classes(self) -> Collection[str]:
        """The classes that a worth depends on."""
        return self.terms.asked.keys() | {self.scored}

    def worth(self, block: Block, trees: IntArray, taken: Mapping[str, Taken] = NOTHING_TAKEN) -> FloatArray:
        """What rows of ``trees`` of a block are worth, times ``FINE``, once they gave what is ``taken``.

        A tree may be there several times.
        """
        found: FloatArray = np.zeros(len(trees), dtype=np.float64)
        for start in range(0, len(trees), CHUNK):
            stop = min(start + CHUNK, len(trees))
            found[start:stop] = self._worth(block, trees[start:stop], _within(taken, start, stop))
        return np.clip(found, -MOST_WORTH, MOST_WORTH)

    def _worth(self, block: Block, trees: IntArray, taken: Mapping[str, Taken]) -> FloatArray:
        counted = Counted(block, self.terms, trees, taken, self.scored)
        found: FloatArray = self.slot_prices @ counted.slots
        held = counted.scored
        if held is None:
            return found
        grains = np.minimum(held.free * (GRAINS / self.whole), GRAINS).astype(np.int64)
        # What is free in devices that are too small for each amount, what is free, and its residual worth.
        small = held.free < self.sizes[:, np.newaxis]
        sums = held.sums(np.concatenate([held.free * small, [held.free, self.residuals[grains]]]))
        free = sums[-2]
        of_use = (free - sums[:-2])[self.size_of] * (counted.slots[self.with_device] > 0)
        fragments = free * self.all_lost - self.lost @ of_use
        worth: FloatArray = found - fragments + sums[-1]
        return worth


def _within(taken: Mapping[str, Taken], start: int, stop: int) -> dict[str, Taken]:
    """The part of ``taken`` that rows from ``start`` up to ``stop`` give. Rows are in ascending order."""
    found: dict[str, Taken] = {}
    for name, some in taken.items():
        first, last = some.rows.searchsorted([start, stop]).tolist()
        amounts = some.amounts if isinstance(some.amounts, int) else some.amounts[first:last]
        found[name] = Taken(some.rows[first:last] - start, some.offsets[first:last], amounts)
    return found


# Prices of a cloud


def total_slots(blocks: Iterable[Block], terms: MixTerms) -> FloatArray:
    """How many requests of each shape fit the trees of some blocks."""
    found: FloatArray = np.zeros(len(terms.shapes), dtype=np.float64)
    for block in blocks:
        for start in range(0, block.trees.count, CHUNK):
            trees = np.arange(start, min(start + CHUNK, block.trees.count))
            slots = Counted(block, terms, trees, {}, "").slots
            found += np.sum(slots, axis=1)
    return found


def scored_class(snapshot: Snapshot, terms: MixTerms) -> str | None:
    """The class that devices are counted of where a profile names none; None if the mix asks for none.

    Classes that providers below a root have go before others: there are devices. Of these, the one of which
    the mix asks for the largest part of all capacity.
    """
    wanted: dict[str, float] = {}
    for shape, share in zip(terms.shapes, terms.shares.tolist(), strict=True):
        for part in shape.parts:
            asked = part.amount * part.count * share
            wanted[part.resource_class] = wanted.get(part.resource_class, 0.0) + asked
    best: tuple[bool, float, str] | None = None
    for name in sorted(wanted, reverse=True):
        below, capacity = False, 0.0
        for block in snapshot.blocks:
            column = block.columns.get(name)
            if column is not None:
                capacity += float(np.sum(column.kinds.amounts[column.codes]))
                trees = block.trees
                below = below or bool((trees.roots[trees.tree_of[column.offsets]] != column.offsets).any())
        if capacity > 0 and (best is None or (below, wanted[name] / capacity, name) >= best):
            best = below, wanted[name] / capacity, name
    return None if best is None else best[2]


def whole_device(snapshot: Snapshot, scored: str) -> float:
    """The capacity of the largest device; 1 if there is none."""
    columns = [block.columns[scored] for block in snapshot.blocks if scored in block.columns]
    most = [float(np.max(column.kinds.amounts[column.codes])) for column in columns]
    return max([1.0, *most])


def free_devices(snapshot: Snapshot, scored: str, whole: float) -> float:
    """What is free of the scored class, in devices of ``whole``."""
    columns = [block.columns[scored] for block in snapshot.blocks if scored in block.columns]
    free = [np.maximum(column.kinds.top[column.codes] - column.used, 0) for column in columns]
    return sum([float(np.sum(each.astype(np.float64))) for each in free]) / whole


def demand_of(terms: MixTerms, scored: str, whole: float) -> dict[int, float]:
    """The share of each amount below a whole device, in grains, among such amounts."""
    found: dict[int, float] = {}
    for shape, share in zip(terms.shapes, terms.shares.tolist(), strict=True):
        for part in shape.parts:
            if part.resource_class == scored and part.amount < whole:
                grains = min(GRAINS - 1, ceil(part.amount * GRAINS / whole))
                found[grains] = found.get(grains, 0.0) + share * part.count
    total = sum(found.values())
    return {grains: share / total for grains, share in found.items()}


def prices_of(
    snapshot: Snapshot, mix: Mix, scored: str | None = None, residuals: FloatArray | None = None
) -> Prices | None:
    """Prices for a mix of requests; None if it asks for nothing that the cloud has.

    ``residuals`` are of an earlier mix, since working them out takes some 0.4 seconds. Without any, what is
    left of a device is worth nothing.
    """
    terms = MixTerms(mix)
    name = scored or scored_class(snapshot, terms)
    if name is None:
        return None
    whole = whole_device(snapshot, name)
    totals = total_slots(snapshot.blocks, terms)
    free = free_devices(snapshot, name, whole)
    return Prices(terms, name, whole, totals, free, NO_RESIDUALS if residuals is None else residuals)
