"""Sums over all providers: what there is of each resource class, and what of it is used."""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa

from moorage.model.values import ClassTotal
from moorage.rules.capacity import capacity
from moorage.store.inventory_rows import FIELDS, inventory_of
from moorage.store.tables import allocations, inventories, resource_classes

_of_a_kind = (
    sa.select(
        inventories.c.resource_class_id,
        *(inventories.c[name] for name in FIELDS),
        sa.func.count().label("providers"),
    )
    .group_by(inventories.c.resource_class_id, *(inventories.c[name] for name in FIELDS))
    .order_by(inventories.c.resource_class_id)
)
"""Equal inventories are counted by the database, since a cloud has few kinds of hosts; what one of
them has room for is for the rules to say."""

_used = sa.select(allocations.c.resource_class_id, sa.func.sum(allocations.c.used).label("used")).group_by(
    allocations.c.resource_class_id
)


def totals(connection: sa.Connection) -> list[ClassTotal]:
    """Resource classes that anybody provides, by their ids."""
    names = {row.id: row.name for row in connection.execute(sa.select(resource_classes))}
    used = {row.resource_class_id: int(row.used) for row in connection.execute(_used)}
    providers: dict[int, int] = defaultdict(int)
    capacities: dict[int, int] = defaultdict(int)
    for row in connection.execute(_of_a_kind):
        providers[row.resource_class_id] += row.providers
        capacities[row.resource_class_id] += row.providers * capacity(inventory_of(row))
    return [
        ClassTotal(names[id_], count, capacities[id_], used.get(id_, 0)) for id_, count in providers.items()
    ]
