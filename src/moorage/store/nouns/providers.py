"""Providers and their trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import sqlalchemy as sa

from moorage.model.errors import ProviderNotFoundError
from moorage.model.values import Provider
from moorage.rules.audit import ProviderFact
from moorage.rules.state import ProviderRow, State, Touch
from moorage.store.nouns.noun import AuditRows, GroupWork, Noun, execute_all
from moorage.store.sql.equality import held_equal
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.statements import Bumping, Selection, batches, fetched
from moorage.store.tables import resource_providers

_columns = (
    resource_providers.c.id,
    resource_providers.c.uuid,
    resource_providers.c.name,
    resource_providers.c.generation,
    resource_providers.c.parent_provider_id,
    resource_providers.c.root_provider_id,
)
_undated = sa.select(*_columns).order_by(resource_providers.c.id)
_dated = sa.select(*_columns, resource_providers.c.created_at, resource_providers.c.updated_at).order_by(
    resource_providers.c.id
)

PROVIDERS = Selection(_dated, resource_providers.c.uuid)
LOCKED_PROVIDERS = Selection(_dated.with_for_update(), resource_providers.c.uuid)
UNDATED_PROVIDERS = Selection(_undated, resource_providers.c.uuid)
LOCKED_UNDATED_PROVIDERS = Selection(_undated.with_for_update(), resource_providers.c.uuid)
OF_TREES = Selection(_dated, resource_providers.c.root_provider_id)
LOCKED_OF_TREES = Selection(_dated.with_for_update(), resource_providers.c.root_provider_id)
UUIDS = Selection(sa.select(resource_providers.c.id, resource_providers.c.uuid), resource_providers.c.id)
_root = resource_providers.alias("root")
PLACED = Selection(
    sa.select(resource_providers.c.id).join_from(
        resource_providers, _root, resource_providers.c.root_provider_id == _root.c.id
    ),
    resource_providers.c.id,
)
"""Providers that exist, and whose root does."""
NAMESAKES = Selection(
    sa.select(resource_providers.c.name, resource_providers.c.uuid), resource_providers.c.name
)
GENERATIONS = Bumping(resource_providers)


class _Row(NamedTuple):
    id: int
    uuid: str
    name: str
    generation: int | None
    parent_id: int | None
    root_id: int | None
    created_at: datetime | None = None
    updated_at: datetime | None = None


def read(work: GroupWork, state: State, touch: Touch, uuids: frozenset[str] | set[str]) -> None:
    """Read and lock these providers, the trees of ``touch``, and who has the names of ``touch``.

    Raises WriteConflictError if a tree grew before it was locked.
    """
    rows = _rows(work, touch, uuids)
    if touch.trees:
        rows |= _tree_rows(work, touch, rows.values())
    names = {row.id: row.uuid for row in rows.values()}
    relatives = {
        id_
        for row in rows.values()
        for id_ in (row.parent_id, row.root_id)
        if id_ is not None and id_ not in names
    }
    if relatives:
        names |= dict[int, str](UUIDS.rows(work.connection, sorted(relatives)))
    state.providers.update(dict.fromkeys(uuids))
    for row in rows.values():
        # A provider whose root does not exist is read as if it were absent, as by the GETs.
        if row.root_id is not None and row.root_id in names:
            work.present[row.uuid] = row.id
            state.providers[row.uuid] = ProviderRow(
                uuid=row.uuid,
                name=row.name,
                generation=row.generation or 0,
                parent_uuid=None if row.parent_id is None else names.get(row.parent_id),
                root_uuid=names[row.root_id],
                id=row.id,
                created_at=row.created_at,
                updated_at=row.updated_at,
            )
    work.providers |= {uuid: id_ for id_, uuid in names.items()}
    if touch.provider_names:
        _read_names(work, state, touch.provider_names)


def _rows(work: GroupWork, touch: Touch, uuids: Iterable[str]) -> dict[int, _Row]:
    """Rows by id. They have dates only where the wire may show them."""
    wanted = sorted(uuids)
    if touch.trees or touch.provider_names:
        selection = LOCKED_PROVIDERS if work.locks else PROVIDERS
        rows: Sequence[Any] = selection.rows(work.connection, wanted)
    else:
        selection = LOCKED_UNDATED_PROVIDERS if work.locks else UNDATED_PROVIDERS
        rows = selection.tuples(work.connection, wanted)
    return {row[0]: _Row(*row) for row in rows}


def _tree_rows(work: GroupWork, touch: Touch, rows: Iterable[_Row]) -> dict[int, _Row]:
    roots = {row.root_id for row in rows if row.uuid in touch.trees and row.root_id is not None}
    selection = LOCKED_OF_TREES if work.locks else OF_TREES
    tree = [_Row(*row) for row in selection.rows(work.connection, sorted(roots))]
    if work.locks:
        # A child may have been added between the statement's snapshot and its locks.
        again = OF_TREES.rows(work.connection, sorted(roots))
        if {row.id for row in again} != {row.id for row in tree}:
            raise WriteConflictError
    return {row.id: row for row in tree}


def _read_names(work: GroupWork, state: State, names: frozenset[str]) -> None:
    state.provider_names.update(dict.fromkeys(names))
    owners = dict[str, str](NAMESAKES.rows(work.connection, names))
    state.provider_names.update(owners)
    if not owners.keys() <= names:
        missing = names - owners.keys()
        state.equal_names.update(held_equal(work.connection, resource_providers.c.name, missing))


def plan_generations(work: GroupWork, before: State, after: State) -> None:
    """Plan to raise the generations that differ, if they are still as they were read."""
    steps = [
        (row.id, was.generation, row.generation - was.generation)
        for was, row in _kept(before, after)
        if row.id is not None and row.generation != was.generation
    ]
    if steps:
        work.planned.append((GENERATIONS, steps))


def _kept(before: State, after: State) -> Iterator[tuple[ProviderRow, ProviderRow]]:
    """Providers that existed and still do: as they were, as they are."""
    for uuid, row in after.providers.items():
        was = before.providers.get(uuid)
        if row is not None and was is not None and row.id is not None:
            yield was, row


def _removed(before: State, after: State) -> dict[str, int]:
    """Providers that go, for good or in favour of a new one of their uuid: id by uuid."""
    return {
        uuid: row.id
        for uuid, row in before.providers.items()
        if row is not None and row.id is not None
        if (now := after.providers[uuid]) is None or now.id is None
    }


def _facts(connection: sa.Connection) -> dict[int, ProviderFact]:
    table = resource_providers
    query = sa.select(
        table.c.id,
        table.c.uuid,
        table.c.generation,
        table.c.parent_provider_id,
        table.c.root_provider_id,
        table.c.name,
    )
    return {row.id: ProviderFact(*row) for row in fetched(connection, query)}


class Providers(Noun):
    """Rows of providers. Their generations are raised with the claims: ``plan_generations``."""

    audited: ClassVar[Mapping[str, AuditRows]] = {"providers": _facts}

    def __init__(self, of_provider: Sequence[sa.Table]) -> None:
        """``of_provider``: all tables whose rows go with a provider."""
        self._of_provider = of_provider

    def write(self, work: GroupWork, before: State, after: State) -> None:
        """Remove, add, rename and move providers. No two ever have the same name meanwhile."""
        removed = _removed(before, after)
        _free_names(work, before, after)
        self._delete(work, before, after, removed)
        _insert(work, after)
        _update(work, before, after, removed)

    def _delete(self, work: GroupWork, before: State, after: State, removed: Mapping[str, int]) -> None:
        table = resource_providers
        # A root names itself as its root. Providers that go too, or move elsewhere in this transaction,
        # name it as their parent. No row may name a row that goes.
        attached = [
            was.id
            for was, now in _kept(before, after)
            if was.parent_uuid in removed or was.root_uuid in removed
        ]
        for loosened in batches((*removed.values(), *attached) if removed else ()):
            work.connection.execute(
                table.update()
                .where(table.c.id.in_(loosened))
                .values(root_provider_id=None, parent_provider_id=None)
            )
        for batch in batches(removed.values()):
            for other in self._of_provider:
                work.connection.execute(other.delete().where(other.c.resource_provider_id.in_(batch)))
            work.connection.execute(table.delete().where(table.c.id.in_(batch)))


def _free_names(work: GroupWork, before: State, after: State) -> None:
    """Clear names that one provider hands to another in this transaction, so that both never have one."""
    given = [
        was.id
        for was, now in _kept(before, after)
        if was.name != now.name and after.provider_names.get(was.name) is not None
    ]
    table = resource_providers
    for batch in batches(given):
        work.connection.execute(table.update().where(table.c.id.in_(batch)).values(name=None))


def _insert(work: GroupWork, after: State) -> None:
    """Insert level by level, for a child needs the ids of its parent and of its root."""
    ids = work.providers
    new = [row for row in after.rows() if row.id is None]
    waiting = {row.uuid for row in new}
    while new:
        level = [row for row in new if row.parent_uuid not in waiting]
        rows = [
            {
                "uuid": row.uuid,
                "name": row.name,
                "generation": row.generation,
                "parent_provider_id": None if row.parent_uuid is None else ids[row.parent_uuid],
                "root_provider_id": None if row.root_uuid in waiting else ids[row.root_uuid],
            }
            for row in level
        ]
        execute_all(work, resource_providers.insert(), rows)
        for batch in batches(row.uuid for row in level):
            query = sa.select(resource_providers.c.uuid, resource_providers.c.id).where(
                resource_providers.c.uuid.in_(batch)
            )
            ids |= {row.uuid: row.id for row in work.connection.execute(query)}
        waiting -= {row.uuid for row in level}
        new = [row for row in new if row.uuid in waiting]
    roots = [row.uuid for row in after.rows() if row.id is None and row.root_uuid == row.uuid]
    for batch in batches(roots):
        table = resource_providers
        own = [ids[uuid] for uuid in batch]
        work.connection.execute(table.update().where(table.c.id.in_(own)).values(root_provider_id=table.c.id))


def _update(work: GroupWork, before: State, after: State, removed: Mapping[str, int]) -> None:
    table = resource_providers
    ids = work.providers
    rows = [
        {
            "row_id": now.id,
            "name": now.name,
            "parent_provider_id": None if now.parent_uuid is None else ids[now.parent_uuid],
            "root_provider_id": ids[now.root_uuid],
        }
        for was, now in _kept(before, after)
        if (was.name, was.parent_uuid, was.root_uuid) != (now.name, now.parent_uuid, now.root_uuid)
        or was.parent_uuid in removed
        or was.root_uuid in removed
    ]
    execute_all(
        work,
        table.update()
        .where(table.c.id == sa.bindparam("row_id"))
        .values(
            name=sa.bindparam("name"),
            parent_provider_id=sa.bindparam("parent_provider_id"),
            root_provider_id=sa.bindparam("root_provider_id"),
        ),
        rows,
    )


_parent = resource_providers.alias("parent")

generation = sa.func.coalesce(resource_providers.c.generation, sa.literal_column("0")).label("generation")
"""An old Placement wrote none: see ``store.healing``."""

_shown = (
    sa.select(
        resource_providers.c.uuid,
        resource_providers.c.name,
        generation,
        _parent.c.uuid.label("parent_uuid"),
        _root.c.uuid.label("root_uuid"),
        resource_providers.c.created_at,
        resource_providers.c.updated_at,
    )
    .join_from(resource_providers, _root, resource_providers.c.root_provider_id == _root.c.id)
    .outerjoin(_parent, resource_providers.c.parent_provider_id == _parent.c.id)
    .order_by(resource_providers.c.id)
)


def latest(rows: Iterable[Any]) -> datetime | None:
    """Time of the last change of any of the rows."""
    times = [time for row in rows if (time := row.updated_at or row.created_at) is not None]
    return max(times, default=None)


def provider(connection: sa.Connection, uuid: str) -> Provider:
    """Raises ProviderNotFoundError."""
    row = connection.execute(_shown.where(resource_providers.c.uuid == uuid)).first()
    if row is None:
        raise ProviderNotFoundError(uuid)
    return Provider(**row._mapping)


def providers(
    connection: sa.Connection, uuid: str | None, name: str | None, ids: Iterable[int] | None
) -> list[Provider]:
    """Providers that have this uuid, this name, and one of these ids (None: any), by id."""
    query = _shown
    if uuid is not None:
        query = query.where(resource_providers.c.uuid == uuid)
    if name is not None:
        query = query.where(resource_providers.c.name == name)
    if ids is None:
        return [Provider(**row._mapping) for row in connection.execute(query)]
    return [
        Provider(**row._mapping)
        for batch in batches(ids)
        for row in connection.execute(query.where(resource_providers.c.id.in_(batch)))
    ]


def provider_count(connection: sa.Connection) -> int:
    """How many providers there are."""
    count = connection.execute(sa.select(sa.func.count()).select_from(resource_providers))
    return int(count.scalar_one())


def provider_row(connection: sa.Connection, uuid: str) -> Any:
    """Its id and generation. Raises ProviderNotFoundError."""
    table = resource_providers
    query = sa.select(table.c.id, generation).where(table.c.uuid == uuid)
    row = connection.execute(query).first()
    if row is None:
        raise ProviderNotFoundError(uuid)
    return row


def providers_without_root(connection: sa.Connection) -> int:
    """How many providers have no root recorded: Placement recorded none before Stein."""
    query = sa.select(sa.func.count()).where(resource_providers.c.root_provider_id.is_(None))
    return connection.execute(query).scalar_one()


def has_rootless(connection: sa.Connection) -> bool:
    """Whether a provider has no root recorded."""
    table = resource_providers
    query = sa.select(table.c.id).where(table.c.root_provider_id.is_(None)).limit(1)
    return connection.execute(query).first() is not None
