from __future__ import annotations

import sqlite3

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from oslo_db import exception as oslo

from moorage.model.errors import UnavailableError, UnstorableError
from moorage.store.sql.errors import (
    ConnectionLostError,
    ConstraintError,
    WriteConflictError,
    translate,
    translated,
)
from tests.table import each

OPERATIONAL = sa.exc.OperationalError
INTEGRITY = sa.exc.IntegrityError


def wrapped(
    driver_error: BaseException, kind: type[sa.exc.DBAPIError] = OPERATIONAL, *, lost: bool = False
) -> sa.exc.DBAPIError:
    """A driver's error as SQLAlchemy hands it on."""
    return kind("SELECT", {}, driver_error, connection_invalidated=lost)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("some words")
    error.sqlite_errorcode = code
    return error


def postgresql_error(state: str) -> psycopg.Error:
    return psycopg.errors.lookup(state)("some words")


def mariadb_error(number: int) -> pymysql.err.OperationalError:
    return pymysql.err.OperationalError(number, "some words")


CONFLICTS = {
    "SQLite busy": sqlite_error(sqlite3.SQLITE_BUSY),
    "SQLite busy, extended": wrapped(sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT)),
    "SQLite locked": oslo.DBError(wrapped(sqlite_error(sqlite3.SQLITE_LOCKED))),
    "PostgreSQL serialization": wrapped(postgresql_error("40001")),
    "PostgreSQL, failed before": oslo.DBError(wrapped(postgresql_error("25P02"), sa.exc.InternalError)),
    "PostgreSQL deadlock": oslo.DBError(wrapped(postgresql_error("40P01"))),
    "PostgreSQL lock not available": wrapped(postgresql_error("55P03")),
    "MariaDB deadlock": oslo.DBDeadlock(wrapped(mariadb_error(1213))),
    "MariaDB lock wait": wrapped(mariadb_error(1205)),
    "MariaDB record changed": oslo.DBConsistencyError(wrapped(mariadb_error(1020))),
    "Galera certification": wrapped(mariadb_error(3101)),
    "deadlock of an unknown driver": oslo.DBDeadlock(),
}

LOSSES = {
    "Galera node cut off in COMMIT": wrapped(mariadb_error(1180)),
    "named by oslo.db": oslo.DBConnectionError(wrapped(mariadb_error(2013))),
    "PostgreSQL, nobody at the port": wrapped(psycopg.OperationalError("some words")),
    "invalidated": wrapped(mariadb_error(9999), lost=True),
    "PostgreSQL, an answer that breaks off": oslo.DBError(
        wrapped(psycopg.DatabaseError("some words"), sa.exc.DatabaseError)
    ),
    "PostgreSQL, nobody answers": wrapped(psycopg.errors.ConnectionTimeout("some words")),
    "PostgreSQL, pieces of messages": wrapped(postgresql_error("08P01")),
    "PostgreSQL shutdown by an administrator": wrapped(postgresql_error("57P01")),
    "PostgreSQL crash": wrapped(postgresql_error("57P02")),
    "PostgreSQL starts": wrapped(postgresql_error("57P03")),
    "PostgreSQL has no connection left": wrapped(postgresql_error("53300")),
    "PostgreSQL idled in a transaction": wrapped(postgresql_error("25P03")),
    "PostgreSQL standby": wrapped(postgresql_error("25006")),
    "MariaDB has no connection left": wrapped(mariadb_error(1040)),
    "MariaDB standby": wrapped(mariadb_error(1290)),
    "MariaDB, nobody at the port": wrapped(mariadb_error(2003)),
    "PostgreSQL connection failure": oslo.DBError(wrapped(postgresql_error("08006"))),
}

UNAVAILABLE = {
    "no connection was free": sa.exc.TimeoutError("pool"),
    "refused": wrapped(mariadb_error(1045)),
    "disk full": wrapped(sqlite_error(sqlite3.SQLITE_FULL)),
    "no such database": oslo.DBNonExistentDatabase("name", wrapped(mariadb_error(1049))),
}

CONSTRAINTS = {
    "foreign key": oslo.DBReferenceError("t", "c", "k", "kt", wrapped(mariadb_error(1451), INTEGRITY)),
    "check": oslo.DBConstraintError("t", "check", wrapped(postgresql_error("23514"), INTEGRITY)),
    "unique without columns": oslo.DBDuplicateEntry(None, wrapped(mariadb_error(1062), INTEGRITY)),
}

UNSTORABLE = {
    "named by oslo.db": oslo.DBDataError(wrapped(mariadb_error(9999), sa.exc.DataError)),
    "too long for PostgreSQL": oslo.DBError(wrapped(postgresql_error("22001"), sa.exc.DataError)),
    "too long for MariaDB": oslo.DBError(wrapped(mariadb_error(1406), sa.exc.DataError)),
    "no such characters": wrapped(mariadb_error(1366)),
    "character sets that cannot be compared": wrapped(mariadb_error(1267)),
}

OTHERS = {
    "wrong SQL": wrapped(postgresql_error("42601"), sa.exc.ProgrammingError),
    "wrong use of the library": sa.exc.ArgumentError("some words"),
    "driver error without a code": sqlite3.ProgrammingError("some words"),
    "driver error without arguments": wrapped(pymysql.err.ProgrammingError(), sa.exc.ProgrammingError),
    "oslo.db alone": oslo.DBError(),
}


@each("error", CONFLICTS.values())
def test_conflicts_are_to_be_tried_again(error: Exception) -> None:
    assert type(translate(error)) is WriteConflictError


@each("error", LOSSES.values())
def test_lost_connections_are_told_as_such(error: Exception) -> None:
    assert type(translate(error)) is ConnectionLostError


@pytest.mark.parametrize("error", UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_a_database_that_does_not_work_is_unavailable_without_inner_detail(error: Exception) -> None:
    found = translate(error)
    assert type(found) is UnavailableError
    assert "some words" not in str(found)


@pytest.mark.parametrize("error", CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_constraints_without_columns(error: Exception) -> None:
    found = translate(error)
    assert isinstance(found, ConstraintError)
    assert found.columns == ()


@each("error", UNSTORABLE.values())
def test_what_a_column_cannot_keep_is_told_without_inner_detail(error: Exception) -> None:
    found = translate(error)
    assert type(found) is UnstorableError
    assert "some words" not in str(found)


def test_a_duplicate_names_the_columns_of_its_constraint() -> None:
    inner = wrapped(mariadb_error(1062), INTEGRITY)
    found = translate(oslo.DBDuplicateEntry(["uuid", "name"], inner))
    assert isinstance(found, ConstraintError)
    assert found.columns == ("uuid", "name")


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_anything_else_stays_what_it_is(error: Exception) -> None:
    assert translate(error) is error


def test_what_is_raised_names_its_cause_and_other_errors_pass() -> None:
    cause = sqlite_error(sqlite3.SQLITE_BUSY)
    with pytest.raises(WriteConflictError) as raised, translated():
        raise cause
    assert raised.value.__cause__ is cause
    with pytest.raises(KeyError), translated():
        raise KeyError
