"""From a driver's error to an error that the store's callers can act on.

oslo.db's filters give the error a class. Where they do not decide, the drivers' own codes do. No message
text is examined here, and none goes to a client.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from oslo_db import exception as oslo

from moorage.model.errors import UnavailableError, UnstorableError
from moorage.store.sql.drivers import PSYCOPG, is_from


class WriteConflictError(Exception):
    """The transaction lost against another one and was rolled back. It must begin again with its reads."""


class ConnectionLostError(Exception):
    """The connection broke. Outside of COMMIT this means that nothing was written."""


class ConstraintError(Exception):
    """A row that another process wrote meanwhile (or that this database holds equal) is in the way.

    ``columns`` are those of the unique constraint, empty if it is another kind.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        super().__init__(*columns)
        self.columns = columns


_CONFLICT_STATES = frozenset(("25P02", "40001", "40P01", "55P03"))
"""PostgreSQL: transaction that has failed before, serialization failure, deadlock, lock not available."""

_SHUTDOWN_STATES = frozenset(
    (
        *("08000", "08001", "08003", "08004", "08006", "08P01"),
        *("25006", "25P03", "53300", "57P01", "57P02", "57P03"),
    )
)
"""PostgreSQL: the server goes down or comes up, has too many connections, or is a standby that only reads;
this connection is gone, was idle in a transaction, or carries pieces of messages. Another connection may
lead to the present writer."""

_LOST_NUMBERS = frozenset((1040, 1047, 1053, 1180, 1203, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 4031))
"""MariaDB and MySQL: too many connections, Galera node not ready or cut off from the others in COMMIT,
shutdown, read-only server, connection refused, killed, gone or idle for too long."""

_CONFLICT_NUMBERS = frozenset((1020, 1205, 1213, 3101))
"""MariaDB and MySQL: record changed, lock wait timeout, deadlock or Galera certification."""

_UNSTORABLE_NUMBERS = frozenset((1264, 1265, 1267, 1270, 1271, 1366, 1406, 3854, 3988))
"""MariaDB and MySQL: a number or a text that is too large, characters that the column's character set
lacks or that cannot be compared with it."""

_SQLITE_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))

_SQLITE_UNUSABLE = frozenset((sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT))

_NO_RIGHTS = "42501"
"""PostgreSQL: insufficient privilege. MariaDB's and MySQL's numbers for it come as operational errors."""

PRIMARY_CODE = 0xFF
"""SQLite keeps the primary result code in the low byte of an extended one."""


DRIVER_ERRORS: Final = (oslo.DBError, sa.exc.SQLAlchemyError, sqlite3.Error)
"""What the libraries raise: to be raised as ``translate`` says."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of this module in place of the libraries'."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error) from error


def translate(error: Exception) -> Exception:
    """The error of this module, or of the model, for ``error``."""
    if isinstance(error, oslo.DBDuplicateEntry):
        return ConstraintError(tuple(error.columns or ()))
    if isinstance(error, oslo.DBReferenceError | oslo.DBConstraintError):
        return ConstraintError(())
    found = driver_error(error)
    if isinstance(error, oslo.DBDataError | sa.exc.DataError) or _is_unstorable(found):
        return UnstorableError()
    if isinstance(error, oslo.DBDeadlock) or _is_conflict(found):
        return WriteConflictError()
    if isinstance(error, oslo.DBConnectionError) or _is_lost(error, found):
        return ConnectionLostError()
    if isinstance(error, sa.exc.TimeoutError):
        return UnavailableError("no database connection was free in time")
    if isinstance(error, sa.exc.OperationalError | oslo.DBNonExistentDatabase) or _is_refused(found):
        return UnavailableError("the database refused to work")
    return error


def driver_error(error: BaseException) -> BaseException | None:
    """The DBAPI's own error below the libraries' wrappers."""
    inner: object = error
    while isinstance(inner, oslo.DBError) and inner.inner_exception is not None:
        inner = inner.inner_exception
    if isinstance(inner, sa.exc.DBAPIError):
        inner = inner.orig
    return inner if isinstance(inner, BaseException) else None


def _is_conflict(driver_error: BaseException | None) -> bool:
    if isinstance(driver_error, sqlite3.Error):
        code = getattr(driver_error, "sqlite_errorcode", None)
        return code is not None and code & PRIMARY_CODE in _SQLITE_BUSY
    if getattr(driver_error, "sqlstate", None) in _CONFLICT_STATES:
        return True
    return _number(driver_error) in _CONFLICT_NUMBERS


def _is_unstorable(driver_error: BaseException | None) -> bool:
    if isinstance(driver_error, OverflowError) or is_from(driver_error, PSYCOPG, "DataError"):
        return True
    return _number(driver_error) in _UNSTORABLE_NUMBERS


def _is_refused(driver_error: BaseException | None) -> bool:
    """Errors of other classes that are no fault of the statement: no rights, or no database in the file."""
    if isinstance(driver_error, sqlite3.Error):
        code = getattr(driver_error, "sqlite_errorcode", None)
        return code is not None and code & PRIMARY_CODE in _SQLITE_UNUSABLE
    return getattr(driver_error, "sqlstate", None) == _NO_RIGHTS


def _number(driver_error: BaseException | None) -> object:
    """MariaDB's error number: PyMySQL puts it first."""
    return driver_error.args[0] if driver_error is not None and driver_error.args else None


def _is_lost(error: Exception, driver_error: BaseException | None) -> bool:
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return True
    if getattr(driver_error, "sqlstate", None) in _SHUTDOWN_STATES:
        return True
    if _is_of_no_kind(driver_error) or is_from(driver_error, PSYCOPG, "OperationalError", "InternalError"):
        # An error without a state comes from the driver: the server was not reached, or its answer broke off.
        return getattr(driver_error, "sqlstate", None) is None
    return _number(driver_error) in _LOST_NUMBERS


def _is_of_no_kind(driver_error: BaseException | None) -> bool:
    """Whether psycopg could not tell what kind of error it is."""
    return is_from(driver_error, PSYCOPG, "DatabaseError") and type(driver_error).__name__ == "DatabaseError"
