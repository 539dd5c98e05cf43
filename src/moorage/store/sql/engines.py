"""Connections: one engine for writing, one for snapshots, one for single statements, one for health checks.

The differences between databases are here: how a transaction begins, and how isolated it is. Writers read
what is committed now and lock it (READ COMMITTED with row locks). SQLite's BEGIN IMMEDIATE instead lets one
writer in at a time. Readers of several statements get one snapshot.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from oslo_db.sqlalchemy import exc_filters
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import ConnectionPoolEntry

from moorage.model.chance import own_numbers
from moorage.model.errors import ConfigurationError, MissingFileError
from moorage.model.valueclass import valueclass
from moorage.store.files import file_to_be_made, make_private_file, make_private_folder
from moorage.store.settings import StoreSettings
from moorage.store.sql.drivers import PSYCOPG, PYMYSQL, is_from
from moorage.store.sql.errors import PRIMARY_CODE
from moorage.store.urls import database_url

SQLITE_BUSY_SECONDS = 30.0
"""How long a connection waits for another process's write before the committer takes over."""

WRITERS = 6
"""Connections for writing: one for the committer, one to settle a lost COMMIT, one for the compactor, one for
the journal's index, one for renewals of leases, one for service time."""

LOCK_SECONDS = 5
"""How long a writer waits for another writer's row lock on a server. Then it gives up its own locks and
begins anew: a frozen process that holds a lock must not block all others for good."""

IDLE_SECONDS = 10
"""How long a server keeps the transaction of a writer that sends nothing. So a process that was stopped or
cut off halfway gives its locks back."""

READERS = 5
"""Connections kept for reading unless ``max_pool_size`` says otherwise."""

READERS_OVERFLOW = 45
"""Further connections under load unless ``max_overflow`` says otherwise: one per thread."""

SQLITE_PAUSE_SECONDS = (0.0002, 0.0008)
"""Bounds of a writer's pause before it checks again whether another process has finished."""

_spread = own_numbers()

BEGIN_WRITING = "BEGIN IMMEDIATE"


@valueclass(frozen=True, slots=True)
class Engines:
    """All engines share a database, not connections.

    ``health`` is like ``single``, with one connection of its own: health checks take none from requests.
    """

    write: sa.Engine
    snapshot: sa.Engine
    single: sa.Engine
    health: sa.Engine

    @property
    def all(self) -> tuple[sa.Engine, ...]:
        """Each engine."""
        return self.write, self.snapshot, self.single, self.health

    @property
    def serializes_writes(self) -> bool:
        """Whether the database lets one writer in at a time, so that row locks are not needed."""
        return self.write.dialect.name == "sqlite"

    def dispose(self) -> None:
        """Close all connections."""
        for engine in self.all:
            engine.dispose()


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for a server, and for a URI, which is left to SQLite."""
    if url.get_backend_name() != "sqlite" or url.database is None or url.database.startswith("file:"):
        return None
    return Path(url.database)


def make_file(url: URL) -> None:
    """Make the file of an SQLite database, and its folder, for their owner only, unless they exist.

    Raises ConfigurationError if it cannot be made.
    """
    path = sqlite_file(url)
    if path is None:
        return
    try:
        if not path.exists():
            make_private_folder(path.parent)
            make_private_file(path)
    except OSError as error:
        raise ConfigurationError(f"The database file {path} cannot be made: {error.strerror}.") from error


def create_engines(settings: StoreSettings) -> Engines:
    """Engines for a database. Connects to nothing and makes no file. Raises ConfigurationError."""
    url = database_url(settings.url)
    pool: dict[str, Any] = {
        "pool_recycle": settings.recycle_seconds,
        "pool_use_lifo": True,
    }
    if settings.pool_timeout_seconds is not None:
        pool["pool_timeout"] = settings.pool_timeout_seconds
    # The committer ends its transactions itself. Some drivers would ask the server once more.
    writers = pool | {"pool_size": WRITERS, "max_overflow": 0, "pool_reset_on_return": None}
    readers = pool | {
        "pool_size": READERS if settings.max_pool_size is None else settings.max_pool_size,
        "max_overflow": READERS_OVERFLOW if settings.max_overflow is None else settings.max_overflow,
    }
    one = pool | {"pool_size": 1, "max_overflow": 0}
    if url.get_backend_name() == "sqlite":
        engines = _sqlite_engines(
            url, settings, {"write": writers, "snapshot": readers, "single": readers, "health": one}
        )
    else:
        engines = Engines(
            write=sa.create_engine(url, isolation_level="READ COMMITTED", **writers),
            snapshot=sa.create_engine(url, isolation_level="REPEATABLE READ", **readers),
            single=_without_transactions(url, readers),
            health=_without_transactions(url, one),
        )
    # oslo.db logs errors that it does not know with a traceback. This room translates and reports all errors.
    logging.getLogger(exc_filters.__name__).addFilter(_is_without_traceback)
    for engine in engines.all:
        exc_filters.register_engine(engine)
        if engine.dialect.name == "mysql":
            _set_sql_mode(engine, settings.mysql_sql_mode)
            _share_contexts(engine)
            _catch_up_with_cluster(engine)
    if engines.single.dialect.name == "postgresql":
        for engine in (engines.single, engines.write):
            _plan_as_written(engine)
    _bound_waits(engines.write)
    _end_open_transactions(engines.write)
    return engines


def _is_without_traceback(record: logging.LogRecord) -> bool:
    return record.exc_info is None


def _without_transactions(url: URL, pool: dict[str, Any]) -> sa.Engine:
    return sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        # There is never a transaction to end. Some drivers would ask the server nevertheless.
        pool_reset_on_return=None,
        **pool,
    )


def _share_contexts(engine: sa.Engine) -> None:
    """See ``mysql_connections``. Another driver makes its own connections."""
    if engine.dialect.driver != PYMYSQL:
        return
    from moorage.store.sql.mysql_connections import connected

    @sa.event.listens_for(engine, "do_connect")
    def on_connect(
        _dialect: sa.Dialect, _entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        made: DBAPIConnection = connected(*arguments, **options)
        return made


def _end_open_transactions(engine: sa.Engine) -> None:
    """Leave no transaction on a connection that goes back to the pool.

    A COMMIT may fail and leave its transaction open: SQLite may refuse it, a driver may fail before sending
    it. SQLAlchemy takes the transaction for ended, and would hand the connection on as it is. The next
    group would see what was not committed, and commit it.
    """

    @sa.event.listens_for(engine, "reset")
    def on_reset(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _state: object) -> None:
        # If this fails, the pool discards the connection.
        if in_transaction(connection):
            connection.rollback()


def in_transaction(connection: Any) -> bool:
    """Whether a connection is in a transaction, as far as the driver knows without asking; else True."""
    if isinstance(connection, sqlite3.Connection):
        return connection.in_transaction
    if is_from(connection, PSYCOPG, "Connection"):
        from psycopg.pq import TransactionStatus

        return connection.info.transaction_status is not TransactionStatus.IDLE
    if is_from(connection, PYMYSQL, "Connection"):
        from pymysql.constants import SERVER_STATUS

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
    """Bound how long a writer waits for locks, and how long an idle writer may hold them."""
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
            # PostgreSQL would undo these settings with a later rollback of the transaction that they are
            # in.
            connection.commit()


def _sqlite_engines(url: URL, settings: StoreSettings, pools: dict[str, dict[str, Any]]) -> Engines:
    arguments = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
    engines: dict[str, sa.Engine] = {}
    for name, pool in pools.items():
        engine = sa.create_engine(url, connect_args=arguments, poolclass=sa.pool.QueuePool, **pool)
        _prepare_sqlite(engine, name, settings)
        engines[name] = engine
    return Engines(**engines)


def _begin_writing(connection: sa.Connection) -> None:
    """Wait for SQLite's one lock for writers, and take it.

    SQLite's own waiting sleeps for longer and longer, up to a tenth of a second. A process with many groups
    to commit frees the lock for a fraction of a millisecond at a time. So this tries often.
    """
    cursor: DBAPICursor | None = None
    try:
        cursor = connection.connection.cursor()
        _execute_patiently(cursor, BEGIN_WRITING)
    except connection.dialect.loaded_dbapi.Error as error:
        connection._handle_dbapi_exception(error, BEGIN_WRITING, None, cursor, None)
    cursor.close()


def _execute_patiently(cursor: DBAPICursor | sqlite3.Cursor, statement: str) -> None:
    """Try again and again while another connection holds the lock."""
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
"""How an engine begins a transaction; the other engines have none."""


def _prepare_sqlite(engine: sa.Engine, name: str, settings: StoreSettings) -> None:
    path = sqlite_file(engine.url)
    if path is not None:
        _open_only_what_is_there(engine, path, settings.sync_command)
    else:
        _make_what_a_uri_makes(engine)

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # transactions begin where the program says
        if not settings.looks_only:
            # If several processes open a new file at once, SQLite refuses this to some of them without
            # waiting.
            _execute_patiently(connection.cursor(), "PRAGMA journal_mode = WAL")
        full = settings.sqlite_synchronous_full
        connection.execute("PRAGMA synchronous = FULL" if full else "PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        if name == "write":
            # From now on ``_begin_writing`` does the waiting.
            connection.execute("PRAGMA busy_timeout = 0")

    begin = _SQLITE_BEGIN.get(name)
    if begin is not None:
        sa.event.listen(engine, "begin", begin)


def _open_only_what_is_there(engine: sa.Engine, path: Path, sync_command: str) -> None:
    """Keep SQLite from making an empty database where none exists: only ``make_file`` makes one."""

    @sa.event.listens_for(engine, "do_connect")
    def on_connect(
        _dialect: sa.Dialect, _entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        with suppress(PermissionError):
            # SQLite reports what else is wrong with the path.
            if not path.exists():
                raise MissingFileError(str(path), sync_command)
        arguments[0] = f"file:{quote(str(path.absolute()))}?mode=rw"
        options["uri"] = True


def _make_what_a_uri_makes(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "do_connect")
    def on_connect(
        _dialect: sa.Dialect, _entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        path = file_to_be_made(arguments, options)
        if path is not None:
            with suppress(OSError):
                # SQLite reports what is wrong with the path.
                make_private_file(path)


def _set_sql_mode(engine: sa.Engine, mode: str) -> None:
    """Make MariaDB refuse a value that is too long, rather than cut it."""
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
written, and by indexes. Its own plan would be made once too, perhaps by estimates of tables that were
empty then."""


def _plan_as_written(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for name, value in AS_WRITTEN.items():
            # A server that does not know a setting leaves it out.
            cursor.execute(
                "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s", (value, name)
            )
        cursor.close()


def _catch_up_with_cluster(engine: sa.Engine) -> None:
    """Wait once at each connection, which may lead to another node of a Galera cluster than the last one.

    That node may still have to apply what the other one acknowledged. It does so before the connection's
    first statement, and from then on lags behind nothing acknowledged earlier. So with one writer, waiting
    at every statement, as ``wsrep_sync_wait`` would, is not needed.
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
