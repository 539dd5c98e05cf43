"""Columns of a block: numbers, the names that entries have, and the inventories of each class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from moorage.model.values import Inventory
from moorage.rules.capacity import capacity

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.int32]
NumberArray = npt.NDArray[np.unsignedinteger[Any]]
ByteArray = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

NONE: Final = -1
"""The value of an integer column where there is no entry."""

PAGE_BITS: Final = 10
"""Keys of one page of ``PagedInts``: 1,024. A page takes 8 KiB; that is the most that a single isolated key
costs."""

PAGE_MASK: Final = (1 << PAGE_BITS) - 1


def by_page(keys: IntArray, bits: int) -> Iterator[tuple[int, IntArray]]:
    """Pages of 2**``bits`` keys that contain ``keys``, each with the positions of its keys."""
    pages = keys >> bits
    order = np.argsort(pages, kind="stable")
    for positions in np.split(order, np.flatnonzero(np.diff(pages[order])) + 1):
        if len(positions):
            yield int(pages[positions[0]]), positions


class PagedInts:
    """An array of integers over sparse keys; unset keys read as ``NONE``.

    Pages exist only where a key is set, so dense keys (database ids) cost some bytes each. One large key does
    not make the array large.
    """

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[int, IntArray] = {}

    def get_many(self, keys: IntArray) -> IntArray:
        """Values at ``keys``, in their order."""
        values = np.full(len(keys), NONE, dtype=np.int64)
        for number, positions in by_page(keys, PAGE_BITS):
            page = self._pages.get(number)
            if page is not None:
                values[positions] = page[keys[positions] & PAGE_MASK]
        return values

    def set_many(self, keys: IntArray, values: IntArray) -> None:
        """Set ``keys`` to ``values``, position by position."""
        for number, positions in by_page(keys, PAGE_BITS):
            page = self._pages.get(number)
            if page is None:
                page = np.full(1 << PAGE_BITS, NONE, dtype=np.int64)
                self._pages[number] = page
            page[keys[positions] & PAGE_MASK] = values[positions]

    def unset_many(self, keys: IntArray) -> None:
        """Unset ``keys``, all of which are set; pages that become empty are dropped."""
        for number, positions in by_page(keys, PAGE_BITS):
            page = self._pages[number]
            page[keys[positions] & PAGE_MASK] = NONE
            if (page == NONE).all():
                del self._pages[number]


Names = tuple[str, ...]

FEW_NAMES: Final = 16
"""Up to this many names are looked up one by one, because the bits of each name may be cached."""

MOST_BITS: Final = 256
"""Names whose bits are cached: 32 bytes per entry. When there are more, all are dropped, and computed again
when needed."""


class Labels:
    """A tuple of names for each entry of a block. Immutable.

    Providers of a cloud are of few kinds, so equal tuples are held once (``sets``) and an entry is a number
    in ``codes``: 4 bytes where a tuple costs hundreds. The entries with a name are computed at the first
    lookup, and cached in packed bits.
    """

    __slots__ = ("_bits", "_having", "codes", "sets")

    def __init__(self, codes: CodeArray, sets: list[Names]) -> None:
        self.codes = codes
        self.sets = sets
        self._bits: dict[str, ByteArray] = {}
        self._having: dict[str, list[int]] | None = None

    @staticmethod
    def of(values: Iterable[Names]) -> Labels:
        """Labels of entries that have ``values``."""
        numbers: dict[Names, int] = {}
        codes = [numbers.setdefault(value, len(numbers)) for value in values]
        return Labels(np.array(codes, dtype=np.int32), list(numbers))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, offset: int) -> Names:
        return self.sets[int(self.codes[offset])]

    @property
    def names(self) -> KeysView[str]:
        """All names that an entry may have; some may belong to no entry any more."""
        having = self._having
        return self._numbers.keys() if having is None else having.keys()

    @property
    def _numbers(self) -> dict[str, list[int]]:
        """Numbers of the sets that have a name."""
        if self._having is None:
            having: dict[str, list[int]] = {}
            for number, names in enumerate(self.sets):
                for name in names:
                    having.setdefault(name, []).append(number)
            self._having = having
        return self._having

    @property
    def lengths(self) -> IntArray:
        """How many names each entry has."""
        return np.array([len(names) for names in self.sets], dtype=np.int64)[self.codes]

    def having_any(self, names: Iterable[str]) -> Mask | None:
        """Entries that have at least one of ``names``; None if no entry has any."""
        # Caches only names that exist: clients may send any number of other names.
        known = [name for name in names if name in self._numbers]
        if not known:
            return None
        found = self._bits_of(known[0]) if len(known) == 1 else self._bits_of_any(known)
        return np.unpackbits(found, count=len(self.codes), bitorder="little").view(np.bool_)

    def _bits_of(self, name: str) -> ByteArray:
        bits = self._bits.get(name)
        if bits is None:
            bits = self._packed([self._numbers[name]])
            if len(self._bits) >= MOST_BITS:
                self._bits = {}
            self._bits[name] = bits
        return bits

    def _bits_of_any(self, names: Sequence[str]) -> ByteArray:
        if len(names) <= FEW_NAMES:
            found = self._bits_of(names[0])
            for name in names[1:]:
                found = found | self._bits_of(name)
            return found
        return self._packed([self._numbers[name] for name in names])

    def _packed(self, numbers: Sequence[Sequence[int]]) -> ByteArray:
        """A bit for each entry: whether it has one of the sets with these numbers."""
        having = np.zeros(len(self.sets), dtype=np.bool_)
        having[list(chain.from_iterable(numbers))] = True
        return np.packbits(having[self.codes], bitorder="little")

    def merged(self, kept: IntArray, other: Labels, order: IntArray) -> Labels:
        """Entries ``kept`` of these and all of ``other``, one after the other, put in ``order``."""
        numbers = {value: number for number, value in enumerate(self.sets)}
        translated = [numbers.setdefault(value, len(numbers)) for value in other.sets]
        table = np.array(translated, dtype=np.int32)
        codes = np.concatenate([self.codes[kept], table[other.codes]])[order]
        labels = Labels(codes, list(numbers))
        return labels._pruned() if len(numbers) > len(codes) else labels

    def are_those_of(self, other: Labels, offsets: IntArray) -> bool:
        """Whether the entries at ``offsets`` have what those of ``other`` have, one by one."""
        numbers = {value: number for number, value in enumerate(self.sets)}
        table = np.array([numbers.get(value, NONE) for value in other.sets], dtype=np.int32)
        return np.array_equal(self.codes[offsets], table[other.codes])

    def part(self, start: int, stop: int) -> Labels:
        """Entries from ``start`` up to ``stop``."""
        return Labels(self.codes[start:stop], self.sets)._pruned()

    def _pruned(self) -> Labels:
        used, codes = np.unique(self.codes, return_inverse=True)
        return Labels(codes.astype(np.int32), [self.sets[code] for code in used.tolist()])


CLAMP: Final = 1 << 62
"""Largest capacity in a column. Ratios go up to 3.4e38, so a capacity may not fit 64 bits. The remaining half
of the range keeps ``capacity - used`` from overflowing. No amount is a multiple of it: it stands for a step
of 0."""

Entry = tuple[int, Inventory, int]
"""Offset of an entry, its inventory and the amount of it that is used."""


class Kinds:
    """The different inventories of a column: hosts of one model have equal ones. Immutable."""

    __slots__ = (
        "_least_for_all",
        "_numbers",
        "_stepped",
        "amounts",
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
        self.amounts: FloatArray = np.array(self.capacities, dtype=np.float64)
        self.max_unit = np.array([inventory.max_unit for inventory in numbers], dtype=np.int64)
        self.min_unit = np.array([inventory.min_unit for inventory in numbers], dtype=np.int64)
        self.step_size = np.array([inventory.step_size or CLAMP for inventory in numbers], dtype=np.int64)
        self._stepped = bool((self.step_size != 1).any())
        self._least_for_all = int(np.max(self.min_unit, initial=0))

    def __len__(self) -> int:
        return len(self.inventories)

    def coded(self, inventories: Sequence[Inventory]) -> tuple[Kinds, CodeArray]:
        """These kinds extended by ``inventories``, and the number of each inventory."""
        numbers = self._numbers
        if not all(inventory in numbers for inventory in inventories):
            numbers = dict(numbers)
            for inventory in inventories:
                numbers.setdefault(inventory, len(numbers))
        codes = np.array([numbers[inventory] for inventory in inventories], dtype=np.int32)
        return (self if numbers is self._numbers else Kinds(numbers)), codes

    def room(self, codes: CodeArray, used: IntArray) -> IntArray:
        """Room of inventories of the kinds ``codes``: what is free, at most max_unit."""
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


FEW_ROWS: Final = 8
"""Changed rows of a column that are worked out one by one. For so few, arrays take longer."""


class Level:
    """What a provider has of a class: its capacity, the same as a number that may be rounded, and its use."""

    __slots__ = ("amount", "capacity", "used")

    def __init__(self, capacity_: int, amount: float, used: int) -> None:
        self.capacity = capacity_
        self.amount = amount
        self.used = used


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
        """``size`` is the number of entries of the block; ``room`` may be given where it is known."""
        self.dense = len(offsets) == size
        self.offsets = offsets
        if len(kinds) > 2 * len(codes):
            # Drop kinds that no entry has any more, so that they do not pile up.
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
            self._most = int(np.max(self.room))
        return self._most

    def with_room(self, size: int, amount: int) -> Mask:
        """Of ``size`` entries those that can serve ``amount`` alone."""
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

    def amounts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """(capacity, used) of all entries from ``start`` up to ``stop`` that have a row, in their order."""
        first, last = self.offsets.searchsorted([start, stop]).tolist()
        capacities = self.kinds.capacities
        codes: list[int] = self.codes[first:last].tolist()
        return zip([capacities[code] for code in codes], self.used[first:last].tolist(), strict=True)

    def used_at(self, offset: int) -> int:
        """What is used of the entry at ``offset``, which has a row."""
        return int(self.used[self._row(offset)])

    def level(self, offset: int) -> Level:
        """The level of the entry at ``offset``, which has a row."""
        row = self._row(offset)
        code = int(self.codes[row])
        return Level(self.kinds.capacities[code], float(self.kinds.amounts[code]), int(self.used[row]))

    def differs_in_use_only(self, other: ClassColumn | None) -> bool:
        """Whether ``other`` is a column of the same inventories. It may be None, which is no column."""
        return self is other or (
            other is not None
            and self.offsets is other.offsets
            and self.codes is other.codes
            and self.kinds is other.kinds
        )

    def differences(self, other: ClassColumn) -> list[int]:
        """Offsets at which the use of ``other``, which differs in use only, is another."""
        if self is other:
            return []
        rows = np.flatnonzero(self.used != other.used)
        found: list[int] = (rows if self.dense else self.offsets[rows]).tolist()
        return found

    def at(self, offset: int) -> tuple[Inventory, int]:
        """Inventory and use of the entry at ``offset``, which has a row."""
        row = self._row(offset)
        return self.kinds.inventories[self.codes[row]], int(self.used[row])

    def rewritten(self, size: int, offsets: IntArray, other: ClassColumn) -> tuple[ClassColumn, IntArray]:
        """The same rows, with the numbers of ``other``, whose rows belong to ``offsets`` here.

        The second value is the offsets at which numbers differ. If there are none, the column is this one.
        """
        rows = offsets if self.dense else self.offsets.searchsorted(offsets)
        kinds, table = self.kinds.coded(other.kinds.inventories)
        fresh = table[other.codes]
        differs = (self.codes[rows] != fresh) | (self.used[rows] != other.used)
        if not differs.any():
            return self, offsets[:0]
        rows, fresh = rows[differs], fresh[differs]
        codes, used, room = self.codes, self.used.copy(), self.room.copy()
        if not np.array_equal(codes[rows], fresh):
            codes = codes.copy()
            codes[rows] = fresh
        used[rows] = other.used[differs]
        room[rows] = kinds.room(fresh, used[rows])
        return ClassColumn(size, self.offsets, kinds, codes, used, room), offsets[differs]

    def with_used(self, size: int, entries: Sequence[tuple[int, int]]) -> ClassColumn:
        """The same rows, with the used amounts of ``entries`` at their offsets."""
        rows = [self._row(offset) for offset, _ in entries]
        used, room = self.used.copy(), self.room.copy()
        if len(rows) <= FEW_ROWS:
            before = [int(room[row]) for row in rows]
            after = []
            for row, (_, amount) in zip(rows, entries, strict=True):
                code = self.codes[row]
                used[row] = amount
                after.append(min(int(self.kinds.top[code]) - amount, int(self.kinds.max_unit[code])))
                room[row] = after[-1]
            least, most = max(before), max(after)
        else:
            used[rows] = [amount for _, amount in entries]
            fresh = self.kinds.room(self.codes[rows], used[rows])
            room[rows] = fresh
            least, most = int(np.max(self.room[rows])), int(np.max(fresh))
        column = ClassColumn(size, self.offsets, self.kinds, self.codes, used, room)
        if self._most is not None and least < self._most:
            # The entry with the most room is another one, and did not change.
            column._most = max(self._most, most)
        return column

    def emptied(self, size: int) -> ClassColumn:
        """The same rows with nothing in use."""
        kinds = self.kinds
        room: IntArray = np.minimum(kinds.top, kinds.max_unit)[self.codes]
        return ClassColumn(size, self.offsets, kinds, self.codes, np.zeros_like(self.used), room)

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


Columns = Mapping[str, ClassColumn]
"""Columns of a block, by resource class."""


def may_serve(columns: Columns, demands: Iterable[tuple[str, int]]) -> bool:
    """Whether for each amount of a class some entry may have room, at a cost that does not depend on size."""
    for name, amount in demands:
        column = columns.get(name)
        if column is None or column.most < amount:
            return False
    return True


def serving(columns: Columns, size: int, demands: Iterable[tuple[str, int]]) -> list[Mask]:
    """For each amount of a class those of ``size`` entries that can serve it; the caller may change them."""
    masks: list[Mask] = []
    for name, amount in demands:
        column = columns.get(name)
        masks.append(np.zeros(size, dtype=np.bool_) if column is None else column.with_room(size, amount))
    return masks
