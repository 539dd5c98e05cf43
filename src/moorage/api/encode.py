"""Bodies of answers, in the form of the client's microversion."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, Final

from moorage.api import versions
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


def http_date(moment: datetime | None) -> str:
    """A naive UTC time as headers have it; the present for None."""
    if moment is None:
        return _date_of(int(time.time()))
    return format_datetime(moment.replace(tzinfo=UTC), usegmt=True)


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    """Many answers are given within one second."""
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)


def newest(moments: Iterable[datetime | None]) -> datetime | None:
    """The latest of times, None (for the present) if one of them is not known."""
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
    """A provider and the ways to what it has."""
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


def _inventory(item: Inventory) -> Json:
    return {
        "total": item.total,
        "reserved": item.reserved,
        "min_unit": item.min_unit,
        "max_unit": item.max_unit,
        "step_size": item.step_size,
        "allocation_ratio": item.allocation_ratio,
    }


def inventory(item: Inventory, generation: int) -> Json:
    """One inventory; its provider's generation is in it."""
    return _inventory(item) | {"resource_provider_generation": generation}


def inventories(items: ProviderInventories) -> Json:
    """All inventories of a provider."""
    return {
        "resource_provider_generation": items.generation,
        "inventories": {name: _inventory(item) for name, item in items.inventories.items()},
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
    """What a consumer holds; of one that holds nothing nothing else is shown."""
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
