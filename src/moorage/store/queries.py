"""What the GETs ask, one function each; every function reads within one snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from moorage.model.errors import (
    ProviderNotFoundError,
    ResourceClassNotFoundError,
    TraitNotFoundError,
)
from moorage.model.values import (
    ALL_CONSUMER_TYPES,
    UNKNOWN_CONSUMER_TYPE,
    ConsumerAllocations,
    HeldByConsumer,
    HeldOfProvider,
    NamedItem,
    Provider,
    ProviderAggregates,
    ProviderAllocations,
    ProviderInventories,
    ProviderTraits,
    ProviderUsages,
    UsageGroup,
)
from moorage.store.batches import batches
from moorage.store.inventory_rows import inventory_of, select_inventories, select_used
from moorage.store.tables import (
    aggregates,
    allocations,
    consumer_types,
    consumers,
    inventories,
    projects,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    traits,
    users,
)

_parent = resource_providers.alias("parent")
_root = resource_providers.alias("root")

_providers = (
    sa.select(
        resource_providers.c.uuid,
        resource_providers.c.name,
        resource_providers.c.generation,
        _parent.c.uuid.label("parent_uuid"),
        _root.c.uuid.label("root_uuid"),
        resource_providers.c.created_at,
        resource_providers.c.updated_at,
    )
    .join_from(resource_providers, _root, resource_providers.c.root_provider_id == _root.c.id)
    .outerjoin(_parent, resource_providers.c.parent_provider_id == _parent.c.id)
    .order_by(resource_providers.c.id)
)


def _latest(rows: Iterable[Any]) -> datetime | None:
    """Time of the last change of any of the rows."""
    times = [time for row in rows if (time := row.updated_at or row.created_at) is not None]
    return max(times, default=None)


def provider(connection: sa.Connection, uuid: str) -> Provider:
    """Raises ProviderNotFoundError."""
    row = connection.execute(_providers.where(resource_providers.c.uuid == uuid)).first()
    if row is None:
        raise ProviderNotFoundError(uuid)
    return Provider(**row._mapping)


def providers(
    connection: sa.Connection, uuid: str | None, name: str | None, ids: Iterable[int] | None
) -> list[Provider]:
    """Providers by id that have this uuid, this name, and one of these ids (None: any)."""
    query = _providers
    if uuid is not None:
        query = query.where(resource_providers.c.uuid == uuid)
    if name is not None:
        query = query.where(resource_providers.c.name == name)
    if ids is None:
        return [Provider(**row._mapping) for row in connection.execute(query)]
    return [
        Provider(**row._mapping)
        for batch in batches(ids)
        for row in connection.execute(query.where(resource_providers.c.id.in_(batch)))
    ]


def provider_count(connection: sa.Connection) -> int:
    """How many providers there are."""
    count = connection.execute(sa.select(sa.func.count()).select_from(resource_providers))
    return int(count.scalar_one())


def _provider_row(connection: sa.Connection, uuid: str) -> Any:
    table = resource_providers
    query = sa.select(table.c.id, table.c.generation).where(table.c.uuid == uuid)
    row = connection.execute(query).first()
    if row is None:
        raise ProviderNotFoundError(uuid)
    return row


def provider_inventories(connection: sa.Connection, uuid: str) -> ProviderInventories:
    """Raises ProviderNotFoundError."""
    found = _provider_row(connection, uuid)
    query = (
        select_inventories.add_columns(inventories.c.created_at, inventories.c.updated_at)
        .where(inventories.c.resource_provider_id == found.id)
        .order_by(inventories.c.id)
    )
    rows = connection.execute(query).all()
    dates = {row.name: date for row in rows if (date := _latest((row,))) is not None}
    return ProviderInventories(
        found.generation, {row.name: inventory_of(row) for row in rows}, _latest(rows), dates
    )


def provider_traits_of(connection: sa.Connection, uuid: str) -> ProviderTraits:
    """Raises ProviderNotFoundError."""
    found = _provider_row(connection, uuid)
    rows = connection.execute(
        sa.select(traits.c.name, traits.c.created_at, traits.c.updated_at)
        .join_from(provider_traits, traits)
        .where(provider_traits.c.resource_provider_id == found.id)
        .order_by(traits.c.id)
    ).all()
    return ProviderTraits(found.generation, tuple(row.name for row in rows), _latest(rows))


def provider_aggregates_of(connection: sa.Connection, uuid: str) -> ProviderAggregates:
    """Raises ProviderNotFoundError."""
    found = _provider_row(connection, uuid)
    uuids = connection.execute(
        sa.select(aggregates.c.uuid)
        .join_from(provider_aggregates, aggregates, provider_aggregates.c.aggregate_id == aggregates.c.id)
        .where(provider_aggregates.c.resource_provider_id == found.id)
        .order_by(aggregates.c.id)
    ).scalars()
    return ProviderAggregates(found.generation, tuple(uuids))


def provider_usages(connection: sa.Connection, uuid: str) -> ProviderUsages:
    """Raises ProviderNotFoundError."""
    found = _provider_row(connection, uuid)
    offered = connection.execute(
        sa.select(resource_classes.c.name)
        .join_from(inventories, resource_classes, inventories.c.resource_class_id == resource_classes.c.id)
        .where(inventories.c.resource_provider_id == found.id)
        .order_by(resource_classes.c.id)
    ).scalars()
    rows = connection.execute(select_used.where(allocations.c.resource_provider_id == found.id))
    used = {row.name: int(row.used) for row in rows}
    return ProviderUsages(found.generation, {name: used.get(name, 0) for name in offered})


def provider_allocations(connection: sa.Connection, uuid: str) -> ProviderAllocations:
    """Raises ProviderNotFoundError."""
    found = _provider_row(connection, uuid)
    rows = connection.execute(
        sa.select(
            consumers.c.uuid,
            consumers.c.generation,
            resource_classes.c.name,
            allocations.c.used,
            allocations.c.created_at,
            allocations.c.updated_at,
        )
        .join_from(allocations, consumers, allocations.c.consumer_id == consumers.c.uuid)
        .join(resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
        .where(allocations.c.resource_provider_id == found.id)
        .order_by(allocations.c.id)
    ).all()
    held: dict[str, dict[str, int]] = defaultdict(dict)
    generations: dict[str, int] = {}
    for row in rows:
        held[row.uuid][row.name] = row.used
        generations[row.uuid] = row.generation
    return ProviderAllocations(
        found.generation,
        {uuid: HeldByConsumer(generations[uuid], resources) for uuid, resources in held.items()},
        _latest(rows),
    )


def consumer_allocations(connection: sa.Connection, consumer: str) -> ConsumerAllocations:
    """Empty for a consumer that holds nothing."""
    rows = connection.execute(
        sa.select(
            resource_providers.c.uuid.label("provider_uuid"),
            resource_providers.c.generation.label("provider_generation"),
            resource_classes.c.name,
            allocations.c.used,
            allocations.c.created_at,
            allocations.c.updated_at,
            consumers.c.generation,
            projects.c.external_id.label("project_id"),
            users.c.external_id.label("user_id"),
            consumer_types.c.name.label("consumer_type"),
        )
        .join_from(allocations, consumers, allocations.c.consumer_id == consumers.c.uuid)
        .join(resource_providers, allocations.c.resource_provider_id == resource_providers.c.id)
        .join(resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
        .join(projects, consumers.c.project_id == projects.c.id)
        .join(users, consumers.c.user_id == users.c.id)
        .outerjoin(consumer_types, consumers.c.consumer_type_id == consumer_types.c.id)
        .where(allocations.c.consumer_id == consumer)
        .order_by(allocations.c.id)
    ).all()
    if not rows:
        return ConsumerAllocations()
    held: dict[str, dict[str, int]] = defaultdict(dict)
    generations: dict[str, int] = {}
    for row in rows:
        held[row.provider_uuid][row.name] = row.used
        generations[row.provider_uuid] = row.provider_generation
    first = rows[0]
    return ConsumerAllocations(
        providers={uuid: HeldOfProvider(generations[uuid], resources) for uuid, resources in held.items()},
        project_id=first.project_id,
        user_id=first.user_id,
        generation=first.generation,
        consumer_type=first.consumer_type or UNKNOWN_CONSUMER_TYPE,
        modified=_latest(rows),
    )


def usages_by_type(
    connection: sa.Connection, project_id: str, user_id: str | None, consumer_type: str | None
) -> list[UsageGroup]:
    """One group per consumer type; ``all`` and ``unknown`` make one group of that name."""
    shown: sa.ColumnElement[Any] = consumer_types.c.name
    if consumer_type == ALL_CONSUMER_TYPES:
        shown = sa.literal(ALL_CONSUMER_TYPES)
    query = (
        sa.select(
            allocations.c.consumer_id,
            shown.label("consumer_type"),
            resource_classes.c.name,
            sa.func.sum(allocations.c.used).label("used"),
        )
        .join_from(allocations, consumers, allocations.c.consumer_id == consumers.c.uuid)
        .join(resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
        .join(projects, consumers.c.project_id == projects.c.id)
        .outerjoin(consumer_types, consumers.c.consumer_type_id == consumer_types.c.id)
        .where(projects.c.external_id == project_id)
    )
    if user_id is not None:
        query = query.join(users, consumers.c.user_id == users.c.id).where(users.c.external_id == user_id)
    if consumer_type == UNKNOWN_CONSUMER_TYPE:
        query = query.where(consumers.c.consumer_type_id.is_(None))
    elif consumer_type not in (None, ALL_CONSUMER_TYPES):
        query = query.where(consumer_types.c.name == consumer_type)
    held = query.group_by(allocations.c.consumer_id, consumer_types.c.name, resource_classes.c.name).subquery(
        "held"
    )
    return _usage_groups(connection, held)


def _usage_groups(connection: sa.Connection, held: sa.Subquery) -> list[UsageGroup]:
    counts = connection.execute(
        sa.select(held.c.consumer_type, sa.func.count(sa.distinct(held.c.consumer_id)).label("consumers"))
        .group_by(held.c.consumer_type)
        .order_by(held.c.consumer_type)
    ).all()
    sums = connection.execute(
        sa.select(held.c.consumer_type, held.c.name, sa.func.sum(held.c.used).label("used"))
        .group_by(held.c.consumer_type, held.c.name)
        .order_by(held.c.name)
    ).all()
    used: dict[str | None, dict[str, int]] = defaultdict(dict)
    for row in sums:
        used[row.consumer_type][row.name] = int(row.used)
    return [
        UsageGroup(row.consumer_type or UNKNOWN_CONSUMER_TYPE, row.consumers, used[row.consumer_type])
        for row in counts
    ]


def usages(connection: sa.Connection, project_id: str, user_id: str | None) -> dict[str, int]:
    """Amount used by class, by all consumers of a project (and user)."""
    groups = usages_by_type(connection, project_id, user_id, ALL_CONSUMER_TYPES)
    return dict(groups[0].usages) if groups else {}


def _named(rows: Iterable[Any]) -> list[NamedItem]:
    return [NamedItem(row.name, row.updated_at or row.created_at) for row in rows]


def trait_list(
    connection: sa.Connection,
    names: frozenset[str] | None,
    prefix: str | None,
    associated: bool | None,
) -> list[NamedItem]:
    """Traits by id that are among the names, begin so, and are (or are not) a provider's."""
    query = sa.select(traits.c.name, traits.c.created_at, traits.c.updated_at).order_by(traits.c.id)
    if names is not None:
        query = query.where(traits.c.name.in_(names))
    if prefix is not None:
        # wire: the prefix goes into LIKE as it is, so that % and _ are wildcards.
        query = query.where(traits.c.name.like(prefix + "%"))
    if associated is not None:
        has_provider = sa.exists().where(provider_traits.c.trait_id == traits.c.id)
        query = query.where(has_provider if associated else ~has_provider)
    return _named(connection.execute(query))


def trait(connection: sa.Connection, name: str) -> NamedItem:
    """Raises TraitNotFoundError."""
    found = trait_list(connection, frozenset((name,)), None, None)
    if not found:
        raise TraitNotFoundError(name)
    return found[0]


def resource_class_list(connection: sa.Connection, name: str | None = None) -> list[NamedItem]:
    """Resource classes by id, or the one of this name."""
    table = resource_classes
    query = sa.select(table.c.name, table.c.created_at, table.c.updated_at).order_by(table.c.id)
    return _named(connection.execute(query if name is None else query.where(table.c.name == name)))


def resource_class(connection: sa.Connection, name: str) -> NamedItem:
    """Raises ResourceClassNotFoundError."""
    found = resource_class_list(connection, name)
    if not found:
        raise ResourceClassNotFoundError(name)
    return found[0]


def providers_without_root(connection: sa.Connection) -> int:
    """How many providers do not say which tree they are in: Placement did not ask before Stein."""
    query = sa.select(sa.func.count()).where(resource_providers.c.root_provider_id.is_(None))
    return connection.execute(query).scalar_one()


def consumers_without_record(connection: sa.Connection) -> int:
    """How many consumers hold something and are not known: Placement did not ask before Rocky."""
    known = sa.exists().where(consumers.c.uuid == allocations.c.consumer_id)
    query = sa.select(sa.func.count(allocations.c.consumer_id.distinct())).where(~known)
    return connection.execute(query).scalar_one()
