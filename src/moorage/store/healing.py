"""Rows that an old Placement left incomplete, and rows that nothing can be made of.

Placement's releases of their time wrote no root of a provider, and no consumer of an allocation; its own
``online_data_migrations`` adds them. ``heal`` does the same, and removes links that lead nowhere. A database
with damaged rows is not taken over, and ``moorage db sync`` reports such rows: to guess there could lose
what a consumer holds. A process that serves reads most of them as if they were absent
(``docs/how-to/migrate-from-placement.md`` has the table).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from moorage.model.errors import SchemaError
from moorage.model.leases import LeaseState
from moorage.model.values import Requester
from moorage.rules.journal import EMPTY
from moorage.store.changes import changelog
from moorage.store.sql.statements import batches
from moorage.store.tables import (
    aggregates,
    allocations,
    claims,
    consumer_types,
    consumers,
    inventories,
    leases,
    projects,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    traits,
    users,
)

KIND: Final = "rows.heal"
"""What the change log calls it."""

_PROVIDERS: Final = sa.select(
    resource_providers.c.id, resource_providers.c.parent_provider_id, resource_providers.c.root_provider_id
)
_ROOTLESS: Final = resource_providers.c.root_provider_id.is_(None)


def _absent(column: sa.Column[Any], of: sa.Column[Any]) -> sa.ColumnElement[bool]:
    return ~sa.exists().where(of == column)


LARGEST_RATIO: Final = 3.5e38
"""What is above is infinite, or on PostgreSQL no number: the columns keep no finite ratio of this size."""

CLOCKS_DIFFER: Final = timedelta(seconds=10)
"""So much may the clocks of two hosts differ. Their programs cannot take turns as quickly."""

_parent: Final = resource_providers.alias("parent")

_DAMAGE: Final[tuple[tuple[str, str, sa.Select[Any]], ...]] = (
    (
        "providers have a parent that does not exist",
        "resource_providers.parent_provider_id",
        sa.select(resource_providers.c.id).where(
            resource_providers.c.parent_provider_id.is_not(None),
            _absent(resource_providers.c.parent_provider_id, _parent.c.id),
        ),
    ),
    (
        "inventories are of a provider that does not exist",
        "inventories.resource_provider_id",
        sa.select(inventories.c.id).where(
            _absent(inventories.c.resource_provider_id, resource_providers.c.id)
        ),
    ),
    (
        "inventories are of a resource class that does not exist",
        "inventories.resource_class_id",
        sa.select(inventories.c.id).where(_absent(inventories.c.resource_class_id, resource_classes.c.id)),
    ),
    (
        "inventories have a total or reserved below 0, a unit or step_size below 1, or a bad ratio",
        "inventories",
        sa.select(inventories.c.id).where(
            sa.or_(
                inventories.c.total < 0,
                inventories.c.reserved < 0,
                inventories.c.min_unit < 1,
                inventories.c.max_unit < 1,
                inventories.c.step_size < 1,
                inventories.c.allocation_ratio < 0,
                inventories.c.allocation_ratio > LARGEST_RATIO,
            )
        ),
    ),
    (
        "allocations are of a provider that does not exist",
        "allocations.resource_provider_id",
        sa.select(allocations.c.id).where(
            _absent(allocations.c.resource_provider_id, resource_providers.c.id)
        ),
    ),
    (
        "allocations are of a resource class that does not exist",
        "allocations.resource_class_id",
        sa.select(allocations.c.id).where(_absent(allocations.c.resource_class_id, resource_classes.c.id)),
    ),
)
"""What is wrong, where it stands, and the rows."""

_LOOP: Final = ("providers are among their own ancestors", "resource_providers.parent_provider_id")

SHOWN_IDS: Final = 5


def require_sound(connection: sa.Connection, what_else: str = "no row was changed") -> None:
    """Raises SchemaError with all that is damaged in the account. Nothing is changed."""
    found = list(_damage(connection))
    if found:
        raise SchemaError(
            f"the rows of the database are damaged: {'; '.join(found)}. Correct or delete these rows, then "
            f"try again; {what_else}"
        )


def rootless(connection: sa.Connection) -> int:
    """How many providers do not say which tree they are in."""
    query = sa.select(sa.func.count()).select_from(resource_providers).where(_ROOTLESS)
    return int(connection.execute(query).scalar_one())


def heal(
    connection: sa.Connection, project: str, user: str, transaction_id: str, *, journals: bool
) -> dict[str, int]:
    """Add what an old Placement has not written; how many rows of which sort that were.

    ``project`` and ``user`` own what has no known owner. ``journals``: the journal has a record of each
    write. Raises SchemaError for a provider whose parents lead to no root.
    """
    roots = _add_roots(connection)
    healed = {
        "providers without a root": len(roots),
        "providers without a generation": _count(
            connection,
            resource_providers.update().where(resource_providers.c.generation.is_(None)).values(generation=0),
        ),
        **_complete_consumers(connection, project, user),
        **_without_orphans(connection),
    }
    if roots:
        record = EMPTY if journals else None
        entry = changelog.LogEntry(KIND, frozenset(roots.values()), False, Requester(), record)
        changelog.append(connection, entry, transaction_id)
    return {sort: count for sort, count in healed.items() if count}


def _damage(connection: sa.Connection) -> Iterator[str]:
    for what, where, query in _DAMAGE:
        ids = list(connection.execute(query.limit(SHOWN_IDS + 1)).scalars())
        if ids:
            yield _told(ids, what, where)
    rows = {row.id: row for row in connection.execute(_PROVIDERS)}
    parents = {id_: row.parent_provider_id for id_, row in rows.items()}
    roots = {id_: _root(id_, parents) for id_ in rows}
    looped = [id_ for id_, root in roots.items() if root is None]
    if looped:
        yield _told(
            looped, "providers are among their own ancestors", "resource_providers.parent_provider_id"
        )
    wrong = [
        id_
        for id_, row in rows.items()
        if roots[id_] is not None and row.root_provider_id not in (None, roots[id_])
    ]
    if wrong:
        yield _told(
            wrong,
            "providers have another root than their parents lead to (NULL is worked out anew)",
            "resource_providers.root_provider_id",
        )


def _told(ids: list[int], what: str, where: str) -> str:
    shown = ", ".join(str(id_) for id_ in ids[:SHOWN_IDS])
    more = ", ..." if len(ids) > SHOWN_IDS else ""
    return f"{what} ({where}, rows with id {shown}{more})"


def _root(id_: int, parents: Mapping[int, int | None]) -> int | None:
    """Where the parents lead; None in a loop. A parent that does not exist ends the way."""
    seen = set()
    while id_ not in seen:
        seen.add(id_)
        parent = parents[id_]
        if parent is None or parent not in parents:
            return id_
        id_ = parent
    return None


def _add_roots(connection: sa.Connection) -> dict[int, int]:
    """The roots that were missing, by the provider's id."""
    missing = list(connection.execute(sa.select(resource_providers.c.id).where(_ROOTLESS)).scalars())
    if not missing:
        return {}
    parents = {row.id: row.parent_provider_id for row in connection.execute(_PROVIDERS)}
    found = {id_: _root(id_, parents) for id_ in missing}
    looped = [id_ for id_, root in found.items() if root is None]
    if looped:
        wrong = _told(
            looped, "providers are among their own ancestors", "resource_providers.parent_provider_id"
        )
        raise SchemaError(
            f"the rows of the database are damaged: {wrong}. Correct these rows, then try again"
        )
    roots = {id_: root for id_, root in found.items() if root is not None}
    table = resource_providers
    statement = (
        table.update().where(table.c.id == sa.bindparam("of")).values(root_provider_id=sa.bindparam("root"))
    )
    connection.execute(statement, [{"of": id_, "root": root} for id_, root in roots.items()])
    return roots


def _complete_consumers(connection: sa.Connection, project: str, user: str) -> dict[str, int]:
    strangers = sa.select(allocations.c.consumer_id).where(
        _absent(allocations.c.consumer_id, consumers.c.uuid)
    )
    healed = {}
    owners: dict[str, int] = {}
    count = sa.select(sa.func.count()).select_from(strangers.distinct().subquery())
    unknown = int(connection.execute(count).scalar_one())
    for sort, column, table, name in (
        ("consumers of a project that does not exist", consumers.c.project_id, projects, project),
        ("consumers of a user that does not exist", consumers.c.user_id, users, user),
    ):
        # Before the owner is added: it may get the very id that is missing.
        query = sa.select(consumers.c.id).where(_absent(column, table.c.id))
        orphaned = list(connection.execute(query).scalars())
        if unknown or orphaned:
            owners[column.name] = _owner(connection, table, name)
        for batch in batches(orphaned):
            given = consumers.update().where(consumers.c.id.in_(batch)).values({column: owners[column.name]})
            connection.execute(given)
        healed[sort] = len(orphaned)
    untyped = consumers.c.consumer_type_id.is_not(None) & _absent(
        consumers.c.consumer_type_id, consumer_types.c.id
    )
    healed["consumers of a type that does not exist"] = _count(
        connection, consumers.update().where(untyped).values(consumer_type_id=None)
    )
    if unknown:
        rows = strangers.distinct().add_columns(
            *(sa.literal(owners[name]) for name in ("project_id", "user_id")), sa.literal(0)
        )
        columns = ("uuid", "project_id", "user_id", "generation")
        connection.execute(consumers.insert().from_select(columns, rows))
        healed["consumers without a record"] = unknown
    return healed


def _without_orphans(connection: sa.Connection) -> dict[str, int]:
    """Take away links that lead nowhere. No search and no GET has shown them."""
    healed = {}
    for sort, links, column, of in (
        ("links to a trait that does not exist (removed)", provider_traits, "trait_id", traits),
        (
            "links to an aggregate that does not exist (removed)",
            provider_aggregates,
            "aggregate_id",
            aggregates,
        ),
    ):
        orphaned = sa.or_(
            _absent(links.c[column], of.c.id),
            _absent(links.c.resource_provider_id, resource_providers.c.id),
        )
        healed[sort] = _count(connection, links.delete().where(orphaned))
    # Placement deletes consumers, and leaves what it does not know.
    left = claims.delete().where(_absent(claims.c.consumer_uuid, consumers.c.uuid))
    healed["origins of claims of consumers that do not exist (removed)"] = _count(connection, left)
    healed["origins of claims of consumers that were created anew since (removed)"] = _without_old(connection)
    running = sa.exists().where(leases.c.uuid == claims.c.lease, leases.c.state != LeaseState.RELEASED.value)
    hanging = claims.update().where(claims.c.lease.is_not(None), ~running).values(lease=None)
    healed["claims that hung on a lease that has ended (taken off it)"] = _count(connection, hanging)
    return healed


def _without_old(connection: sa.Connection) -> int:
    """Take away what an earlier consumer of the same uuid has left; how many rows that were.

    Placement may have deleted a consumer and created it again. The new one was not claimed with that lease:
    the end of the old one's lease must take nothing from it.
    """
    query = sa.select(claims.c.consumer_uuid, claims.c.created_at, consumers.c.created_at).where(
        consumers.c.uuid == claims.c.consumer_uuid, consumers.c.created_at > claims.c.created_at
    )
    old = [uuid for uuid, claimed, created in connection.execute(query) if created - claimed > CLOCKS_DIFFER]
    for batch in batches(old):
        connection.execute(claims.delete().where(claims.c.consumer_uuid.in_(batch)))
    return len(old)


def _owner(connection: sa.Connection, table: sa.Table, name: str) -> int:
    """The id of a project or user of this name, which is added if it is missing."""
    query = sa.select(table.c.id).where(table.c.external_id == name)
    found = connection.execute(query).scalar()
    if found is None:
        connection.execute(table.insert().values(external_id=name))
        found = connection.execute(query).scalar_one()
    return int(found)


def _count(connection: sa.Connection, statement: sa.Update | sa.Delete) -> int:
    return connection.execute(statement).rowcount
