"""The whole account as plain data: from the database's file, and from the twin."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import Any

from tests.oracle.account import Account

Content = dict[str, Any]

PROVIDERS = """
    SELECT own.id, own.uuid, own.name, own.generation, parent.uuid, root.uuid FROM resource_providers own
    LEFT JOIN resource_providers parent ON parent.id = own.parent_provider_id
    LEFT JOIN resource_providers root ON root.id = own.root_provider_id
"""
INVENTORIES = """
    SELECT resource_provider_id, name, total, reserved, min_unit, max_unit, step_size, allocation_ratio
    FROM inventories JOIN resource_classes ON resource_class_id = resource_classes.id
"""
TRAITS = "SELECT resource_provider_id, name FROM resource_provider_traits JOIN traits ON trait_id = traits.id"
AGGREGATES = """
    SELECT resource_provider_id, uuid FROM resource_provider_aggregates
    JOIN placement_aggregates ON aggregate_id = placement_aggregates.id
"""
ALLOCATIONS = """
    SELECT consumer_id, resource_provider_id, name, used FROM allocations
    JOIN resource_classes ON resource_class_id = resource_classes.id
"""
CONSUMERS = """
    SELECT uuid, projects.external_id, users.external_id, consumer_types.name, generation FROM consumers
    JOIN projects ON projects.id = project_id JOIN users ON users.id = user_id
    LEFT JOIN consumer_types ON consumer_types.id = consumer_type_id
"""
CUSTOM_NAMES = """
    SELECT name FROM resource_classes WHERE name LIKE 'CUSTOM%' UNION ALL
    SELECT name FROM traits WHERE name LIKE 'CUSTOM%'
"""


def of_database(connection: sqlite3.Connection) -> Content:
    """Read with nothing of the store's: lists, so that a row too many shows."""
    rows = connection.execute(PROVIDERS).fetchall()
    uuids = {row[0]: row[1] for row in rows}
    held: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for consumer, provider, name, used in connection.execute(ALLOCATIONS):
        held[consumer].append((uuids[provider], name, used))
    return {
        "providers": sorted(row[1:] for row in rows),
        "inventories": sorted((uuids[row[0]], *row[1:]) for row in connection.execute(INVENTORIES)),
        "traits": sorted((uuids[row[0]], row[1]) for row in connection.execute(TRAITS)),
        "aggregates": sorted((uuids[row[0]], row[1]) for row in connection.execute(AGGREGATES)),
        "held": {consumer: sorted(items) for consumer, items in held.items()},
        "consumers": {row[0]: row[1:] for row in connection.execute(CONSUMERS)},
        "names": sorted(row[0] for row in connection.execute(CUSTOM_NAMES)),
    }


def of_account(account: Account) -> Content:
    """The same of the twin."""
    nodes = account.nodes.values()
    return {
        "providers": sorted(
            (found.uuid, found.name, found.generation, found.parent_uuid, found.root_uuid)
            for found in account.providers()
        ),
        "inventories": sorted(
            (
                node.uuid,
                name,
                inventory.total,
                inventory.reserved,
                inventory.min_unit,
                inventory.max_unit,
                inventory.step_size,
                inventory.allocation_ratio,
            )
            for node in nodes
            for name, inventory in node.inventories.items()
        ),
        "traits": sorted((node.uuid, name) for node in nodes for name in node.traits),
        "aggregates": sorted((node.uuid, name) for node in nodes for name in node.aggregates),
        "held": {
            consumer: sorted((provider, name, used) for (provider, name), used in holder.held.items())
            for consumer, holder in account.holders.items()
        },
        "consumers": {
            consumer: (holder.project_id, holder.user_id, holder.consumer_type, holder.generation)
            for consumer, holder in account.holders.items()
        },
        "names": sorted(
            name for name in (*account.class_names, *account.trait_names) if name.startswith("CUSTOM")
        ),
    }
