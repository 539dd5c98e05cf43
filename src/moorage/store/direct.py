"""Statements that go straight to the driver, because every search waits for them.

SQLAlchemy's way from a statement to its rows takes longer than most databases take to answer. So
these are compiled once, and only take a connection from the pool. Errors are whatever the driver
raises: who uses this has an ordinary way to ask the same, which says in our words what is wrong.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


class DirectQuery:
    """A query of one statement, in the words of one database. Safe for several threads."""

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
