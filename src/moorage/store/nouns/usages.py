"""What consumers hold and use, as answers show it. Claims are decided by ``store.nouns.consumers``."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa

from moorage.model.values import (
    ALL_CONSUMER_TYPES,
    UNKNOWN_CONSUMER_TYPE,
    ConsumerAllocations,
    HeldByConsumer,
    HeldOfProvider,
    ProviderAllocations,
    ProviderUsages,
    UsageGroup,
)
from moorage.store.nouns.consumers import select_used
from moorage.store.nouns.providers import generation, latest, provider_row
from moorage.store.tables import (
    allocations,
    consumer_types,
    consumers,
    inventories,
    projects,
    resource_classes,
    resource_providers,
    users,
)


def provider_usages(connection: sa.Connection, uuid: str) -> ProviderUsages:
    """Raises ProviderNotFoundError."""
    found = provider_row(connection, uuid)
    offered = connection.execute(
        sa.select(resource_classes.c.name)
        .join_from(inventories, resource_classes, inventories.c.resource_class_id == resource_classes.c.id)
        .where(inventories.c.resource_provider_id == found.id)
        .order_by(resource_classes.c.id)
    ).scalars()
    rows = connection.execute(select_used(allocations.c.resource_provider_id == found.id))
    used = {row.name: int(row.used) for row in rows}
    return ProviderUsages(found.generation, {name: used.get(name, 0) for name in offered})


def provider_allocations(connection: sa.Connection, uuid: str) -> ProviderAllocations:
    """Raises ProviderNotFoundError."""
    found = provider_row(connection, uuid)
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
        latest(rows),
    )


def consumer_allocations(connection: sa.Connection, consumer: str) -> ConsumerAllocations:
    """Empty for a consumer that holds nothing."""
    rows = connection.execute(
        sa.select(
            resource_providers.c.uuid.label("provider_uuid"),
            generation.label("provider_generation"),
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
        modified=latest(rows),
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


def owner_as_kept(connection: sa.Connection, project_id: str, user_id: str) -> tuple[str | None, str | None]:
    """Project and user as the database writes them, whose collation may ignore case; None where missing."""
    project = sa.select(projects.c.external_id).where(projects.c.external_id == project_id)
    user = sa.select(users.c.external_id).where(users.c.external_id == user_id)
    return connection.scalar(project), connection.scalar(user)


def usages(connection: sa.Connection, project_id: str, user_id: str | None) -> dict[str, int]:
    """Amount used by class, by all consumers of a project (and user)."""
    groups = usages_by_type(connection, project_id, user_id, ALL_CONSUMER_TYPES)
    return dict(groups[0].usages) if groups else {}
