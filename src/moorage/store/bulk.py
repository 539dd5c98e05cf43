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
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor

from moorage.model.valueclass import valueclass
from moorage.store.batches import batches
from moorage.store.direct import Prepared
from moorage.store.packed import Packed, packs
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


class Forms(NamedTuple):
    """A statement in the form for one kind of database.

    ``prepared``: ready for the driver. ``packed``: the same, where its rows had better come as one value.
    """

    statement: Any
    prepared: Prepared
    packed: Packed | None


class PerDatabase:
    """A statement that is built once for each kind of database that it meets."""

    def __init__(self) -> None:
        self._built: dict[tuple[str, str, bool], Forms] = {}

    def statement(self, dialect: sa.Dialect) -> Any:
        """The statement in the form for ``dialect``."""
        return self._forms(dialect).statement

    def prepared(self, dialect: sa.Dialect) -> Prepared:
        """The same, ready for the driver."""
        return self._forms(dialect).prepared

    def _forms(self, dialect: sa.Dialect) -> Forms:
        key = (dialect.name, dialect.driver, makes_tables(dialect))
        forms = self._built.get(key)
        if forms is None:
            built = self._build(dialect)
            prepared = Prepared(dialect, built)
            is_query = isinstance(built, sa.Select | sa.CompoundSelect)
            packed = Packed(dialect, built) if is_query and prepared.is_complete and packs(dialect) else None
            forms = self._built[key] = Forms(built, prepared, packed)
        return forms

    def _driver_rows(self, connection: sa.Connection, given: dict[str, Any]) -> list[Any]:
        """What a query that is complete finds, of texts and numbers, without SQLAlchemy in between."""
        _, prepared, packed = self._forms(connection.dialect)
        if packed is not None:
            found = packed.rows(connection, given)
            if found is not None:
                return found
        return prepared.rows(connection, given)

    def _build(self, dialect: sa.Dialect) -> Any:
        raise NotImplementedError


class Statement(PerDatabase):
    """A statement that is the same for all databases."""

    def __init__(self, statement: Any) -> None:
        super().__init__()
        self._statement = statement

    def _build(self, dialect: sa.Dialect) -> Any:
        return self._statement


class Selection(PerDatabase):
    """A query or a DELETE for the rows in which a column has one of many values."""

    def __init__(self, statement: Any, column: sa.ColumnElement[Any]) -> None:
        super().__init__()
        self._unbound = statement
        self._column = column

    def rows(self, connection: sa.Connection, values: Iterable[object]) -> list[Any]:
        """All rows that it finds."""
        return [row for given in self._given(connection, values) for row in self._ordinary(connection, given)]

    def tuples(self, connection: sa.Connection, values: Iterable[object]) -> list[Sequence[Any]]:
        """The same in any order, with the least work: for columns of texts and integers."""
        if not self.prepared(connection.dialect).is_complete:
            return [tuple(row) for row in self.rows(connection, values)]
        return [
            row for given in self._given(connection, values) for row in self._driver_rows(connection, given)
        ]

    def execute(self, connection: sa.Connection, values: Iterable[object]) -> None:
        """Carry it out; without values nothing is asked."""
        prepared = self.prepared(connection.dialect)
        for given in self._given(connection, values):
            if prepared.is_complete:
                prepared.execute(connection, given)
            else:
                self._ordinary(connection, given)

    def _given(self, connection: sa.Connection, values: Iterable[object]) -> Iterable[dict[str, Any]]:
        return ({WANTED: _listed(connection.dialect, batch)} for batch in batches(values))

    def _ordinary(self, connection: sa.Connection, given: dict[str, Any]) -> Any:
        return connection.execute(self.statement(connection.dialect), given)

    def _build(self, dialect: sa.Dialect) -> Any:
        return self._unbound.where(_is_wanted(dialect, self._column, WANTED))


@valueclass(frozen=True, slots=True)
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
        """All rows that they find for the values, given by the parts' names, in any order."""
        dialect = connection.dialect
        prepared = self.prepared(dialect)
        found: list[Any] = []
        for batch in zip_longest(*map(batches, values.values()), fillvalue=[]):
            # A list of nothing is no list everywhere.
            wanted = {name: given or [self._nothing[name]] for name, given in zip(values, batch, strict=True)}
            bound = {name: _listed(dialect, given) for name, given in wanted.items()}
            if prepared.is_complete:
                found += self._driver_rows(connection, bound)
            else:
                found += connection.execute(self.statement(dialect), bound)
        return found

    def _build(self, dialect: sa.Dialect) -> Any:
        return sa.union_all(
            *(part.query.where(_is_wanted(dialect, part.column, part.name)) for part in self._parts)
        )


def _listed(dialect: sa.Dialect, values: Sequence[object]) -> object:
    """Values as the parameter that ``_is_wanted`` is about."""
    if dialect.name == "postgresql":
        return _array(values)
    as_json = dialect.name == "sqlite" and makes_tables(dialect)
    return orjson.dumps(values).decode() if as_json else values


def _array(values: Sequence[object]) -> str:
    """Texts or integers as PostgreSQL writes arrays: its driver looks at each text several times to do so."""
    if values and isinstance(values[0], str):
        quoted = [str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values]
        return '{"' + '","'.join(quoted) + '"}'
    return "{" + ",".join(map(str, values)) + "}"


def _is_wanted(dialect: sa.Dialect, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    if dialect.name == "postgresql":
        # A cast to the column's own type would cut texts that are too long, and find others.
        single = sa.Text() if isinstance(column.type, sa.String) else column.type
        written = sa.bindparam(name, type_=sa.Text())
        return column == sa.any_(sa.cast(written, postgresql.ARRAY(single)))
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


def _bound(dialect: sa.Dialect, rows: Sequence[Row]) -> dict[str, Any]:
    """Rows, and the time: SQLite has none, but a text that SQLAlchemy makes of it."""
    now = utcnow()
    told = f"{now:%Y-%m-%d %H:%M:%S.%f}" if dialect.name == "sqlite" else now
    return {GIVEN: orjson.dumps(rows).decode(), NOW: told}


def _text(words: str) -> sa.TextClause:
    """A statement of names of our own tables, columns and types."""
    return sa.text(words)


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
                self.prepared(dialect).execute(connection, _bound(dialect, batch))
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

    def add(self, wanted: int, carried_out: DBAPICursor | sa.CursorResult[Any]) -> None:
        """Of one statement."""
        self._wanted += wanted
        if carried_out.rowcount < 0:
            # Its answer has not come yet: see ``together``.
            self._cursors.append(carried_out)
        else:
            self._found += carried_out.rowcount

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
                outcome.add(len(batch), self.prepared(dialect).execute(connection, _bound(dialect, batch)))
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
            # The given rows lead, and the key is used also in a small table: else all of it would be read,
            # and locked, or waited for.
            return _text(
                f"UPDATE {given} STRAIGHT_JOIN {name} FORCE INDEX (PRIMARY) ON {same} SET "  # noqa: S608  # nosec B608
                f"{name}.generation = {name}.generation + {GIVEN}.step, {name}.updated_at = :{NOW}"
            )
        return _text(
            f"UPDATE {name} SET generation = {name}.generation + {GIVEN}.step, "  # noqa: S608  # nosec B608
            f"updated_at = :{NOW} FROM {given} WHERE {same}"
        )
