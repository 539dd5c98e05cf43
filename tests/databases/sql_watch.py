"""What reaches the database, and faults that come from there when a test wants them to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.store.sql.direct import DirectQuery
from moorage.store.sql.engines import Engines
from moorage.store.store import Store
from moorage.store.tables import changes
from moorage.store.transaction import WriteTransaction

PACKING = "count(*) AS count_1, json_arrayagg(json_array("
"""What stands before the columns where rows come as one value."""


@dataclass
class Watched:
    """Statements in their order, committed transactions, and rows that selects found.

    ``rows`` counts only where the driver says so before they are fetched: not on SQLite. ``direct``
    are the statements that go straight to the driver; they are not among the others.
    """

    statements: list[str] = field(default_factory=list)
    direct: list[str] = field(default_factory=list)
    commits: int = 0
    rows: int = 0

    def __len__(self) -> int:
        return len(self.statements)


@contextmanager
def watching(store: Store) -> Iterator[Watched]:
    """Count what a store does while the context lasts."""
    watched = Watched()

    def on_statement(
        _connection: sa.Connection, cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        # How SQLite's transactions begin is a statement there, and none elsewhere.
        if not statement.startswith("BEGIN"):
            watched.statements.append(statement)
            if statement.lstrip().startswith("SELECT"):
                watched.rows += max(cursor.rowcount, 0)

    def on_commit(_connection: sa.Connection) -> None:
        watched.commits += 1

    engines = engines_of(store.engines)
    for engine in engines:
        sa.event.listen(engine, "after_cursor_execute", on_statement)
        sa.event.listen(engine, "commit", on_commit)
    real = DirectQuery.rows

    def rows(query: DirectQuery, **values: object) -> list[tuple[Any, ...]]:
        # Services that other tests have left behind may look after theirs.
        if query._engine in engines:
            watched.direct.append(query.text)
        return real(query, **values)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DirectQuery, "rows", rows)
            yield watched
    finally:
        for engine in engines:
            sa.event.remove(engine, "after_cursor_execute", on_statement)
            sa.event.remove(engine, "commit", on_commit)


def engines_of(engines: Engines) -> tuple[sa.Engine, ...]:
    """All engines of a store."""
    return engines.all


@contextmanager
def before_statement(
    engine: sa.Engine,
    beginning: str | tuple[str, ...],
    action: Callable[[sa.Connection], object],
    times: int = 1,
) -> Iterator[list[str]]:
    """Act before the first ``times`` statements that begin so; yields the statements met.

    A query whose rows come as one value begins as if they came one by one.
    """
    met: list[str] = []

    def on_statement(
        connection: sa.Connection, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        if len(met) < times and statement.lstrip().replace(PACKING, "", 1).startswith(beginning):
            met.append(statement)
            action(connection)

    sa.event.listen(engine, "before_cursor_execute", on_statement)
    try:
        yield met
    finally:
        sa.event.remove(engine, "before_cursor_execute", on_statement)


@contextmanager
def before_lock(engine: sa.Engine, action: Callable[[], object]) -> Iterator[list[str]]:
    """Act before the first statement that locks rows; yields the statements met."""
    met: list[str] = []

    def on_statement(
        _connection: sa.Connection, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        if not met and "FOR UPDATE" in statement:
            met.append(statement)
            action()

    sa.event.listen(engine, "before_cursor_execute", on_statement)
    try:
        yield met
    finally:
        sa.event.remove(engine, "before_cursor_execute", on_statement)


def end_session(store: Store, connection: sa.Connection) -> None:
    """End a connection from the server's side, as an administrator or a failing server would."""
    postgresql = store.engines.write.dialect.name == "postgresql"
    own = "SELECT pg_backend_pid()" if postgresql else "SELECT CONNECTION_ID()"
    dbapi_connection = connection.connection.dbapi_connection
    assert dbapi_connection is not None
    cursor = dbapi_connection.cursor()
    cursor.execute(own)
    row = cursor.fetchone()
    cursor.close()
    assert row is not None
    with store.engines.single.connect() as other:
        if postgresql:
            other.execute(sa.select(sa.func.pg_terminate_backend(row[0], 5_000)))
        else:
            other.exec_driver_sql(f"KILL {int(row[0])}")


def last_logged(store: Store) -> int:
    """The last revision that the change log tells of."""
    query = sa.select(sa.func.max(changes.c.revision))
    return int(store.read(lambda connection: connection.execute(query).scalar_one()))


CommitMethod = Callable[[WriteTransaction, Any], None]


def instead_of_commit(
    monkeypatch: Any, *replacements: Callable[[CommitMethod, WriteTransaction, Any], None]
) -> list[int]:
    """Have the first COMMITs done by ``replacements``, one each, and all others as ever.

    Each gets the real method, and what that takes. Returns a list that grows with every COMMIT.
    """
    real = WriteTransaction.commit
    calls: list[int] = []

    def commit(transaction: WriteTransaction, writer: Any) -> None:
        number = len(calls)
        calls.append(number)
        if number < len(replacements):
            replacements[number](real, transaction, writer)
        else:
            real(transaction, writer)

    monkeypatch.setattr(WriteTransaction, "commit", commit)
    return calls
