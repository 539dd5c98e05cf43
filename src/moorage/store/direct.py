"""Statements that go straight to the driver, because every search or every claim waits for them.

SQLAlchemy's way from a statement to its rows takes longer than most databases take to answer. So
these are compiled once.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPICursor

STATEMENTS: Final = logging.getLogger("sqlalchemy.engine.Engine")
"""Where SQLAlchemy tells of its statements, so that whoever wants to see them sees these as well."""


class Prepared:
    """A statement within a transaction, in the words of one kind of database.

    It binds only values that drivers take as they are, and gives them as drivers do.
    """

    def __init__(self, dialect: sa.Dialect, statement: Any) -> None:
        self._compiled = statement.compile(dialect=dialect)
        self._order = self._compiled.positiontup
        self.text = str(self._compiled)

    @property
    def is_complete(self) -> bool:
        """Whether the text holds for any values: some drivers want a parameter for each of a list."""
        return not self._compiled.post_compile_params

    def execute(self, connection: sa.Connection, values: dict[str, Any]) -> DBAPICursor:
        """The driver's cursor. Raises as SQLAlchemy would, who watches it is told as well."""
        named = self._compiled.construct_params(values)
        given: Any = named if self._order is None else tuple([named[name] for name in self._order])
        cursor: DBAPICursor | None = None
        watchers = connection.dispatch
        STATEMENTS.info("%s [straight to the driver] %.1000r", self.text, given)
        try:
            # A connection that is lost may say so here already.
            cursor = connection.connection.cursor()
            for watch in watchers.before_cursor_execute:
                watch(connection, cursor, self.text, given, None, False)
            cursor.execute(self.text, given)
            for watch in watchers.after_cursor_execute:
                watch(connection, cursor, self.text, given, None, False)
        except connection.dialect.loaded_dbapi.Error as error:
            # Nothing public does the same: name the error, tell the filters, leave a connection that is lost.
            connection._handle_dbapi_exception(error, self.text, given, cursor, None)
        return cursor

    def rows(self, connection: sa.Connection, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """All rows. Raises as ``execute``."""
        cursor = self.execute(connection, values)
        try:
            found = list(cursor.fetchall())
        except connection.dialect.loaded_dbapi.Error as error:
            connection._handle_dbapi_exception(error, self.text, None, cursor, None)
        finally:
            cursor.close()
        STATEMENTS.debug("Rows %.1000r", found)
        return found


class DirectQuery:
    """A query of one statement, in the words of one database. Safe for several threads.

    Errors are whatever the driver raises: who uses this has an ordinary way to ask the same, which says in
    our words what is wrong.
    """

    def __init__(self, engine: sa.Engine, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> None:
        """``query`` binds only values that drivers take as they are."""
        self._engine = engine
        self._compiled = query.compile(dialect=engine.dialect)
        self.text = str(self._compiled)

    def rows(self, **values: object) -> list[tuple[Any, ...]]:
        """All rows, as the driver gives them."""
        named = self._compiled.construct_params(values)
        order = self._compiled.positiontup
        given: Any = named if order is None else [named[name] for name in order]
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            if given:
                cursor.execute(self.text, given)
            else:
                cursor.execute(self.text)
            found = list(cursor.fetchall())
            cursor.close()
        except BaseException:
            connection.invalidate()
            raise
        connection.close()
        return found
