"""Write a cloud's rows straight into the tables, which both services have alike.

One way for all sizes: over HTTP the reference would take hours for the larger ones, and so both
services hold the same rows to the last column. The names that each service itself brings
(standard resource classes and traits) must be there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random
from typing import Any

import sqlalchemy as sa

from benchmarks.clouds import Provider, Tree, random_uuid
from moorage.store import tables
from moorage.store.sql.statements import utcnow

TREES_PER_BATCH = 5_000
"""Committed together: some 50,000 rows, a few dozen megabytes of memory."""

OWNER = "benchmark"
"""Project and user of all consumers."""


class Loader:
    """Writes trees of one cloud into one database, batch by batch."""

    def __init__(self, connection: sa.Connection, chance: Random) -> None:
        self._connection = connection
        self._chance = chance
        self._names = {table: self._read(table, column) for table, column in NAME_COLUMNS.items()}
        self.providers = 0

    def write(self, trees: Iterable[Tree]) -> None:
        """Write a batch; the caller commits."""
        rows: dict[sa.Table, list[dict[str, Any]]] = {table: [] for table in BULK_TABLES}
        trees = list(trees)
        flat = [provider for tree in trees for provider in tree]
        self._add_names(tables.resource_classes, (name for each in flat for name in each.inventories))
        self._add_names(tables.traits, (name for each in flat for name in each.traits))
        self._add_names(tables.aggregates, (name for each in flat for name in each.aggregates))
        for tree in trees:
            first = self.providers + 1
            for provider in tree:
                self.providers += 1
                self._collect(rows, provider, self.providers, first)
        for table, found in rows.items():
            if found:
                stamp = utcnow()
                for row in found:
                    row["created_at"] = row["updated_at"] = stamp
                self._connection.execute(table.insert(), found)

    def finish(self) -> None:
        """Let the database know its new contents, as it would by itself some minutes later."""
        dialect = self._connection.dialect.name
        if dialect == "postgresql":
            # Ids were given here, so the database's own counter has to be moved on.
            counter = sa.func.pg_get_serial_sequence(tables.resource_providers.name, "id")
            self._connection.execute(sa.select(sa.func.setval(counter, self.providers)))
        # Only what was written here: what SQLite once knows of a table it never looks at again.
        for table in BULK_TABLES:
            verb = "ANALYZE TABLE" if dialect == "mysql" else "ANALYZE"
            self._connection.exec_driver_sql(f"{verb} {table.name}")

    def _collect(
        self, rows: dict[sa.Table, list[dict[str, Any]]], provider: Provider, id_: int, first: int
    ) -> None:
        """Add the rows of one provider, whose tree's first one has the id ``first``."""
        classes = self._names[tables.resource_classes]
        rows[tables.resource_providers].append(
            {
                "id": id_,
                "uuid": provider.uuid,
                "name": provider.name,
                "generation": 1,
                "root_provider_id": first,
                "parent_provider_id": None if provider.parent is None else first + provider.parent,
            }
        )
        rows[tables.inventories] += [
            {
                "resource_provider_id": id_,
                "resource_class_id": classes[name],
                "total": inventory.total,
                "reserved": inventory.reserved,
                "min_unit": inventory.min_unit,
                "max_unit": inventory.max_unit,
                "step_size": inventory.step_size,
                "allocation_ratio": inventory.allocation_ratio,
            }
            for name, inventory in provider.inventories.items()
        ]
        rows[tables.provider_traits] += [
            {"resource_provider_id": id_, "trait_id": self._names[tables.traits][name]}
            for name in provider.traits
        ]
        rows[tables.provider_aggregates] += [
            {"resource_provider_id": id_, "aggregate_id": self._names[tables.aggregates][name]}
            for name in provider.aggregates
        ]
        for held in provider.held:
            consumer = random_uuid(self._chance)
            rows[tables.consumers].append(
                {
                    "uuid": consumer,
                    "project_id": self._owner(tables.projects),
                    "user_id": self._owner(tables.users),
                    "generation": 1,
                }
            )
            rows[tables.allocations] += [
                {
                    "resource_provider_id": id_,
                    "consumer_id": consumer,
                    "resource_class_id": classes[name],
                    "used": amount,
                }
                for name, amount in held.items()
            ]

    def _owner(self, table: sa.Table) -> int:
        self._add_names(table, [OWNER])
        return self._names[table][OWNER]

    def _add_names(self, table: sa.Table, names: Iterable[str]) -> None:
        missing = set(names) - self._names[table].keys()
        if missing:
            column = NAME_COLUMNS[table]
            self._connection.execute(table.insert(), [{column: name} for name in sorted(missing)])
            self._names[table] = self._read(table, column)

    def _read(self, table: sa.Table, column: str) -> dict[str, int]:
        found = self._connection.execute(sa.select(table.c[column], table.c.id))
        return {row[0]: row[1] for row in found}


NAME_COLUMNS = {
    tables.resource_classes: "name",
    tables.traits: "name",
    tables.aggregates: "uuid",
    tables.projects: "external_id",
    tables.users: "external_id",
}
"""Tables that give ids to names, and where the name stands."""

BULK_TABLES = (
    tables.resource_providers,
    tables.inventories,
    tables.provider_traits,
    tables.provider_aggregates,
    tables.consumers,
    tables.allocations,
)
"""In the order in which they refer to each other."""


def load(url: str, trees: Iterable[Tree], chance: Random) -> int:
    """Write ``trees`` into the database at ``url``; returns the number of providers."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        loader = Loader(connection, chance)
        for batch in batches(trees, TREES_PER_BATCH):
            loader.write(batch)
            connection.commit()
        loader.finish()
        connection.commit()
    return loader.providers


def batches(trees: Iterable[Tree], size: int) -> Iterator[list[Tree]]:
    """``trees`` in lists of ``size``, the last one shorter."""
    left = iter(trees)
    while batch := list(islice(left, size)):
        yield batch
