"""A sheet: the trees of a cloud in which each is one provider, with what prices make of them.

Trees are rows, numbered over all blocks. A claim changes a row or two, so what all rows are worth is worked
out once for prices, and kept up from then on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, TypeVar

import numpy as np

from moorage.search.index.block import Block
from moorage.search.index.columns import CLAMP, NONE, FloatArray, IntArray, Level
from moorage.search.index.index import Place, Snapshot
from moorage.search.order.chances import Prices
from moorage.search.order.lone import LoneWorth, Make
from moorage.search.order.options import lost_between
from moorage.search.order.remembered import mixed, new_factor

ArrayT = TypeVar("ArrayT", IntArray, FloatArray)

MOST_MOVED: Final = 8_192
"""Rows that have changed since a sheet was made, at most."""

MOST_KNOWN: Final = 4
"""Prices for which a sheet knows what its rows are worth."""


class _Valued:
    """What all states are worth by some prices, but for the ``stale`` ones."""

    __slots__ = ("stale", "worth", "worths")

    def __init__(self, worths: LoneWorth, worth: IntArray) -> None:
        self.worths = worths
        self.worth = worth
        self.stale: set[int] = set()


class Sheet:
    """Rows for all trees of a snapshot. For one thread at a time.

    Rows of the same make with the same free amounts are in one state. ``states`` has the state of each row,
    and ``free`` by class what is free in each state, 0 where there is nothing of the class. ``moved`` are the
    rows that have changed since the sheet was made, ``count`` of them, and ``versions`` the last change of
    each. ``slots`` has their places there. Each of them has a state of its own: see ``state_of``. ``ranks``
    are the ranks of all rows by name of root, then by id. ``blocks`` are those of the snapshot.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.blocks = blocks = snapshot.blocks
        self._starts = [0, *accumulate(map(len, blocks))]
        self.rows = self._starts[-1]
        numbers: dict[Make, int] = {}
        codes: IntArray = _joined([_makes_of(block, numbers) for block in blocks])
        self._makes = list(numbers)
        free: dict[str, FloatArray] = {}
        for start, block in zip(self._starts, blocks, strict=False):
            for name, column in block.columns.items():
                amounts = free.setdefault(name, np.zeros(self.rows, dtype=np.float64))
                amounts[start + column.offsets] = np.maximum(column.kinds.top[column.codes] - column.used, 0)
        state = mixed(codes, new_factor())
        for amounts in free.values():
            state += mixed(amounts.view(np.int64), new_factor())
        _, first, numbers_of_states = np.unique(state, return_index=True, return_inverse=True)
        self.states: IntArray = numbers_of_states.astype(np.int64)
        # States of rows that have not moved come first.
        self._begin = len(first)
        self._codes: IntArray = _with_space(codes[first])
        self.free: dict[str, FloatArray] = {name: _with_space(each[first]) for name, each in free.items()}
        self.ranks: IntArray = np.zeros(self.rows, dtype=np.int64)
        if blocks:
            names = np.concatenate([block.names for block in blocks])
            order = np.lexsort((_joined([block.ids for block in blocks]), names))
            self.ranks[order] = np.arange(self.rows)
        self.slots: dict[int, int] = {}
        self.moved: IntArray = np.zeros(MOST_MOVED + 1, dtype=np.int64)
        self.versions: IntArray = np.zeros(MOST_MOVED + 1, dtype=np.int64)
        self.version = 0
        self._known: dict[int, _Valued] = {}

    @property
    def count(self) -> int:
        """How many rows have changed."""
        return len(self.slots)

    @property
    def all_states(self) -> int:
        """How many states there are."""
        return self._begin + len(self.slots)

    @property
    def is_full(self) -> bool:
        """Whether a new sheet must take its place, and nothing be asked of this one."""
        return len(self.slots) > MOST_MOVED

    def start(self, number: int) -> int:
        """The first row of block ``number``."""
        return self._starts[number]

    def place(self, row: int) -> Place:
        """The tree of a row."""
        number = bisect_right(self._starts, row) - 1
        return number, row - self._starts[number]

    def blocks_of(self, rows: IntArray) -> IntArray:
        """The number of the block of each of some rows."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    def state_of(self, slots: IntArray) -> IntArray:
        """The states of rows that have moved."""
        return self._begin + slots

    def change(self, place: Place, levels: Mapping[str, Level]) -> None:
        """Take over what a tree has in use now."""
        if self.is_full:
            return
        row = self._starts[place[0]] + place[1]
        slot = self.slots.setdefault(row, len(self.slots))
        state = self._begin + slot
        if self.states[row] != state:
            self._codes[state] = self._codes[self.states[row]]
            self.states[row] = state
        for name, level in levels.items():
            top = max(-CLAMP, min(CLAMP, level.capacity))
            self.free[name][state] = max(0, top - level.used)
        self.version += 1
        self.moved[slot] = row
        self.versions[slot] = self.version
        for known in self._known.values():
            known.stale.add(state)

    def since(self, version: int) -> IntArray:
        """Slots of the rows that have changed since a version."""
        return np.flatnonzero(self.versions[: len(self.slots)] > version)

    def costs(self, prices: Prices, asked: Mapping[str, int], states: IntArray | None = None) -> IntArray:
        """What it costs rows in ``states``, or in all, to give what is ``asked``.

        In 1 / ``SCALE`` of a device.
        """
        some = np.arange(self.all_states) if states is None else states
        known = self._known_of(prices)
        # One pass tells what is left of all that is not known.
        stale = np.fromiter(known.stale, np.int64, len(known.stale))
        worth = self._worths(known.worths, np.concatenate([some, stale]), asked, len(some))
        if len(stale):
            known.worth[stale] = worth[len(some) :].astype(np.int64)
            known.stale.clear()
        return lost_between(known.worth[some], worth[: len(some)])

    def _known_of(self, prices: Prices) -> _Valued:
        known = self._known.get(id(prices))
        if known is None or known.worths.prices is not prices:
            worths = LoneWorth(prices, self._makes)
            worth = np.zeros(len(self._codes), dtype=np.int64)
            states = np.arange(self.all_states)
            worth[states] = self._worths(worths, states, {}, 0).astype(np.int64)
            known = self._known[id(prices)] = _Valued(worths, worth)
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return known

    def _worths(
        self, worths: LoneWorth, states: IntArray, asked: Mapping[str, int], giving: int
    ) -> FloatArray:
        """What rows in ``states`` are worth once the first ``giving`` of them gave what is ``asked``."""
        free = {name: self.free[name][states] for name in worths.classes if name in self.free}
        for name, amount in asked.items():
            if name in free:
                left = free[name][:giving]
                np.maximum(left - amount, 0.0, out=left)
        return worths.of(self._codes[states], free)


def _joined(arrays: list[IntArray]) -> IntArray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int64)


def _with_space(values: ArrayT) -> ArrayT:
    """Values of states, with space for those of rows that will move."""
    return np.concatenate([values, np.zeros(MOST_MOVED + 1, dtype=values.dtype)])


def _makes_of(block: Block, numbers: dict[Make, int]) -> IntArray:
    """The number of each tree's make. New ones get the next numbers."""
    columns = list(block.columns.items())
    local: IntArray = block.traits.codes.astype(np.int64)
    for _, column in columns:
        full = np.full(len(block), NONE, dtype=np.int64)
        full[column.offsets] = column.codes
        _, local = np.unique(local * (len(column.kinds) + 1) + full + 1, return_inverse=True)
    _, first, local = np.unique(local, return_index=True, return_inverse=True)
    makes = []
    for offset in first.tolist():
        inventories = [(name, block.columns[name].at(offset)[0]) for name in sorted(block.classes[offset])]
        make = Make(frozenset(block.traits[offset]), tuple(inventories))
        makes.append(numbers.setdefault(make, len(numbers)))
    return np.array(makes, dtype=np.int64)[local]
