"""What a client asks of the search: request groups and what comes back.

Source: API reference, "List allocation candidates", and the granular request and provider
tree chapters of the Placement documentation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Final, Generic, TypeVar, overload

from moorage.model import cache
from moorage.model.valueclass import valueclass

ItemT_co = TypeVar("ItemT_co", covariant=True)

ISOLATE = "isolate"
"""Group policy: no two suffixed groups may be served by the same provider."""


@valueclass(frozen=True, slots=True, eq=False)
class RequestGroup:
    """One group of a request: resources and what is asked of their providers.

    The group with suffix ``""`` may take each class from another provider of a tree (or a
    sharing one); any other group is served by exactly one provider. ``required`` is an AND of
    ORs, and so is ``member_of``. A group without resources only places a constraint. Groups that
    name their resources in another order are different, since their candidates come in another order.
    ``named`` is how many classes, traits and aggregates the group names, repeated ones included.
    """

    suffix: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    required: tuple[frozenset[str], ...] = ()
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    forbidden_aggregates: frozenset[str] = frozenset()
    in_tree: str | None = None
    named: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        named = len(self.resources) + len(self.forbidden) + len(self.forbidden_aggregates)
        named += sum(map(len, self.required)) + sum(map(len, self.member_of))
        object.__setattr__(self, "named", named)

    @property
    def parts(self) -> tuple[Hashable, ...]:
        """All fields that equality depends on; equal for equal groups."""
        return (
            self.suffix,
            tuple(self.resources.items()),
            self.required,
            self.forbidden,
            self.member_of,
            self.forbidden_aggregates,
            self.in_tree,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequestGroup) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def in_order(self) -> RequestGroup:
        """The same group with its names sorted and each condition once."""
        return replace(
            self,
            resources=dict(sorted(self.resources.items())),
            required=tuple(sorted(set(self.required), key=sorted)),
            member_of=tuple(sorted(set(self.member_of), key=sorted)),
        )


@valueclass(frozen=True, slots=True, eq=False)
class CandidateRequest:
    """A whole request for allocation candidates: compared by value, so that it can be a key in caches.

    ``one_provider_per_tree`` is for clients that do not know nested providers: candidates that take from two
    providers of one tree are left out, and so are summaries of providers that provide nothing. ``limit`` of
    None means all. ``spoken`` are the classes in the client's order, if that differs. An error about unknown
    classes names the first of them in this order. ``key`` is all that the answer depends on: equal for equal
    requests. ``unlimited`` is the same without the limit. ``size`` is an upper bound on the bytes of memory.
    """

    groups: tuple[RequestGroup, ...]
    group_policy: str | None = None
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtree: tuple[frozenset[str], ...] = ()
    limit: int | None = None
    one_provider_per_tree: bool = False
    spoken: tuple[str, ...] = field(default=(), repr=False)
    key: Hashable = field(default=(), init=False, repr=False)
    unlimited: Hashable = field(default=(), init=False, repr=False)
    size: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        unlimited = (
            tuple([group.parts for group in self.groups]),
            self.group_policy,
            self.root_required,
            self.root_forbidden,
            self.same_subtree,
            self.one_provider_per_tree,
        )
        names = len(self.root_required) + len(self.root_forbidden) + sum(map(len, self.same_subtree))
        names += sum([group.named for group in self.groups])
        # Caches look requests up by their key, since a tuple is hashed and compared without a call.
        object.__setattr__(self, "key", (unlimited, self.limit))
        object.__setattr__(self, "unlimited", unlimited)
        object.__setattr__(self, "size", REQUEST_BYTES + GROUP_BYTES * len(self.groups) + NAME_BYTES * names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CandidateRequest) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @staticmethod
    def ordered(
        groups: Collection[RequestGroup], same_subtree: Iterable[frozenset[str]] = (), **conditions: Any
    ) -> CandidateRequest:
        """A request in its normal form, which is equal for requests that differ only in order.

        Groups are sorted by suffix, with 2 before 10. ``conditions`` are the other fields.
        """
        spoken = tuple([name for group in groups for name in group.resources])
        in_order = [group.in_order() for group in groups]
        in_order.sort(key=lambda group: (len(group.suffix), group.suffix))
        subtrees = tuple(sorted(set(same_subtree), key=sorted))
        return CandidateRequest(tuple(in_order), same_subtree=subtrees, spoken=spoken, **conditions)

    def in_order(self) -> CandidateRequest:
        """The same request in its normal form."""
        return CandidateRequest.ordered(
            self.groups,
            self.same_subtree,
            group_policy=self.group_policy,
            root_required=self.root_required,
            root_forbidden=self.root_forbidden,
            limit=self.limit,
            one_provider_per_tree=self.one_provider_per_tree,
        )


REQUEST_BYTES: Final = 800
GROUP_BYTES: Final = 600
NAME_BYTES: Final = 300
"""Bytes of a request, of each of its groups, and of each name (counted as a set of its own)."""

DEFAULT_KEPT_BYTES: Final = 32 * cache.MIB
"""Bytes of answers that are kept until something changes."""

DEFAULT_STEP_LIMIT = 2_200_000
"""Steps that one search may take: eight tenths of a second at most, and an answer of some 100 MB. A
request for all of 190,000 flat hosts stays below it."""


@valueclass(frozen=True, slots=True)
class SearchSettings:
    """How candidates are generated, for all requests. Source: placement.conf ``[placement]``.

    ``max_candidates`` below 0 means no bound. The settings from ``step_limit`` on are Moorage's own.
    ``step_limit`` and ``truncate`` bound what any one request costs in time and memory. A step is a quarter
    of a microsecond's work; below 0 means no bound. A search that needs more steps is refused; with
    ``truncate`` it returns what it has found so far. ``kept_bytes`` bounds the memory of answers that are
    kept for equal requests until the data changes.
    """

    max_candidates: int = -1
    breadth_first: bool = False
    randomize: bool = False
    step_limit: int = DEFAULT_STEP_LIMIT
    truncate: bool = False
    kept_bytes: int = DEFAULT_KEPT_BYTES


@valueclass(frozen=True, slots=True)
class Candidate:
    """One way to serve a request: amounts by provider uuid and class, and the providers of each group."""

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, tuple[str, ...]]


@valueclass(frozen=True, slots=True)
class ProviderSummary:
    """State of a provider in the tree of a candidate: class to (capacity, used)."""

    uuid: str
    parent_uuid: str | None
    root_uuid: str
    resources: Mapping[str, tuple[int, int]]
    traits: tuple[str, ...]


Row = tuple[bytes, ...]
"""Uuids of the providers at the places of a pattern, in ASCII."""

Part = bytes | memoryview
"""A stretch of text, as bytes or as what can be joined to bytes."""


class Listed(Sequence[ItemT_co], Generic[ItemT_co]):
    """A sequence that keeps no object for each of its thousands of items: it makes them at each access.

    An encoder of whole answers uses what the items have in common instead.
    """

    @abstractmethod
    def made(self) -> Sequence[ItemT_co]:
        """All items."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Approximate bytes of memory."""

    def __iter__(self) -> Iterator[ItemT_co]:
        return iter(self.made())

    @overload
    def __getitem__(self, index: int) -> ItemT_co: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ItemT_co]: ...

    def __getitem__(self, index: int | slice) -> ItemT_co | Sequence[ItemT_co]:
        return self.made()[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self.made()) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.made())


@valueclass(frozen=True, slots=True)
class Pattern:
    """The common part of candidates that differ only in their providers.

    Providers are places, 0 and up: ``allocations`` maps a place to amounts by class,
    ``mappings`` the suffix of a group to the places that serve it.
    """

    allocations: Mapping[int, Mapping[str, int]]
    mappings: Mapping[str, tuple[int, ...]]

    def candidate(self, row: Row) -> Candidate:
        """The candidate with the providers of ``row``."""
        uuids = list(map(bytes.decode, row))
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
    """Candidates of a few patterns. An encoder writes a pattern once and fills in thousands of uuids."""

    @abstractmethod
    def rendered(self, form: str, template: Callable[[Pattern], Template]) -> list[Part]:
        """The text of all candidates in their order, in parts of one or of many.

        ``template`` returns the text of a pattern. The sequence may keep it under ``form`` and reuse it.
        """


class KeptSummaries(Listed[ProviderSummary]):
    """Summaries that keep their encoded form until they change."""

    @abstractmethod
    def rendered(self, form: str, render: Callable[[ProviderSummary], bytes]) -> list[bytes]:
        """What ``render`` returns for each summary, or returned earlier under the same ``form``."""


@valueclass(frozen=True, slots=True)
class StepCount:
    """How many providers were left after one step of a search: explains why there are no candidates.

    ``group`` is the suffix of the group that was looked at, None for the request as a whole;
    ``step`` says what was asked (for example ``VCPU:4`` or ``required HW_CPU_X86_AVX2``);
    ``left`` counts providers, or trees where ``group`` is None.
    """

    group: str | None
    step: str
    left: int


@valueclass(frozen=True, slots=True)
class SearchResult:
    """Candidates in order, summaries of all trees they take from, and the stages of the search.

    ``found_nothing``: the search went to its end and found no candidate. ``memo`` keeps the texts that an
    encoder has made of the result.
    """

    candidates: Sequence[Candidate]
    summaries: Sequence[ProviderSummary]
    stages: Sequence[StepCount] = ()
    found_nothing: bool = field(default=False, compare=False)
    memo: cache.Memo = field(default_factory=cache.Memo, compare=False, repr=False)


@valueclass(frozen=True, slots=True)
class ProviderFilter:
    """The filters of ``GET /resource_providers``; all of them must hold.

    ``group`` carries resources, traits, aggregates and ``in_tree``, each asked of one provider.
    """

    uuid: str | None = None
    name: str | None = None
    group: RequestGroup | None = None
