"""Many values in one statement, in the form that each kind of database takes fastest.

A statement keeps its text however many values there are, so that neither SQLAlchemy nor the server
has to look at a new text for each number of values; and many rows cost one round trip, not one
each. Rows are given as JSON, which is far cheaper to make here than thousands of bound parameters.
Older servers without JSON tables get ordinary statements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from moorage.store.batches import batches
from moorage.store.tables import utcnow

WANTED = "wanted"
GIVEN = "given"
NOW = "now"
OFFSET = "offset_"

LIST_DRIVERS = frozenset(("pymysql", "mysqldb"))
"""Drivers for MariaDB and MySQL that write a list into the statement by themselves, quoted."""

SQLITE_JSON = (3, 38, 0)
MARIADB_JSON = (10, 6, 0)
MYSQL_JSON = (8, 0, 4)
"""Versions from which on every server makes a table of JSON."""

Row = tuple[Any, ...]
Bump = tuple[int, int, int]
"""Database id, generation as it was read, and by how much it goes up."""


def makes_tables(dialect: sa.Dialect) -> bool:
    """Whether a server makes a table of values that are given as one parameter."""
    version = dialect.server_version_info or (0,)
    if isinstance(dialect, sqlite.dialect):
        return version >= SQLITE_JSON
    if isinstance(dialect, mysql.dialect):
        return version >= (MARIADB_JSON if dialect.is_mariadb else MYSQL_JSON)
    return dialect.name == "postgresql"


class PerDatabase:
    """A statement that is built once for each kind of database that it meets."""

    def __init__(self) -> None:
        self._built: dict[tuple[str, str, bool], Any] = {}

    def statement(self, dialect: sa.Dialect) -> Any:
        """The statement in the form for ``dialect``."""
        key = (dialect.name, dialect.driver, makes_tables(dialect))
        built = self._built.get(key)
        if built is None:
            built = self._built[key] = self._build(dialect)
        return built

    def _build(self, dialect: sa.Dialect) -> Any:
        raise NotImplementedError


class Selection(PerDatabase):
    """A query or a DELETE for the rows in which a column has one of many values."""

    def __init__(self, statement: Any, column: sa.ColumnElement[Any]) -> None:
        super().__init__()
        self._unbound = statement
        self._column = column

    def rows(self, connection: sa.Connection, values: Iterable[object]) -> list[Any]:
        """All rows that it finds."""
        return [row for result in self._results(connection, values) for row in result]

    def execute(self, connection: sa.Connection, values: Iterable[object]) -> None:
        """Carry it out; without values nothing is asked."""
        for _ in self._results(connection, values):
            pass

    def _results(self, connection: sa.Connection, values: Iterable[object]) -> Iterable[Any]:
        dialect = connection.dialect
        for batch in batches(values):
            yield connection.execute(self.statement(dialect), {WANTED: _listed(dialect, batch)})

    def _build(self, dialect: sa.Dialect) -> Any:
        return self._unbound.where(_is_wanted(dialect, self._column, WANTED))


@dataclass(frozen=True, slots=True)
class Part:
    """A query for the rows in which ``column`` has one of the values that are given under ``name``.

    ``nothing`` is a value that no row has.
    """

    query: sa.Select[Any]
    column: sa.ColumnElement[Any]
    name: str
    nothing: object


class Selections(PerDatabase):
    """Several queries with the same number of columns in one statement."""

    def __init__(self, *parts: Part) -> None:
        super().__init__()
        self._parts = parts
        self._nothing = {part.name: part.nothing for part in parts}

    def rows(self, connection: sa.Connection, **values: Iterable[object]) -> list[Any]:
        """All rows that they find for the values, which are given by the parts' names."""
        dialect = connection.dialect
        found: list[Any] = []
        for batch in zip_longest(*map(batches, values.values()), fillvalue=[]):
            # A list of nothing is no list everywhere.
            wanted = {name: given or [self._nothing[name]] for name, given in zip(values, batch, strict=True)}
            bound = {name: _listed(dialect, given) for name, given in wanted.items()}
            found += connection.execute(self.statement(dialect), bound)
        return found

    def _build(self, dialect: sa.Dialect) -> Any:
        return sa.union_all(
            *(part.query.where(_is_wanted(dialect, part.column, part.name)) for part in self._parts)
        )


def _listed(dialect: sa.Dialect, values: Sequence[object]) -> object:
    """Values as the parameter that ``_is_wanted`` is about."""
    as_json = dialect.name == "sqlite" and makes_tables(dialect)
    return orjson.dumps(values).decode() if as_json else values


def _is_wanted(dialect: sa.Dialect, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    if dialect.name == "postgresql":
        # A cast to the column's own type would cut texts that are too long, and find others.
        single = sa.Text() if isinstance(column.type, sa.String) else column.type
        return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(single)))
    if dialect.name == "mysql" and dialect.driver in LIST_DRIVERS:
        return column.bool_op("IN")(sa.bindparam(name, type_=sa.types.NullType()))
    if dialect.name == "sqlite" and makes_tables(dialect):
        listed = sa.func.json_each(sa.bindparam(name, type_=sa.String())).table_valued("value")
        return column.in_(sa.select(listed.c.value))
    return column.in_(sa.bindparam(name, expanding=True))


def _wide(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """A type in which a text that is too long stays so, to be refused by the column it is for."""
    if isinstance(kind, sa.String) and kind.length is not None:
        return sa.String(kind.length + 1)
    return kind


def _given(dialect: sa.Dialect, columns: Sequence[sa.ColumnClause[Any]]) -> str:
    """A table named ``given`` of these columns, whose rows are bound as ``_bound`` says."""
    types = {column.name: _wide(column.type).compile(dialect) for column in columns}
    if dialect.name == "postgresql":
        parts = ", ".join(
            f"CAST(value->>{place} AS {type_}) AS {name}" for place, (name, type_) in enumerate(types.items())
        )
        table = f"json_array_elements(CAST(:{GIVEN} AS JSON))"
        return f"(SELECT {parts} FROM {table}) AS {GIVEN}"  # noqa: S608  # nosec B608
    if dialect.name == "sqlite":
        parts = ", ".join(f"value->>{place} AS {name}" for place, name in enumerate(types))
        return f"(SELECT {parts} FROM json_each(:{GIVEN})) AS {GIVEN}"  # noqa: S608  # nosec B608
    parts = ", ".join(
        f"{name} {type_} PATH '$[{place}]' ERROR ON ERROR"
        for place, (name, type_) in enumerate(types.items())
    )
    return f"JSON_TABLE(:{GIVEN}, '$[*]' COLUMNS ({parts})) AS {GIVEN}"


def _bound(rows: Sequence[Row]) -> dict[str, Any]:
    return {GIVEN: orjson.dumps(rows).decode(), NOW: utcnow()}


def _text(words: str) -> sa.TextClause:
    """A statement that also knows the time."""
    return sa.text(words).bindparams(sa.bindparam(NOW, type_=sa.DateTime()))


class Insertion(PerDatabase):
    """An INSERT of many rows, each a tuple in the order of ``names``; ``created_at`` is now.

    ``origin``: a query without parameters for the number from which the first column counts.
    """

    def __init__(self, table: sa.Table, *names: str, origin: sa.Select[Any] | None = None) -> None:
        super().__init__()
        self._table = table
        self._columns = [table.c[name] for name in names]
        self._names = names
        self._origin = origin

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Insert ``rows``; nothing is asked without any."""
        dialect = connection.dialect
        for batch in batches(rows):
            if makes_tables(dialect):
                connection.execute(self.statement(dialect), _bound(batch))
            else:
                named = [dict(zip(self._names, row, strict=True)) for row in batch]
                # Inline: without asking for the ids that the database gives.
                statement = self._table.insert().inline()
                if self._origin is not None:
                    first = self._names[0]
                    counted = self._origin.scalar_subquery() + sa.bindparam(OFFSET, type_=sa.BigInteger)
                    statement = statement.values({first: counted})
                    named = [{OFFSET if name == first else name: row[name] for name in row} for row in named]
                connection.execute(statement, named)

    def _build(self, dialect: sa.Dialect) -> Any:
        listed = ", ".join(self._names)
        values = [f"{GIVEN}.{name}" for name in self._names]
        if self._origin is not None:
            values[0] = f"({self._origin.compile(dialect=dialect)}) + {values[0]}"
        return _text(
            f"INSERT INTO {self._table.name} ({listed}, created_at) "  # noqa: S608  # nosec B608
            f"SELECT {', '.join(values)}, :{NOW} FROM {_given(dialect, self._columns)}"
        )


@dataclass(slots=True)
class Outcome:
    """How many rows statements were to find. To be asked once all of them have been carried out."""

    _wanted: int = 0
    _found: int = 0
    _cursors: list[Any] = field(default_factory=list)

    def add(self, wanted: int, result: sa.CursorResult[Any]) -> None:
        """Of one statement."""
        self._wanted += wanted
        if result.rowcount < 0:
            # Its answer has not come yet: see ``together``.
            self._cursors.append(result.context.cursor)
        else:
            self._found += result.rowcount

    def is_complete(self) -> bool:
        """Whether they found all."""
        found: int = self._found + sum(cursor.rowcount for cursor in self._cursors)
        return found == self._wanted


class Bumping(PerDatabase):
    """An UPDATE that raises generations where they still are what was read."""

    def __init__(self, table: sa.Table) -> None:
        super().__init__()
        self._table = table
        self._columns = [table.c.id, table.c.generation, sa.column("step", sa.Integer)]

    def execute(self, connection: sa.Connection, rows: Iterable[Bump]) -> Outcome:
        """Tells whether all of them were. Nothing is asked without rows."""
        dialect = connection.dialect
        outcome = Outcome()
        # In order of id: whoever locks rows only now meets others in the same order.
        for batch in batches(sorted(rows)):
            if makes_tables(dialect):
                outcome.add(len(batch), connection.execute(self.statement(dialect), _bound(batch)))
            else:
                self._step_by_step(connection, batch, outcome)
        return outcome

    def _step_by_step(self, connection: sa.Connection, rows: Sequence[Bump], outcome: Outcome) -> None:
        table = self._table
        steps: Mapping[int, list[tuple[int, int]]] = defaultdict(list)
        for id_, generation, step in rows:
            steps[step].append((id_, generation))
        for step, pairs in sorted(steps.items()):
            guarded = table.update().where(sa.tuple_(table.c.id, table.c.generation).in_(pairs))
            raised = guarded.values(generation=table.c.generation + step)
            outcome.add(len(pairs), connection.execute(raised))

    def _build(self, dialect: sa.Dialect) -> Any:
        name, given = self._table.name, _given(dialect, self._columns)
        same = f"{name}.id = {GIVEN}.id AND {name}.generation = {GIVEN}.generation"
        if dialect.name == "mysql":
            # The given rows lead: the other way round the whole table would be read, and locked.
            return _text(
                f"UPDATE {given} STRAIGHT_JOIN {name} ON {same} SET "  # noqa: S608  # nosec B608
                f"{name}.generation = {name}.generation + {GIVEN}.step, {name}.updated_at = :{NOW}"
            )
        return _text(
            f"UPDATE {name} SET generation = {name}.generation + {GIVEN}.step, "  # noqa: S608  # nosec B608
            f"updated_at = :{NOW} FROM {given} WHERE {same}"
        )
