"""What is kept with a block for as long as the block exists, bounded in bytes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, TypeVar

from moorage.search.index.block import Block

KeptT = TypeVar("KeptT")

KEPT_BYTES_PER_ENTRY: Final = 64
KEPT_BYTES: Final = 64_000
"""Bytes kept with a block: for each entry, and besides. What exceeds them drops what was kept first."""


def kept_with(block: Block, key: Hashable) -> Any:
    """What ``block`` keeps under ``key``; None if that is nothing, or no longer there."""
    known = block.standings.get(key)
    return None if known is None else known[1]


def keep_with(block: Block, key: Hashable, value: KeptT, size: int) -> KeptT:
    """Keep ``value``, which takes ``size`` bytes, if there is space; returns it."""
    most = KEPT_BYTES + KEPT_BYTES_PER_ENTRY * len(block)
    if size > most:
        return value
    kept = {**block.standings, key: (size, value)}
    total = sum([taken for taken, _ in kept.values()])
    while total > most:
        total -= kept.pop(next(iter(kept)))[0]
    # One assignment, so that a search in another thread sees either table whole.
    block.standings = kept
    return value
