"""Inventories and their use as rows: the one mapping between columns and values."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from moorage.model.values import Inventory
from moorage.store.tables import allocations, inventories, resource_classes

FIELDS = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")

select_inventories = sa.select(
    inventories.c.resource_provider_id,
    resource_classes.c.name,
    *(inventories.c[name] for name in FIELDS),
).join_from(inventories, resource_classes, inventories.c.resource_class_id == resource_classes.c.id)
"""Provider id, class name and the inventory's fields."""

select_used = (
    sa.select(
        allocations.c.resource_provider_id,
        resource_classes.c.name,
        sa.func.sum(allocations.c.used).label("used"),
    )
    .join_from(allocations, resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
    .group_by(allocations.c.resource_provider_id, resource_classes.c.name)
)
"""Provider id, class name and the amount used of it."""


def inventory_of(row: Any) -> Inventory:
    """The inventory that a row of ``select_inventories`` holds."""
    return Inventory(row.total, row.reserved, row.min_unit, row.max_unit, row.step_size, row.allocation_ratio)


def values_of(inventory: Inventory) -> dict[str, int | float]:
    """The columns of an inventory."""
    return {name: getattr(inventory, name) for name in FIELDS}
