"""All inventories of one resource class in a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from moorage.model.values import Inventory
from moorage.rules.capacity import capacity
from moorage.search.columns import NONE, CodeArray, IntArray, Mask

CLAMP: Final = 1 << 62
"""Largest capacity a column can show. Ratios go up to 3.4e38, so a capacity may not fit 64 bits;
the half that is left keeps ``capacity - used`` from overflowing."""

Entry = tuple[int, Inventory, int]
"""Offset of an entry, its inventory and the amount of it that is used."""


class Kinds:
    """The different inventories of a column: hosts of one model have equal ones. Never changes."""

    __slots__ = (
        "_least_for_all",
        "_numbers",
        "_stepped",
        "capacities",
        "inventories",
        "max_unit",
        "min_unit",
        "step_size",
        "top",
    )

    def __init__(self, numbers: dict[Inventory, int]) -> None:
        self._numbers = numbers
        self.inventories = list(numbers)
        self.capacities = [capacity(inventory) for inventory in numbers]
        clamped = [max(-CLAMP, min(CLAMP, exact)) for exact in self.capacities]
        self.top: IntArray = np.array(clamped, dtype=np.int64)
        self.max_unit = np.array([inventory.max_unit for inventory in numbers], dtype=np.int64)
        self.min_unit = np.array([inventory.min_unit for inventory in numbers], dtype=np.int64)
        self.step_size = np.array([inventory.step_size for inventory in numbers], dtype=np.int64)
        self._stepped = bool((self.step_size != 1).any())
        self._least_for_all = int(self.min_unit.max(initial=0))

    def __len__(self) -> int:
        return len(self.inventories)

    def coded(self, inventories: Sequence[Inventory]) -> tuple[Kinds, CodeArray]:
        """Kinds that have ``inventories`` too, and the number of each of these."""
        numbers = self._numbers
        if not all(inventory in numbers for inventory in inventories):
            numbers = dict(numbers)
            for inventory in inventories:
                numbers.setdefault(inventory, len(numbers))
        codes = np.array([numbers[inventory] for inventory in inventories], dtype=np.int32)
        return (self if numbers is self._numbers else Kinds(numbers)), codes

    def room(self, codes: CodeArray, used: IntArray) -> IntArray:
        """What is left of inventories of the kinds ``codes``, at most max_unit."""
        room: IntArray = np.minimum(self.top[codes] - used, self.max_unit[codes])
        return room

    def allowed(self, amount: int) -> Mask | None:
        """Kinds whose min_unit and step_size admit ``amount``; None for all of them."""
        if amount >= self._least_for_all and not self._stepped:
            return None
        mask: Mask = self.min_unit <= amount
        if self._stepped:
            mask &= amount % self.step_size == 0
        return None if mask.all() else mask


NO_KINDS: Final = Kinds({})


class ClassColumn:
    """A row for each entry of a block that has inventory of the class, by offset. Never changes.

    Amounts are in the unit of the class. ``room`` is what one provider can give to one
    consumer at most: the lesser of what is free and max_unit. ``dense`` says that every entry
    has a row, so that rows are offsets.
    """

    __slots__ = ("_most", "codes", "dense", "kinds", "offsets", "room", "used")

    def __init__(
        self,
        size: int,
        offsets: CodeArray,
        kinds: Kinds,
        codes: CodeArray,
        used: IntArray,
        room: IntArray | None = None,
    ) -> None:
        """``size`` is the number of entries of the block; ``room`` is given where it is known."""
        self.dense = len(offsets) == size
        self.offsets = offsets
        if len(kinds) > 2 * len(codes):
            # Kinds that nobody has any more would pile up.
            kinds, codes = NO_KINDS.coded([kinds.inventories[code] for code in codes.tolist()])
        self.kinds = kinds
        self.codes = codes
        self.used = used
        self.room = kinds.room(codes, used) if room is None else room
        self._most: int | None = None

    @staticmethod
    def of(size: int, entries: Sequence[Entry]) -> ClassColumn:
        """A column of ``entries``, which are by offset."""
        kinds, codes = NO_KINDS.coded([inventory for _, inventory, _ in entries])
        offsets = np.array([offset for offset, _, _ in entries], dtype=np.int32)
        return ClassColumn(
            size, offsets, kinds, codes, np.array([used for _, _, used in entries], dtype=np.int64)
        )

    @property
    def most(self) -> int:
        """The largest room: no entry can give more."""
        if self._most is None:
            self._most = int(self.room.max())
        return self._most

    def with_room(self, size: int, amount: int) -> Mask:
        """Of ``size`` entries those that can serve ``amount`` by themselves."""
        if amount > self.most:
            return np.zeros(size, dtype=np.bool_)
        fits: Mask = self.room >= amount
        allowed = self.kinds.allowed(amount)
        if allowed is not None:
            fits &= allowed[self.codes]
        if self.dense:
            return fits
        mask = np.zeros(size, dtype=np.bool_)
        mask[self.offsets] = fits
        return mask

    def rooms(self, size: int) -> IntArray:
        """``room`` of each of ``size`` entries, ``NONE`` where there is no row."""
        if self.dense:
            return self.room
        found = np.full(size, NONE, dtype=np.int64)
        found[self.offsets] = self.room
        return found

    def room_at(self, offset: int) -> int:
        """``room`` of the entry at ``offset``, ``NONE`` if it has no row."""
        row = self._row(offset)
        known = self.dense or (row < len(self.offsets) and self.offsets[row] == offset)
        return int(self.room[row]) if known else NONE

    def amounts_at(self, offset: int) -> tuple[int, int]:
        """(capacity, used) of the entry at ``offset``, which has a row; exact."""
        row = self._row(offset)
        return self.kinds.capacities[self.codes[row]], int(self.used[row])

    def used_at(self, offset: int) -> int:
        """What is used of the entry at ``offset``, which has a row."""
        return int(self.used[self._row(offset)])

    def at(self, offset: int) -> tuple[Inventory, int]:
        """Inventory and use of the entry at ``offset``, which has a row."""
        row = self._row(offset)
        return self.kinds.inventories[self.codes[row]], int(self.used[row])

    def rewritten(self, size: int, entries: Sequence[Entry]) -> ClassColumn:
        """The same rows, but other numbers for ``entries``."""
        rows = [self._row(offset) for offset, _, _ in entries]
        kinds, fresh = self.kinds.coded([inventory for _, inventory, _ in entries])
        codes, used, room = self.codes, self.used.copy(), self.room.copy()
        if not np.array_equal(codes[rows], fresh):
            codes = codes.copy()
            codes[rows] = fresh
        used[rows] = [amount for _, _, amount in entries]
        room[rows] = kinds.room(fresh, used[rows])
        return ClassColumn(size, self.offsets, kinds, codes, used, room)

    def with_used(self, size: int, entries: Sequence[tuple[int, int]]) -> ClassColumn:
        """The same rows, but at the offsets of ``entries`` so much is used."""
        rows = [self._row(offset) for offset, _ in entries]
        used, room = self.used.copy(), self.room.copy()
        used[rows] = [amount for _, amount in entries]
        fresh = self.kinds.room(self.codes[rows], used[rows])
        room[rows] = fresh
        column = ClassColumn(size, self.offsets, self.kinds, self.codes, used, room)
        if self._most is not None and self.room[rows].max() < self._most:
            # Somebody else has most, and still has it.
            column._most = max(self._most, int(fresh.max()))
        return column

    def moved(self, size: int, places: IntArray) -> ClassColumn | None:
        """The rows whose entry has a new offset in ``places`` (by old offset); None if there are none."""
        offsets = places[self.offsets]
        rows = np.flatnonzero(offsets != NONE)
        if not len(rows):
            return None
        rows = rows[np.argsort(offsets[rows])]
        return ClassColumn(
            size, offsets[rows].astype(np.int32), self.kinds, self.codes[rows], self.used[rows]
        )

    def joined(self, size: int, other: ClassColumn) -> ClassColumn:
        """The rows of both."""
        kinds, table = self.kinds.coded(other.kinds.inventories)
        offsets = np.concatenate([self.offsets, other.offsets])
        order = np.argsort(offsets)
        codes = np.concatenate([self.codes, table[other.codes]])
        used = np.concatenate([self.used, other.used])
        return ClassColumn(size, offsets[order], kinds, codes[order], used[order])

    def _row(self, offset: int) -> int:
        return offset if self.dense else int(np.searchsorted(self.offsets, offset))
