"""A DBAPI on SQLite that fails on order, with the errors of any database's driver.

It stands between SQLAlchemy and sqlite3. What a fault means is done for real: a conflict rolls the
transaction back, a lost connection is closed and stays so, a COMMIT that gets lost has happened or not.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import pymysql
import sqlalchemy as sa

from tests.schedules.clock import Clock

COMMIT: Final = "commit"
AFTER_COMMIT: Final = "after commit"

Place = int | str
"""Where in a transaction a fault strikes: after so many statements, at COMMIT, or after it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An error of a driver. ``loses``: the connection is gone with it."""

    error: Callable[[], Exception]
    loses: bool = False


def _sqlite(code: int) -> Callable[[], Exception]:
    def make() -> Exception:
        error = sqlite3.OperationalError("by order of the test")
        error.sqlite_errorcode = code
        return error

    return make


def _postgresql(state: str) -> Callable[[], Exception]:
    return lambda: psycopg.errors.lookup(state)("by order of the test")


def _mariadb(number: int) -> Callable[[], Exception]:
    return lambda: pymysql.err.OperationalError(number, "by order of the test")


CONFLICTS: Final[dict[str, Kind]] = {
    "SQLite busy": Kind(_sqlite(sqlite3.SQLITE_BUSY)),
    "SQLite busy snapshot": Kind(_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT)),
    "PostgreSQL deadlock": Kind(_postgresql("40P01")),
    "PostgreSQL serialization failure": Kind(_postgresql("40001")),
    "PostgreSQL lock timeout": Kind(_postgresql("55P03")),
    "MariaDB deadlock or Galera certification": Kind(_mariadb(1213)),
    "MariaDB lock wait timeout": Kind(_mariadb(1205)),
    "MariaDB record changed": Kind(_mariadb(1020)),
    "MySQL group replication": Kind(_mariadb(3101)),
}

LOSSES: Final[dict[str, Kind]] = {
    "PostgreSQL is shut down": Kind(_postgresql("57P01"), loses=True),
    "PostgreSQL crashes": Kind(_postgresql("57P02"), loses=True),
    "PostgreSQL connection fails": Kind(_postgresql("08006"), loses=True),
    "PostgreSQL closes the socket": Kind(
        lambda: psycopg.OperationalError("server closed the connection unexpectedly"), loses=True
    ),
    "PostgreSQL became a standby": Kind(_postgresql("25006"), loses=True),
    "MariaDB has gone away": Kind(_mariadb(2006), loses=True),
    "MariaDB lost connection": Kind(_mariadb(2013), loses=True),
    "MariaDB connection killed": Kind(_mariadb(1927), loses=True),
    "MariaDB shuts down": Kind(_mariadb(1053), loses=True),
    "Galera node not ready": Kind(_mariadb(1047), loses=True),
}

REFUSALS: Final[dict[str, Kind]] = {
    "SQLite disk full": Kind(_sqlite(sqlite3.SQLITE_FULL)),
    "PostgreSQL disk full": Kind(_postgresql("53100")),
    "MariaDB table full": Kind(_mariadb(1114)),
}
"""The database says no: not worth a retry, but nothing has happened."""

KINDS: Final = CONFLICTS | LOSSES | REFUSALS

DISCONNECTED: Final = frozenset({1927, 2006, 2013})
"""What SQLAlchemy's dialect of MariaDB holds to be the end of a connection."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One transaction's bad luck. ``kind`` None: it is only slow, by ``seconds``."""

    kind: str | None
    place: Place
    seconds: float = 0.0
    meanwhile: bool = False


@dataclass(slots=True)
class Schedule:
    """What is to go wrong in a store: one entry per transaction, in their order, None for none.

    ``meanwhile`` is called where a fault says so, once the transaction has ended one way or the other.
    """

    clock: Clock
    writes: deque[Fault | None] = field(default_factory=deque)
    reads: deque[Fault | None] = field(default_factory=deque)
    meanwhile: Callable[[], None] = lambda: None
    struck: list[Fault] = field(default_factory=list)

    def forget(self) -> None:
        """Nothing more is to go wrong."""
        self.writes.clear()
        self.reads.clear()
        self.meanwhile = lambda: None


class Cursor(sqlite3.Cursor):
    """Tells its connection of each statement first."""

    connection: Connection

    def execute(self, statement: str, *rest: Any) -> Any:
        self.connection.before(statement)
        return super().execute(statement, *rest)

    def executemany(self, statement: str, *rest: Any) -> Any:
        self.connection.before(statement)
        return super().executemany(statement, *rest)


class Connection(sqlite3.Connection):
    """A connection that fails when its schedule says so."""

    schedule: Schedule
    role: str
    lost = False
    fault: Fault | None = None
    statements = 0

    @property
    def in_transaction(self) -> bool:
        """A connection that is lost is in none."""
        return not self.lost and super().in_transaction

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)

    def before(self, statement: str) -> None:
        """To be called before each statement."""
        self._check()
        begins = statement.startswith("BEGIN")
        if begins or self.role == "single":
            queue = self.schedule.writes if self.role == "write" else self.schedule.reads
            self.fault = queue.popleft() if queue else None
            self.statements = 0
        if self.fault is not None and (self.role == "single" or self.statements == self.fault.place):
            self._strike()
        self.statements += 1

    def commit(self) -> None:
        self._check()
        fault = self.fault
        if fault is not None and fault.place != AFTER_COMMIT:
            self._strike()
        super().commit()
        if fault is not None:
            self._strike()

    def rollback(self) -> None:
        self._check()
        self.fault = None
        super().rollback()

    def _check(self) -> None:
        if self.lost:
            raise pymysql.err.OperationalError(2006, "the connection is lost already")

    def _strike(self) -> None:
        fault, self.fault = self.fault, None
        if fault is None:
            return
        self.schedule.struck.append(fault)
        self.schedule.clock.sleep(fault.seconds)
        if fault.kind is None:
            return
        kind = KINDS[fault.kind]
        super().rollback()
        if kind.loses:
            self.lost = True
            super().close()
        if fault.meanwhile:
            self.schedule.meanwhile()
        raise kind.error()

    def close(self) -> None:
        if not self.lost:
            super().close()


class Driver:
    """The module sqlite3, but for connections of one schedule and errors of all drivers."""

    Error = (sqlite3.Error, psycopg.Error, pymysql.Error)

    def __init__(self, schedule: Schedule, role: str) -> None:
        self._schedule = schedule
        self._role = role

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """As sqlite3.connect."""
        connection = sqlite3.connect(*arguments, **options, factory=Connection)
        connection.schedule = self._schedule
        connection.role = self._role
        return connection


def is_disconnect(error: Exception, _connection: Any, _cursor: Any) -> bool:
    """What SQLAlchemy's dialects of PostgreSQL and MariaDB would say."""
    if isinstance(error, pymysql.Error):
        return error.args[0] in DISCONNECTED
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def put_under(engines: Any, schedule: Schedule) -> None:
    """Have all connections of a store's engines, none of which is made yet, fail as scheduled."""
    for role in ("write", "snapshot", "single"):
        engine: sa.Engine = getattr(engines, role)
        dialect: Any = engine.dialect
        dialect.dbapi = Driver(schedule, role)
        dialect.is_disconnect = is_disconnect
