"""From a driver's error to what the store's callers can act on.

oslo.db's filters name the error by its class; what they leave open is told apart by the
drivers' own codes. No message text is looked at here, and none goes to a client.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from oslo_db import exception as oslo

from moorage.model.errors import UnavailableError


class WriteConflictError(Exception):
    """The transaction lost against another one and was rolled back: do it again from the read."""


class ConnectionLostError(Exception):
    """The connection broke. Outside of COMMIT this means that nothing was written."""


class ConstraintError(Exception):
    """A row that others wrote meanwhile (or that compares equal in this database) is in the way.

    ``columns`` are those of the unique constraint, empty if it is another kind.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        super().__init__(*columns)
        self.columns = columns


_CONFLICT_STATES = frozenset(("40001", "40P01", "55P03"))
"""PostgreSQL: serialization failure, deadlock, lock not available."""

_SHUTDOWN_STATES = frozenset(
    ("57P01", "57P02", "57P03", "08000", "08003", "08006", "08001", "25006", "25P03", "53300")
)
"""PostgreSQL: the server goes down or comes up, the connection is not (or no longer) there, has idled
in a transaction or is one too many, or it leads to a standby that only reads: another one may lead
to the present writer."""

_LOST_NUMBERS = frozenset((1040, 1047, 1053, 1180, 1203, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 4031))
"""MariaDB and MySQL: too many connections, Galera node not ready, or cut off from the others in COMMIT,
shutdown, read-only server, connection not to be had, killed, gone or idle for too long."""

_CONFLICT_NUMBERS = frozenset((1020, 1205, 1213, 3101))
"""MariaDB and MySQL: record changed, lock wait timeout, deadlock or Galera certification."""

_SQLITE_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))

PRIMARY_CODE = 0xFF
"""SQLite keeps the primary result code in the low byte of an extended one."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of this module in place of the libraries'."""
    try:
        yield
    except (oslo.DBError, sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise translate(error) from error


def translate(error: Exception) -> Exception:
    """The error of this module, or of the model, that ``error`` stands for."""
    if isinstance(error, oslo.DBDuplicateEntry):
        return ConstraintError(tuple(error.columns or ()))
    if isinstance(error, oslo.DBReferenceError | oslo.DBConstraintError):
        return ConstraintError(())
    driver_error = _driver_error(error)
    if isinstance(error, oslo.DBDeadlock) or _is_conflict(driver_error):
        return WriteConflictError()
    if isinstance(error, oslo.DBConnectionError) or _is_lost(error, driver_error):
        return ConnectionLostError()
    if isinstance(error, sa.exc.TimeoutError):
        return UnavailableError("no database connection was free in time")
    if isinstance(error, sa.exc.OperationalError | oslo.DBNonExistentDatabase):
        return UnavailableError("the database refused to work")
    return error


def _driver_error(error: BaseException) -> BaseException | None:
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


def _number(driver_error: BaseException | None) -> object:
    """MariaDB's error number: PyMySQL puts it first."""
    return driver_error.args[0] if driver_error is not None and driver_error.args else None


def _is_lost(error: Exception, driver_error: BaseException | None) -> bool:
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return True
    if getattr(driver_error, "sqlstate", None) in _SHUTDOWN_STATES:
        return True
    if isinstance(error, sa.exc.OperationalError) and isinstance(driver_error, psycopg.Error):
        # An error without a state is the driver's own, not the server's: nobody could be reached.
        return driver_error.sqlstate is None
    return _number(driver_error) in _LOST_NUMBERS
