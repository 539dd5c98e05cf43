"""Ties: numbers that put trees of equal score into an order that a seed decides.

A tie depends on the seed and on the root's uuid only. So every process draws the same, and a tree keeps its
place when others come and go.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from moorage.model.orders import MOST_SEED
from moorage.search.index.block import UUID_LENGTH, UuidArray
from moorage.search.index.columns import IntArray

WordArray = npt.NDArray[np.uint64]

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR: Final = np.uint64(0x94D049BB133111EB)
"""Constants of splitmix64 (Steele, Lea, Flood 2014), which mixes all 64 bits of a number."""

WORD_BYTES: Final = 4
TIE_BITS: Final = MOST_SEED.bit_length()


def digests(uuids: UuidArray) -> WordArray:
    """A number of 64 bits for each uuid."""
    words = np.ascontiguousarray(uuids).view("<u4").reshape(len(uuids), UUID_LENGTH // WORD_BYTES)
    found = np.zeros(len(uuids), dtype=np.uint64)
    for position in range(words.shape[1]):
        found = _mixed(found ^ words[:, position])
    return found


def ties(digests_: WordArray, seed: int) -> IntArray:
    """A number from 0 to ``MOST_SEED`` for each digest."""
    salt = _mixed(np.array([seed], dtype=np.uint64))
    found: Any = _mixed(digests_ ^ salt) >> np.uint64(64 - TIE_BITS)
    return found.astype(np.int64)  # type: ignore[no-any-return]


def _mixed(values: WordArray) -> WordArray:
    values = values + _ODD
    values = (values ^ (values >> np.uint64(30))) * _FIRST_FACTOR
    values = (values ^ (values >> np.uint64(27))) * _SECOND_FACTOR
    return values ^ (values >> np.uint64(31))
