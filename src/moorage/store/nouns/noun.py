"""What a noun gives to the transaction and to the audit, and what the nouns of one transaction share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import sqlalchemy as sa

from moorage.rules.state import State, Touch
from moorage.store.registry import OwnerIds, Registries, Registry
from moorage.store.sql.statements import Planned, batches, fetched


@dataclass(slots=True)
class GroupWork:
    """What the nouns know while one group of commands is read and written.

    ``locks``
        whether what is read must be locked: the database lets several writers in.
    ``providers``
        database ids by uuid: of all providers that were read, of their parents and of their roots.
    ``present``
        database ids by uuid: of the providers that exist as far as the rules are concerned.
    ``ids_before``
        ``providers`` before the writes. A provider that makes way for a new one of its uuid had another id,
        and the log needs both.
    ``classes``, ``class_names``
        database ids by name of resource classes, and names by id. ``traits``: ids by name.
    ``revision``
        the revision at which the state was read; None if no statement asked for it.
    ``renamed_root_ids``
        roots of trees that have a class under its new name now.
    ``references``
        database ids of the owners and the type of each consumer that is written.
    ``planned``
        the statements that end the transaction, which none of them reads from.
    ``added``
        ids of new names, which their registries may remember after COMMIT.
    """

    connection: sa.Connection
    registries: Registries
    locks: bool
    providers: dict[str, int] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    ids_before: Mapping[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    class_names: dict[int, str] = field(default_factory=dict)
    traits: dict[str, int] = field(default_factory=dict)
    revision: int | None = None
    renamed_root_ids: set[int] = field(default_factory=set)
    references: dict[str, OwnerIds] = field(default_factory=dict)
    planned: list[Planned] = field(default_factory=list)
    added: list[tuple[Registry, dict[str, int]]] = field(default_factory=list)


class NotNewError(Exception):
    """A consumer that the client takes for new exists already. So other locks come before its own."""


AuditRows = Callable[[sa.Connection], Any]
"""Reads the rows of one field of ``rules.audit.Facts``, with the plainest possible statement."""


class Noun:
    """One part of the account. A noun overrides what it needs.

    ``touched``: the fields of a ``Touch`` that ask for it; ``read`` is called only if one of them names
    something. ``of_provider``: tables whose rows go with a provider, by ``resource_provider_id``.
    ``audited``: what reads the fields of ``rules.audit.Facts`` that hold its rows.
    """

    touched: ClassVar[tuple[str, ...]] = ()
    of_provider: ClassVar[tuple[sa.Table, ...]] = ()
    audited: ClassVar[Mapping[str, AuditRows]] = MappingProxyType({})

    def read(self, work: GroupWork, state: State, touch: Touch) -> None:
        """Read into ``state`` what ``touch`` names, an entry for each. Providers have been read."""

    def write(self, work: GroupWork, before: State, after: State) -> None:
        """Bring the database from ``before`` to ``after``, with as many statements as there are kinds of
        changes."""


def execute_all(work: GroupWork, statement: Any, rows: list[dict[str, Any]]) -> None:
    """Execute one statement for all rows, or none without rows."""
    if rows:
        work.connection.execute(statement, rows)


def delete_pairs(
    work: GroupWork,
    table: sa.Table,
    first: sa.Column[Any],
    second: sa.Column[Any],
    pairs: list[tuple[int, int]],
) -> None:
    """Delete the rows of ``table`` that have one of ``pairs`` in two columns."""
    for batch in batches(pairs):
        work.connection.execute(table.delete().where(sa.tuple_(first, second).in_(batch)))


def changed_facets(
    after: State, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Provider, what it had and what it has, where these may differ.

    ``old`` and ``new``: the same part of both states.
    """
    for uuid, now in new.items():
        row = after.providers.get(uuid)
        if row is None:
            continue
        # What a provider had goes with it when it makes way for a new one.
        was = None if row.id is None else old.get(uuid)
        if now is not was:
            yield uuid, was, now


def name_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Names that were added, and names that were removed."""
    created = [name for name, row in new.items() if row.exists and not old[name].exists]
    deleted = [name for name, row in new.items() if not row.exists and old[name].exists]
    return created, deleted


def present_ids(work: GroupWork, uuids: Iterable[str]) -> dict[int, str]:
    """The providers among them that exist: uuid by id."""
    return {work.present[uuid]: uuid for uuid in uuids if uuid in work.present}


def ids_of(table: sa.Table) -> AuditRows:
    """Reads the ids of a table."""
    return lambda connection: frozenset(row.id for row in fetched(connection, sa.select(table.c.id)))


def names_of(id_: sa.Column[int], name: sa.Column[Any]) -> AuditRows:
    """Reads names by id."""
    return lambda connection: {row[0]: row[1] for row in fetched(connection, sa.select(id_, name))}


def rows_of(fact: Callable[..., Any], *columns: sa.ColumnElement[Any]) -> AuditRows:
    """Reads a list of facts of these columns."""
    return lambda connection: [fact(*row) for row in fetched(connection, sa.select(*columns))]
