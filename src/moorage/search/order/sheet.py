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
import numpy.typing as npt

from moorage.search.index.block import Block
from moorage.search.index.columns import CLAMP, NONE, FloatArray, IntArray, Level, Mask
from moorage.search.index.index import Place, Snapshot
from moorage.search.order.chances import Prices
from moorage.search.order.lone import LoneWorth, Make
from moorage.search.order.options import lost_between
from moorage.search.order.remembered import mixed, new_factor

ByteArray = npt.NDArray[np.uint8]

ArrayT = TypeVar("ArrayT", IntArray, FloatArray, ByteArray)

SPACE: Final = 1_024
"""Rows that may change before arrays are made longer, each time to twice as many."""

MOST_LOGGED: Final = 65_536
"""Changes of which the sheet knows in which order they came."""

MOST_KNOWN: Final = 4
"""Prices for which a sheet knows what its rows are worth."""


class _Valued:
    """What all states are worth by some prices, as of a version of the sheet."""

    __slots__ = ("one_class", "version", "worth", "worths")

    def __init__(self, worths: LoneWorth, worth: IntArray, columns: Mapping[str, int], version: int) -> None:
        self.worths = worths
        self.worth = worth
        self.one_class = worths.by_one_class(columns)
        self.version = version


class Sheet:
    """Rows for all trees of a snapshot. For one thread at a time.

    Rows of the same make with the same free amounts are in one state. ``states`` has the state of each row.
    ``free`` has a row for each class, with what is free of it in each state, 0 where there is nothing of the
    class; ``columns`` numbers the classes. ``moved`` are the rows that have changed since the sheet was made,
    ``count`` of them, and ``versions`` the last change of each. ``slots`` has their places there. Each of
    them has a state of its own: see ``state_of``. Among bits of all rows, those of moved ones are ``bits`` of
    the bytes at ``bytes``. ``ranks`` are the ranks of all rows by name of root, then by id. ``blocks`` are
    those of the snapshot.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.blocks = blocks = snapshot.blocks
        self._starts = [0, *accumulate(map(len, blocks))]
        self.rows = self._starts[-1]
        numbers: dict[Make, int] = {}
        codes: IntArray = _joined([_makes_of(block, numbers) for block in blocks])
        self._makes = list(numbers)
        names = sorted({name for block in blocks for name in block.columns})
        self.columns = {name: number for number, name in enumerate(names)}
        free: FloatArray = np.zeros((len(names), self.rows), dtype=np.float64)
        for start, block in zip(self._starts, blocks, strict=False):
            for name, column in block.columns.items():
                amounts = np.maximum(column.kinds.top[column.codes] - column.used, 0)
                free[self.columns[name], start + column.offsets] = amounts
        state = mixed(codes, new_factor())
        for each in free:
            state += mixed(each.view(np.int64), new_factor())
        _, first, numbers_of_states = np.unique(state, return_index=True, return_inverse=True)
        self.states: IntArray = numbers_of_states.astype(np.int64)
        # States of rows that have not moved come first.
        self._begin = len(first)
        self._codes: IntArray = _longer(codes[first], SPACE)
        self.free: FloatArray = _longer(free[:, first], SPACE)
        self.ranks: IntArray = np.zeros(self.rows, dtype=np.int64)
        if blocks:
            roots = np.concatenate([block.names for block in blocks])
            order = np.lexsort((_joined([block.ids for block in blocks]), roots))
            self.ranks[order] = np.arange(self.rows)
        self.slots: dict[int, int] = {}
        self.moved: IntArray = np.zeros(SPACE, dtype=np.int64)
        self.versions: IntArray = np.zeros(SPACE, dtype=np.int64)
        self.bytes: IntArray = np.zeros(SPACE, dtype=np.int64)
        self.bits: ByteArray = np.zeros(SPACE, dtype=np.uint8)
        self.version = 0
        # The slots of the last changes, of those after ``_logged`` on.
        self._log: IntArray = np.zeros(MOST_LOGGED, dtype=np.int64)
        self._logged = 0
        self._known: dict[int, _Valued] = {}

    @property
    def count(self) -> int:
        """How many rows have changed."""
        return len(self.slots)

    @property
    def all_states(self) -> int:
        """How many states there are."""
        return self._begin + len(self.slots)

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

    def amounts(self, of: Mapping[str, int]) -> FloatArray | None:
        """Amounts of classes, to be compared with ``free``; None if no row has one of the classes."""
        found: FloatArray = np.zeros((len(self.columns), 1), dtype=np.float64)
        for name, amount in of.items():
            column = self.columns.get(name)
            if column is None:
                return None
            found[column] = amount
        return found

    def change(self, place: Place, levels: Mapping[str, Level]) -> None:
        """Take over what a tree has in use now."""
        row = self._starts[place[0]] + place[1]
        slot = self.slots.get(row)
        if slot is None:
            slot = self._move(row)
        state = self._begin + slot
        for name, level in levels.items():
            top = max(-CLAMP, min(CLAMP, level.capacity))
            self.free[self.columns[name], state] = max(0, top - level.used)
        if self.version - self._logged == len(self._log):
            kept = len(self._log) // 2
            self._log[:kept] = self._log[len(self._log) - kept :]
            self._logged = self.version - kept
        self._log[self.version - self._logged] = slot
        self.version += 1
        self.versions[slot] = self.version

    def _move(self, row: int) -> int:
        """Give a row that has not changed yet a state of its own; returns its slot."""
        slot = self.slots[row] = len(self.slots)
        if slot == len(self.moved):
            more = len(self.moved)
            self.moved = _longer(self.moved, more)
            self.versions = _longer(self.versions, more)
            self.bytes = _longer(self.bytes, more)
            self.bits = _longer(self.bits, more)
            self._codes = _longer(self._codes, more)
            self.free = _longer(self.free, more)
            for known in self._known.values():
                known.worth = _longer(known.worth, more)
        before, state = self.states[row], self._begin + slot
        self._codes[state] = self._codes[before]
        self.free[:, state] = self.free[:, before]
        self.states[row] = state
        self.moved[slot] = row
        self.bytes[slot] = row >> 3
        self.bits[slot] = 1 << (row & 7)
        return slot

    def has_moved(self, row: int, version: int) -> bool:
        """Whether a row has changed since a version."""
        slot = self.slots.get(row)
        return slot is not None and bool(self.versions[slot] > version)

    def have_moved(self, rows: IntArray, version: int) -> Mask:
        """The same for several rows."""
        slots = self.states[rows] - self._begin
        found: Mask = (slots >= 0) & (self.versions[np.maximum(slots, 0)] > version)
        return found

    def since(self, version: int) -> IntArray:
        """Slots of the rows that have changed since a version; some of them several times."""
        if version < self._logged:
            return np.arange(len(self.slots))
        return self._log[version - self._logged : self.version - self._logged]

    def costs(self, prices: Prices, asked: Mapping[str, int], states: IntArray | None = None) -> IntArray:
        """What it costs rows in ``states``, or in all, to give what is ``asked``.

        In 1 / ``SCALE`` of a device.
        """
        some = np.arange(self.all_states) if states is None else states
        known = self._known_of(prices)
        # One pass tells what is left of all that is not known.
        stale = self._begin + np.unique(self.since(known.version))
        worth = self._worths(known.worths, np.concatenate([some, stale]), asked, len(some))
        known.worth[stale] = worth[len(some) :].astype(np.int64)
        known.version = self.version
        return lost_between(known.worth[some], worth[: len(some)])

    def costs_by_one_class(self, prices: Prices, free: FloatArray, asked: FloatArray) -> IntArray | None:
        """As ``costs``, for trees in which so much is free. None if that is not known at once."""
        known = self._known_of(prices)
        return None if known.one_class is None else known.one_class.costs(free, asked)

    def _known_of(self, prices: Prices) -> _Valued:
        known = self._known.get(id(prices))
        if known is None or known.worths.prices is not prices:
            worths = LoneWorth(prices, self._makes)
            worth = np.zeros(len(self._codes), dtype=np.int64)
            states = np.arange(self.all_states)
            worth[states] = self._worths(worths, states, {}, 0).astype(np.int64)
            known = self._known[id(prices)] = _Valued(worths, worth, self.columns, self.version)
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return known

    def _worths(
        self, worths: LoneWorth, states: IntArray, asked: Mapping[str, int], giving: int
    ) -> FloatArray:
        """What rows in ``states`` are worth once the first ``giving`` of them gave what is ``asked``."""
        columns = self.columns
        free = {name: self.free[columns[name]][states] for name in worths.classes if name in columns}
        for name, amount in asked.items():
            if name in free:
                left = free[name][:giving]
                np.maximum(left - amount, 0.0, out=left)
        return worths.of(self._codes[states], free)


def _joined(arrays: list[IntArray]) -> IntArray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int64)


def _longer(values: ArrayT, more: int) -> ArrayT:
    """Values with space for more."""
    return np.concatenate([values, np.zeros((*values.shape[:-1], more), dtype=values.dtype)], axis=-1)


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
