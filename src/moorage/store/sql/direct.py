"""Queries outside of transactions, which searches wait for: they go straight to the driver."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


class DirectQuery:
    """A query of one statement, in the words of one database. Safe for several threads.

    It raises whatever the driver raises. The caller then asks the same through SQLAlchemy, which names the
    error.
    """

    def __init__(self, engine: sa.Engine, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> None:
        """``query`` binds only values that drivers take as they are."""
        self._engine = engine
        self._compiled = query.compile(dialect=engine.dialect)
        self.text = str(self._compiled)

    def rows(self, **values: object) -> list[tuple[Any, ...]]:
        """All rows, as the driver returns them."""
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
