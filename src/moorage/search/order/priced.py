"""A roster of ``slots``: the best trees of a sheet for a request, kept up with the rows that change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from moorage.model.cache import Weight
from moorage.model.requests import Pattern
from moorage.search.index.columns import FloatArray, IntArray, Mask
from moorage.search.match.variables import Demand
from moorage.search.order.measure import Measure
from moorage.search.order.sheet import Sheet
from moorage.search.order.standing import contenders

PRICED_BYTES: Final = 4_000
LISTED_BYTES: Final = 16
NEAR_BYTES: Final = 250
FAR_BYTES: Final = 24
"""Bytes of a roster besides its bits, and of each row that it lists, or that is near or far."""

AHEAD: Final = 32
"""Listed rows up to which rows that have changed are near."""

MOST_NEAR: Final = 512
MOST_FAR: Final = 4_096
"""Rows that are near, and far, before a roster looks which of these have changed again, and forgets them."""

Rank = tuple[int, int]
"""What rows are sorted by: less the units of the score, and the rank by name."""

Near = tuple[int, int, int, int]
"""The rank of a row that has changed, its slot, and the version of the sheet at which it had that rank."""

BitArray = npt.NDArray[np.uint8]


class PricedRoster:
    """The best rows of ``sheet`` for a request under an order of the strategy ``slots``.

    ``able`` are bits of the rows that could serve the request if nothing were in use; ``fits`` are bits of
    those that can, ``feasible`` of them. ``listed`` are the first rows when the roster was made, the best
    first, from ``begin`` on, with the ``scores`` that they had. All other rows came after ``floor``. Rows
    that have changed since and come before ``horizon`` are ``near``, the best first. Others that come before
    ``floor`` are ``far``: arrays of units, of slots, and of the versions at which they had these. All of them
    count as long as the row has not changed again.
    """

    __slots__ = (
        "_asked",
        "_far_count",
        "_head",
        "_most_far",
        "_most_near",
        "_needs",
        "_weighed",
        "able",
        "begin",
        "demands",
        "far",
        "feasible",
        "fits",
        "floor",
        "horizon",
        "listed",
        "made",
        "measure",
        "near",
        "pattern",
        "scores",
        "sheet",
        "version",
        "weight",
    )

    lone: Final = True

    def __init__(self, sheet: Sheet, demands: Sequence[Demand], pattern: Pattern, measure: Measure) -> None:
        self.sheet = sheet
        self.demands = demands
        self.pattern = pattern
        self.measure = measure
        self.version = self.made = sheet.version
        self.able: BitArray = np.zeros(0, dtype=np.uint8)
        self.fits: BitArray = self.able
        self.feasible = 0
        self.listed: IntArray = np.zeros(0, dtype=np.int64)
        self.scores: IntArray = self.listed
        self.begin = 0
        self.floor: Rank | None = None
        self.horizon: Rank | None = None
        self.near: list[Near] = []
        self.far: list[tuple[IntArray, IntArray, IntArray]] = []
        self._far_count = 0
        # The best listed row, and its rank, once it was needed.
        self._head: tuple[int, Rank] | None = None
        self._most_near = MOST_NEAR
        self._most_far = MOST_FAR
        needs: dict[str, int] = {}
        for name, amount in demands:
            needs[name] = max(amount, needs.get(name, 0))
        self._needs = sheet.amounts(needs)
        self._asked = sheet.amounts(measure.asked)
        self.weight = Weight(PRICED_BYTES)
        self._weighed = 0

    def list(self, able: BitArray, fits: BitArray, most: int) -> None:
        """List the best ``most`` rows of those that fit. For ``able`` and ``fits`` see above."""
        self.able, self.fits = able, fits
        rows = np.flatnonzero(np.unpackbits(fits, count=self.sheet.rows, bitorder="little"))
        self.feasible = len(rows)
        units = self._units(rows, self._costs(None)[self.sheet.states[rows]])
        ranks = self.sheet.ranks[rows]
        places = contenders(units, most)
        if len(places) > most:
            some = units[places]
            least = np.partition(some, len(some) - most)[len(some) - most]
            tied = places[units[places] == least]
            above = places[units[places] > least]
            spare = most - len(above)
            chosen = np.argpartition(ranks[tied], spare - 1)[:spare]
            places = np.concatenate([above, tied[chosen]])
        places = places[np.lexsort((ranks[places], -units[places]))]
        self.listed = rows[places]
        self.scores = units[places]
        if self.feasible > len(places):
            self.floor = self._rank(-1)
        self._look_ahead()
        self.weight.size += LISTED_BYTES * len(self.listed) + self.able.nbytes + self.fits.nbytes

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
        self.version = sheet.version
        fits, free = self._find_fits(slots)
        if not fits.all():
            slots, free = slots[fits], free[:, fits]
        if len(slots):
            self._take(slots, self._units_of_moved(slots, free))

    def _find_fits(self, slots: IntArray) -> tuple[Mask, FloatArray]:
        """Find which of the rows at ``slots``, which have changed, fit now.

        Returns that, and what is free in them.
        """
        sheet = self.sheet
        free = sheet.free.take(sheet.state_of(slots), axis=1)
        places, bits = sheet.bytes[slots], sheet.bits[slots]
        if self._needs is None:
            return np.zeros(len(slots), dtype=np.bool_), free
        fitting = (self.able[places] & bits) * (free >= self._needs).all(axis=0)
        turned = ((self.fits[places] & bits) != fitting).nonzero()[0]
        if len(turned):
            # A row that has changed several times is there several times.
            found = zip(places[turned].tolist(), bits[turned].tolist(), fitting[turned].tolist(), strict=True)
            for place, bit, fits in set(found):
                self.fits[place] ^= bit
                self.feasible += 1 if fits else -1
        return fitting.astype(np.bool_), free

    def _take(self, slots: IntArray, units: IntArray) -> None:
        """Take rows that have changed and fit, with their units."""
        bound = self.horizon or self.floor
        if bound is None:
            self._draw_near(slots, units, repeat(self.version))
            return
        is_near = units >= -bound[0]
        near = is_near.nonzero()[0]
        if len(near):
            self._draw_near(slots[near], units[near], repeat(self.version))
        if self.horizon is None or len(near) == len(slots):
            return
        if self.floor is None:
            far = (~is_near).nonzero()[0]
        else:
            far = (~is_near & (units >= -self.floor[0])).nonzero()[0]
        if len(far):
            self.far.append((units[far], slots[far], np.full(len(far), self.version)))
            self._far_count += len(far)
            if self._far_count > self._most_far:
                self._sort_far(draws=False)
                self._most_far = max(MOST_FAR, 2 * self._far_count)
            self._weigh()

    def _draw_near(self, slots: IntArray, units: IntArray, versions: Iterable[int]) -> None:
        sheet = self.sheet
        ranks = sheet.ranks[sheet.moved[slots]].tolist()
        for each in zip((-units).tolist(), ranks, slots.tolist(), versions, strict=False):
            heappush(self.near, each)
        if len(self.near) > self._most_near:
            changed = sheet.versions
            self.near = [each for each in self.near if changed[each[2]] <= each[3]]
            heapify(self.near)
            self._most_near = max(MOST_NEAR, 2 * len(self.near))
            self._weigh()

    def _look_ahead(self) -> None:
        """Move the horizon on, and draw near what comes before it."""
        place = self.begin + AHEAD
        self.horizon = self._rank(place) if place < len(self.listed) else None
        if self.far:
            self._sort_far(draws=True)

    def _sort_far(self, *, draws: bool) -> None:
        """Forget what is far and has changed again. ``draws``: what comes before the horizon gets near."""
        units, slots, versions = map(np.concatenate, zip(*self.far, strict=True))
        true = self.sheet.versions[slots] <= versions
        if draws:
            bound = self.horizon or self.floor
            near = true if bound is None else true & (units >= -bound[0])
            self._draw_near(slots[near], units[near], versions[near].tolist())
            true = true & ~near if self.horizon is not None else np.zeros_like(true)
        self.far = [(units[true], slots[true], versions[true])] if true.any() else []
        self._far_count = int(np.count_nonzero(true))

    def first(self) -> tuple[int, int] | None:
        """The units of the best score, and its row; None if they are not known."""
        while True:
            listed, near = self._first_listed(), self._first_near()
            best = listed if near is None or (listed is not None and listed < near) else near
            if self.horizon is None:
                break
            if best is not None and best <= self.horizon:
                break
            self._look_ahead()
        if best is None or (listed is None and self.floor is not None and best > self.floor):
            return None
        row = self.listed[self.begin] if best is listed else self.sheet.moved[self.near[0][2]]
        return -best[0], int(row)

    def _first_listed(self) -> Rank | None:
        """The rank of the best listed row that has not changed."""
        if self._head is not None and not self.sheet.has_moved(self._head[0], self.made):
            return self._head[1]
        self._head = None
        while self.begin < len(self.listed):
            same = ~self.sheet.have_moved(self.listed[self.begin : self.begin + AHEAD], self.made)
            first = int(same.argmax())
            if same[first]:
                self.begin += first
                rank = self._rank(self.begin)
                self._head = int(self.listed[self.begin]), rank
                return rank
            self.begin += len(same)
        return None

    def _first_near(self) -> Rank | None:
        """The rank of the best row that is near and has not changed again."""
        near, versions = self.near, self.sheet.versions
        while near:
            units, rank, slot, version = near[0]
            if versions[slot] <= version:
                return units, rank
            heappop(near)
        return None

    def _rank(self, place: int) -> Rank:
        """The rank that a listed row had."""
        return -int(self.scores[place]), int(self.sheet.ranks[self.listed[place]])

    def _units_of_moved(self, slots: IntArray, free: FloatArray) -> IntArray:
        """What rows that have changed score, which have so much free."""
        measure, sheet = self.measure, self.sheet
        costs: IntArray | None = None
        if measure.prices is not None and self._asked is not None:
            costs = sheet.costs_by_one_class(measure.prices, free, self._asked)
        if costs is None:
            costs = self._costs(sheet.state_of(slots))
        return self._units(sheet.moved[slots], costs)

    def _units(self, rows: IntArray, costs: IntArray) -> IntArray:
        """What rows score that cost so much."""
        measure, blocks = self.measure, self.sheet.blocks
        if measure.is_plain:
            return measure.plain_units(costs)
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
        """What it costs rows in ``states``, or in all."""
        prices, sheet = self.measure.prices, self.sheet
        if prices is None:
            return np.zeros(sheet.all_states if states is None else len(states), dtype=np.int64)
        return sheet.costs(prices, self.measure.asked, states)

    def _weigh(self) -> None:
        """Count the bytes of rows that have changed."""
        size = NEAR_BYTES * len(self.near) + FAR_BYTES * self._far_count
        if size > self._weighed:
            self.weight.add(size - self._weighed)
            self._weighed = size


def packed(mask: Mask) -> BitArray:
    """A bit for each value of ``mask``."""
    return np.packbits(mask, bitorder="little")
