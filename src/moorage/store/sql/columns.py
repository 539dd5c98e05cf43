"""Queries that are read column by column: an index takes millions of rows, and no object for each of them.

PostgreSQL puts each column into one array, whose bytes are taken as they are. MariaDB makes one JSON array of
all rows. SQLite's driver makes tuples faster than either of these could be made.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from moorage.store.sql.statements import WANTED, PerDatabase, Prepared, is_wanted, listed

Column = Any
"""``Integers``, ``Floats`` or a list of texts, by the type of the column."""

FIRST, LAST, MOST = "first", "last", "most"

_ELEMENTS: Final = {20: ">i8", 23: ">i4", 701: ">f8"}
"""Forms of elements, by PostgreSQL's number of their type."""

_TYPE_AT, _LENGTH_AT, _HEADER = 8, 12, 20
"""Where an array in PostgreSQL's binary form has the type and the number of its elements, and where these
begin. Each has its length before it, in ``_PREFIX`` bytes."""

_PREFIX: Final = 4


class ColumnQuery(PerDatabase):
    """A query of columns without NULL, whose rows belong to providers. Rows come in any order."""

    def __init__(self, query: sa.Select[Any], owner: sa.ColumnElement[int]) -> None:
        """``owner``: the column of provider ids."""
        super().__init__()
        self._query = query
        self._owner = owner
        types = [column.type for column in query.selected_columns]
        self._typecodes = [
            None if isinstance(kind, sa.String) else "d" if isinstance(kind, sa.Float) else "q"
            for kind in types
        ]

    def _read(self, connection: sa.Connection, values: dict[str, Any]) -> list[Column]:
        dialect = connection.dialect
        if _has_arrays(dialect):
            return self._from_arrays(self.prepared(dialect).execute(connection, values))
        rows = (
            self._driver_rows(connection, values)
            if self.prepared(dialect).is_complete
            else connection.execute(self.statement(dialect), values).all()
        )
        columns = zip(*rows, strict=True) if rows else ((),) * len(self._typecodes)
        return [_column(code, values) for code, values in zip(self._typecodes, columns, strict=True)]

    def _from_arrays(self, cursor: Any) -> list[Column]:
        row = cursor.pgresult
        columns = [_of_array(code, row.get_value(0, place)) for place, code in enumerate(self._typecodes)]
        cursor.close()
        return columns

    def _bound(self, dialect: sa.Dialect) -> sa.Select[Any]:
        """The query for the rows of some providers."""
        raise NotImplementedError

    def _build(self, dialect: sa.Dialect) -> Any:
        built = self._bound(dialect)
        return _in_arrays(built) if _has_arrays(dialect) else built

    def _prepared(self, dialect: sa.Dialect, built: Any) -> Prepared:
        return Prepared(dialect, built, binary=True) if _has_arrays(dialect) else Prepared(dialect, built)


class ColumnsBetween(ColumnQuery):
    """For the providers whose ids lie between two, which are among them."""

    def between(self, connection: sa.Connection, first: int, last: int) -> list[Column]:
        """All columns."""
        return self._read(connection, {FIRST: first, LAST: last})

    def _bound(self, dialect: sa.Dialect) -> sa.Select[Any]:
        first, last = [sa.bindparam(name, type_=sa.BigInteger) for name in (FIRST, LAST)]
        return self._query.where(self._owner.between(first, last))


class ColumnsAmong(ColumnQuery):
    """For providers that are named by their ids."""

    def among(self, connection: sa.Connection, ids: Sequence[int]) -> list[Column]:
        """All columns."""
        return self._read(connection, {WANTED: listed(connection.dialect, ids)})

    def _bound(self, dialect: sa.Dialect) -> sa.Select[Any]:
        return self._query.where(is_wanted(dialect, self._owner, WANTED))


class ColumnsAfter(ColumnQuery):
    """For the first providers whose ids are above a given one."""

    def after(self, connection: sa.Connection, last: int, most: int) -> list[Column]:
        """The columns of ``most`` rows, or of all if there are fewer."""
        return self._read(connection, {LAST: last, MOST: most})

    def _bound(self, dialect: sa.Dialect) -> sa.Select[Any]:
        last, most = [sa.bindparam(name, type_=sa.BigInteger) for name in (LAST, MOST)]
        first_ones = self._query.where(self._owner > last).order_by(self._owner).limit(most)
        return sa.select(*first_ones.subquery().c)


def _has_arrays(dialect: sa.Dialect) -> bool:
    """Whether the server makes arrays, and the driver hands over their bytes."""
    return dialect.driver == "psycopg"


def _in_arrays(query: sa.Select[Any]) -> sa.Select[Any]:
    named = [column.label(f"column_{place}") for place, column in enumerate(query.selected_columns)]
    return sa.select(*map(sa.func.array_agg, query.with_only_columns(*named).subquery().c))


def _column(code: str | None, values: Sequence[Any]) -> Column:
    return list(values) if code is None else memoryview(array(code, values))


def _of_array(code: str | None, raw: bytes | None) -> Column:
    """The elements of an array in PostgreSQL's binary form; None stands for no rows."""
    if raw is None:
        return _column(code, ())
    if code is None:
        return _texts(raw)
    kind = _ELEMENTS[_number(raw, _TYPE_AT)]
    elements = np.frombuffer(raw, dtype=[("length", ">i4"), ("value", kind)], offset=_HEADER)
    return elements["value"].astype(np.int64 if code == "q" else np.float64).data


def _texts(raw: bytes) -> list[str]:
    texts: list[str] = []
    start = _HEADER
    for _ in range(_number(raw, _LENGTH_AT)):
        stop = start + _PREFIX + _number(raw, start)
        texts.append(str(raw[start + _PREFIX : stop], "utf-8"))
        start = stop
    return texts


def _number(raw: bytes, position: int) -> int:
    return int.from_bytes(raw[position : position + 4])
