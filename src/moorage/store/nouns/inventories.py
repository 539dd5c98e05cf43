"""Inventories: what providers offer of resource classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import sqlalchemy as sa

from moorage.model.values import ClassTotal, Inventory, ProviderInventories
from moorage.rules.audit import InventoryFact
from moorage.rules.capacity import capacity
from moorage.rules.state import State
from moorage.store.nouns.noun import (
    AuditRows,
    GroupWork,
    Noun,
    changed_facets,
    delete_pairs,
    execute_all,
)
from moorage.store.nouns.providers import latest, provider_row
from moorage.store.nouns.resource_classes import class_ids
from moorage.store.sql.statements import fetched
from moorage.store.tables import allocations, inventories, resource_classes

FIELDS = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")

select_inventories = sa.select(
    inventories.c.resource_provider_id,
    resource_classes.c.name,
    *(inventories.c[name] for name in FIELDS),
).join_from(inventories, resource_classes, inventories.c.resource_class_id == resource_classes.c.id)
"""Provider id, class name and the inventory's fields."""


def inventory_of(row: Any) -> Inventory:
    """The inventory that a row with the columns ``FIELDS`` holds."""
    return Inventory(row.total, row.reserved, row.min_unit, row.max_unit, row.step_size, row.allocation_ratio)


def _values_of(inventory: Inventory) -> dict[str, int | float]:
    return {name: getattr(inventory, name) for name in FIELDS}


def _facts(connection: sa.Connection) -> list[InventoryFact]:
    query = sa.select(
        inventories.c.resource_provider_id,
        inventories.c.resource_class_id,
        *(inventories.c[name] for name in FIELDS),
    )
    return [
        InventoryFact(row.resource_provider_id, row.resource_class_id, inventory_of(row))
        for row in fetched(connection, query)
    ]


class Inventories(Noun):
    """Inventories are read with the claims that they decide: ``store.nouns.consumers``."""

    of_provider = (inventories,)
    audited: ClassVar[Mapping[str, AuditRows]] = {"inventories": _facts}

    def write(self, work: GroupWork, before: State, after: State) -> None:
        """Add, change and remove inventories."""
        table = inventories
        inserted: list[dict[str, Any]] = []
        updated: list[dict[str, Any]] = []
        deleted: list[tuple[int, int]] = []
        for uuid, was, now in changed_facets(after, before.inventories, after.inventories):
            was = was or {}
            id_ = work.providers[uuid]
            ids = class_ids(work, {*was, *now})
            for name, inventory in now.items():
                keys = {"provider_id": id_, "class_id": ids[name]}
                if name not in was:
                    inserted.append(
                        {"resource_provider_id": id_, "resource_class_id": ids[name]} | _values_of(inventory)
                    )
                elif inventory != was[name]:
                    updated.append(keys | _values_of(inventory))
            deleted.extend((id_, ids[name]) for name in was if name not in now)
        delete_pairs(work, table, table.c.resource_provider_id, table.c.resource_class_id, deleted)
        if updated:
            execute_all(
                work,
                table.update().where(
                    table.c.resource_provider_id == sa.bindparam("provider_id"),
                    table.c.resource_class_id == sa.bindparam("class_id"),
                ),
                updated,
            )
        execute_all(work, table.insert(), inserted)


INVENTORIES = Inventories()


def provider_inventories(connection: sa.Connection, uuid: str) -> ProviderInventories:
    """Raises ProviderNotFoundError."""
    found = provider_row(connection, uuid)
    query = (
        select_inventories.add_columns(inventories.c.created_at, inventories.c.updated_at)
        .where(inventories.c.resource_provider_id == found.id)
        .order_by(inventories.c.id)
    )
    rows = connection.execute(query).all()
    dates = {row.name: date for row in rows if (date := latest((row,))) is not None}
    return ProviderInventories(
        found.generation, {row.name: inventory_of(row) for row in rows}, latest(rows), dates
    )


_of_a_kind = (
    sa.select(
        inventories.c.resource_class_id,
        *(inventories.c[name] for name in FIELDS),
        sa.func.count().label("providers"),
    )
    .group_by(inventories.c.resource_class_id, *(inventories.c[name] for name in FIELDS))
    .order_by(inventories.c.resource_class_id)
)
"""The database counts equal inventories, since a cloud has few kinds of hosts. The rules say what capacity
each kind has."""

_used = sa.select(allocations.c.resource_class_id, sa.func.sum(allocations.c.used).label("used")).group_by(
    allocations.c.resource_class_id
)


def totals(connection: sa.Connection) -> list[ClassTotal]:
    """Capacity and use of the resource classes that a provider has inventory of, by their ids."""
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
