"""All inventories of one resource class as a compact table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from moorage.model.values import Inventory
from moorage.rules.capacity import capacity
from moorage.search.columns import FIRST_SIZE, NONE, IntArray, PagedInts, lengthened, room_for

CLAMP: Final = 1 << 62
"""Largest capacity a column can show. Ratios go up to 3.4e38, so a capacity may not fit 64 bits;
the half that is left keeps ``capacity - used`` from overflowing."""

_INTEGERS: Final = (
    "slot",
    "total",
    "reserved",
    "capacity",
    "used",
    "min_unit",
    "max_unit",
    "step_size",
    "room",
)

Entry = tuple[Inventory, int]
"""An inventory and the amount of it that is used."""


class ClassTable:
    """Rows of numbers, one for each provider with inventory of the class, in no order.

    Amounts are in the unit of the class. ``room`` is what one provider can give to one
    consumer at most: the lesser of what is free and max_unit. Rows are 0 to ``count`` - 1;
    a row taken out is filled with the last one.
    """

    __slots__ = ("_row_of", "_stepped", "count", "ratio", *_INTEGERS)

    slot: IntArray
    total: IntArray
    reserved: IntArray
    capacity: IntArray
    used: IntArray
    min_unit: IntArray
    max_unit: IntArray
    step_size: IntArray
    room: IntArray

    def __init__(self) -> None:
        self.count = 0
        self._row_of = PagedInts()
        self._stepped = 0
        for name in _INTEGERS:
            setattr(self, name, np.zeros(FIRST_SIZE, dtype=np.int64))
        self.ratio = np.zeros(FIRST_SIZE, dtype=np.float64)

    def add(self, slots: Sequence[int], entries: Sequence[Entry]) -> None:
        """Take in what the providers at ``slots``, none of which has a row, offer."""
        count = self.count + len(slots)
        if count > len(self.slot):
            length = room_for(count, len(self.slot))
            for name in (*_INTEGERS, "ratio"):
                setattr(self, name, lengthened(getattr(self, name), length, 0))
        rows = np.arange(self.count, count)
        self.slot[rows] = slots
        self._row_of.set_many(self.slot[rows], rows)
        self.count = count
        self._write(rows, entries)

    def rewrite(self, slots: Sequence[int], entries: Sequence[Entry]) -> None:
        """Give the rows of the providers at ``slots`` other numbers."""
        rows = self._row_of.get_many(np.array(slots, dtype=np.int64))
        self._stepped -= int(np.count_nonzero(self.step_size[rows] != 1))
        self._write(rows, entries)

    def remove(self, slots: Sequence[int]) -> None:
        """Forget the rows of the providers at ``slots``."""
        keys = np.array(slots, dtype=np.int64)
        rows = self._row_of.get_many(keys)
        self._stepped -= int(np.count_nonzero(self.step_size[rows] != 1))
        self._row_of.unset_many(keys)
        count = self.count - len(rows)
        holes = rows[rows < count]
        movers = np.setdiff1d(np.arange(count, self.count), rows)
        for name in (*_INTEGERS, "ratio"):
            column = getattr(self, name)
            column[holes] = column[movers]
        self._row_of.set_many(self.slot[holes], holes)
        self.count = count

    def slots_with(self, amount: int) -> IntArray:
        """Slots of the providers that can serve ``amount`` by themselves."""
        if amount > CLAMP:
            return self.slot[:0]
        count = self.count
        fits = (self.room[:count] >= amount) & (self.min_unit[:count] <= amount)
        if self._stepped:
            fits &= amount % self.step_size[:count] == 0
        return self.slot[:count][fits]

    def room_at(self, slot: int) -> int:
        """``room`` of the provider at ``slot``, ``NONE`` if it has no row."""
        row = self._row_of.get(slot)
        return NONE if row == NONE else int(self.room[row])

    def entry(self, slot: int) -> Entry:
        """Inventory and use of the provider at ``slot``, which has a row."""
        row = self._row_of.get(slot)
        return self._inventory(row), int(self.used[row])

    def amounts(self, slots: IntArray) -> list[tuple[int, int]]:
        """(capacity, used) of the providers at ``slots``, all of which have rows; exact."""
        rows = self._row_of.get_many(slots)
        shown = self.capacity[rows]
        exact: list[int] = shown.tolist()
        for position in np.flatnonzero(np.abs(shown) == CLAMP).tolist():
            exact[position] = capacity(self._inventory(int(rows[position])))
        return list(zip(exact, self.used[rows].tolist(), strict=True))

    def _inventory(self, row: int) -> Inventory:
        return Inventory(
            total=int(self.total[row]),
            reserved=int(self.reserved[row]),
            min_unit=int(self.min_unit[row]),
            max_unit=int(self.max_unit[row]),
            step_size=int(self.step_size[row]),
            allocation_ratio=float(self.ratio[row]),
        )

    def _write(self, rows: IntArray, entries: Sequence[Entry]) -> None:
        inventories = [inventory for inventory, _ in entries]
        self.total[rows] = [inventory.total for inventory in inventories]
        self.reserved[rows] = [inventory.reserved for inventory in inventories]
        self.ratio[rows] = [inventory.allocation_ratio for inventory in inventories]
        self.capacity[rows] = [max(-CLAMP, min(CLAMP, capacity(inventory))) for inventory in inventories]
        self.used[rows] = [used for _, used in entries]
        self.min_unit[rows] = [inventory.min_unit for inventory in inventories]
        self.max_unit[rows] = [inventory.max_unit for inventory in inventories]
        self.step_size[rows] = [inventory.step_size for inventory in inventories]
        self.room[rows] = np.minimum(self.capacity[rows] - self.used[rows], self.max_unit[rows])
        self._stepped += int(np.count_nonzero(self.step_size[rows] != 1))
