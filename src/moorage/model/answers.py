"""Candidates and summaries by the thousand, without an object for each.

To whoever looks at single ones they are plain sequences of ``Candidate`` and
``ProviderSummary``. Whoever writes them all out asks for what they have in common.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar, overload

from moorage.model.requests import Candidate, ProviderSummary

ItemT_co = TypeVar("ItemT_co", covariant=True)

Row = tuple[bytes, ...]
"""Uuids of the providers at the places of a pattern, in ASCII."""


class Listed(Sequence[ItemT_co], Generic[ItemT_co]):
    """A sequence whose items are made when somebody looks at one."""

    @abstractmethod
    def made(self) -> Sequence[ItemT_co]:
        """All items."""

    @cached_property
    def _items(self) -> tuple[ItemT_co, ...]:
        return tuple(self.made())

    def __iter__(self) -> Iterator[ItemT_co]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> ItemT_co: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ItemT_co]: ...

    def __getitem__(self, index: int | slice) -> ItemT_co | Sequence[ItemT_co]:
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._items == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What candidates that differ in their providers only have in common.

    Providers are places, 0 and up: ``allocations`` maps a place to amounts by class,
    ``mappings`` the suffix of a group to the places that serve it.
    """

    allocations: Mapping[int, Mapping[str, int]]
    mappings: Mapping[str, tuple[int, ...]]


class PatternedCandidates(Listed[Candidate]):
    """Candidates as runs of rows of one pattern: ``runs`` has (number of the pattern, rows)."""

    def __init__(self, patterns: Sequence[Pattern], runs: Sequence[tuple[int, Sequence[Row]]]) -> None:
        self.patterns = patterns
        self.runs = runs

    def made(self) -> Sequence[Candidate]:
        return [_candidate(self.patterns[number], row) for number, rows in self.runs for row in rows]

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.runs)


class KeptSummaries(Listed[ProviderSummary]):
    """Summaries for which whoever writes them out can leave what was written until they change."""

    @abstractmethod
    def rendered(self, form: str, render: Callable[[ProviderSummary], bytes]) -> list[bytes]:
        """What ``render`` makes of each, or has made of it before under the same ``form``."""


def _candidate(pattern: Pattern, row: Row) -> Candidate:
    uuids = [uuid.decode() for uuid in row]
    return Candidate(
        {uuids[place]: amounts for place, amounts in pattern.allocations.items()},
        {suffix: tuple([uuids[place] for place in places]) for suffix, places in pattern.mappings.items()},
    )
