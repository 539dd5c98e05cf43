"""The nouns of the field: inventories, providers, consumers and what they hold.

Names of resource classes, traits and aggregates are plain strings; amounts are
integers in the unit of their resource class. Times are naive UTC datetimes, as the
database keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from moorage.model.placing import ClaimOrigin
from moorage.model.valueclass import valueclass

MAX_INT = 0x7FFF_FFFF
"""Largest amount an inventory may name (the databases' INTEGER is 32 bits wide)."""

CUSTOM_PREFIX = "CUSTOM_"
"""Names of resource classes and traits that clients may create start with this."""

SHARING_TRAIT = "MISC_SHARES_VIA_AGGREGATE"
"""A provider with this trait offers its inventory to all trees in its aggregates."""

UNKNOWN_CONSUMER_TYPE = "unknown"
"""How a consumer without a type is shown (microversion 1.38)."""

ALL_CONSUMER_TYPES = "all"
"""Asked for as a consumer type, it puts all consumers in one group (1.38)."""


@valueclass(frozen=True, slots=True)
class Inventory:
    """What one provider offers of one resource class.

    Source: API reference, "Update resource provider inventory". Defaults are the wire's.
    """

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = MAX_INT
    step_size: int = 1
    allocation_ratio: float = 1.0


@valueclass(frozen=True, slots=True)
class Provider:
    """A resource provider: a node of a tree. A root is its own ``root_uuid``."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    root_uuid: str
    created_at: datetime | None = None
    updated_at: datetime | None = None


@valueclass(frozen=True, slots=True)
class ProviderRecord:
    """All that a search needs to know of one provider.

    ``inventories`` holds (resource class, inventory, amount used) triples. ``traits`` come in
    the order of their database ids (standard ones first): the wire shows them so.
    """

    id: int
    uuid: str
    parent_id: int | None
    root_id: int
    inventories: tuple[tuple[str, Inventory, int], ...] = ()
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    name: str = ""


@valueclass(frozen=True, slots=True)
class Requester:
    """The requester, as the change log and the journal record it.

    ``request_id`` is the service's own id of the request. ``global_request_id`` is the id that the client
    gave it, "" if it gave none of the form that all services share. ``path`` is the way that the request
    took: ``placement`` or ``native`` for the two APIs, ``command`` for a command, ``service`` for what the
    service does of itself.
    """

    user_id: str = ""
    project_id: str = ""
    request_id: str = ""
    global_request_id: str = ""
    path: str = "service"


@valueclass(frozen=True, slots=True)
class ProviderInventories:
    """Inventories of one provider by resource class, with the provider's generation.

    ``modified`` is when any of them was last changed, ``dates`` when each was; what has just been
    written has no dates.
    """

    generation: int
    inventories: Mapping[str, Inventory]
    modified: datetime | None = None
    dates: Mapping[str, datetime] = field(default_factory=dict)


@valueclass(frozen=True, slots=True)
class ProviderTraits:
    """Traits of one provider in the order of their ids, with the provider's generation."""

    generation: int
    traits: tuple[str, ...]
    modified: datetime | None = None


@valueclass(frozen=True, slots=True)
class ProviderAggregates:
    """Aggregates of one provider, with the provider's generation."""

    generation: int
    aggregates: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class ProviderUsages:
    """Amount used of every resource class in a provider's inventory (0 included)."""

    generation: int
    usages: Mapping[str, int]


@valueclass(frozen=True, slots=True)
class HeldByConsumer:
    """What one consumer holds of one provider."""

    consumer_generation: int
    resources: Mapping[str, int]


@valueclass(frozen=True, slots=True)
class ProviderAllocations:
    """What each consumer (by uuid) holds of one provider."""

    generation: int
    consumers: Mapping[str, HeldByConsumer]
    modified: datetime | None = None


@valueclass(frozen=True, slots=True)
class HeldOfProvider:
    """What a consumer holds of one provider, with that provider's generation."""

    provider_generation: int
    resources: Mapping[str, int]


@valueclass(frozen=True, slots=True)
class ConsumerAllocations:
    """All that one consumer holds, by provider uuid.

    A consumer that holds nothing has empty ``providers`` and no other field set.
    """

    providers: Mapping[str, HeldOfProvider] = field(default_factory=dict)
    project_id: str | None = None
    user_id: str | None = None
    generation: int | None = None
    consumer_type: str | None = None
    modified: datetime | None = None


def stated_type(shown: str | None) -> str | None:
    """The consumer type behind one that is shown; None for a consumer without a type."""
    return None if shown == UNKNOWN_CONSUMER_TYPE else shown


@valueclass(frozen=True, slots=True)
class UsageGroup:
    """Use by the consumers of one type. ``consumer_count`` counts distinct consumers."""

    consumer_type: str
    consumer_count: int
    usages: Mapping[str, int]


@valueclass(frozen=True, slots=True)
class NamedItem:
    """A trait or a resource class, with the time of its last change."""

    name: str
    modified: datetime | None = None


@valueclass(frozen=True, slots=True)
class ClassTotal:
    """What all providers have of a resource class, and what of it is used.

    ``capacity`` is the sum of what may be claimed of each inventory. ``used`` may be more.
    """

    name: str
    providers: int
    capacity: int
    used: int


@valueclass(frozen=True, slots=True)
class KnownNames:
    """All names of resource classes and of traits that exist."""

    resource_classes: frozenset[str]
    traits: frozenset[str]


@valueclass(frozen=True, slots=True)
class ProviderSelection:
    """A page of the providers that all given fields choose: the first ``limit`` after the uuid ``after``."""

    limit: int
    after: str = ""
    uuids: frozenset[str] | None = None
    in_tree: str | None = None
    name: str | None = None


@valueclass(frozen=True, slots=True)
class ListedProvider:
    """All that an index knows of one provider. ``used`` has every class of its inventory."""

    id: int
    uuid: str
    name: str
    parent_uuid: str | None
    root_uuid: str
    inventories: Mapping[str, Inventory]
    used: Mapping[str, int]
    traits: tuple[str, ...]
    aggregates: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class ProviderPage:
    """A page of providers, by uuid. ``generations`` are there if they were asked for, by uuid."""

    providers: tuple[ListedProvider, ...]
    has_more: bool
    generations: Mapping[str, int] = field(default_factory=dict)


@valueclass(frozen=True, slots=True)
class CloudOverview:
    """All trees, one place of each list for each tree.

    ``providers`` counts those of the tree. ``sets`` are numbers in ``aggregate_sets``. ``classes``: by
    resource class, the capacities of the trees and what is used of them; 0 for a tree that has none.
    """

    roots: list[str]
    names: list[str]
    providers: list[int]
    aggregate_sets: tuple[tuple[str, ...], ...]
    sets: list[int]
    classes: Mapping[str, tuple[list[int], list[int]]]


@valueclass(frozen=True, slots=True)
class ClaimSelection:
    """A page of the claims that all given fields choose: the first ``limit`` after the consumer ``after``.

    ``consumer_type`` may be ``UNKNOWN_CONSUMER_TYPE``.
    """

    limit: int
    after: str = ""
    project_id: str | None = None
    provider: str | None = None
    consumer_type: str | None = None
    lease: str | None = None


@valueclass(frozen=True, slots=True)
class ListedClaim:
    """All that one consumer holds, by provider uuid and class. ``since`` is when the consumer was made.

    ``lease`` is the one that it hangs on. ``origin`` is read for single claims only.
    """

    consumer: str
    consumer_type: str | None
    project_id: str
    user_id: str
    generation: int
    since: datetime | None
    held: Mapping[str, Mapping[str, int]]
    origin: ClaimOrigin | None = None
    lease: str | None = None


@valueclass(frozen=True, slots=True)
class ClaimPage:
    """A page of claims, by consumer."""

    claims: tuple[ListedClaim, ...]
    has_more: bool
