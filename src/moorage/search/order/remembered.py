"""What blocks remember of their trees across claims: numbers that stay right for trees that do not change.

A claim makes a new block, and changes one of its trees. All blocks that come of each other by claims share
what is remembered, with the state that each tree was in. So only trees in another state are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from moorage.model.cache import KIB, Cache
from moorage.model.valueclass import valueclass
from moorage.search.index.block import Block
from moorage.search.index.columns import ClassColumn, IntArray
from moorage.search.order.facts import kept_fact
from moorage.search.order.kept import keep_with, kept_with

StateArray = npt.NDArray[np.uint64]

REMEMBERED_BYTES: Final = 512 * KIB
REMEMBERED_BYTES_PER_ENTRY: Final = 64
"""Bytes that blocks which come of each other remember: besides, and for each entry."""

NUMBERS_BYTES: Final = 300
"""Bytes of what is remembered under a key, besides its numbers."""

UNKNOWN: Final = np.uint64(0)
"""The state of a tree that was not looked at."""

_SHIFT: Final = np.uint64(31)
_ODD: Final = np.uint64(1)

_SALT: Final = np.random.default_rng()
"""States are sums of amounts times numbers that no client can guess: it could make states equal."""


@valueclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A number for each tree of a block, and the state that it was in; ``UNKNOWN`` for none."""

    states: StateArray
    values: IntArray

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return NUMBERS_BYTES + self.states.nbytes + self.values.nbytes


def remembered(
    block: Block, key: Hashable | None, trees: IntArray, make: Callable[[IntArray], IntArray]
) -> IntArray:
    """For each of ``trees`` the number that ``make`` gives; it is asked for those in another state only.

    ``key`` stands for ``make``. Nothing is remembered without one.
    """
    if key is None:
        return make(trees)
    memory = _memory_of(block)
    states = _states_of(block)[trees]
    known = memory.get(key)
    if known is None:
        found = make(trees)
        fresh = Numbers(np.zeros(block.trees.count, np.uint64), np.zeros(block.trees.count, np.int64))
    else:
        stale = np.flatnonzero(known.states[trees] != states)
        found = known.values[trees]
        if not len(stale):
            return found
        found[stale] = make(trees[stale])
        fresh = Numbers(known.states.copy(), known.values.copy())
    # Searches in other threads go on with the numbers that they have.
    fresh.states[trees] = states
    fresh.values[trees] = found
    memory.put(key, fresh)
    return found


def mixed(values: IntArray, factor: StateArray | np.uint64) -> StateArray:
    """Numbers that no client can guess: sums of them differ where the values do."""
    found: StateArray = values.view(np.uint64) * factor
    found ^= found >> _SHIFT
    found *= factor
    return found


def _memory_of(block: Block) -> Cache[Hashable, Numbers]:
    most = REMEMBERED_BYTES + REMEMBERED_BYTES_PER_ENTRY * len(block)
    return kept_fact(
        block, "remembered", lambda: Cache(most, lambda _key, numbers: numbers.size), lambda _memory: 0
    )


def _states_of(block: Block) -> StateArray:
    """The state of each tree: different for different amounts, but for a chance of some 1 in 2**60."""
    known: StateArray | None = kept_with(block, "states")
    if known is None:
        found = np.zeros(block.trees.count, dtype=np.uint64)
        for name, column in block.columns.items():
            found += _states_in(block, name, column)
        known = keep_with(block, "states", np.maximum(found, _ODD), found.nbytes)
    return known


def _states_in(block: Block, name: str, column: ClassColumn) -> StateArray:
    factors = kept_fact(
        block, ("factors", name), lambda: _factors(len(column.codes)), lambda each: each.nbytes
    )
    kinds = np.array([hash(each) for each in column.kinds.inventories], dtype=np.int64)
    hashed = mixed(column.used + kinds[column.codes], factors)
    places = kept_fact(
        block,
        ("places", name),
        lambda: np.unique(block.trees.tree_of[column.offsets], return_index=True),
        lambda each: each[0].nbytes + each[1].nbytes,
    )
    found = np.zeros(block.trees.count, dtype=np.uint64)
    trees, starts = places
    found[trees] = np.add.reduceat(hashed, starts)
    return found


def new_factor() -> np.uint64:
    """A number for ``mixed``."""
    factor: np.uint64 = _factors(1)[0]
    return factor


def _factors(count: int) -> Any:
    return _SALT.integers(1, 1 << 63, count, dtype=np.uint64) | _ODD
