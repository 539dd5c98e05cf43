"""Bound parameters only: no source puts SQL together from strings, and who did would be found."""

from __future__ import annotations

from tests.table import each
from tests.tidy.sources import PACKAGE, package_files
from tests.tidy.sql_strings import sql_from_strings

CAUGHT = [
    'connection.execute(f"SELECT * FROM t WHERE name = {name}")',
    "connection.execute(\"SELECT * FROM t WHERE name = '%s'\" % name)",
    'connection.execute("SELECT * FROM t WHERE name = " + name)',
    'connection.execute("SELECT * FROM t WHERE name = {}".format(name))',
    "connection.execute(TEMPLATE.format(name))",
    'connection.execute(" AND ".join(parts))',
    'connection.execute("SELECT X".replace("X", name))',
    'cursor.execute(f"DELETE FROM {table}", ())',
    'cursor.executemany("INSERT INTO t VALUES (" + marks + ")", rows)',
    'connection.exec_driver_sql(f"PRAGMA x = {value}")',
    "connection.exec_driver_sql(statement)",
    'sa.text(f"SELECT {column}")',
    'text("SELECT " + column)',
    "sa.text(condition)",
    "sa.text(text=condition)",
    "sa.text(make())",
    "sa.literal_column(name)",
    'sa.DDL("DROP TABLE %s" % table)',
    "cursor.executescript(script)",
    'connection.execute(sa.text("SELECT %s" % column))',
    'query = "SELECT " + column\nconnection.execute(query)',
    'query = "SELECT a"\nquery += " WHERE " + condition\nconnection.execute(query)',
    'query: str = f"SELECT {column}"\nconnection.scalar(query)',
    'connection.execute(query := f"SELECT {column}")\nconnection.execute(query)',
    'base = "SELECT a FROM t"\nconnection.execute(base + condition)',
    'base = "SELECT %s"\nquery = base % column\nsession.scalars(query)',
    'connection.execute(f"A {x}" if odd else "B")',
    "def run(sql):\n    connection.exec_driver_sql(sql)",
    'SQL = f"SELECT {column}"\nsa.text(SQL)',
    'connection.execute(str(f"SELECT {column}"))',
    'first, second = "A", f"B {x}"\nconnection.execute(second)',
]

LEFT_ALONE = [
    'connection.execute("PRAGMA foreign_keys = ON")',
    'connection.execute(f"PRAGMA foreign_keys = ON")',
    'cursor.execute("SET sql_mode = %s", (mode,))',
    "connection.execute(sa.select(t.c.id).where(t.c.name == name))",
    "connection.execute(query.where(a.join(b)))",
    "connection.execute(table.insert(), rows)",
    "rows = connection.execute(query)\nmore = connection.execute(base + 1)",
    'connection.exec_driver_sql("BEGIN")',
    'BEGIN = "BEGIN IMMEDIATE"\nconnection.exec_driver_sql(BEGIN)',
    'BEGINS = {"a": "BEGIN", "b": "BEGIN IMMEDIATE"}\nconnection.exec_driver_sql(BEGINS[kind])',
    'sa.text("SELECT :name")',
    'print(f"SELECT {column}")',
    "service.execute(command, requester)",
    'connection.execute("A" if odd else "B")',
    "message.format(name)",
    "connection.execute()",
    "calls[0](f'SELECT {x}')",
]


@each("source", CAUGHT)
def test_sql_put_together_from_strings_is_found(source: str) -> None:
    assert list(sql_from_strings(source))


@each("source", LEFT_ALONE)
def test_statements_with_bound_parameters_and_literals_are_left_alone(source: str) -> None:
    assert [found.text for found in sql_from_strings(source)] == []


def test_a_finding_says_what_and_where() -> None:
    (found,) = sql_from_strings('\nconnection.execute(f"SELECT {column}")')
    assert (found.text, found.line) == ("execute(f'SELECT {column}')", 2)


OF_OUR_OWN_WORDS = {
    "store/sql/statements.py text(words)": "names of our own tables, columns and types; the rows are bound",
    "store/sql/literals.py literal_column(str(value))": "an integer",
    "store/changes/news.py literal_column(f\"'{value}'\")": "kinds of commands, names of our classes",
}
"""What is put together all the same, and why nothing of a request can be in it."""


def test_no_source_puts_sql_together_from_strings() -> None:
    found = {
        f"{path.relative_to(PACKAGE)} {item.text}"
        for path in package_files()
        for item in sql_from_strings(path.read_text(encoding="utf-8"))
    }
    assert found == OF_OUR_OWN_WORDS.keys()
