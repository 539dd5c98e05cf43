"""Errors as the databases really raise them, told apart by the store."""

from __future__ import annotations

import re
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateTrait
from moorage.model.errors import UnavailableError, UnstorableError
from moorage.store.settings import StoreSettings
from moorage.store.sql.errors import ConnectionLostError, ConstraintError, WriteConflictError, translated
from moorage.store.store import Store
from moorage.store.tables import provider_traits, resource_providers, traits
from moorage.store.urls import database_url
from tests.databases.orders import ASKER
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import end_session


def row(name: str, uuid: str) -> sa.Insert:
    return resource_providers.insert().values(name=name, uuid=uuid)


def carry_out(engine: sa.Engine, *statements: sa.Executable) -> None:
    """All in one transaction, with the store's errors."""
    with translated(), engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_duplicate_names_its_column(store: Store) -> None:
    for other, columns in ((row("name", "2"), ("name",)), (row("other", "1"), ("uuid",))):
        with pytest.raises(ConstraintError) as met:
            carry_out(store.engines.write, row("name", "1"), other)
        assert met.value.columns == columns


def test_a_broken_reference_is_a_constraint_in_both_directions(store: Store) -> None:
    table = resource_providers
    an_id = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    broken: tuple[tuple[sa.Executable, ...], ...] = (
        (provider_traits.insert().values(trait_id=1, resource_provider_id=4711),),
        (
            row("name", "1"),
            provider_traits.insert().values(trait_id=1, resource_provider_id=an_id),
            traits.delete().where(traits.c.id == 1),
        ),
    )
    for statements in broken:
        with pytest.raises(ConstraintError) as met:
            carry_out(store.engines.write, *statements)
        assert met.value.columns == ()


def test_a_lock_that_is_not_given_is_a_conflict(store: Store) -> None:
    """A second writer waits for the first: here as shortly as each database allows."""
    engine = store.engines.write
    if engine.dialect.name == "sqlite":
        engine = sa.create_engine(engine.url, connect_args={"timeout": 0.0, "isolation_level": "IMMEDIATE"})
    shortly = {
        "sqlite": "PRAGMA busy_timeout = 0",
        "postgresql": "SET LOCAL lock_timeout = '10ms'",
        "mysql": "SET SESSION innodb_lock_wait_timeout = 0",
    }
    with store.engines.write.begin() as first:
        first.execute(row("name", "1"))
        with pytest.raises(WriteConflictError):
            carry_out(engine, sa.text(shortly[engine.dialect.name]), row("name", "1"))
    engine.dispose()


def test_a_deadlock_is_a_conflict(server_store: Store) -> None:
    """Two transactions that wait for each other's rows: the database ends one of them."""
    engine = server_store.engines.write
    with engine.begin() as connection:
        connection.execute(row("one", "1"))
        connection.execute(row("two", "2"))

    def touch(connection: sa.Connection, name: str) -> None:
        table = resource_providers
        connection.execute(table.update().where(table.c.name == name).values(generation=1))

    met: list[Exception] = []
    both_hold_one = threading.Barrier(2)

    def run(*names: str) -> None:
        try:
            with translated(), engine.begin() as connection:
                touch(connection, names[0])
                both_hold_one.wait()
                touch(connection, names[1])
        except Exception as error:
            met.append(error)

    threads = [threading.Thread(target=run, args=names) for names in (("one", "two"), ("two", "one"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in met] == [WriteConflictError]


@pytest.mark.parametrize("name", ["write", "snapshot", "single"])
def test_a_connection_that_the_server_ended_is_lost_and_the_next_one_is_new(
    server_store: Store, name: str
) -> None:
    engine: sa.Engine = getattr(server_store.engines, name)
    question = sa.select(sa.func.count()).select_from(resource_providers)
    with engine.connect() as connection:
        connection.execute(question)
        end_session(server_store, connection)
        with pytest.raises(ConnectionLostError), translated():
            connection.execute(question)
    with engine.connect() as connection:
        assert connection.execute(question).scalar_one() == 0


def test_all_connections_of_a_pool_may_be_ended_and_reads_go_on(server_store: Store) -> None:
    engine = server_store.engines.snapshot
    connections = [engine.connect() for _ in range(4)]
    for connection in connections:
        end_session(server_store, connection)
        connection.close()
    question = sa.select(sa.func.count()).select_from(resource_providers)
    found = server_store.read(lambda connection: connection.execute(question).scalar_one())
    assert found == 0


def test_a_database_that_is_not_there_is_unavailable(server_store: Store) -> None:
    settings = StoreSettings(
        server_store.engines.write.url.set(database="no_such_database").render_as_string(hide_password=False)
    )
    store = Store(settings)
    with pytest.raises(UnavailableError):
        store.revision()
    store.close()


def test_a_url_with_another_driver_reaches_the_database_through_ours(postgresql_url: str) -> None:
    url = sa.make_url(postgresql_url).set(drivername="postgresql+pg8000")
    store = Store(StoreSettings(url.render_as_string(hide_password=False)))
    assert database_url(str(url)).drivername == "postgresql+psycopg"
    store.migrate()
    assert store.revision() == 0
    store.close()


def test_a_value_that_is_too_long_is_refused_and_not_cut(server_store: Store) -> None:
    with pytest.raises(UnstorableError) as refused:
        carry_out(server_store.engines.write, row("n" * 300, "1"))
    assert re.search("(?i)too long", str(refused.value.__cause__))


def test_a_commit_that_is_refused_leaves_no_transaction_and_no_lock_behind(
    sqlite_store: Store, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite can refuse a COMMIT, for example for want of space, and go on with the transaction."""
    service = open_service(sqlite_store, deadline_seconds=0)
    dialect = sqlite_store.engines.write.dialect

    def refuse(_connection: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(dialect, "do_commit", refuse)
        with pytest.raises(UnavailableError):
            service.execute(CreateTrait("CUSTOM_REFUSED"), ASKER)
    other = sa.create_engine(sqlite_store.engines.write.url, connect_args={"timeout": 0.0})
    with other.begin() as connection:
        connection.execute(row("name", "1"))
    other.dispose()
    service.execute(CreateTrait("CUSTOM_TAKEN"), ASKER)
    custom = {item.name for item in service.traits(prefix="CUSTOM_")}
    assert custom == {"CUSTOM_TAKEN"}
