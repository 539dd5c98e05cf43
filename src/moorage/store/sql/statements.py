"""Statements in the form that each kind of database takes fastest, and many values in one of them.

SQLAlchemy takes longer from a statement to its rows than most databases take to answer. So the statements
that every search or every claim waits for are compiled once, and go straight to the driver.

The text of a statement does not depend on the number of values, so neither SQLAlchemy nor the server must
parse a new text for each number. Many rows cost one round trip, not one each. Rows are passed as JSON,
which is far cheaper to make here than thousands of bound parameters. Older servers without JSON tables get
ordinary statements.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, zip_longest
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor

from moorage.model.valueclass import valueclass
from moorage.store.sql.drivers import PSYCOPG, has_pipeline
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.packed import Packed, packed, packs

ItemT = TypeVar("ItemT")


def utcnow() -> datetime:
    """Now, as the database keeps it: UTC without a zone, whole seconds."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


STATEMENT_VALUES = 10_000
"""Values in one IN list: below the drivers' limits (SQLite 32,766, PostgreSQL 65,535 parameters)."""


def batches(items: Iterable[ItemT], size: int = STATEMENT_VALUES) -> Iterator[list[ItemT]]:
    """The items in lists of at most ``size``; no list for no items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


ROWS_AT_A_TIME = 10_000
"""Rows fetched at a time: bounds what a driver holds beside the rows that are kept."""


def fetched(connection: sa.Connection, query: sa.Executable) -> Iterator[Any]:
    """The rows of a query that may have very many, such as those of an audit."""
    yield from connection.execute(query, execution_options={"yield_per": ROWS_AT_A_TIME})


STATEMENTS: Final = logging.getLogger("sqlalchemy.engine.Engine")
"""SQLAlchemy's own logger of statements, so that a log of statements has these as well."""


class Prepared:
    """A statement within a transaction, in the words of one kind of database.

    It binds only values that drivers take as they are, and gives them as drivers do.
    """

    def __init__(self, dialect: sa.Dialect, statement: Any, **of_cursor: Any) -> None:
        """``of_cursor``: options of the driver's cursor."""
        self._compiled = statement.compile(dialect=dialect)
        self._order = self._compiled.positiontup
        self._of_cursor = of_cursor
        self.text = str(self._compiled)

    @property
    def is_complete(self) -> bool:
        """Whether the text fits any values: some drivers need a parameter for each value of a list."""
        return not self._compiled.post_compile_params

    def execute(self, connection: sa.Connection, values: dict[str, Any]) -> DBAPICursor:
        """The driver's cursor. Raises as SQLAlchemy would, and calls the same event listeners."""
        named = self._compiled.construct_params(values)
        return self._sent(
            connection, named if self._order is None else tuple([named[name] for name in self._order])
        )

    def execute_many(self, connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
        """Execute it for each row of values in the order of the text. Raises as ``execute``."""
        self._sent(connection, rows, many=True).close()

    def _sent(self, connection: sa.Connection, given: Any, *, many: bool = False) -> DBAPICursor:
        cursor: DBAPICursor | None = None
        watchers = connection.dispatch
        STATEMENTS.info("%s [straight to the driver] %.1000r", self.text, given)
        try:
            # A lost connection may show here already.
            cursor = connection.connection.cursor(**self._of_cursor)
            for watch in watchers.before_cursor_execute:
                watch(connection, cursor, self.text, given, None, many)
            (cursor.executemany if many else cursor.execute)(self.text, given)
            for watch in watchers.after_cursor_execute:
                watch(connection, cursor, self.text, given, None, many)
        except connection.dialect.loaded_dbapi.Error as error:
            # No public function does all of this: name the error, pass it to the filters, drop a lost
            # connection.
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


WANTED = "wanted"
GIVEN = "given"
NOW = "now"
OFFSET = "offset_"

LIST_DRIVERS = frozenset(("pymysql", "mysqldb"))
"""Drivers for MariaDB and MySQL that write a list into the statement themselves, quoted."""

SQLITE_JSON = (3, 38, 0)
MARIADB_JSON = (10, 6, 0)
MYSQL_JSON = (8, 0, 4)
"""Versions from which on all servers can make a table of JSON."""

Row = tuple[Any, ...]
Bump = tuple[int, int, int]
"""Database id, generation as it was read, and the number to add to it."""


def makes_tables(dialect: sa.Dialect) -> bool:
    """Whether a server can make a table of values that are passed as one parameter."""
    version = dialect.server_version_info or (0,)
    if isinstance(dialect, sqlite.dialect):
        return version >= SQLITE_JSON
    if isinstance(dialect, mysql.dialect):
        return version >= (MARIADB_JSON if dialect.is_mariadb else MYSQL_JSON)
    return dialect.name == "postgresql"


class BuiltStatement(NamedTuple):
    """A statement in the form for one kind of database.

    ``prepared`` is ready for the driver. ``packed`` is the same where passing all rows as one value is
    faster.
    """

    statement: Any
    prepared: Prepared
    packed: Packed | None


class PerDatabase:
    """A statement that is built once for each kind of database."""

    def __init__(self) -> None:
        self._built: dict[tuple[str, str, bool], BuiltStatement] = {}

    def statement(self, dialect: sa.Dialect) -> Any:
        """The statement in the form for ``dialect``."""
        return self._forms(dialect).statement

    def prepared(self, dialect: sa.Dialect) -> Prepared:
        """The statement, ready for the driver."""
        return self._forms(dialect).prepared

    def _forms(self, dialect: sa.Dialect) -> BuiltStatement:
        key = (dialect.name, dialect.driver, makes_tables(dialect))
        forms = self._built.get(key)
        if forms is None:
            built = self._build(dialect)
            prepared = self._prepared(dialect, built)
            is_query = isinstance(built, sa.Select | sa.CompoundSelect)
            as_one = (
                Packed(Prepared(dialect, packed(built)), built)
                if is_query and prepared.is_complete and packs(dialect)
                else None
            )
            forms = self._built[key] = BuiltStatement(built, prepared, as_one)
        return forms

    def _driver_rows(self, connection: sa.Connection, given: dict[str, Any]) -> list[Any]:
        """The rows of a complete query, of texts and numbers, without SQLAlchemy in between."""
        _, prepared, as_one = self._forms(connection.dialect)
        if as_one is not None:
            found = as_one.rows(connection, given)
            if found is not None:
                return found
        return prepared.rows(connection, given)

    def _build(self, dialect: sa.Dialect) -> Any:
        raise NotImplementedError

    def _prepared(self, dialect: sa.Dialect, built: Any) -> Prepared:
        return Prepared(dialect, built)


class Single(PerDatabase):
    """A statement that takes a few values by name."""

    def execute(self, connection: sa.Connection, values: dict[str, Any]) -> DBAPICursor:
        """Send the statement straight to the driver. Raises as ``Prepared.execute``."""
        return self.prepared(connection.dialect).execute(connection, values)


class Selection(PerDatabase):
    """A query or a DELETE for the rows in which a column has one of many values."""

    def __init__(self, statement: Any, column: sa.ColumnElement[Any]) -> None:
        super().__init__()
        self._unbound = statement
        self._column = column

    def rows(self, connection: sa.Connection, values: Iterable[object]) -> list[Any]:
        """All rows found."""
        return [row for given in self._given(connection, values) for row in self._ordinary(connection, given)]

    def tuples(self, connection: sa.Connection, values: Iterable[object]) -> list[Sequence[Any]]:
        """All rows found, in any order, with the least work: for columns of texts and integers."""
        if not self.prepared(connection.dialect).is_complete:
            return [tuple(row) for row in self.rows(connection, values)]
        return [
            row for given in self._given(connection, values) for row in self._driver_rows(connection, given)
        ]

    def execute(self, connection: sa.Connection, values: Iterable[object]) -> None:
        """Execute the statement. Without values no statement is sent."""
        prepared = self.prepared(connection.dialect)
        for given in self._given(connection, values):
            if prepared.is_complete:
                prepared.execute(connection, given)
            else:
                self._ordinary(connection, given)

    def _given(self, connection: sa.Connection, values: Iterable[object]) -> Iterable[dict[str, Any]]:
        return ({WANTED: listed(connection.dialect, batch)} for batch in batches(values))

    def _ordinary(self, connection: sa.Connection, given: dict[str, Any]) -> Any:
        return connection.execute(self.statement(connection.dialect), given)

    def _build(self, dialect: sa.Dialect) -> Any:
        return self._unbound.where(is_wanted(dialect, self._column, WANTED))


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
        """All rows found for the values, which are given by the parts' names; in any order."""
        dialect = connection.dialect
        prepared = self.prepared(dialect)
        found: list[Any] = []
        for batch in zip_longest(*map(batches, values.values()), fillvalue=[]):
            # Not all databases take an empty list.
            wanted = {name: given or [self._nothing[name]] for name, given in zip(values, batch, strict=True)}
            bound = {name: listed(dialect, given) for name, given in wanted.items()}
            if prepared.is_complete:
                found += self._driver_rows(connection, bound)
            else:
                found += connection.execute(self.statement(dialect), bound)
        return found

    def _build(self, dialect: sa.Dialect) -> Any:
        return sa.union_all(
            *(part.query.where(is_wanted(dialect, part.column, part.name)) for part in self._parts)
        )


def listed(dialect: sa.Dialect, values: Sequence[object]) -> object:
    """Values as the parameter that ``is_wanted`` binds."""
    if dialect.name == "postgresql":
        return _array(values)
    as_json = dialect.name == "sqlite" and makes_tables(dialect)
    return orjson.dumps(values).decode() if as_json else values


def _array(values: Sequence[object]) -> str:
    """Texts or integers as PostgreSQL writes arrays. Its driver would look at each text several times."""
    if values and isinstance(values[0], str):
        quoted = [str(value).replace("\\", "\\\\").replace('"', '\\"') for value in values]
        return '{"' + '","'.join(quoted) + '"}'
    return "{" + ",".join(map(str, values)) + "}"


def is_wanted(dialect: sa.Dialect, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    if dialect.name == "postgresql":
        # A cast to the column's own type would cut texts that are too long, and so find other rows.
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
    """A type that does not cut a text that is too long, so that the column can refuse it."""
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
        # JSONB is parsed once; each ->> of JSON would parse the whole row again.
        table = f"jsonb_array_elements(CAST(:{GIVEN} AS JSONB))"
        return f"(SELECT {parts} FROM {table}) AS {GIVEN}"  # noqa: S608  # nosec B608
    if dialect.name == "sqlite":
        parts = ", ".join(f"value->>{place} AS {name}" for place, name in enumerate(types))
        return f"(SELECT {parts} FROM json_each(:{GIVEN})) AS {GIVEN}"  # noqa: S608  # nosec B608
    parts = ", ".join(
        f"{name} {type_} PATH '$[{place}]' ERROR ON ERROR"
        for place, (name, type_) in enumerate(types.items())
    )
    # Bytes: drivers pass them on, while PyMySQL looks at each character of a text.
    return f"JSON_TABLE(CONVERT(:{GIVEN} USING utf8mb4), '$[*]' COLUMNS ({parts})) AS {GIVEN}"


def _bound(dialect: sa.Dialect, rows: Sequence[Row]) -> dict[str, Any]:
    """Rows, and the time."""
    told = orjson.dumps(rows)
    return {GIVEN: told if dialect.name == "mysql" else told.decode(), NOW: _now(dialect)}


def _now(dialect: sa.Dialect) -> object:
    """The time as drivers take it. SQLite has no type for times: it gets SQLAlchemy's text of one."""
    now = utcnow()
    return f"{now:%Y-%m-%d %H:%M:%S.%f}" if dialect.name == "sqlite" else now


def _text(words: str) -> sa.TextClause:
    """A statement of this program's own names of tables, columns and types."""
    return sa.text(words)


class Insertion(PerDatabase):
    """An INSERT of many rows, each a tuple in the order of ``names``; ``created_at``, if it is there, is now.
    ``origin``: a query without parameters for the number from which the first column counts.
    """

    def __init__(self, table: sa.Table, *names: str, origin: sa.Select[Any] | None = None) -> None:
        super().__init__()
        self._table, self._is_dated = table, "created_at" in table.c
        self._columns = [table.c[name] for name in names]
        self._names = names
        self._origin = origin

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Insert ``rows``. Without rows no statement is sent."""
        dialect = connection.dialect
        for batch in batches(rows):
            if dialect.name == "sqlite":
                now = (_now(dialect),) if self._is_dated else ()
                self.prepared(dialect).execute_many(connection, [(*row, *now) for row in batch])
            elif makes_tables(dialect):
                self.prepared(dialect).execute(connection, _bound(dialect, batch))
            else:
                named = [dict(zip(self._names, row, strict=True)) for row in batch]
                # Inline: does not ask for the ids that the database assigns.
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
        into, dated = (", created_at", f", :{NOW}") if self._is_dated else ("", "")
        if dialect.name == "sqlite":
            # There is no server to talk to: a row that is bound costs a third of one that is parsed.
            values = [value.replace(f"{GIVEN}.", ":") for value in values]
            return _text(
                f"INSERT INTO {self._table.name} ({listed}{into}) VALUES ({', '.join(values)}{dated})"  # noqa: S608  # nosec B608
            )
        return _text(
            f"INSERT INTO {self._table.name} ({listed}{into}) "  # noqa: S608  # nosec B608
            f"SELECT {', '.join(values)}{dated} FROM {_given(dialect, self._columns)}"
        )


@dataclass(slots=True)
class RowCount:
    """How many rows statements should find. Complete once all of them have been executed."""

    _wanted: int = 0
    _found: int = 0
    _cursors: list[Any] = field(default_factory=list)

    def add(self, wanted: int, carried_out: DBAPICursor | sa.CursorResult[Any]) -> None:
        """Add one statement."""
        self._wanted += wanted
        if carried_out.rowcount < 0:
            # The answer has not come yet: see ``send``.
            self._cursors.append(carried_out)
        else:
            self._found += carried_out.rowcount

    def is_complete(self) -> bool:
        """Whether the statements have found all rows."""
        found: int = self._found + sum(cursor.rowcount for cursor in self._cursors)
        return found == self._wanted


class Bumping(PerDatabase):
    """An UPDATE that raises generations which are still as they were read. None counts as 0: an old
    Placement wrote none."""

    def __init__(self, table: sa.Table) -> None:
        super().__init__()
        self._table = table
        self._columns = [table.c.id, table.c.generation, sa.column("step", sa.Integer)]

    def execute(self, connection: sa.Connection, rows: Iterable[Bump]) -> RowCount:
        """Returns whether all rows were raised. Without rows no statement is sent."""
        dialect = connection.dialect
        outcome = RowCount()
        # In order of id: writers that lock rows only now lock them in the same order.
        for batch in batches(sorted(rows)):
            if makes_tables(dialect):
                outcome.add(len(batch), self.prepared(dialect).execute(connection, _bound(dialect, batch)))
            else:
                self._step_by_step(connection, batch, outcome)
        return outcome

    def _step_by_step(self, connection: sa.Connection, rows: Sequence[Bump], outcome: RowCount) -> None:
        table = self._table
        steps: Mapping[int, list[tuple[int, int]]] = defaultdict(list)
        for id_, generation, step in rows:
            steps[step].append((id_, generation))
        for step, pairs in sorted(steps.items()):
            present = sa.func.coalesce(table.c.generation, 0)
            guarded = table.update().where(sa.tuple_(table.c.id, present).in_(pairs))
            raised = guarded.values(generation=present + step)
            outcome.add(len(pairs), connection.execute(raised))

    def _build(self, dialect: sa.Dialect) -> Any:
        name, given = self._table.name, _given(dialect, self._columns)
        present = f"COALESCE({name}.generation, 0)"
        same = f"{name}.id = {GIVEN}.id AND {present} = {GIVEN}.generation"
        if dialect.name == "mysql":
            # The given rows come first, and the key is used even in a small table. Otherwise MariaDB would
            # read the whole table, and lock it or wait for its locks.
            return _text(
                f"UPDATE {given} STRAIGHT_JOIN {name} FORCE INDEX (PRIMARY) ON {same} SET "  # noqa: S608  # nosec B608
                f"{name}.generation = {present} + {GIVEN}.step, {name}.updated_at = :{NOW}"
            )
        return _text(
            f"UPDATE {name} SET generation = {present} + {GIVEN}.step, "  # noqa: S608  # nosec B608
            f"updated_at = :{NOW} FROM {given} WHERE {same}"
        )


class Plain:
    """A statement that is executed as SQLAlchemy has it, for each row of values by name."""

    def __init__(self, statement: sa.Executable) -> None:
        self._statement = statement

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute the statement; there must be rows."""
        connection.execute(self._statement, rows)


class Sendable(Protocol):
    """A statement whose rows are not read."""

    def execute(self, connection: sa.Connection, values: Any, /) -> object:
        """Execute it with these values, and return what is known of it then."""
        ...


Planned = tuple[Sendable, Any]
"""A statement and its values."""


def send(connection: sa.Connection, planned: Iterable[Planned]) -> list[Any]:
    """Send statements in their order, all at once where the driver can, and wait for their answers.

    Returns what each returned. So locks are held for a few round trips less. Raises an error of any of them,
    and WriteConflictError if one of ``Bumping`` has not found all its rows.
    """
    with _together(connection):
        answers = [statement.execute(connection, values) for statement, values in planned]
    if not all(answer.is_complete() for answer in answers if isinstance(answer, RowCount)):
        raise WriteConflictError
    return answers


@contextmanager
def _together(connection: sa.Connection) -> Iterator[None]:
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.driver != PSYCOPG or not has_pipeline(driver):
        yield
        return
    try:
        with driver.pipeline():
            yield
    except connection.dialect.loaded_dbapi.Error as error:
        # The error belongs to no statement in particular. So it bypasses SQLAlchemy, whose filters name
        # errors.
        connection._handle_dbapi_exception(error, None, None, None, None)
