"""Number columns: the storage that the index is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

NONE: Final = -1
"""Stands in an integer column where there is nothing."""

PAGE_BITS: Final = 10
"""Keys of one page of ``PagedInts``: 1,024. A page is 8 KiB, the most that one stray key costs."""

PAGE_MASK: Final = (1 << PAGE_BITS) - 1


def by_page(keys: IntArray, bits: int) -> Iterator[tuple[int, IntArray]]:
    """Pages of 2**``bits`` keys that ``keys`` fall in, with the positions of those keys."""
    pages = keys >> bits
    order = np.argsort(pages, kind="stable")
    for positions in np.split(order, np.flatnonzero(np.diff(pages[order])) + 1):
        if len(positions):
            yield int(pages[positions[0]]), positions


class PagedInts:
    """An array of integers over sparse keys; unset keys read as ``NONE``.

    Pages exist only where a key is set, so it costs bytes per key where keys are dense
    (database ids) and cannot be blown up by a single large one.
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
        """Forget ``keys``, all of which are set; pages that become empty go."""
        for number, positions in by_page(keys, PAGE_BITS):
            page = self._pages[number]
            page[keys[positions] & PAGE_MASK] = NONE
            if (page == NONE).all():
                del self._pages[number]
