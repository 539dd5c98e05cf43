"""Number columns that grow: the storage that the index is made of."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
SlotArray = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
AnyArray = npt.NDArray[np.generic]

NONE: Final = -1
"""Stands in an integer column where there is nothing."""

FIRST_SIZE: Final = 16
"""Entries a column starts with: small, since most custom classes and test indexes are."""

PAGE_BITS: Final = 10
"""Keys of one page of ``PagedInts``: 1,024. A page is 4 KiB, the most that one stray key costs."""

PAGE_MASK: Final = (1 << PAGE_BITS) - 1

_FIRST: Final[IntArray] = np.zeros(1, dtype=np.int64)

ValueT = TypeVar("ValueT", bound=Hashable)


def room_for(size: int, present: int) -> int:
    """Length to which a column of ``present`` entries is grown so that ``size`` fit: doublings."""
    grown = max(present, FIRST_SIZE)
    while grown < size:
        grown *= 2
    return grown


def lengthened(column: AnyArray, length: int, fill: int) -> AnyArray:
    """A copy of ``column`` with ``length`` entries, the new ones set to ``fill``."""
    longer = np.full(length, fill, dtype=column.dtype)
    longer[: len(column)] = column
    return longer


def by_page(keys: IntArray, bits: int) -> Iterator[tuple[int, IntArray]]:
    """Pages of 2**``bits`` keys that ``keys`` fall in, with the positions of those keys."""
    pages = keys >> bits
    if len(keys) == 1:
        # Most changes are of one provider, and sorting one key takes longer than all the rest.
        yield int(pages[0]), _FIRST
        return
    order = np.argsort(pages, kind="stable")
    for positions in np.split(order, np.flatnonzero(np.diff(pages[order])) + 1):
        if len(positions):
            yield int(pages[positions[0]]), positions


class PagedInts:
    """An array of 32-bit integers over sparse keys; unset keys read as ``NONE``.

    Pages exist only where a key is set, so it costs bytes per key where keys are dense
    (database ids, slots) and cannot be blown up by a single large one.
    """

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[int, SlotArray] = {}

    def get(self, key: int) -> int:
        """Value at ``key``, ``NONE`` if unset."""
        page = self._pages.get(key >> PAGE_BITS)
        return NONE if page is None else int(page[key & PAGE_MASK])

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
                page = np.full(1 << PAGE_BITS, NONE, dtype=np.int32)
                self._pages[number] = page
            page[keys[positions] & PAGE_MASK] = values[positions]

    def unset_many(self, keys: IntArray) -> None:
        """Forget ``keys``, all of which are set; pages that become empty go."""
        for number, positions in by_page(keys, PAGE_BITS):
            page = self._pages[number]
            page[keys[positions] & PAGE_MASK] = NONE
            if (page == NONE).all():
                del self._pages[number]


class Interned(Generic[ValueT]):
    """Small numbers for equal values, each value held once for as long as somebody uses it.

    Providers of a cloud are of few kinds: their tuples of traits, aggregates and classes
    repeat, and a column of codes costs 4 bytes where a column of tuples costs hundreds.
    """

    __slots__ = ("_codes", "_free", "_uses", "_values")

    def __init__(self) -> None:
        self._values: list[ValueT] = []
        self._uses: list[int] = []
        self._codes: dict[ValueT, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, code: int) -> ValueT:
        return self._values[code]

    def take(self, value: ValueT) -> int:
        """Code of ``value``, used once more from now on."""
        code = self._codes.get(value)
        if code is None:
            if self._free:
                code = self._free.pop()
                self._values[code] = value
            else:
                code = len(self._values)
                self._values.append(value)
                self._uses.append(0)
            self._codes[value] = code
        self._uses[code] += 1
        return code

    def release(self, code: int) -> None:
        """Give back one use of ``code``; the last one forgets the value."""
        self._uses[code] -= 1
        if not self._uses[code]:
            del self._codes[self._values[code]]
            self._free.append(code)
