"""The revision and the change log: what orders all writes, and tells every worker of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPICursor

from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.store.bulk import Insertion, PerDatabase
from moorage.store.errors import WriteConflictError
from moorage.store.literals import number
from moorage.store.tables import changes, revisions

THE_ROW = 1
"""Id of the only row of the revision table."""

COMPACTED_TOGETHER = 1_000
"""Writes that are forgotten in one transaction: few enough that writers do not notice."""

CURRENT = sa.select(revisions.c.revision).where(revisions.c.id == number(THE_ROW))
"""Number of the last committed write."""

NEW_CHANGES = Insertion(
    changes,
    "revision",
    "position",
    "root_provider_id",
    "kind",
    "transaction_id",
    "user_id",
    "project_id",
    "request_id",
    origin=CURRENT,
)
"""Their revisions count from the last one."""


class Counting(PerDatabase):
    """The revision goes up by a number of writes, and is told where that costs no statement of its own."""

    def execute(self, connection: sa.Connection, writes: int) -> Counted:
        """Takes the revision's lock."""
        return Counted(
            connection.dialect, self.prepared(connection.dialect).execute(connection, {"writes": writes})
        )

    def _build(self, dialect: sa.Dialect) -> Any:
        raised: sa.ColumnElement[Any] = revisions.c.revision + sa.bindparam("writes", type_=sa.Integer)
        if dialect.name == "mysql":
            raised = sa.func.last_insert_id(raised)
        statement = revisions.update().where(revisions.c.id == number(THE_ROW)).values(revision=raised)
        return statement.returning(revisions.c.revision) if dialect.name == "postgresql" else statement


@valueclass(frozen=True, slots=True)
class Counted:
    """What the revision has become."""

    dialect: sa.Dialect
    cursor: DBAPICursor

    def revision(self) -> int | None:
        """To be asked once the statement has been carried out; None if the database did not tell."""
        if self.dialect.name == "mysql":
            return self.cursor.lastrowid
        row = self.cursor.fetchone() if self.dialect.name == "postgresql" else None
        return None if row is None else int(row[0])


COUNTING = Counting()

_NAME_LENGTH = 255
_REQUEST_ID_LENGTH = 64


@valueclass(frozen=True, slots=True)
class LogEntry:
    """What one command changed: trees by the database id of their root, or names."""

    kind: str
    root_ids: frozenset[int]
    changes_names: bool
    requester: Requester


@valueclass(frozen=True, slots=True)
class Missed:
    """What happened after a revision, up to ``revision``."""

    revision: int
    root_ids: frozenset[int]
    changes_names: bool


def current(connection: sa.Connection) -> int:
    """Number of the last committed write that this transaction can see."""
    return int(connection.execute(CURRENT).scalar_one())


def missed_since(connection: sa.Connection, revision: int) -> Missed | None:
    """What a reader that knows ``revision`` has missed; None if the log no longer knows."""
    row = connection.execute(sa.select(revisions.c.revision, revisions.c.compacted)).one()
    if row.compacted > revision or row.revision < revision:
        return None
    rows = connection.execute(
        sa.select(changes.c.root_provider_id).where(changes.c.revision > revision).distinct()
    ).scalars()
    roots = set(rows)
    return Missed(row.revision, frozenset(root for root in roots if root is not None), None in roots)


def append(connection: sa.Connection, entries: Sequence[LogEntry], transaction_id: str) -> Counted:
    """Count and log writes: to be called last, for its row lock orders the commits.

    The lock on the row is held until COMMIT. So revisions become visible in their order, without
    gaps, on every database.
    """
    counted = COUNTING.execute(connection, len(entries))
    rows = [
        (
            offset,
            position,
            root_id,
            entry.kind,
            transaction_id,
            entry.requester.user_id[:_NAME_LENGTH],
            entry.requester.project_id[:_NAME_LENGTH],
            entry.requester.request_id[:_REQUEST_ID_LENGTH],
        )
        for offset, entry in enumerate(entries, 1 - len(entries))
        for position, root_id in enumerate(_trees(entry))
    ]
    NEW_CHANGES.execute(connection, rows)
    return counted


def _trees(entry: LogEntry) -> Iterable[int | None]:
    """A write of names is logged without a tree; so is one that changed no tree at all."""
    trees: list[int | None] = [*sorted(entry.root_ids)]
    return [*trees, None] if entry.changes_names or not trees else trees


def compact(connection: sa.Connection, up_to: int) -> None:
    """Forget what happened up to a revision."""
    if up_to <= 0:
        return
    connection.execute(changes.delete().where(changes.c.revision <= up_to))
    connection.execute(revisions.update().where(revisions.c.id == THE_ROW).values(compacted=up_to))


def compact_some(connection: sa.Connection, kept: int, before: datetime, settled: int) -> int:
    """Forget a batch of the oldest writes, of those up to ``settled``; returns how many.

    They go if there are more than ``kept``, or if they were logged before a time. Raises
    WriteConflictError, so that nothing is forgotten, if another process is compacting too.
    """
    row = connection.execute(sa.select(revisions.c.revision, revisions.c.compacted)).one()
    end = min(row.compacted + COMPACTED_TOGETHER, settled)
    beyond = min(row.revision - kept, end)
    if beyond < end:
        logged = connection.execute(
            sa.select(changes.c.created_at).where(changes.c.revision == end, changes.c.position == 0)
        ).scalar()
        if logged is None or logged >= before:
            end = beyond
    if end <= row.compacted:
        return 0
    connection.execute(changes.delete().where(changes.c.revision <= end))
    # Last, for all writers wait for this row.
    counter = revisions.update().where(revisions.c.id == THE_ROW, revisions.c.compacted == row.compacted)
    if connection.execute(counter.values(compacted=end)).rowcount != 1:
        raise WriteConflictError
    return int(end - row.compacted)


SETTLED = "settled"
"""Kind of a revision that changed nothing, but settled whether another was committed."""


def was_committed(connection: sa.Connection, transaction_id: str) -> bool:
    """Whether a transaction whose COMMIT got lost has happened.

    Takes the revision's lock first: a transaction that is still on its way holds it, so that the
    answer is final once it is given. Between the nodes of a cluster there are no such locks. There
    the question counts as a write of its own: either it comes after the transaction in the cluster's
    order and fails, to be asked again, or it comes first and the transaction can no longer happen.
    """
    if _is_cluster(connection):
        append(connection, [LogEntry(SETTLED, frozenset(), False, Requester())], transaction_id=uuid4().hex)
    else:
        connection.execute(
            revisions.update().where(revisions.c.id == THE_ROW).values(revision=revisions.c.revision)
        )
    found = connection.execute(
        sa.select(changes.c.revision).where(changes.c.transaction_id == transaction_id).limit(1)
    ).first()
    return found is not None


def _is_cluster(connection: sa.Connection) -> bool:
    """Whether this is a node of Galera, which certifies transactions at COMMIT."""
    if connection.dialect.name != "mysql":
        return False
    row = connection.exec_driver_sql("SHOW VARIABLES LIKE 'wsrep_on'").first()
    return row is not None and row[1] == "ON"
