"""Names that are only ever added: projects, users, consumer types, aggregates."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

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
