"""Read the account row by row, in one snapshot, for a verification.

The statements are the plainest there are, one per table: what is wrong with the rows is for
``rules.audit`` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from moorage.rules.audit import (
    AllocationFact,
    ConsumerFact,
    CounterFact,
    Facts,
    InventoryFact,
    LogFact,
    MemberFact,
    ProviderFact,
    UsedFact,
)
from moorage.store.inventory_rows import FIELDS, inventory_of, select_used
from moorage.store.tables import (
    aggregates,
    allocations,
    changes,
    consumer_types,
    consumers,
    inventories,
    projects,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    revisions,
    traits,
    users,
)

ROWS_AT_A_TIME = 10_000
"""Rows fetched at a time: bounds what a driver holds beside what is kept."""


def _rows(connection: sa.Connection, query: sa.Executable) -> Iterator[Any]:
    yield from connection.execute(query, execution_options={"yield_per": ROWS_AT_A_TIME})


def read_counters(connection: sa.Connection) -> list[CounterFact]:
    """All rows of the revision table; one is right."""
    query = sa.select(revisions.c.id, revisions.c.revision, revisions.c.compacted)
    return [CounterFact(*row) for row in _rows(connection, query)]


def read_log(connection: sa.Connection) -> list[LogFact]:
    """The change log by revision and position."""
    query = sa.select(changes.c.revision, changes.c.position, changes.c.transaction_id)
    ordered = query.order_by(changes.c.revision, changes.c.position)
    return [LogFact(*row) for row in _rows(connection, ordered)]


def has_rootless(connection: sa.Connection) -> bool:
    """Whether a provider has no root recorded."""
    table = resource_providers
    query = sa.select(table.c.id).where(table.c.root_provider_id.is_(None)).limit(1)
    return connection.execute(query).first() is not None


def read_facts(connection: sa.Connection) -> Facts:
    """All other tables."""
    return Facts(
        providers=_providers(connection),
        inventories=[
            InventoryFact(row.resource_provider_id, row.resource_class_id, inventory_of(row))
            for row in _rows(
                connection,
                sa.select(
                    inventories.c.resource_provider_id,
                    inventories.c.resource_class_id,
                    *(inventories.c[name] for name in FIELDS),
                ),
            )
        ],
        allocations=[
            AllocationFact(*row)
            for row in _rows(
                connection,
                sa.select(
                    allocations.c.resource_provider_id,
                    allocations.c.resource_class_id,
                    allocations.c.consumer_id,
                    allocations.c.used,
                ),
            )
        ],
        consumers=[
            ConsumerFact(*row)
            for row in _rows(
                connection,
                sa.select(
                    consumers.c.uuid,
                    consumers.c.generation,
                    consumers.c.project_id,
                    consumers.c.user_id,
                    consumers.c.consumer_type_id,
                ),
            )
        ],
        provider_traits=_members(
            connection, provider_traits.c.resource_provider_id, provider_traits.c.trait_id
        ),
        provider_aggregates=_members(
            connection, provider_aggregates.c.resource_provider_id, provider_aggregates.c.aggregate_id
        ),
        sums=[
            UsedFact(row.resource_provider_id, row.name, int(row.used))
            for row in _rows(connection, select_used)
        ],
        resource_classes=_named(connection, resource_classes.c.id, resource_classes.c.name),
        traits=_named(connection, traits.c.id, traits.c.name),
        aggregates=_named(connection, aggregates.c.id, aggregates.c.uuid),
        projects=_ids(connection, projects),
        users=_ids(connection, users),
        consumer_types=_ids(connection, consumer_types),
    )


def _providers(connection: sa.Connection) -> dict[int, ProviderFact]:
    table = resource_providers
    query = sa.select(
        table.c.id, table.c.uuid, table.c.generation, table.c.parent_provider_id, table.c.root_provider_id
    )
    return {row.id: ProviderFact(*row) for row in _rows(connection, query)}


def _members(connection: sa.Connection, provider: sa.Column[int], other: sa.Column[int]) -> list[MemberFact]:
    return [MemberFact(*row) for row in _rows(connection, sa.select(provider, other))]


def _named(connection: sa.Connection, id_: sa.Column[int], name: sa.Column[Any]) -> dict[int, str]:
    return {row[0]: row[1] for row in _rows(connection, sa.select(id_, name))}


def _ids(connection: sa.Connection, table: sa.Table) -> frozenset[int]:
    return frozenset(row.id for row in _rows(connection, sa.select(table.c.id)))
