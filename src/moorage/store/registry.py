"""Names whose ids a process remembers: most are only ever added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from moorage.model.values import CUSTOM_PREFIX
from moorage.store.bulk import Selection
from moorage.store.tables import resource_classes

REMEMBERED = 100_000
"""Names kept in memory per registry: some 20 MB at the most, and then it starts anew."""


class Registry:
    """Ids of names in one table, remembered once they are known to be committed."""

    def __init__(self, table: sa.Table, column: str) -> None:
        self._table = table
        self._column = table.c[column]
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def remember(self, found: dict[str, int]) -> None:
        """Keep names that are committed."""
        if len(self._ids) + len(found) > REMEMBERED:
            self._ids.clear()
            self._names.clear()
        self._ids.update(found)
        self._names.update({id_: name for name, id_ in found.items()})

    def names(self, connection: sa.Connection, ids: Iterable[int]) -> dict[int, str]:
        """Name by id; one statement at the most."""
        wanted = set(ids)
        found = {id_: self._names[id_] for id_ in wanted & self._names.keys()}
        missing = wanted - found.keys()
        if missing:
            rows = connection.execute(
                sa.select(self._column, self._table.c.id).where(self._table.c.id.in_(missing))
            )
            read = {id_: name for name, id_ in rows}
            self.remember({name: id_ for id_, name in read.items()})
            found |= read
        return found

    def ids(self, connection: sa.Connection, names: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Id by name, and those among them that had to be added (not to be remembered yet)."""
        wanted = set(names)
        found = {name: self._ids[name] for name in wanted & self._ids.keys()}
        missing = sorted(wanted - found.keys())
        if not missing:
            return found, {}
        known = self._select(connection, missing)
        self.remember(known)
        found |= known
        added: dict[str, int] = {}
        unknown = [name for name in missing if name not in known]
        if unknown:
            connection.execute(self._table.insert(), [{self._column.name: name} for name in unknown])
            added = self._select(connection, unknown)
        return found | added, added

    def _select(self, connection: sa.Connection, names: list[str]) -> dict[str, int]:
        query = sa.select(self._column, self._table.c.id)
        rows = [(name, id_) for name, id_ in connection.execute(query.where(self._column.in_(names)))]
        asked = set(names)
        found = {name: id_ for name, id_ in rows if name in asked}
        if len(found) < len(rows):
            # A collation may hold names equal that differ in case: ask the database which is which.
            for name in names:
                if name not in found:
                    row = connection.execute(query.where(self._column == name)).first()
                    if row is not None:
                        found[name] = row.id
        return found


_classes = sa.select(resource_classes.c.id, resource_classes.c.name)
CLASSES_BY_ID = Selection(_classes, resource_classes.c.id)
CLASSES_BY_NAME = Selection(_classes, resource_classes.c.name)


class ClassRegistry:
    """Ids of resource classes. Only standard ones are remembered: custom ones may go and be renamed.

    Unlike other names these are told apart by case whatever the database's collation does.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def names(self, connection: sa.Connection, ids: Iterable[int]) -> dict[int, str]:
        """Name by id; one statement at the most."""
        wanted = set(ids)
        found = {id_: self._names[id_] for id_ in wanted & self._names.keys()}
        if len(found) < len(wanted):
            read = CLASSES_BY_ID.rows(connection, wanted - found.keys())
            found |= {row.id: row.name for row in self._taken(read)}
        return found

    def ids(self, connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
        """Id by name, of those that there are; one statement at the most."""
        wanted = set(names)
        found = {name: self._ids[name] for name in wanted & self._ids.keys()}
        if len(found) < len(wanted):
            read = CLASSES_BY_NAME.rows(connection, wanted - found.keys())
            found |= {name: id_ for id_, name in self._taken(read) if name in wanted}
        return found

    def _taken(self, rows: list[Any]) -> list[Any]:
        for id_, name in rows:
            if not name.startswith(CUSTOM_PREFIX):
                self._ids[name], self._names[id_] = id_, name
        return rows
