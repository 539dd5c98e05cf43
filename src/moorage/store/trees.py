"""Read some trees with all that their providers have, for an index. (``store.everything`` reads all.)"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from moorage.model.values import Inventory, ProviderRecord
from moorage.store.nouns.aggregates import select_aggregates
from moorage.store.nouns.consumers import select_used
from moorage.store.nouns.inventories import inventory_of, select_inventories
from moorage.store.nouns.traits import select_traits
from moorage.store.sql.statements import batches
from moorage.store.tables import (
    allocations,
    inventories,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    traits,
)


class Names(NamedTuple):
    """All names that a search may ask for."""

    resource_classes: tuple[str, ...]
    traits: tuple[str, ...]


_root = resource_providers.alias("root")

# A provider whose root does not exist is left out: the GETs do not show it either.
_providers = sa.select(
    resource_providers.c.id,
    resource_providers.c.uuid,
    resource_providers.c.parent_provider_id,
    resource_providers.c.root_provider_id,
    resource_providers.c.name,
).join_from(resource_providers, _root, resource_providers.c.root_provider_id == _root.c.id)

_inventories = select_inventories.order_by(
    inventories.c.resource_provider_id, inventories.c.resource_class_id
)
_aggregates = select_aggregates.order_by(
    provider_aggregates.c.resource_provider_id, provider_aggregates.c.aggregate_id
)
"""What a provider has comes in the order of ids, as in ``store.everything``."""

Where = Callable[[sa.Column[Any]], sa.ColumnElement[bool]]
"""From a column of provider ids to the condition that selects the wanted providers."""


def read_trees(connection: sa.Connection, root_ids: Iterable[int]) -> list[ProviderRecord]:
    """All providers of the trees with these roots."""
    found: list[ProviderRecord] = []
    for roots in batches(sorted(root_ids)):
        rows = connection.execute(_providers.where(resource_providers.c.root_provider_id.in_(roots)))
        for batch in batches(rows.all()):
            found += records_of(connection, batch)
    return found


def _among(ids: list[int]) -> Where:
    return lambda column: column.in_(ids)


def records_of(connection: sa.Connection, rows: Sequence[Any], *, sums: bool = True) -> list[ProviderRecord]:
    """The providers of rows that have ``id``, ``uuid``, ``name`` and the ids of parent and root.

    No more rows than a statement may have values. Without ``sums`` all seem unused.
    """
    ids = [row.id for row in rows]
    where = _among(ids)
    used = used_of(connection, ids) if sums else {}
    offered: dict[int, list[tuple[str, Inventory, int]]] = defaultdict(list)
    for row in connection.execute(_inventories.where(where(inventories.c.resource_provider_id))):
        id_ = row.resource_provider_id
        offered[id_].append((row.name, inventory_of(row), used.get((id_, row.name), 0)))
    names = _grouped(connection, select_traits.where(where(provider_traits.c.resource_provider_id)))
    groups = _grouped(connection, _aggregates.where(where(provider_aggregates.c.resource_provider_id)))
    return [
        ProviderRecord(
            id=row.id,
            uuid=row.uuid,
            parent_id=row.parent_provider_id,
            root_id=row.root_provider_id,
            inventories=tuple(offered.get(row.id, ())),
            traits=tuple(names.get(row.id, ())),
            aggregates=tuple(groups.get(row.id, ())),
            name=row.name or "",
        )
        for row in rows
    ]


def used_of(connection: sa.Connection, ids: list[int]) -> dict[tuple[int, str], int]:
    """What is in use of providers, by id and class. No more ids than a statement may have values."""
    query = select_used(allocations.c.resource_provider_id.in_(ids))
    return {(row.resource_provider_id, row.name): int(row.used) for row in connection.execute(query)}


def _grouped(connection: sa.Connection, query: sa.Select[Any]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for provider_id, name in connection.execute(query):
        found[provider_id].append(name)
    return found


def read_names(connection: sa.Connection) -> Names:
    """Names of all resource classes and of all traits."""
    classes = connection.execute(sa.select(resource_classes.c.name)).scalars()
    trait_names = connection.execute(sa.select(traits.c.name)).scalars()
    return Names(tuple(classes), tuple(trait_names))
