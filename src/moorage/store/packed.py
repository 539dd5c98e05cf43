"""Rows that come as one value: what a driver that is written in Python reads several times faster.

PyMySQL looks at each column of each row by itself, which takes longer than all else that a group of
claims does. MariaDB makes one JSON array of all rows for less than it takes to send them one by one. It
cuts texts that are longer than its settings allow, maybe between two rows, so that what is left looks
whole: therefore it counts the rows as well, and who finds fewer asks for them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from moorage.store.direct import Prepared

Query = sa.Select[Any] | sa.CompoundSelect[Any]

MARIADB_ARRAYS: Final = (10, 6, 0)
"""Version from which on every MariaDB makes an array of all rows; MySQL's has not been tried."""


def packs(dialect: sa.Dialect) -> bool:
    """Whether rows had better come as one value; to be asked once the server has been met."""
    return (
        dialect.driver == "pymysql"
        and isinstance(dialect, mysql.dialect)
        and dialect.is_mariadb
        and (dialect.server_version_info or ()) >= MARIADB_ARRAYS
    )


def packed(query: Query) -> Query:
    """``query`` with one row for each of its parts: how many rows the part has, and these as JSON.

    For columns of texts and numbers. The order of rows is lost.
    """
    if isinstance(query, sa.CompoundSelect):
        return sa.union_all(*(_packed(part) for part in query.selects))
    return _packed(query)


def _packed(query: Any) -> sa.Select[Any]:
    columns = query.selected_columns
    if not query._group_by_clauses:
        packed_: sa.Select[Any] = query.with_only_columns(*_as_array(columns)).order_by(None)
        return packed_
    # Constants among the columns may have the same name.
    named = [column.label(f"column_{place}") for place, column in enumerate(columns)]
    groups = query.with_only_columns(*named).subquery()
    return sa.select(*_as_array(groups.c))


def _as_array(columns: Iterable[sa.ColumnElement[Any]]) -> tuple[sa.ColumnElement[Any], ...]:
    return sa.func.count(), sa.func.json_arrayagg(sa.func.json_array(*columns))


def unpacked(parts: Iterable[Sequence[Any]]) -> list[list[Any]] | None:
    """The rows that answers to ``packed`` hold, or None if the server has cut some of them off.

    A float without decimal places comes as an integer.
    """
    found: list[list[Any]] = []
    for count, text in parts:
        if count:
            try:
                rows = orjson.loads(text)
            except orjson.JSONDecodeError:
                return None
            if len(rows) != count:
                return None
            found += rows
    return found


class Packed:
    """A query, in the words of one kind of database, whose rows come as one value."""

    def __init__(self, dialect: sa.Dialect, query: Query) -> None:
        self._prepared = Prepared(dialect, packed(query))
        first = query.selects[0] if isinstance(query, sa.CompoundSelect) else query
        self._floats = [
            place for place, column in enumerate(first.selected_columns) if isinstance(column.type, sa.Float)
        ]

    def rows(self, connection: sa.Connection, values: dict[str, Any]) -> list[list[Any]] | None:
        """All rows, in any order; None if they are too long to come so. Raises as ``Prepared.execute``."""
        found = unpacked(self._prepared.rows(connection, values))
        for place in self._floats:
            for row in found or ():
                if row[place] is not None:
                    row[place] = float(row[place])
        return found
