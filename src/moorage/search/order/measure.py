"""A measure: what each tree of a block scores for a request under an order.

All strategies look at a tree after the claim. Amounts and capacities are sums over the providers of the tree,
so all placements in one tree score the same, unless providers of other trees give something.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import field
from typing import Final

import numpy as np
import numpy.typing as npt

from moorage.model.orders import (
    AVOID,
    BEST_FIT,
    FIRST,
    PACK,
    PREFER,
    SCALE,
    SLOTS,
    SPECIAL,
    SPREAD,
    Order,
    Wish,
)
from moorage.model.requests import CandidateRequest, Pattern
from moorage.model.valueclass import valueclass
from moorage.search.index.block import Block, NameArray
from moorage.search.index.columns import FloatArray, IntArray, Level
from moorage.search.index.index import Snapshot
from moorage.search.match.outcomes import Outcome
from moorage.search.match.plan import Work
from moorage.search.match.tree_view import View
from moorage.search.match.variables import FILTER_STEPS
from moorage.search.order.chances import Prices
from moorage.search.order.facts import (
    NAME_BYTES,
    digests_of,
    rare_of,
    special_of,
    wished_of,
)
from moorage.search.order.kept import keep_with, kept_with
from moorage.search.order.ties import ties

LOOKS_AT_ROOM: Final = frozenset([PACK, SPREAD, BEST_FIT])
"""Strategies that look at what is in use."""

NAMES_STEPS: Final = 2
"""Steps of comparing the names of a tree with rare ones."""

LARGEST_BYTES: Final = 200
"""Bytes of a largest capacity that a block keeps."""

SHAPES_PER_PART: Final = 64
"""Shapes of a mix that count as one part of a score more."""

TieArray = IntArray | NameArray
"""Numbers or names of trees: the least comes first."""

TREES_PER_STEP: Final = 16
"""Trees whose scores are worked out in one step, for each part of a score."""


@valueclass(frozen=True, slots=True, eq=False)
class Scores:
    """What some trees score: ``units`` are scores times ``SCALE``; ``parts`` are as in ``Ranked``."""

    units: IntArray
    parts: Mapping[str, FloatArray]


@valueclass(frozen=True, slots=True)
class Beyond:
    """What providers of other trees add to a tree: their capacity and use by class, and their wishes."""

    capacity: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    preferred: float = 0.0
    avoided: float = 0.0


NOTHING_BEYOND: Final = Beyond()


@valueclass(frozen=True, slots=True)
class Lacking:
    """The wishes of an order that a tree does not meet."""

    prefer: Sequence[Wish]
    avoid: Sequence[Wish]


class Measure:
    """What trees of ``snapshot`` score for ``request`` under ``order``.

    ``largest`` and ``rare`` are as in ``Ranking``. Raises OutOfStepsError.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        request: CandidateRequest,
        order: Order,
        work: Work,
        prices: Prices | None = None,
    ) -> None:
        """``prices`` are for the strategy ``slots``; without any, all trees score the same."""
        self.order = order
        self.prices = prices if order.strategy == SLOTS else None
        self._asked = amounts_asked(request)
        weights = {name: order.weights.get(name, 1.0) for name in self._asked}
        self._weights = {name: weight for name, weight in weights.items() if weight}
        self._total = sum(self._weights.values())
        compared = self._weights if order.strategy == BEST_FIT else ()
        work.spend(FILTER_STEPS * len(snapshot.blocks) * len(compared))
        self.largest: Mapping[str, float] = {
            name: order.largest[name] if name in order.largest else _largest(snapshot, name)
            for name in compared
        }
        self.rare: frozenset[str] | None = None
        if order.spare_special:
            work.spend(FILTER_STEPS * len(snapshot.blocks))
            self.rare = rare_of(snapshot.blocks) if order.rare is None else order.rare
        self._names = names_asked(request)
        # Equal for measures that give every tree the same score.
        self.key: Hashable = (
            order.key,
            tuple(self.largest.values()),
            self.rare,
            None if self.prices is None else self.prices.key,
        )
        self.size = NAME_BYTES * (len(self.largest) + len(self.rare or ()))
        wishes = len(order.prefer) + len(order.avoid)
        self._parts = 2 * len(self._weights) + wishes + 3
        if self.prices is not None:
            self._parts += 1 + self.prices.shapes // SHAPES_PER_PART

    def steps(self, block: Block) -> int:
        """Steps of scoring the trees of a block."""
        names = 0 if self.rare is None else NAMES_STEPS * block.trees.count
        return names + self._parts * (FILTER_STEPS + block.trees.count // TREES_PER_STEP)

    def scores(
        self,
        block: Block,
        trees: IntArray,
        beyond: Beyond = NOTHING_BEYOND,
        costs: IntArray | None = None,
    ) -> Scores:
        """What ``trees`` of a block score, one after the other.

        ``costs`` are those of ``slots``, in 1 / ``SCALE`` of a device; nothing costs anything without them.
        """
        order = self.order
        found: FloatArray = np.zeros(len(trees), dtype=np.float64)
        parts: dict[str, FloatArray] = {}
        if order.strategy in LOOKS_AT_ROOM:
            found = self._by_room(block, trees, beyond)
        elif costs is not None:
            found = (0 - costs) / SCALE
        parts[order.strategy] = found
        if order.prefer:
            parts[PREFER] = wished_of(block, order.prefer)[trees] + beyond.preferred
            found = found + parts[PREFER]
        if order.avoid:
            parts[AVOID] = wished_of(block, order.avoid)[trees] + beyond.avoided
            found = found - parts[AVOID]
        if self.rare is not None:
            parts[SPECIAL] = special_of(block, self.rare, self._names)[trees]
            found = found - order.spare_special * parts[SPECIAL]
        return Scores(_units(found), parts)

    @staticmethod
    def plain_units(costs: IntArray) -> IntArray:
        """The units of scores that consist of such costs of ``slots`` only."""
        return _units((0 - costs) / SCALE)

    @property
    def asked(self) -> Mapping[str, int]:
        """What all groups of the request ask for together, by class."""
        return self._asked

    @property
    def is_plain(self) -> bool:
        """Whether the strategy is all that a score consists of."""
        return not self.order.prefer and not self.order.avoid and self.rare is None

    def of_one(
        self, block: Block, tree: int, levels: Mapping[str, Level], cost: int = 0
    ) -> tuple[int, dict[str, float]]:
        """What one tree scores with these levels of its provider, as ``scores``, without arrays."""
        order = self.order
        found = self._room_of_one(levels) if order.strategy in LOOKS_AT_ROOM else (0 - cost) / SCALE
        parts = {order.strategy: found}
        if order.prefer:
            parts[PREFER] = float(wished_of(block, order.prefer)[tree])
            found = found + parts[PREFER]
        if order.avoid:
            parts[AVOID] = float(wished_of(block, order.avoid)[tree])
            found = found - parts[AVOID]
        if self.rare is not None:
            parts[SPECIAL] = float(special_of(block, self.rare, self._names)[tree])
            found = found - order.spare_special * parts[SPECIAL]
        return round(found * SCALE), parts

    def _room_of_one(self, levels: Mapping[str, Level]) -> float:
        strategy = self.order.strategy
        if not self._total:
            return 0.0 if strategy == PACK else 1.0
        total = 0.0
        for name, weight in self._weights.items():
            level = levels[name]
            some, of, full = float(level.used) + self._asked[name], level.amount, 1.0
            if strategy == BEST_FIT:
                some, of, full = level.amount - some, self.largest[name], 0.0
            share = some / of if of > 0 else full
            total += weight * min(1.0, max(0.0, share))
        part = min(1.0, total / self._total)
        return part if strategy == PACK else 1.0 - part

    @property
    def tied_by(self) -> Hashable:
        """Equal for measures that give every tree the same tie."""
        return FIRST if self.order.strategy == FIRST else self.order.seed or 0

    def ties(self, block: Block, trees: IntArray) -> TieArray:
        """What decides between ``trees`` of equal score: the least comes first.

        For ``slots`` these are names of roots.
        """
        if self.order.strategy == SLOTS:
            return block.names[block.trees.roots[trees]]
        if self.order.strategy == FIRST:
            return np.zeros(len(trees), dtype=np.int64)
        return ties(digests_of(block)[trees], self.order.seed or 0)

    def lacking(self, block: Block, tree: int) -> Lacking:
        """The wishes that a tree does not meet."""
        entries = range(*block.trees.bounds(tree))
        names = {name for offset in entries for name in block.traits[offset]}
        uuids = {uuid.decode() for uuid in block.uuids[entries.start : entries.stop].tolist()}
        return Lacking(
            [wish for wish in self.order.prefer if not _met(wish, names, uuids)],
            [wish for wish in self.order.avoid if not _met(wish, names, uuids)],
        )

    def beyond(self, view: View, outcome: Outcome, pattern: Pattern, lacking: Lacking) -> Beyond:
        """What the providers of other trees that give something in a placement add to its tree.

        ``lacking`` are the wishes that the tree does not meet itself.
        """
        if not outcome.outside:
            return NOTHING_BEYOND
        capacity: dict[str, float] = {}
        used: dict[str, float] = {}
        blocks = view.views.plan.snapshot.blocks
        within = view.stop - view.start
        places = iter(outcome.outside)
        for giver, amounts in pattern.allocations.items():
            if outcome.positions[giver] < within:
                continue
            number, offset = next(places)
            for name in amounts:
                most, taken = blocks[number].columns[name].amounts_at(offset)
                capacity[name] = capacity.get(name, 0.0) + float(most)
                used[name] = used.get(name, 0.0) + float(taken)
        names = {name for number, offset in outcome.outside for name in blocks[number].traits[offset]}
        uuids = {bytes(blocks[number].uuids[offset]).decode() for number, offset in outcome.outside}
        return Beyond(
            capacity,
            used,
            sum([wish.weight for wish in lacking.prefer if _met(wish, names, uuids)]),
            sum([wish.weight for wish in lacking.avoid if _met(wish, names, uuids)]),
        )

    def _by_room(self, block: Block, trees: IntArray, beyond: Beyond) -> FloatArray:
        total = np.zeros(len(trees), dtype=np.float64)
        if not self._total:
            return total if self.order.strategy == PACK else total + 1.0
        for name, weight in self._weights.items():
            capacity, used = _sums(block, name, trees)
            capacity = capacity + beyond.capacity.get(name, 0.0)
            used = used + (beyond.used.get(name, 0.0) + self._asked[name])
            if self.order.strategy == BEST_FIT:
                total += weight * _shares(capacity - used, self.largest[name], full=0.0)
            else:
                total += weight * _shares(used, capacity, full=1.0)
        part = np.minimum(1.0, total / self._total)
        return part if self.order.strategy == PACK else 1.0 - part


def _units(scores: FloatArray) -> IntArray:
    return np.rint(scores * SCALE).astype(np.int64)


def amounts_asked(request: CandidateRequest) -> dict[str, int]:
    """What all groups ask for together, by class in order of name."""
    found: dict[str, int] = {}
    for group in request.groups:
        for name, amount in group.resources.items():
            found[name] = found.get(name, 0) + amount
    return {name: found[name] for name in sorted(found)}


def names_asked(request: CandidateRequest) -> frozenset[str]:
    """Classes and traits that a request asks for."""
    found = set(request.root_required)
    for group in request.groups:
        found.update(group.resources, *group.required)
    return frozenset(found)


def _met(wish: Wish, names: Collection[str], uuids: Collection[str]) -> bool:
    """Whether providers with these traits and uuids meet a wish."""
    return wish.trait in names if wish.provider is None else wish.provider in uuids


def _sums(block: Block, name: str, trees: IntArray) -> tuple[FloatArray, FloatArray]:
    """Capacity and use of a class, each summed over the providers of each tree."""
    column = block.columns.get(name)
    if column is None:
        nothing = np.zeros(len(trees), dtype=np.float64)
        return nothing, nothing
    amounts = column.kinds.amounts
    if block.trees.lone and column.dense:
        return amounts[column.codes[trees]], column.used[trees].astype(np.float64)
    capacity = _spread(block, column.offsets, amounts[column.codes])
    return capacity[trees], _spread(block, column.offsets, column.used)[trees]


def _spread(block: Block, offsets: npt.NDArray[np.int32], values: FloatArray | IntArray) -> FloatArray:
    """Sums over trees of ``values``, which belong to the entries at ``offsets``."""
    sums = np.bincount(block.trees.tree_of[offsets], weights=values, minlength=block.trees.count)
    return sums.astype(np.float64)


def _largest(snapshot: Snapshot, name: str) -> float:
    """The largest capacity of a class that a tree has; 0 if none has any."""
    return max([_largest_in(block, name) for block in snapshot.blocks], default=0.0)


def _largest_in(block: Block, name: str) -> float:
    column = block.columns.get(name)
    if column is None:
        return 0.0
    known: float | None = kept_with(block, name)
    if known is None:
        sums = _spread(block, column.offsets, column.kinds.amounts[column.codes])
        known = keep_with(block, name, float(np.max(sums)), LARGEST_BYTES)
    return known


def _shares(some: FloatArray, of: FloatArray | float, full: float) -> FloatArray:
    """``some`` / ``of``, clipped to [0, 1]; ``full`` where there is nothing to divide by."""
    if np.min(of, initial=1.0) > 0:
        found: FloatArray = some / of
    else:
        of = np.broadcast_to(np.asarray(of, dtype=np.float64), some.shape)
        found = np.full(some.shape, full, dtype=np.float64)
        np.divide(some, of, out=found, where=of > 0)
    np.minimum(found, 1.0, out=found)
    return np.maximum(found, 0.0, out=found)
