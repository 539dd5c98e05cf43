"""A roster of ``slots``: the best trees of a sheet for a request, kept up with the rows that change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from moorage.model.cache import Weight
from moorage.model.requests import Pattern
from moorage.search.index.columns import IntArray, Mask
from moorage.search.match.variables import Demand
from moorage.search.order.measure import Measure
from moorage.search.order.sheet import MOST_MOVED, Sheet
from moorage.search.order.standing import contenders

NOT_MOVED: Final = np.iinfo(np.int64).min
UNFIT: Final = NOT_MOVED + 1
"""In place of a score: the row has not changed since the roster was made, or cannot serve the request."""

PRICED_BYTES: Final = 4_000 + 8 * MOST_MOVED
"""Bytes of a roster besides the rows that it lists and its bits."""

Rank = tuple[int, int]
"""What rows are sorted by: less the units of the score, and the rank by name."""

BitArray = npt.NDArray[np.uint8]


class PricedRoster:
    """The best rows of ``sheet`` for a request under an order of the strategy ``slots``.

    ``able`` are bits of the rows that could serve the request if nothing were in use; ``fits`` are bits of
    those that can, ``feasible`` of them. ``listed`` are the first rows when the roster was made, the best
    first, from ``begin`` on, with the ``scores`` that they had. ``units`` are the scores of the rows that
    have moved since, by their slots in the sheet. Rows in neither come after ``floor``.
    """

    __slots__ = (
        "able",
        "begin",
        "demands",
        "feasible",
        "fits",
        "floor",
        "listed",
        "measure",
        "pattern",
        "scores",
        "sheet",
        "units",
        "version",
        "weight",
    )

    lone: Final = True

    def __init__(self, sheet: Sheet, demands: Sequence[Demand], pattern: Pattern, measure: Measure) -> None:
        self.sheet = sheet
        self.demands = demands
        self.pattern = pattern
        self.measure = measure
        self.version = sheet.version
        self.able: BitArray = np.zeros(0, dtype=np.uint8)
        self.fits: BitArray = self.able
        self.feasible = 0
        self.listed: list[int] = []
        self.scores: list[int] = []
        self.begin = 0
        self.units: IntArray = np.zeros(0, dtype=np.int64)
        self.floor: Rank | None = None
        self.weight = Weight(PRICED_BYTES)

    def list(self, able: BitArray, fits: BitArray, most: int) -> None:
        """List the best ``most`` rows of those that fit. For ``able`` and ``fits`` see above."""
        self.able, self.fits = able, fits
        rows = np.flatnonzero(np.unpackbits(fits, count=self.sheet.rows, bitorder="little"))
        self.feasible = len(rows)
        units = self._units(rows, None)
        ranks = self.sheet.ranks[rows]
        places = contenders(units, most)
        if len(places) > most:
            least = units[places].min()
            tied = places[units[places] == least]
            above = places[units[places] > least]
            spare = most - len(above)
            chosen = np.argpartition(ranks[tied], spare - 1)[:spare]
            places = np.concatenate([above, tied[chosen]])
        places = places[np.lexsort((ranks[places], -units[places]))]
        self.listed = rows[places].tolist()
        self.scores = units[places].tolist()
        if self.feasible > len(places):
            self.floor = -int(units[places[-1]]), int(ranks[places[-1]])
        self.weight.size += 40 * len(self.listed) + self.able.nbytes + self.fits.nbytes

    def relisted(self, measure: Measure, most: int) -> PricedRoster:
        """The same roster under another measure, of which as many rows are listed."""
        self._find_fits(self.sheet.since(self.version))
        found = PricedRoster(self.sheet, self.demands, self.pattern, measure)
        found.list(self.able, self.fits, most)
        return found

    def catch_up(self) -> None:
        """Look at the rows that have changed."""
        sheet = self.sheet
        if self.version == sheet.version:
            return
        slots = sheet.since(self.version)
        if not len(self.units):
            self.units = np.full(len(sheet.moved), NOT_MOVED, dtype=np.int64)
        fits = self._find_fits(slots)
        self.units[slots] = UNFIT
        if fits.any():
            chosen = slots[fits]
            self.units[chosen] = self._units(sheet.moved[chosen], sheet.state_of(chosen))
        self.version = sheet.version

    def _find_fits(self, slots: IntArray) -> Mask:
        """Find which of the rows at ``slots``, which have changed, fit now; returns that."""
        sheet = self.sheet
        states = sheet.state_of(slots)
        rows = sheet.moved[slots]
        fits = _bits_at(self.able, rows)
        for name, amount in self.demands:
            fits &= sheet.free[name][states] >= amount
        differs = _bits_at(self.fits, rows) != fits
        if differs.any():
            turned = rows[differs]
            np.bitwise_xor.at(self.fits, turned >> 3, (1 << (turned & 7)).astype(np.uint8))
            self.feasible += 2 * int(np.count_nonzero(_bits_at(self.fits, turned))) - len(turned)
        return fits

    def first(self) -> tuple[int, int] | None:
        """The units of the best score, and its row; None if they are not known."""
        sheet, units = self.sheet, self.units
        listed: Rank | None = None
        while self.begin < len(self.listed):
            row = self.listed[self.begin]
            slot = sheet.slots.get(row)
            if slot is None or slot >= len(units) or units[slot] == NOT_MOVED:
                listed = -self.scores[self.begin], int(sheet.ranks[row])
                break
            self.begin += 1
        if sheet.count and len(units):
            most = units[: sheet.count].max()
            if most > UNFIT:
                rows = sheet.moved[np.flatnonzero(units[: sheet.count] == most)]
                row = int(rows[np.argmin(sheet.ranks[rows])])
                moved = -int(most), int(sheet.ranks[row])
                if moved < (listed or self.floor or (moved[0] + 1, 0)):
                    return int(most), row
        return None if listed is None else (self.scores[self.begin], self.listed[self.begin])

    def _units(self, rows: IntArray, states: IntArray | None) -> IntArray:
        """What rows in ``states`` score. Without these, they are so many that all states are looked at."""
        measure, blocks = self.measure, self.sheet.blocks
        costs = self._costs(states)
        if states is None:
            costs = costs[self.sheet.states[rows]]
        if measure.is_plain:
            # What such a score consists of does not depend on the block.
            return measure.scores(blocks[0], rows, costs=costs).units if len(rows) else costs
        found = np.zeros(len(rows), dtype=np.int64)
        numbers = self.sheet.blocks_of(rows)
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            trees = rows[places] - self.sheet.start(number)
            found[places] = measure.scores(blocks[number], trees, costs=costs[places]).units
        return found

    def parts(self, row: int) -> Mapping[str, float]:
        """The parts of a row's score."""
        number, tree = self.sheet.place(row)
        [cost] = self._costs(self.sheet.states[[row]]).tolist()
        return self.measure.of_one(self.sheet.blocks[number], tree, {}, cost)[1]

    def _costs(self, states: IntArray | None) -> IntArray:
        prices, sheet = self.measure.prices, self.sheet
        if prices is None:
            return np.zeros(sheet.all_states if states is None else len(states), dtype=np.int64)
        return sheet.costs(prices, self.measure.asked, states)


def packed(mask: Mask) -> BitArray:
    """A bit for each value of ``mask``."""
    return np.packbits(mask, bitorder="little")


def _bits_at(bits: BitArray, rows: IntArray) -> Mask:
    found: Mask = ((bits[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1).astype(np.bool_)
    return found
