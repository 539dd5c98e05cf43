"""Which providers have a trait or are in an aggregate: a set of slots in packed bits."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from moorage.search.columns import IntArray, Mask, by_page

POSTING_PAGE_BITS: Final = 13
"""Slots of one page: 8,192, so 1 KiB. An aggregate of ten hosts costs a page or two, a trait that
a million providers have costs 123."""

_SLOTS: Final = 1 << POSTING_PAGE_BITS
_BIT: Final = np.uint8(1) << np.arange(8, dtype=np.uint8)
"""Value of the bit at each place of a byte, lowest first."""


class Posting:
    """A set of slots. Adding and discarding cost the slots given, whatever is in it."""

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[int, npt.NDArray[np.uint8]] = {}

    def __bool__(self) -> bool:
        return bool(self._pages)

    def __contains__(self, slot: int) -> bool:
        page = self._pages.get(slot >> POSTING_PAGE_BITS)
        if page is None:
            return False
        place = slot & (_SLOTS - 1)
        return bool(page[place >> 3] & _BIT[place & 7])

    def add_many(self, slots: IntArray) -> None:
        """Take ``slots`` in."""
        for number, positions in by_page(slots, POSTING_PAGE_BITS):
            page = self._pages.get(number)
            if page is None:
                page = np.zeros(_SLOTS // 8, dtype=np.uint8)
                self._pages[number] = page
            places = slots[positions] & (_SLOTS - 1)
            np.bitwise_or.at(page, places >> 3, _BIT[places & 7])

    def discard_many(self, slots: IntArray) -> None:
        """Take ``slots``, all of which are in it, out; pages that become empty go."""
        for number, positions in by_page(slots, POSTING_PAGE_BITS):
            page = self._pages[number]
            places = slots[positions] & (_SLOTS - 1)
            np.bitwise_and.at(page, places >> 3, ~_BIT[places & 7])
            if not page.any():
                del self._pages[number]

    def mark(self, mask: Mask) -> None:
        """Set ``mask`` (one entry per slot of the index) at every slot that is in it."""
        for number, page in self._pages.items():
            part = mask[number << POSTING_PAGE_BITS : (number + 1) << POSTING_PAGE_BITS]
            part |= np.unpackbits(page, count=len(part), bitorder="little").view(np.bool_)
