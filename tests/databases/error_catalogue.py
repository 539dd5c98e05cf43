"""Every error that SQLAlchemy, oslo.db and the drivers can raise, and a way to raise it at any statement."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import psycopg
import pymysql
import sqlalchemy as sa
from oslo_db import exception as oslo

from moorage.store.sql.engines import Engines
from tests.databases.sql_watch import engines_of

PASSWORD = "hunter2-the-password"
TABLE = "secret_table"
PLACE = "/srv/secret/place.py"
URL = f"postgresql+psycopg://operator:{PASSWORD}@db.example/moorage"
WORDS = f'near "SELECT {TABLE}": [SQL: SELECT id FROM {TABLE} WHERE p = 1] {PLACE} line 7 connecting to {URL}'
"""What a driver may say, and nobody but an operator may read."""

INNER = (TABLE, PASSWORD, PLACE, "SELECT", "INSERT", "[SQL", "sqlalche.me", "Traceback", "sqlite3", "psycopg")
"""What must not be in an answer."""

Make = Callable[[], BaseException]


@dataclass(frozen=True)
class Error:
    """One error of the catalogue. ``make`` gives a new one, as it would come at a statement."""

    name: str
    make: Make

    def __str__(self) -> str:
        return self.name


def _subclasses(kind: type[BaseException]) -> list[type[BaseException]]:
    found = {kind}
    waiting = [kind]
    while waiting:
        for below in waiting.pop().__subclasses__():
            if below not in found:
                found.add(below)
                waiting.append(below)
    return sorted(found, key=lambda each: (each.__module__, each.__qualname__))


def _classes(module: ModuleType, base: type[BaseException]) -> list[type[BaseException]]:
    """All classes of errors that a module has, its base among them."""
    members = (member for _, member in inspect.getmembers(module, inspect.isclass))
    return sorted({each for each in members if issubclass(each, base)}, key=lambda each: each.__qualname__)


def _driver(kind: type[BaseException], *arguments: object, name: str = "") -> Error:
    return Error(name or f"{kind.__module__}.{kind.__qualname__}", lambda: kind(*arguments))


def _sqlite_errors() -> Iterator[Error]:
    for kind in _classes(sqlite3, sqlite3.Error):
        yield _driver(kind, WORDS)
    for name in ("BUSY", "LOCKED", "FULL", "IOERR", "CORRUPT", "READONLY"):

        def make(code: int = getattr(sqlite3, f"SQLITE_{name}")) -> sqlite3.OperationalError:
            error = sqlite3.OperationalError(WORDS)
            error.sqlite_errorcode = code
            return error

        yield Error(f"sqlite3.SQLITE_{name}", make)


def _postgresql_errors() -> Iterator[Error]:
    for kind in _classes(psycopg, psycopg.Error):
        yield _driver(kind, WORDS)
    for kind in _classes(psycopg.errors, psycopg.Error):
        yield _driver(kind, WORDS)


def _mariadb_errors() -> Iterator[Error]:
    for kind in _classes(pymysql.err, pymysql.err.Error):
        yield _driver(kind, 4711, WORDS)
    for number in sorted(pymysql.err.error_map):
        kind = pymysql.err.error_map[number]
        yield _driver(kind, number, WORDS, name=f"MySQL error {number}")
    for number in (1020, 1205, 1213, 3101, 1047, 1053, 1290, 1836, 1927, 2006, 2013):
        yield _driver(pymysql.err.OperationalError, number, WORDS, name=f"MySQL error {number}, operational")


def _sqlalchemy_errors() -> Iterator[Error]:
    for kind in _subclasses(sa.exc.SQLAlchemyError):
        if not kind.__module__.startswith("sqlalchemy."):
            continue
        attempts: tuple[tuple[object, ...], ...] = (
            (WORDS,),
            (WORDS, {}, RuntimeError(WORDS)),
            (WORDS, WORDS, {}, RuntimeError(WORDS)),
            (WORDS, []),
            (WORDS, [], []),
            (None, WORDS, WORDS),
        )
        for arguments in attempts:
            try:
                kind(*arguments)
            except Exception:
                continue
            yield _driver(kind, *arguments)
            break
        else:
            raise AssertionError(f"{kind} cannot be made")


def _oslo_errors() -> Iterator[Error]:
    for kind in _subclasses(oslo.DBError):
        if kind.__module__ != oslo.__name__:
            continue
        for arguments in ((RuntimeError(WORDS),), (WORDS, WORDS, WORDS, WORDS), (WORDS,), (), (WORDS, WORDS)):
            try:
                kind(*arguments)
            except Exception:
                continue
            yield _driver(kind, *arguments, name=f"oslo.{kind.__qualname__}")
            break
        else:
            raise AssertionError(f"{kind} cannot be made")


def _others() -> Iterator[Error]:
    for kind in (RuntimeError, ValueError, TypeError, KeyError, OSError, MemoryError, RecursionError):
        yield _driver(kind, WORDS)
    yield _driver(UnicodeEncodeError, "utf-8", WORDS, 0, 1, WORDS)


OF_DRIVERS: dict[str, tuple[Error, ...]] = {
    "sqlite": tuple(_sqlite_errors()),
    "postgresql": tuple(_postgresql_errors()),
    "mysql": tuple(_mariadb_errors()),
}
OF_LIBRARIES: tuple[Error, ...] = (*_sqlalchemy_errors(), *_oslo_errors(), *_others())

FEW: dict[str, tuple[Error, ...]] = {
    "sqlite": tuple(_driver(kind, WORDS) for kind in (sqlite3.OperationalError, sqlite3.IntegrityError)),
    "postgresql": tuple(
        _driver(kind, WORDS)
        for kind in (
            psycopg.OperationalError,
            psycopg.errors.UniqueViolation,
            psycopg.errors.SerializationFailure,
            psycopg.errors.SyntaxError,
            psycopg.errors.InsufficientPrivilege,
        )
    ),
    "mysql": tuple(
        _driver(pymysql.err.error_map.get(number, pymysql.err.OperationalError), number, WORDS)
        for number in (1062, 1064, 1142, 1205, 1213, 2013)
    ),
}
"""By dialect: one of each way in which an error can be taken, for where all would take too long."""


@dataclass
class Fault:
    """Raises ``error`` at the n-th step from now (0 is the next), and ``forever`` after it.

    A step is a statement, or a COMMIT of a transaction that wrote.
    """

    error: Error | None = None
    at: int = 0
    forever: bool = False
    met: int = 0
    raised: int = 0
    steps: list[str] = field(default_factory=list)

    def step(self, what: str) -> None:
        """Count a step, and raise if it is its turn."""
        number = self.met
        self.met += 1
        self.steps.append(what)
        if self.error is not None and (number == self.at or (self.forever and number > self.at)):
            self.raised += 1
            raise self.error.make()


@contextmanager
def fault_in(engines: Engines, fault: Fault) -> Iterator[None]:
    """Have ``fault`` asked at each step of an engine while the context lasts."""
    listening: list[tuple[Any, str, Callable[..., None]]] = []

    def on_execute(_cursor: Any, statement: str, _parameters: Any, _context: Any) -> None:
        fault.step(statement)

    def on_execute_plain(_cursor: Any, statement: str, _context: Any) -> None:
        fault.step(statement)

    for engine in engines_of(engines):
        for name, action in (
            ("do_execute", on_execute),
            ("do_executemany", on_execute),
            ("do_execute_no_params", on_execute_plain),
        ):
            sa.event.listen(engine, name, action)
            listening.append((engine, name, action))
    dialect = engines.write.dialect
    real = dialect.do_commit

    def do_commit(connection: Any) -> None:
        fault.step("COMMIT")
        real(connection)

    dialect.do_commit = do_commit  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del dialect.do_commit
        for engine, name, action in listening:
            sa.event.remove(engine, name, action)
