"""Everything that a database holds, by names rather than ids: both services have the same tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

QUERIES = {
    "providers": """
        SELECT provider.uuid, provider.name, provider.generation, root.uuid, parent.uuid
          FROM resource_providers AS provider
          LEFT JOIN resource_providers AS root ON root.id = provider.root_provider_id
          LEFT JOIN resource_providers AS parent ON parent.id = provider.parent_provider_id""",
    "inventories": """
        SELECT provider.uuid, class.name, total, reserved, min_unit, max_unit, step_size, allocation_ratio
          FROM inventories
          LEFT JOIN resource_providers AS provider ON provider.id = resource_provider_id
          LEFT JOIN resource_classes AS class ON class.id = resource_class_id""",
    "traits of providers": """
        SELECT provider.uuid, trait.name
          FROM resource_provider_traits AS pair
          LEFT JOIN resource_providers AS provider ON provider.id = pair.resource_provider_id
          LEFT JOIN traits AS trait ON trait.id = pair.trait_id""",
    "aggregates of providers": """
        SELECT provider.uuid, aggregate.uuid
          FROM resource_provider_aggregates AS pair
          LEFT JOIN resource_providers AS provider ON provider.id = pair.resource_provider_id
          LEFT JOIN placement_aggregates AS aggregate ON aggregate.id = pair.aggregate_id""",
    "allocations": """
        SELECT provider.uuid, consumer_id, class.name, used
          FROM allocations
          LEFT JOIN resource_providers AS provider ON provider.id = resource_provider_id
          LEFT JOIN resource_classes AS class ON class.id = resource_class_id""",
    "consumers": """
        SELECT consumer.uuid, project.external_id, owner.external_id, generation, kind.name
          FROM consumers AS consumer
          LEFT JOIN projects AS project ON project.id = project_id
          LEFT JOIN users AS owner ON owner.id = user_id
          LEFT JOIN consumer_types AS kind ON kind.id = consumer_type_id""",
    "traits": "SELECT name FROM traits",
    "resource classes": "SELECT name FROM resource_classes",
}

IDLE_CONSUMERS = "DELETE FROM consumers WHERE uuid NOT IN (SELECT consumer_id FROM allocations)"

State = dict[str, list[str]]


def read(database: Path) -> State:
    """Rows of every kind, in one order whatever the database's was."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return {kind: sorted(map(repr, connection.execute(query))) for kind, query in QUERIES.items()}


def read_url(url: str) -> State:
    """``read``, from any kind of database."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return {
            kind: sorted(repr(tuple(row)) for row in connection.execute(sa.text(query)))
            for kind, query in QUERIES.items()
        }


def differences(ours: State, theirs: State) -> list[str]:
    """A line for every row that only one of them has."""
    return [
        f"{kind}: only {who} has {row}"
        for kind in QUERIES
        for who, mine, other in (("Moorage", ours, theirs), ("the reference", theirs, ours))
        for row in _without(mine[kind], other[kind])
    ]


def _without(rows: list[str], others: list[str]) -> list[str]:
    left = list(others)
    missing = []
    for row in rows:
        if row in left:
            left.remove(row)
        else:
            missing.append(row)
    return missing


def keep(database: Path) -> sqlite3.Connection:
    """A copy in memory of all that ``database`` holds now."""
    copy = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.backup(copy)
    return copy


def restore(database: Path, kept: sqlite3.Connection) -> None:
    """Make ``database`` hold what it did when it was kept, whoever else has it open."""
    with closing(sqlite3.connect(database)) as connection:
        kept.backup(connection)


def drop_idle_consumers(database: Path) -> None:
    """Remove consumers that hold nothing."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(IDLE_CONSUMERS)
