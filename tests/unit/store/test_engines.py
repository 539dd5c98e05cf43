from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.errors import ConfigurationError, MissingFileError
from moorage.store.settings import StoreSettings
from moorage.store.sql import engines
from moorage.store.sql.engines import (
    READERS,
    READERS_OVERFLOW,
    WRITERS,
    create_engines,
    make_file,
)
from moorage.store.sql.errors import WriteConflictError, translated
from moorage.store.store import Store
from moorage.store.urls import database_url
from tests.databases.sql_watch import engines_of

MANY_TURNS = 200


@pytest.mark.parametrize("text", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_sqlite_in_memory_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="SQLite needs a file"):
        database_url(text)


@pytest.mark.parametrize("text", ["oracle://host/name", "mssql+pyodbc://host/name"])
def test_other_kinds_of_databases_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="are not supported: use sqlite, postgresql or mysql"):
        database_url(text)


@pytest.mark.parametrize("text", ["", "no url", "/var/lib/moorage.sqlite"])
def test_what_is_no_url_is_refused_without_telling_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not an SQLAlchemy URL") as refused:
        database_url(text)
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("postgresql+pg8000://user:secret@host/name", "postgresql+psycopg"),
        ("postgresql+psycopg://user:secret@host/name", "postgresql+psycopg"),
        ("mysql+mysqldb://user:secret@host/name?charset=utf8", "mysql+pymysql"),
        ("mysql+pymysql://user:secret@host/name?charset=utf8", "mysql+pymysql"),
    ],
)
def test_a_driver_that_is_not_installed_gives_way_to_ours(text: str, driver: str) -> None:
    url = database_url(text)
    assert url.drivername == driver
    given = sa.make_url(text)
    assert (url.username, url.password, url.host, url.database, url.query) == (
        given.username,
        given.password,
        given.host,
        given.database,
        given.query,
    )


def pool_sizes(**settings: Any) -> list[tuple[int, int]]:
    engines = create_engines(StoreSettings("postgresql+psycopg://host/name", **settings))
    pools = [engine.pool for engine in engines_of(engines)]
    assert all(isinstance(pool, sa.pool.QueuePool) for pool in pools)
    return [(pool.size(), pool._max_overflow) for pool in pools]  # type: ignore[attr-defined]


def test_pools_are_as_large_as_the_settings_say_and_the_writers_are_few() -> None:
    assert pool_sizes() == [(WRITERS, 0), *[(READERS, READERS_OVERFLOW)] * 2, (1, 0)]
    assert pool_sizes(max_pool_size=3, max_overflow=0) == [(WRITERS, 0), (3, 0), (3, 0), (1, 0)]


def test_pools_wait_as_long_as_the_settings_say() -> None:
    engines = create_engines(StoreSettings("mysql://host/name", pool_timeout_seconds=7))
    assert [engine.pool._timeout for engine in engines_of(engines)] == [7, 7, 7, 7]  # type: ignore[attr-defined]
    assert not engines.serializes_writes


def test_mysql_without_a_mode_of_ours_keeps_its_own() -> None:
    engines = create_engines(StoreSettings("mysql://host/name", mysql_sql_mode=""))
    with_mode = create_engines(StoreSettings("mysql://host/name"))
    for bare, strict in zip(engines_of(engines), engines_of(with_mode), strict=True):
        assert len(strict.pool.dispatch.connect) == len(bare.pool.dispatch.connect) + 1


@pytest.mark.parametrize(("full", "synchronous"), [(True, 2), (False, 0)])
def test_sqlite_is_prepared_in_a_folder_that_is_made_for_it(
    tmp_path: Path, full: bool, synchronous: int
) -> None:
    path = tmp_path / "new" / "folder" / "moorage.sqlite"
    store = Store(StoreSettings(f"sqlite:///{path}", sqlite_synchronous_full=full))
    make_file(store.engines.write.url)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.engines.serializes_writes
    for engine in engines_of(store.engines):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


@pytest.mark.parametrize("name", ["plain.sqlite", "odd ?name#%41;.sqlite"])
def test_opening_makes_no_sqlite_file_and_looking_changes_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    url = sa.URL.create("sqlite", database=str(path)).render_as_string()
    if sa.make_url(url).database != str(path):
        pytest.skip("this SQLAlchemy cannot write such a name into a URL; 2.1 can")
    looking = Store(StoreSettings(url, looks_only=True, sync_command="make it so"))
    for ask in (looking.check_schema, looking.schema_version, looking.revision, looking.totals):
        with pytest.raises(MissingFileError, match="does not exist: 'make it so' makes it"):
            ask()
    looking.check_adoptable()
    assert not looking.has_tables()
    assert list(tmp_path.iterdir()) == []
    with contextlib.closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE t (x)")
    before = path.read_bytes()
    assert looking.schema_version() is None
    looking.close()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_file_that_is_there_is_not_opened_to_be_made(tmp_path: Path) -> None:
    """To close it would give up the locks that this process has on it."""
    path = tmp_path / "moorage.sqlite"
    store = Store(StoreSettings(f"sqlite:///{path}"))
    store.migrate()
    path.chmod(0o640)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "close", lambda _: pytest.fail("a descriptor of the file was closed"))
        make_file(store.engines.write.url)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    store.close()


def test_an_sqlite_uri_is_left_to_sqlite(tmp_path: Path) -> None:
    store = Store(StoreSettings(f"sqlite:///file:{tmp_path}/uri.sqlite?uri=true"))
    store.migrate()
    assert store.revision() == 0
    assert (tmp_path / "uri.sqlite").exists()
    store.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[sa.Engine, sqlite3.Connection]]:
    """An engine that writes to an SQLite database, and another process' connection to it."""
    path = tmp_path / "moorage.sqlite"
    engines = create_engines(StoreSettings(url=f"sqlite:///{path}"))
    make_file(engines.write.url)
    with engines.write.begin():
        pass
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    yield engines.write, other
    other.close()
    engines.dispose()


def test_an_sqlite_writer_gets_in_although_another_leaves_the_place_for_moments_only(
    place: tuple[sa.Engine, sqlite3.Connection],
) -> None:
    engine, other = place
    turns = 0
    got_in = threading.Event()
    other.execute("BEGIN IMMEDIATE")

    def take_turns() -> None:
        nonlocal turns
        while not got_in.is_set() and turns < MANY_TURNS:
            time.sleep(0.01)
            other.execute("COMMIT")
            turns += 1
            time.sleep(0.002)
            with contextlib.suppress(sqlite3.OperationalError):
                other.execute("BEGIN IMMEDIATE")

    other.execute("PRAGMA busy_timeout = 60000")
    thread = threading.Thread(target=take_turns)
    thread.start()
    with engine.begin():
        got_in.set()
    thread.join()
    # SQLite's own patience would have tried some twenty times in as many seconds.
    assert turns < MANY_TURNS


def test_an_sqlite_writer_that_waits_too_long_has_lost_against_the_other(
    place: tuple[sa.Engine, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = place
    monkeypatch.setattr(engines, "SQLITE_BUSY_SECONDS", 0.05)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(WriteConflictError), translated(), engine.begin():
        pass
    other.execute("ROLLBACK")
    with engine.begin():
        pass


def test_an_sqlite_writer_does_not_wait_where_something_else_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "moorage.sqlite"
    made = create_engines(StoreSettings(url=f"sqlite:///{path}"))
    make_file(made.write.url)
    with made.write.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.cursor().execute("BEGIN")
        with pytest.raises(sa.exc.OperationalError, match="within a transaction"):
            connection.begin()
    made.dispose()


class BusyAtFirst(sqlite3.Connection):
    """As if others opened a new file at the same time: SQLite refuses its journal without any patience."""

    refusals = 3

    def cursor(self, *arguments: Any) -> Any:
        return super().cursor(lambda connection: _RefusedCursor(connection))


class _RefusedCursor(sqlite3.Cursor):
    def execute(self, sql: str, *arguments: Any) -> Any:
        if "journal_mode" in sql and BusyAtFirst.refusals:
            BusyAtFirst.refusals -= 1
            refusal = sqlite3.OperationalError("database is locked")
            refusal.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise refusal
        return super().execute(sql, *arguments)


def test_a_new_sqlite_file_that_others_open_at_the_same_time_is_waited_for(tmp_path: Path) -> None:
    engine = create_engines(StoreSettings(f"sqlite:///{tmp_path / 'new.sqlite'}")).write
    make_file(engine.url)

    @sa.event.listens_for(engine, "do_connect")
    def on_connect(_dialect: object, _entry: object, arguments: Any, options: dict[str, Any]) -> None:
        options["factory"] = BusyAtFirst

    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert not BusyAtFirst.refusals
    engine.dispose()
