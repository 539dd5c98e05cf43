"""The revision and the change log, which order all writes and show them to every worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPICursor

from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.rules.audit import CounterFact, LogFact
from moorage.rules.journal import EMPTY, Record
from moorage.store.changes import journal
from moorage.store.changes.counter import CURRENT, THE_ROW
from moorage.store.changes.journal import NAME_LENGTH, REQUEST_ID_LENGTH
from moorage.store.changes.news import CLAIM_KINDS
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.literals import number
from moorage.store.sql.statements import Insertion, Planned, Single, fetched, send
from moorage.store.tables import changes, revisions

COMPACTED_TOGETHER = 1_000
"""Writes that one transaction forgets: few enough not to delay writers."""

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
"""Revisions in the rows count from the last one."""


class Counting(Single):
    """Raises the revision by a number of writes, and takes its lock."""

    def _build(self, dialect: sa.Dialect) -> Any:
        raised: sa.ColumnElement[Any] = revisions.c.revision + sa.bindparam(WRITES, type_=sa.Integer)
        if dialect.name == "mysql":
            raised = sa.func.last_insert_id(raised)
        statement = revisions.update().where(revisions.c.id == number(THE_ROW)).values(revision=raised)
        return statement.returning(revisions.c.revision) if dialect.name == "postgresql" else statement


def counted(connection: sa.Connection, counting: DBAPICursor) -> int | None:
    """What the revision has become; None if the database did not return it without a further statement."""
    if connection.dialect.name == "mysql":
        return counting.lastrowid
    row = counting.fetchone() if connection.dialect.name == "postgresql" else None
    return None if row is None else int(row[0])


WRITES = "writes"
COUNTING = Counting()


@valueclass(frozen=True, slots=True)
class LogEntry:
    """What one command changed: trees by the database id of their root, or names.

    ``record``: what the journal says of it; None: nothing.
    """

    kind: str
    root_ids: frozenset[int]
    changes_names: bool
    requester: Requester
    record: Record | None = None


@valueclass(frozen=True, slots=True)
class Missed:
    """What happened after a revision, up to ``revision``."""

    revision: int
    root_ids: frozenset[int]
    changes_names: bool


def read_counters(connection: sa.Connection) -> list[CounterFact]:
    """All rows of the revision table, which should be one."""
    query = sa.select(revisions.c.id, revisions.c.revision, revisions.c.compacted)
    return [CounterFact(*row) for row in fetched(connection, query)]


def read_log(connection: sa.Connection) -> list[LogFact]:
    """The change log in order of revision and position."""
    query = sa.select(changes.c.revision, changes.c.position, changes.c.transaction_id)
    ordered = query.order_by(changes.c.revision, changes.c.position)
    return [LogFact(*row) for row in fetched(connection, ordered)]


def current(connection: sa.Connection) -> int:
    """Number of the last committed write that this transaction can see."""
    return int(connection.execute(CURRENT).scalar_one())


def missed_since(connection: sa.Connection, revision: int) -> Missed | None:
    """What a reader that knows ``revision`` has missed; None if the log no longer goes back that far."""
    row = connection.execute(sa.select(revisions.c.revision, revisions.c.compacted)).one()
    if row.compacted > revision or row.revision < revision:
        return None
    # Of a lease's row no index knows anything.
    is_seen = sa.or_(changes.c.root_provider_id.is_not(None), changes.c.kind.not_in(CLAIM_KINDS))
    rows = connection.execute(
        sa.select(changes.c.root_provider_id).where(changes.c.revision > revision, is_seen).distinct()
    ).scalars()
    roots = set(rows)
    return Missed(row.revision, frozenset(root for root in roots if root is not None), None in roots)


def transactions_at(connection: sa.Connection, wanted: Iterable[int]) -> dict[int, str]:
    """The transactions that wrote some revisions, by revision, without those that the log has forgotten."""
    query = sa.select(changes.c.revision, changes.c.transaction_id)
    query = query.where(changes.c.revision.in_(list(wanted)), changes.c.position == 0)
    return {row.revision: row.transaction_id for row in connection.execute(query)}


def plan(entries: Sequence[LogEntry], transaction_id: str) -> tuple[Planned, ...]:
    """What counts and logs writes. Must be the last statements: the lock on the row orders the commits.

    The first one counts.

    The lock is held until COMMIT. So revisions become visible in their order, without gaps, on every
    database.
    """
    rows = [
        (
            offset,
            position,
            root_id,
            entry.kind,
            transaction_id,
            entry.requester.user_id[:NAME_LENGTH],
            entry.requester.project_id[:NAME_LENGTH],
            entry.requester.request_id[:REQUEST_ID_LENGTH],
        )
        for offset, entry in enumerate(entries, 1 - len(entries))
        for position, root_id in enumerate(_trees(entry))
    ]
    kept = journal.plan([(entry.kind, entry.requester, entry.record) for entry in entries])
    return (COUNTING, {WRITES: len(entries)}), *kept, (NEW_CHANGES, rows)


def append(connection: sa.Connection, entry: LogEntry, transaction_id: str) -> None:
    """Count and log one write: see ``plan``."""
    send(connection, plan([entry], transaction_id))


def _trees(entry: LogEntry) -> Iterable[int | None]:
    """A write of names is logged without a tree. So is a write that changed no tree at all."""
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

    A write is forgotten if there are more than ``kept`` after it, or if it was logged before ``before``.
    Raises WriteConflictError, and nothing is forgotten, if another process is compacting too.
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
    # Last, since all writers wait for this row.
    counter = revisions.update().where(revisions.c.id == THE_ROW, revisions.c.compacted == row.compacted)
    if connection.execute(counter.values(compacted=end)).rowcount != 1:
        raise WriteConflictError
    return int(end - row.compacted)


SETTLED = "settled"
"""Kind of a revision that changed nothing but settled whether another one was committed."""


def was_committed(connection: sa.Connection, transaction_id: str, *, journals: bool = False) -> bool:
    """Whether a transaction whose COMMIT got lost has happened.

    It first takes the revision's lock, which a transaction that is still on its way holds. So the answer is
    final. Between the nodes of a cluster there are no such locks, and there the question counts as a write
    of its own. Either it comes after the transaction in the cluster's order and fails, so that the caller
    asks again. Or it comes first, and the transaction can no longer happen. ``journals``: the journal has a
    record of each write.
    """
    if _is_cluster(connection):
        record = EMPTY if journals else None
        append(connection, LogEntry(SETTLED, frozenset(), False, Requester(), record), uuid4().hex)
    else:
        connection.execute(
            revisions.update().where(revisions.c.id == THE_ROW).values(revision=revisions.c.revision)
        )
    found = connection.execute(
        sa.select(changes.c.revision).where(changes.c.transaction_id == transaction_id).limit(1)
    ).first()
    return found is not None


def _is_cluster(connection: sa.Connection) -> bool:
    """Whether this is a node of a Galera cluster, which certifies transactions at COMMIT."""
    if connection.dialect.name != "mysql":
        return False
    row = connection.exec_driver_sql("SHOW VARIABLES LIKE 'wsrep_on'").first()
    return row is not None and row[1] == "ON"
