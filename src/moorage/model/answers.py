"""Candidates and summaries by the thousand, without an object for each.

To whoever looks at single ones they are plain sequences of ``Candidate`` and
``ProviderSummary``. Whoever writes them all out asks for what they have in common.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Generic, TypeVar, overload

from moorage.model.requests import Candidate, ProviderSummary
from moorage.model.valueclass import valueclass

ItemT_co = TypeVar("ItemT_co", covariant=True)

Row = tuple[bytes, ...]
"""Uuids of the providers at the places of a pattern, in ASCII."""

Part = bytes | memoryview
"""A stretch of text, as bytes or as what can be joined to bytes."""


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


@valueclass(frozen=True, slots=True)
class Pattern:
    """What candidates that differ in their providers only have in common.

    Providers are places, 0 and up: ``allocations`` maps a place to amounts by class,
    ``mappings`` the suffix of a group to the places that serve it.
    """

    allocations: Mapping[int, Mapping[str, int]]
    mappings: Mapping[str, tuple[int, ...]]

    def candidate(self, row: Row) -> Candidate:
        """The candidate with the providers of ``row``."""
        uuids = [uuid.decode() for uuid in row]
        return Candidate(
            {uuids[place]: amounts for place, amounts in self.allocations.items()},
            {suffix: tuple([uuids[place] for place in places]) for suffix, places in self.mappings.items()},
        )


@valueclass(frozen=True, slots=True)
class Template:
    """The text of a pattern: a hole for a uuid between one of ``pieces`` and the next.

    ``places`` say whose uuid goes into each hole. They are one fewer than the pieces.
    """

    pieces: tuple[bytes, ...]
    places: tuple[int, ...]


class PatternedCandidates(Listed[Candidate]):
    """Candidates of a few patterns, so that writing one pattern out is writing thousands of them."""

    @abstractmethod
    def rendered(self, form: str, template: Callable[[Pattern], Template]) -> list[Part]:
        """The text of all candidates in their order, in parts of one or of many.

        ``template`` tells the text of a pattern. It may be kept under ``form`` and not asked for again.
        """


class KeptSummaries(Listed[ProviderSummary]):
    """Summaries for which whoever writes them out can leave what was written until they change."""

    @abstractmethod
    def rendered(self, form: str, render: Callable[[ProviderSummary], bytes]) -> list[bytes]:
        """What ``render`` makes of each, or has made of it before under the same ``form``."""
