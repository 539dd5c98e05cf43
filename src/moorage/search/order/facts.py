"""Facts: what is true of a block's trees as long as its providers stay, whatever they have in use.

A block keeps facts, and hands them on to the block that follows it when only amounts have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from moorage.model.orders import Wish
from moorage.model.valueclass import valueclass
from moorage.search.index.block import Block
from moorage.search.index.columns import NONE, FloatArray, IntArray, Mask
from moorage.search.order.ties import WordArray, digests

FactT = TypeVar("FactT")

FACTS_BYTES_PER_ENTRY: Final = 64
FACTS_BYTES: Final = 4_000
"""Bytes of facts that a block keeps: for each entry, and besides. A fact that would exceed them drops the
others; one that takes more alone is worked out at each use."""

NAME_BYTES: Final = 120
SET_BYTES: Final = 300
"""Bytes of a name in a set or a table, and of a set."""

RARE_SHARE: Final = 10
"""A name is rare if at most one tree in so many has it."""


@valueclass(frozen=True, slots=True, eq=False)
class TreeKinds:
    """The different sets of names (traits and classes) of a block's trees, and the number of each tree's."""

    names: Sequence[frozenset[str]]
    codes: IntArray

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return self.codes.nbytes + sum([SET_BYTES + NAME_BYTES * len(names) for names in self.names])


def kinds_of(block: Block) -> TreeKinds:
    """What the trees of ``block`` are called by."""
    return kept_fact(block, "kinds", lambda: _kinds_of(block), lambda found: found.size)


def _kinds_of(block: Block) -> TreeKinds:
    trees = block.trees
    pairs = block.traits.codes.astype(np.int64) * len(block.classes.sets) + block.classes.codes
    if trees.lone:
        used, codes = np.unique(pairs, return_inverse=True)
        return TreeKinds([_names(block, [pair]) for pair in used.tolist()], codes)
    numbers: dict[bytes, int] = {}
    starts = trees.starts.tolist()
    found = [
        numbers.setdefault(pairs[start:stop].tobytes(), len(numbers)) for start, stop in pairwise(starts)
    ]
    names = [_names(block, np.frombuffer(key, dtype=np.int64).tolist()) for key in numbers]
    return TreeKinds(names, np.array(found, dtype=np.int64))


def _names(block: Block, pairs: Collection[int]) -> frozenset[str]:
    width = len(block.classes.sets)
    found: set[str] = set()
    for traits, classes in [divmod(pair, width) for pair in set(pairs)]:
        found.update(block.traits.sets[traits], block.classes.sets[classes])
    return frozenset(found)


def counts_of(block: Block) -> Mapping[str, int]:
    """How many trees of ``block`` have each name."""
    return kept_fact(block, "counts", lambda: _counts_of(block), lambda found: NAME_BYTES * len(found))


def _counts_of(block: Block) -> Mapping[str, int]:
    kinds = kinds_of(block)
    found: Counter[str] = Counter()
    for names, count in zip(kinds.names, np.bincount(kinds.codes).tolist(), strict=True):
        for name in names:
            found[name] += count
    return found


def rare_of(blocks: Sequence[Block]) -> frozenset[str]:
    """Names that at most one in ``RARE_SHARE`` of all trees has, and at least one."""
    total: Counter[str] = Counter()
    for block in blocks:
        total.update(counts_of(block))
    trees = sum([block.trees.count for block in blocks])
    return frozenset([name for name, count in total.items() if count * RARE_SHARE <= trees])


def special_of(block: Block, rare: frozenset[str], asked: frozenset[str]) -> FloatArray:
    """For each tree the share of its names that are ``rare`` and not ``asked`` for; 0 without names."""
    return kept_fact(block, (rare, asked), lambda: _special_of(block, rare - asked), _nbytes)


def _special_of(block: Block, special: frozenset[str]) -> FloatArray:
    kinds = kinds_of(block)
    shares = [len(names & special) / max(1, len(names)) for names in kinds.names]
    found: FloatArray = np.array(shares, dtype=np.float64)[kinds.codes]
    return found


def wished_of(block: Block, wishes: tuple[Wish, ...]) -> FloatArray:
    """For each tree the sum of the weights of the wishes that it has."""
    return kept_fact(block, wishes, lambda: _wished_of(block, wishes), _nbytes)


def _wished_of(block: Block, wishes: tuple[Wish, ...]) -> FloatArray:
    found = np.zeros(block.trees.count, dtype=np.float64)
    for wish in wishes:
        found[_having(block, wish)] += wish.weight
    return found


def _having(block: Block, wish: Wish) -> Mask | IntArray:
    """The trees that have what is wished for, marked or listed."""
    if wish.provider is not None:
        offset = block.find_uuid(wish.provider)
        return block.trees.tree_of[[offset]] if offset != NONE else np.zeros(0, dtype=np.int64)
    assert wish.trait is not None
    entries = block.traits.having_any([wish.trait])
    return np.zeros(0, dtype=np.int64) if entries is None else block.trees.with_any(entries)


def digests_of(block: Block) -> WordArray:
    """A number for each tree, from its root's uuid."""
    return kept_fact(block, "digests", lambda: digests(block.uuids[block.trees.roots]), _nbytes)


def _nbytes(array: npt.NDArray[Any]) -> int:
    return array.nbytes


def kept_fact(
    block: Block, key: Hashable, make: Callable[[], FactT], size_of: Callable[[FactT], int]
) -> FactT:
    """The fact of this ``key`` that ``block`` keeps, or a new one."""
    known = block.facts.get(key)
    if known is not None:
        return cast("FactT", known[1])
    found = make()
    size = size_of(found)
    most = FACTS_BYTES + FACTS_BYTES_PER_ENTRY * len(block)
    if size <= most:
        if size + sum([kept for kept, _ in list(block.facts.values())]) > most:
            block.facts.clear()
        block.facts[key] = size, found
    return found
