"""What a client asks of the search: request groups and what comes back.

Source: API reference, "List allocation candidates", and the granular request and provider
tree chapters of the Placement documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from moorage.model.valueclass import valueclass

ISOLATE = "isolate"
"""Group policy: no two suffixed groups may be served by the same provider."""


@valueclass(frozen=True, slots=True)
class RequestGroup:
    """One group of a request: resources and what is asked of their providers.

    The group with suffix ``""`` may take each class from another provider of a tree (or a
    sharing one); any other group is served by exactly one provider. ``required`` is an AND of
    ORs, and so is ``member_of``. A group without resources only places a constraint.
    """

    suffix: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    required: tuple[frozenset[str], ...] = ()
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    forbidden_aggregates: frozenset[str] = frozenset()
    in_tree: str | None = None


@valueclass(frozen=True, slots=True)
class CandidateRequest:
    """A whole request for allocation candidates.

    ``one_provider_per_tree`` is for clients that do not know nested providers: candidates that
    take from two providers of one tree are left out, and so are summaries of providers that
    provide nothing. ``limit`` of None means all.
    """

    groups: tuple[RequestGroup, ...]
    group_policy: str | None = None
    root_required: frozenset[str] = frozenset()
    root_forbidden: frozenset[str] = frozenset()
    same_subtree: tuple[frozenset[str], ...] = ()
    limit: int | None = None
    one_provider_per_tree: bool = False


DEFAULT_KEPT_CANDIDATES = 16_384
"""Candidates of answers that are kept until something changes, each up to 2 kB with its text."""

DEFAULT_STEP_LIMIT = 1_000_000
"""Steps that one search may take: some seconds at most, and an answer of at most some 200 MB. A
request for all of 300,000 flat hosts stays below it."""


@valueclass(frozen=True, slots=True)
class SearchSettings:
    """How candidates are generated, whatever is asked. Source: placement.conf ``[placement]``.

    ``max_candidates`` below 0 means no bound. All from ``step_limit`` on are our own. ``step_limit`` and
    ``truncate`` bound what one request costs in time and memory, whatever it asks. A step is a block of
    providers looked at for a variable of the request, a tree looked into, a placement tried, or a
    provider named in a candidate; below 0 means no bound. Who needs more is refused, or given what
    was found so far if ``truncate``. ``kept_candidates`` is how many are kept, with their answers, for those
    who ask the same before anything changes.
    """

    max_candidates: int = -1
    breadth_first: bool = False
    randomize: bool = False
    step_limit: int = DEFAULT_STEP_LIMIT
    truncate: bool = False
    kept_candidates: int = DEFAULT_KEPT_CANDIDATES


@valueclass(frozen=True, slots=True)
class Candidate:
    """One way to serve a request: amounts by provider uuid and class, and who serves which group."""

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, tuple[str, ...]]


@valueclass(frozen=True, slots=True)
class ProviderSummary:
    """State of a provider of a tree concerned: class to (capacity, used)."""

    uuid: str
    parent_uuid: str | None
    root_uuid: str
    resources: Mapping[str, tuple[int, int]]
    traits: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class Stage:
    """How many were left after one step of a search: the data from which a "no" is explained.

    ``group`` is the suffix of the group that was looked at, None for the request as a whole;
    ``step`` says what was asked (for example ``VCPU:4`` or ``required HW_CPU_X86_AVX2``);
    ``left`` counts providers, or trees where ``group`` is None.
    """

    group: str | None
    step: str
    left: int


@valueclass(frozen=True, slots=True)
class SearchResult:
    """Candidates in order, summaries of all trees they take from, and the steps gone.

    ``texts``: what was made of it for microversions (their minors), for others who are given the same.
    """

    candidates: Sequence[Candidate]
    summaries: Sequence[ProviderSummary]
    stages: Sequence[Stage] = ()
    texts: dict[int, bytes] = field(default_factory=dict, compare=False, repr=False)


@valueclass(frozen=True, slots=True)
class ProviderFilter:
    """What ``GET /resource_providers`` can ask; everything is ANDed.

    ``group`` carries resources, traits, aggregates and ``in_tree``, each asked of one provider.
    """

    uuid: str | None = None
    name: str | None = None
    group: RequestGroup | None = None
