"""Read which consumers hold what some trees lack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final

import sqlalchemy as sa

from moorage.model.explanations import Holder, Holders, HoldersAt, Lack
from moorage.store.tables import (
    allocations,
    changes,
    consumer_types,
    consumers,
    projects,
    resource_classes,
    resource_providers,
    revisions,
)

MOST: Final = 20
"""Holders of one class of one provider that are read, the largest first: a pool may have thousands."""

MOST_LACKS: Final = 8
"""Classes of providers in one tree whose holders are read, each by one statement. An ask names hundreds."""

_holders = (
    sa.select(
        consumers.c.uuid,
        consumers.c.created_at,
        consumer_types.c.name.label("consumer_type"),
        projects.c.external_id.label("project_id"),
        allocations.c.used,
    )
    .join_from(allocations, consumers, allocations.c.consumer_id == consumers.c.uuid)
    .join(projects, consumers.c.project_id == projects.c.id)
    .outerjoin(consumer_types, consumers.c.consumer_type_id == consumer_types.c.id)
    .order_by(allocations.c.used.desc(), consumers.c.uuid)
    .limit(MOST + 1)
)


def holders_at(connection: sa.Connection, known: int, lacks: Mapping[str, Collection[Lack]]) -> HoldersAt:
    """Holders of what trees lack, by the uuid of the root.

    A tree that has changed since the revision ``known`` is left out: other consumers may hold it now.
    """
    counters = connection.execute(sa.select(revisions.c.revision, revisions.c.compacted)).one()
    if not known <= counters.revision or counters.compacted > known:
        return HoldersAt(counters.revision, {})
    wanted = {lack.provider for each in lacks.values() for lack in each} | lacks.keys()
    rows = connection.execute(
        sa.select(
            resource_providers.c.id, resource_providers.c.uuid, resource_providers.c.root_provider_id
        ).where(resource_providers.c.uuid.in_(sorted(wanted)))
    ).all()
    ids = {row.uuid: row.id for row in rows}
    root_ids = {row.root_provider_id for row in rows}
    changed = set(
        connection.execute(
            sa.select(changes.c.root_provider_id)
            .where(changes.c.revision > known, changes.c.root_provider_id.in_(sorted(root_ids)))
            .distinct()
        ).scalars()
    )
    unchanged = {row.uuid for row in rows if row.root_provider_id not in changed}
    return HoldersAt(
        counters.revision,
        {
            root: _holders_of(connection, ids, asked)
            for root, asked in lacks.items()
            if {root, *(lack.provider for lack in asked)} <= unchanged
        },
    )


def _holders_of(connection: sa.Connection, ids: Mapping[str, int], lacks: Collection[Lack]) -> Holders:
    resources: dict[str, dict[str, int]] = defaultdict(dict)
    found: dict[str, Any] = {}
    in_order = sorted(set(lacks), key=lambda each: (each.provider, each.resource_class))
    has_more = len(in_order) > MOST_LACKS
    for lack in in_order[:MOST_LACKS]:
        class_id = sa.select(resource_classes.c.id).where(resource_classes.c.name == lack.resource_class)
        rows = connection.execute(
            _holders.where(
                allocations.c.resource_provider_id == ids[lack.provider],
                allocations.c.resource_class_id == class_id.scalar_subquery(),
            )
        ).all()
        has_more |= len(rows) > MOST
        for row in rows[:MOST]:
            held = resources[row.uuid]
            held[lack.resource_class] = held.get(lack.resource_class, 0) + row.used
            found[row.uuid] = row
    holders = [
        Holder(uuid, row.consumer_type, row.project_id, resources[uuid], row.created_at)
        for uuid, row in found.items()
    ]
    holders.sort(key=lambda each: (-max(each.resources.values()), each.consumer))
    return Holders(tuple(holders), has_more)
