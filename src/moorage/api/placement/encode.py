"""Bodies of answers, in the form of the client's microversion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from moorage.api.placement import versions
from moorage.model.values import (
    UNKNOWN_CONSUMER_TYPE,
    ConsumerAllocations,
    Inventory,
    NamedItem,
    Provider,
    ProviderAggregates,
    ProviderAllocations,
    ProviderInventories,
    ProviderTraits,
    ProviderUsages,
    UsageGroup,
)

Json = dict[str, Any]

_PROVIDER_LINKS: Final = (
    (versions.OLDEST, "inventories"),
    (versions.OLDEST, "usages"),
    (versions.AGGREGATES, "aggregates"),
    (versions.TRAITS, "traits"),
    (versions.ALLOCATIONS_LINK, "allocations"),
)


def newest(moments: Iterable[datetime | None]) -> datetime | None:
    """The latest of ``moments``; None (for the present) if one of them is unknown."""
    known: list[datetime] = []
    for moment in moments:
        if moment is None:
            return None
        known.append(moment)
    return max(known, default=None)


# Providers


def provider_path(prefix: str, uuid: str) -> str:
    """Where a provider is."""
    return f"{prefix}/resource_providers/{uuid}"


def provider_modified(provider: Provider) -> datetime | None:
    """When a provider last changed."""
    return provider.updated_at or provider.created_at


def provider(item: Provider, prefix: str, minor: int) -> Json:
    """A provider with its links."""
    path = provider_path(prefix, item.uuid)
    links = [{"rel": "self", "href": path}]
    links += [{"rel": name, "href": f"{path}/{name}"} for since, name in _PROVIDER_LINKS if minor >= since]
    shown: Json = {
        "uuid": item.uuid,
        "name": item.name,
        "generation": item.generation,
        "links": links,
    }
    if minor >= versions.NESTED_PROVIDERS:
        shown["parent_provider_uuid"] = item.parent_uuid
        shown["root_provider_uuid"] = item.root_uuid
    return shown


def providers(items: Iterable[Provider], prefix: str, minor: int) -> Json:
    """A list of providers."""
    return {"resource_providers": [provider(item, prefix, minor) for item in items]}


Record = Mapping[str, Any]
"""An inventory in the body of a request."""

_NOTHING_GIVEN: Final[Record] = {}

_PLAIN: Final = (1e-4, 1e16)
"""Between these numbers all libraries spell a number in the same way."""

_ENCODED: Final = 1 << 63
"""The library encodes whole numbers below this one."""


def number(value: float) -> object:
    """A number as Python spells it: 1e-05, which orjson spells 0.00001."""
    least, end = _PLAIN
    size = abs(value)
    if isinstance(value, int):
        return value if size < _ENCODED else orjson.Fragment(str(value).encode())
    return value if least <= size < end or not size else orjson.Fragment(repr(value).encode())


def _inventory(item: Inventory, given: Record) -> Json:
    # wire: an answer to a write repeats the numbers as the client spelled them.
    return {
        "total": given.get("total", item.total),
        "reserved": given.get("reserved", item.reserved),
        "min_unit": given.get("min_unit", item.min_unit),
        "max_unit": given.get("max_unit", item.max_unit),
        "step_size": given.get("step_size", item.step_size),
        "allocation_ratio": number(given.get("allocation_ratio", item.allocation_ratio)),
    }


def inventory(item: Inventory, generation: int, given: Record = _NOTHING_GIVEN) -> Json:
    """One inventory, with its provider's generation; ``given`` is the client's spelling of a write."""
    return _inventory(item, given) | {"resource_provider_generation": generation}


def inventories(items: ProviderInventories, given: Mapping[str, Record] | None = None) -> Json:
    """All inventories of a provider; ``given`` is the client's spelling, if it wrote them."""
    records = given or {}
    return {
        "resource_provider_generation": items.generation,
        "inventories": {
            name: _inventory(item, records.get(name, _NOTHING_GIVEN))
            for name, item in items.inventories.items()
        },
    }


def aggregates(items: ProviderAggregates, minor: int) -> Json:
    """Aggregates of a provider."""
    shown: Json = {"aggregates": items.aggregates}
    if minor >= versions.AGGREGATE_GENERATION:
        shown["resource_provider_generation"] = items.generation
    return shown


def provider_traits(items: ProviderTraits) -> Json:
    """Traits of a provider."""
    return {"traits": items.traits, "resource_provider_generation": items.generation}


def provider_usages(items: ProviderUsages) -> Json:
    """What is used of a provider."""
    return {
        "resource_provider_generation": items.generation,
        "usages": dict(items.usages),
    }


def provider_allocations(items: ProviderAllocations, minor: int) -> Json:
    """What consumers hold of a provider."""
    with_generation = minor >= versions.CONSUMER_GENERATION
    held: Json = {}
    for consumer, share in items.consumers.items():
        held[consumer] = {"resources": dict(share.resources)}
        if with_generation:
            held[consumer]["consumer_generation"] = share.consumer_generation
    return {"allocations": held, "resource_provider_generation": items.generation}


# Traits and resource classes


def traits(items: Iterable[NamedItem]) -> Json:
    """A list of traits."""
    return {"traits": [item.name for item in items]}


def trait_path(prefix: str, name: str) -> str:
    """Where a trait is."""
    return f"{prefix}/traits/{name}"


def resource_class_path(prefix: str, name: str) -> str:
    """Where a resource class is."""
    return f"{prefix}/resource_classes/{name}"


def resource_class(name: str, prefix: str) -> Json:
    """One resource class."""
    return {"name": name, "links": [{"rel": "self", "href": resource_class_path(prefix, name)}]}


def resource_classes(items: Iterable[NamedItem], prefix: str) -> Json:
    """A list of resource classes."""
    return {"resource_classes": [resource_class(item.name, prefix) for item in items]}


# Consumers


def consumer_allocations(items: ConsumerAllocations, minor: int) -> Json:
    """What a consumer holds; a consumer without allocations is shown without any other field."""
    shown: Json = {
        "allocations": {
            uuid: {"resources": dict(share.resources), "generation": share.provider_generation}
            for uuid, share in items.providers.items()
        }
    }
    if items.providers and minor >= versions.ALLOCATIONS_BY_PROVIDER:
        shown["project_id"] = items.project_id
        shown["user_id"] = items.user_id
        if minor >= versions.CONSUMER_GENERATION:
            shown["consumer_generation"] = items.generation
        if minor >= versions.CONSUMER_TYPES:
            shown["consumer_type"] = items.consumer_type or UNKNOWN_CONSUMER_TYPE
    return shown


def usages(items: Mapping[str, int]) -> Json:
    """What a project uses."""
    return {"usages": dict(items)}


def usages_by_type(groups: Iterable[UsageGroup]) -> Json:
    """What a project uses, by the type of consumers (1.38)."""
    return {
        "usages": {
            group.consumer_type: dict(group.usages) | {"consumer_count": group.consumer_count}
            for group in groups
        }
    }
