"""Rows that come as one value, where that is faster than one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

Query = sa.Select[Any] | sa.CompoundSelect[Any]

MARIADB_ARRAYS: Final = (10, 6, 0)
"""Version from which on every MariaDB can make an array of all rows. MySQL has not been tried."""


def packs(dialect: sa.Dialect) -> bool:
    """Whether rows as one value are faster. Known once the server has been reached."""
    return (
        dialect.driver == "pymysql"
        and isinstance(dialect, mysql.dialect)
        and dialect.is_mariadb
        and (dialect.server_version_info or ()) >= MARIADB_ARRAYS
    )


def packed(query: Query) -> Query:
    """``query`` with one row for each of its parts: how many rows the part has, and these rows as JSON.

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
    """The rows in answers to ``packed``, or None if the server has cut some of them off.

    A float without decimal places becomes an integer.
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


BETWEEN: Final = "\x1f"
"""What stands between values. If a value has it, there seem to be more of them."""

WHOLE: Final = 4
"""A text that is shorter than a server's bound by so many bytes was not cut: no character has more."""


def joined(query: sa.Select[Any]) -> sa.Select[Any]:
    """``query`` with one row: how many rows it has, all values as one text, and the longest text that comes.

    For columns that are never NULL. Rows come in any order. MariaDB makes it in a fraction of the time that
    JSON of long texts takes.
    """
    between = sa.literal(BETWEEN)
    row = sa.func.concat_ws(between, *query.selected_columns)
    bound: sa.ColumnElement[Any] = sa.literal_column("@@group_concat_max_len")
    return query.with_only_columns(sa.func.count(), sa.func.group_concat(row.op("SEPARATOR")(between)), bound)


def parted(answer: Sequence[Any], columns: int) -> list[tuple[str, ...]] | None:
    """The rows in an answer to ``joined``, of so many texts each; None if they cannot be read from it.

    The server may have cut it off, or a value may have what stands between values.
    """
    count, text, bound = answer
    if not count:
        return []
    size = len(text) if text.isascii() else len(text.encode())
    values = text.split(BETWEEN)
    if size > bound - WHOLE or len(values) != count * columns:
        return None
    return list(zip(*[iter(values)] * columns, strict=True))


class WithRows(Protocol):
    """A statement with its rows: see ``Prepared`` in ``statements``."""

    def rows(self, connection: sa.Connection, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """All rows."""
        ...


class Packed:
    """A query, in the words of one kind of database, that returns its rows as one value.

    PyMySQL looks at each column of each row on its own, which takes longer than all else that a group of
    claims does. MariaDB makes one JSON array of all rows in less time than it takes to send them one by one.
    It cuts texts that are longer than its settings allow, perhaps between two rows, so that the rest looks
    whole. Therefore it counts the rows as well, and a reader that gets fewer asks for them one by one.
    """

    def __init__(self, prepared: WithRows, query: Query) -> None:
        """``prepared``: what ``packed`` made of the query."""
        self._prepared = prepared
        first = query.selects[0] if isinstance(query, sa.CompoundSelect) else query
        self._floats = [
            place for place, column in enumerate(first.selected_columns) if isinstance(column.type, sa.Float)
        ]

    def rows(self, connection: sa.Connection, values: dict[str, Any]) -> list[list[Any]] | None:
        """All rows, in any order; None if they are too long for one value. Raises as ``Prepared.execute``."""
        found = unpacked(self._prepared.rows(connection, values))
        for place in self._floats:
            for row in found or ():
                if row[place] is not None:
                    row[place] = float(row[place])
        return found
