"""Names whose ids a process remembers. Most names are only ever added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from moorage.model.cache import MIB, Cache, bytes_of
from moorage.store.sql.equality import held_equal
from moorage.store.tables import aggregates, consumer_types, projects, users

REMEMBERED_BYTES: Final = 8 * MIB
"""Ids by name, and as much again of names by id, per registry: of some 20,000 names."""


class Registry:
    """Ids of names in one table, remembered once they are committed."""

    def __init__(self, table: sa.Table, column: str) -> None:
        self._table = table
        self._column = table.c[column]
        self._ids: Cache[str, int] = Cache(REMEMBERED_BYTES, bytes_of)
        self._names: Cache[int, str] = Cache(REMEMBERED_BYTES, bytes_of)

    def remember(self, found: dict[str, int]) -> None:
        """Remember committed names."""
        for name, id_ in found.items():
            self._ids.put(name, id_)
            self._names.put(id_, name)

    def names(self, connection: sa.Connection, ids: Iterable[int]) -> dict[int, str]:
        """Name by id, with one statement at most."""
        wanted = set(ids)
        found = self._names.get_all(wanted)
        if len(found) < len(wanted):
            missing = wanted - found.keys()
            rows = connection.execute(
                sa.select(self._column, self._table.c.id).where(self._table.c.id.in_(missing))
            )
            read = {id_: name for name, id_ in rows}
            self.remember({name: id_ for id_, name in read.items()})
            found |= read
        return found

    def ids(self, connection: sa.Connection, names: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Id by name, and the ids of added names, which must not be remembered before COMMIT."""
        wanted = set(names)
        found = self._ids.get_all(wanted)
        if len(found) == len(wanted):
            return found, {}
        missing = sorted(wanted - found.keys())
        known = self._select(connection, missing)
        self.remember(known)
        found |= known
        added: dict[str, int] = {}
        unknown = [name for name in missing if name not in known]
        if unknown:
            self._insert(connection, unknown)
            added = self._select(connection, unknown)
            if len(added) < len(unknown):
                # Of several new names that a collation holds equal, one has been added for all.
                equal = held_equal(connection, self._column, set(unknown) - added.keys())
                added |= {name: added[present] for name, present in equal.items()}
        return found | added, added

    def _insert(self, connection: sa.Connection, names: list[str]) -> None:
        """Add names, except those that exist by now, and those that a collation holds equal to one that
        exists."""
        rows = [{self._column.name: name} for name in names]
        if connection.dialect.name == "mysql":
            insertion = mysql.insert(self._table)
            connection.execute(
                insertion.on_duplicate_key_update({self._column.name: self._table.c[self._column.name]}), rows
            )
        else:
            # PostgreSQL and SQLite have this in common.
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            connection.execute(insert(self._table).on_conflict_do_nothing(), rows)

    def _select(self, connection: sa.Connection, names: list[str]) -> dict[str, int]:
        query = sa.select(self._column, self._table.c.id)
        rows = dict[str, int](connection.execute(query.where(self._column.in_(names))).all())
        found = {name: rows[name] for name in names if name in rows}
        if len(found) < len(rows):
            # A collation may hold names equal that differ in case. The database decides which are.
            equal = held_equal(connection, self._column, set(names) - found.keys())
            found |= {name: rows[present] for name, present in equal.items()}
        return found


OwnerIds = tuple[int, int, int | None]
"""Database ids of a consumer's project, user and type."""

OwnerNames = tuple[str, str, str | None]
"""A consumer's project, user and type."""


class Registries:
    """Ids of names that a process remembers, since such names stay.

    ``owner_ids`` and ``owner_names`` are of owners that claims have named before. ``standard_ids`` and
    ``standard_names`` are of resource classes, of which there are some thirty; custom ones may go and be
    renamed. Unlike other names, classes that differ in case are different, whatever the database's collation.
    """

    def __init__(self) -> None:
        self.projects = Registry(projects, "external_id")
        self.users = Registry(users, "external_id")
        self.consumer_types = Registry(consumer_types, "name")
        self.aggregates = Registry(aggregates, "uuid")
        self.owner_ids: Cache[OwnerNames, OwnerIds] = Cache(REMEMBERED_BYTES, bytes_of)
        self.owner_names: Cache[OwnerIds, OwnerNames] = Cache(REMEMBERED_BYTES, bytes_of)
        self.standard_ids: dict[str, int] = {}
        self.standard_names: dict[int, str] = {}

    def read_owners(
        self, connection: sa.Connection, owners: Sequence[OwnerIds]
    ) -> dict[OwnerIds, OwnerNames]:
        """The names of all these owners, with three statements at most. Those that exist are remembered."""
        project_names = self.projects.names(connection, (owner[0] for owner in owners))
        user_names = self.users.names(connection, (owner[1] for owner in owners))
        typed = {owner[2] for owner in owners if owner[2] is not None}
        types = self.consumer_types.names(connection, typed) if typed else {}
        found: dict[OwnerIds, OwnerNames] = {}
        for owner in owners:
            project, user, type_ = owner
            # An owner that does not exist is equal to none: the next claim gives the consumer one.
            named = (
                project_names.get(project, ""),
                user_names.get(user, ""),
                None if type_ is None else types.get(type_),
            )
            found[owner] = named
            if project in project_names and user in user_names and (type_ is None or type_ in types):
                self.owner_names.put(owner, named)
        return found

    def add_owners(
        self, connection: sa.Connection, owners: Sequence[OwnerNames]
    ) -> tuple[dict[OwnerNames, OwnerIds], list[tuple[Registry, dict[str, int]]]]:
        """The ids of all these owners, whose names are added if they are missing.

        The second value is what to remember after COMMIT. Owners without new names are remembered.
        """
        project_ids, projects_added = self.projects.ids(connection, (owner[0] for owner in owners))
        user_ids, users_added = self.users.ids(connection, (owner[1] for owner in owners))
        type_ids, types_added = self.consumer_types.ids(
            connection, {owner[2] for owner in owners if owner[2] is not None}
        )
        ids: dict[OwnerNames, OwnerIds] = {
            (project, user, type_): (
                project_ids[project],
                user_ids[user],
                None if type_ is None else type_ids[type_],
            )
            for project, user, type_ in owners
        }
        added = (
            (self.projects, projects_added),
            (self.users, users_added),
            (self.consumer_types, types_added),
        )
        new = [(registry, names) for registry, names in added if names]
        if not new:
            for owner, its_ids in ids.items():
                self.owner_ids.put(owner, its_ids)
        return ids, new
