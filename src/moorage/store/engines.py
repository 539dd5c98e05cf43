"""Connections: one engine for writing, one for snapshots, one for single statements.

What differs between databases stands here: how a transaction begins, and how isolated it is.
Writers read what is committed now and lock it (READ COMMITTED with row locks; on SQLite BEGIN
IMMEDIATE, which lets one writer in at a time). Readers of several statements get one snapshot.
"""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import sqlalchemy as sa
from oslo_db.sqlalchemy import exc_filters
from pymysql.constants import SERVER_STATUS
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from moorage.model.errors import ConfigurationError
from moorage.model.valueclass import valueclass
from moorage.store.errors import PRIMARY_CODE
from moorage.store.settings import StoreSettings

SQLITE_BUSY_SECONDS = 30.0
"""How long a connection waits for another process's write before the committer takes over."""

WRITERS = 3
"""Connections for writing: the committer's, one to settle a lost COMMIT beside it, the compactor's."""

LOCK_SECONDS = 5
"""How long a writer waits for another one's row lock on a server. Then it gives up its own locks and
begins anew: whoever was frozen with a lock in hand shall not freeze all others for good."""

IDLE_SECONDS = 10
"""How long a server keeps a writer's transaction whose process says nothing: a process that was
stopped or cut off in the middle gives its locks back so."""

READERS = 5
"""Connections kept for reading unless ``max_pool_size`` says otherwise."""

READERS_OVERFLOW = 45
"""Further connections under load unless ``max_overflow`` says otherwise: one per thread."""

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
"""The driver that this package brings, by kind of database: a URL may name any other."""


SQLITE_PAUSE_SECONDS = (0.0002, 0.0008)
"""How long a writer waits at least and at most before it looks again whether another process is done."""

_spread = random.Random()  # noqa: S311 - only spreads tries in time

BEGIN_WRITING = "BEGIN IMMEDIATE"


@valueclass(frozen=True, slots=True)
class Engines:
    """``write``, ``snapshot`` and ``single`` share a database, not connections."""

    write: sa.Engine
    snapshot: sa.Engine
    single: sa.Engine

    @property
    def serializes_writes(self) -> bool:
        """Whether there is one writer at a time, so that row locks are not needed."""
        return self.write.dialect.name == "sqlite"

    def dispose(self) -> None:
        """Close all connections."""
        for engine in (self.write, self.snapshot, self.single):
            engine.dispose()


def database_url(text: str) -> URL:
    """The URL with a driver that is there. Raises ConfigurationError."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ConfigurationError("the database's address is not an SQLAlchemy URL") from error
    kind = url.get_backend_name()
    if kind not in _DRIVERS:
        raise ConfigurationError(
            f"databases of kind '{kind}' are not supported: use sqlite, postgresql or mysql"
        )
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError("SQLite needs a file: sqlite:////absolute/path/moorage.sqlite")
    try:
        url.get_dialect().import_dbapi()
    except ImportError:
        # An operator's URL may name a driver that is not installed; ours speaks the same protocol.
        url = url.set(drivername=_DRIVERS[kind])
    return url


def create_engines(settings: StoreSettings) -> Engines:
    """Engines for a database; nothing is connected yet. Raises ConfigurationError."""
    url = database_url(settings.url)
    pool: dict[str, Any] = {
        "pool_recycle": settings.recycle_seconds,
        "pool_use_lifo": True,
    }
    if settings.pool_timeout_seconds is not None:
        pool["pool_timeout"] = settings.pool_timeout_seconds
    # The committer ends its transactions itself: some drivers would ask the server once more.
    writers = pool | {"pool_size": WRITERS, "max_overflow": 0, "pool_reset_on_return": None}
    readers = pool | {
        "pool_size": READERS if settings.max_pool_size is None else settings.max_pool_size,
        "max_overflow": READERS_OVERFLOW if settings.max_overflow is None else settings.max_overflow,
    }
    if url.get_backend_name() == "sqlite":
        engines = _sqlite_engines(url, settings, writers, readers)
    else:
        engines = Engines(
            write=sa.create_engine(url, isolation_level="READ COMMITTED", **writers),
            snapshot=sa.create_engine(url, isolation_level="REPEATABLE READ", **readers),
            single=sa.create_engine(
                url,
                isolation_level="AUTOCOMMIT",
                skip_autocommit_rollback=True,
                # There is never a transaction to end: some drivers would ask the server all the same.
                pool_reset_on_return=None,
                **readers,
            ),
        )
    for engine in (engines.write, engines.snapshot, engines.single):
        exc_filters.register_engine(engine)
        if engine.dialect.name == "mysql":
            _set_sql_mode(engine, settings.mysql_sql_mode)
            _catch_up_with_cluster(engine)
    if engines.single.dialect.name == "postgresql":
        for engine in (engines.single, engines.write):
            _plan_as_written(engine)
    _bound_waits(engines.write)
    _end_open_transactions(engines.write)
    return engines


def _end_open_transactions(engine: sa.Engine) -> None:
    """Leave no transaction on a connection that is given back.

    A COMMIT may fail and leave its transaction open: SQLite refuses one and goes on, a driver fails
    before it has sent it. SQLAlchemy takes the transaction for done, and would hand the connection
    on as it is: what was not committed would be seen by the next group, and be committed with it.
    """

    @sa.event.listens_for(engine, "reset")
    def on_reset(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _state: object) -> None:
        # If this fails, the pool throws the connection away.
        if in_transaction(connection):
            connection.rollback()


def in_transaction(connection: Any) -> bool:
    """Whether a driver's connection is in a transaction, as far as it knows without asking; else True."""
    if isinstance(connection, sqlite3.Connection):
        return connection.in_transaction
    if isinstance(connection, psycopg.Connection):
        return connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE
    if isinstance(connection, pymysql.Connection):
        return bool(connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)
    return True


_WAITS = {
    "postgresql": (
        f"SET lock_timeout = '{LOCK_SECONDS}s'",
        f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'",
    ),
    "mysql": (f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}",),
}
_MARIADB_WAITS = (f"SET SESSION idle_transaction_timeout = {IDLE_SECONDS}",)


def _bound_waits(engine: sa.Engine) -> None:
    """Nobody waits for ever, and nobody is waited for so long."""
    statements = _WAITS.get(engine.dialect.name, ())

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        if engine.dialect.name == "mysql":
            cursor.execute("SELECT VERSION()")
            row = cursor.fetchone()
            if row is not None and "MariaDB" in str(row[0]):
                for statement in _MARIADB_WAITS:
                    cursor.execute(statement)
        cursor.close()
        if engine.dialect.name == "postgresql":
            # What was set belongs to a transaction of its own, and would go with a later rollback.
            connection.commit()


def _sqlite_engines(
    url: URL, settings: StoreSettings, writers: dict[str, Any], readers: dict[str, Any]
) -> Engines:
    if url.database is not None and not url.database.startswith("file:"):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
    pools = {"write": writers, "snapshot": readers, "single": readers}
    engines: dict[str, sa.Engine] = {}
    for name, pool in pools.items():
        engine = sa.create_engine(url, connect_args=arguments, poolclass=sa.pool.QueuePool, **pool)
        _prepare_sqlite(engine, name, full=settings.sqlite_synchronous_full)
        engines[name] = engine
    return Engines(**engines)


def _begin_writing(connection: sa.Connection) -> None:
    """Wait for the one place that SQLite has for a writer, and take it.

    SQLite's own patience sleeps for longer and longer, up to a tenth of a second, while a process that has
    many groups to commit leaves the place for a fraction of a millisecond at a time. So it is looked for
    often.
    """
    cursor: DBAPICursor | None = None
    try:
        cursor = connection.connection.cursor()
        _execute_patiently(cursor, BEGIN_WRITING)
    except connection.dialect.loaded_dbapi.Error as error:
        connection._handle_dbapi_exception(error, BEGIN_WRITING, None, cursor, None)
    cursor.close()


def _execute_patiently(cursor: DBAPICursor | sqlite3.Cursor, statement: str) -> None:
    """Try again and again while another connection is in the way."""
    until = time.monotonic() + SQLITE_BUSY_SECONDS
    while not _is_executed(cursor, statement, is_last_try=time.monotonic() > until):
        time.sleep(_spread.uniform(*SQLITE_PAUSE_SECONDS))


def _is_executed(cursor: DBAPICursor | sqlite3.Cursor, statement: str, *, is_last_try: bool) -> bool:
    try:
        cursor.execute(statement)
    except sqlite3.OperationalError as error:
        if is_last_try or error.sqlite_errorcode & PRIMARY_CODE != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _begin_reading(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


_SQLITE_BEGIN = {"write": _begin_writing, "snapshot": _begin_reading}
"""How a transaction of an engine begins; the third has none."""


def _prepare_sqlite(engine: sa.Engine, name: str, *, full: bool) -> None:
    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # transactions begin where we say, not where Python guesses
        # Of several processes that open a new file at once SQLite refuses this to some without any patience.
        _execute_patiently(connection.cursor(), "PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL" if full else "PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        if name == "write":
            # From now on it waits by itself.
            connection.execute("PRAGMA busy_timeout = 0")

    begin = _SQLITE_BEGIN.get(name)
    if begin is not None:
        sa.event.listen(engine, "begin", begin)


def _set_sql_mode(engine: sa.Engine, mode: str) -> None:
    """Too long a value must be an error, not a shorter value."""
    if not mode:
        return

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("SET SESSION sql_mode = %s", (mode,))
        cursor.close()


AS_WRITTEN = {
    "plan_cache_mode": "force_generic_plan",
    "join_collapse_limit": "1",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""How PostgreSQL plans what every search and every claim waits for: once, in the order in which it is
written, and by indexes. Its estimates would be made once as well, maybe of tables that were empty then."""


def _plan_as_written(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for name, value in AS_WRITTEN.items():
            # A server that does not know a setting does without.
            cursor.execute(
                "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s", (value, name)
            )
        cursor.close()


def _catch_up_with_cluster(engine: sa.Engine) -> None:
    """A new connection may lead to another node of a Galera cluster than the one before.

    That node may still have to apply what the other one acknowledged. Once it has done so for the
    connection's first statement, it lags behind nothing that was acknowledged before, so that to wait
    at every statement, as ``wsrep_sync_wait`` would, is not needed with one writer.
    """

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
        row = cursor.fetchone()
        if row is not None and row[1] == "ON":
            cursor.execute("SET SESSION wsrep_sync_wait = 1")
            cursor.execute("SELECT 1")
            cursor.fetchone()
            cursor.execute("SET SESSION wsrep_sync_wait = 0")
        cursor.close()
