"""Names that entries of a block have: traits, aggregates, resource classes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from moorage.search.columns import ByteArray, CodeArray, IntArray, Mask

Names = tuple[str, ...]


class Labels:
    """For each entry of a block a tuple of names. Never changes.

    Providers of a cloud are of few kinds, so equal tuples are held once (``sets``) and an entry
    is a number in ``codes``: 4 bytes where a tuple costs hundreds. Who has a name is worked out
    when it is first asked, and kept in packed bits.
    """

    __slots__ = ("_bits", "_names", "codes", "sets")

    def __init__(self, codes: CodeArray, sets: list[Names]) -> None:
        self.codes = codes
        self.sets = sets
        self._bits: dict[str, ByteArray] = {}
        self._names: frozenset[str] | None = None

    @staticmethod
    def of(values: Iterable[Names]) -> Labels:
        """Labels of entries that have ``values``."""
        numbers: dict[Names, int] = {}
        codes = [numbers.setdefault(value, len(numbers)) for value in values]
        return Labels(np.array(codes, dtype=np.int32), list(numbers))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, offset: int) -> Names:
        return self.sets[int(self.codes[offset])]

    @property
    def names(self) -> frozenset[str]:
        """All names that an entry may have; a few may be there that none has any more."""
        if self._names is None:
            self._names = frozenset().union(*self.sets)
        return self._names

    def having_any(self, names: Iterable[str]) -> Mask | None:
        """Entries that have at least one of ``names``; None where nobody has."""
        found: ByteArray | None = None
        for name in names:
            # Only what exists is kept: clients may name whatever they like.
            if name in self.names:
                bits = self._bits_of(name)
                found = bits if found is None else found | bits
        if found is None:
            return None
        return np.unpackbits(found, count=len(self.codes), bitorder="little").view(np.bool_)

    def _bits_of(self, name: str) -> ByteArray:
        bits = self._bits.get(name)
        if bits is None:
            having = np.array([name in value for value in self.sets], dtype=np.bool_)
            bits = np.packbits(having[self.codes], bitorder="little")
            self._bits[name] = bits
        return bits

    def merged(self, kept: IntArray, other: Labels, order: IntArray) -> Labels:
        """Entries ``kept`` of these and all of ``other``, one after the other, put in ``order``."""
        numbers = {value: number for number, value in enumerate(self.sets)}
        translated = [numbers.setdefault(value, len(numbers)) for value in other.sets]
        table = np.array(translated, dtype=np.int32)
        codes = np.concatenate([self.codes[kept], table[other.codes]])[order]
        labels = Labels(codes, list(numbers))
        return labels._pruned() if len(numbers) > len(codes) else labels

    def part(self, start: int, stop: int) -> Labels:
        """Entries from ``start`` up to ``stop``."""
        return Labels(self.codes[start:stop], self.sets)._pruned()

    def _pruned(self) -> Labels:
        used, codes = np.unique(self.codes, return_inverse=True)
        return Labels(codes.astype(np.int32), [self.sets[code] for code in used.tolist()])
