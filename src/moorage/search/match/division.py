"""The trees of a block divided by their keys: which of them can serve a request in the same ways."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.search.index.columns import CodeArray, NumberArray


@valueclass(frozen=True, slots=True, eq=False)
class Census:
    """How many candidates the trees of a division have, and for each key the number of its kind.

    The numbers are those of one object that knows kinds: the one with this ``serial``.
    """

    serial: int
    numbers: CodeArray
    count: int

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return CENSUS_BYTES + self.numbers.nbytes


CENSUS_BYTES: Final = 260
"""Bytes of a census besides its numbers."""


@valueclass(frozen=True, slots=True, eq=False)
class Division:
    """The trees of a survey, divided by their keys (see ``tree_view``).

    Keys have numbers from 0 on. ``codes`` are the numbers for each tree. ``joined`` are the keys, one after
    the other. ``table`` has for each key where it ends in these, the first tree that has it, and how many
    trees have it. ``census`` is there once a search has counted candidates.
    """

    codes: NumberArray
    joined: bytes
    table: CodeArray
    census: Census | None = None

    @staticmethod
    def of(trees: Sequence[int], keys: Sequence[bytes]) -> Division:
        """A division of ``trees`` by their ``keys``."""
        numbers: dict[bytes, int] = {}
        listed = [numbers.setdefault(key, len(numbers)) for key in keys]
        # Of equal codes the last one counts here: that is the first tree.
        firsts = dict(zip(reversed(listed), reversed(trees), strict=True))
        ends = np.cumsum([len(key) for key in numbers])
        return Division(
            np.array(listed, dtype=np.min_scalar_type(len(numbers))),
            b"".join(numbers),
            np.array(
                [ends, [firsts[code] for code in range(len(numbers))], np.bincount(listed)], dtype=np.int32
            ),
        )

    def counted(self, census: Census) -> Division:
        """The same division with a census."""
        return Division(self.codes, self.joined, self.table, census)

    @property
    def keys(self) -> list[bytes]:
        """The keys by number."""
        ends: list[int] = self.table[0].tolist()
        return [self.joined[start:end] for start, end in pairwise([0, *ends])]

    @property
    def firsts(self) -> list[int]:
        """For each key the first tree that has it."""
        firsts: list[int] = self.table[1].tolist()
        return firsts

    @property
    def sizes(self) -> list[int]:
        """For each key how many trees have it."""
        sizes: list[int] = self.table[2].tolist()
        return sizes

    @property
    def size(self) -> int:
        """Bytes of memory."""
        census = 0 if self.census is None else self.census.size
        return DIVISION_BYTES + self.codes.nbytes + len(self.joined) + self.table.nbytes + census


DIVISION_BYTES: Final = 350
"""Bytes of a division besides its arrays' and its keys' own."""
