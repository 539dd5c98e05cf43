"""Many values in one statement, on each kind of database, with and without tables of JSON."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from moorage.service.facade import Service
from moorage.store.sql import statements
from moorage.store.sql.errors import ConnectionLostError, translated
from moorage.store.sql.statements import Bumping, Insertion, Selection
from moorage.store.store import Store
from moorage.store.tables import allocations, changes, consumers, resource_providers, traits
from tests.databases.orders import add_provider, new_uuid
from tests.databases.sql_watch import watching

BOTH = pytest.mark.parametrize("tables", [True, False], ids=["tables", "plain"])


@pytest.fixture(autouse=True)
def with_or_without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """``tables`` False: as on servers that make no tables of JSON, with drivers that take no lists."""
    if request.node.callspec.params.get("tables", True) is False:
        monkeypatch.setattr(statements, "makes_tables", lambda dialect: False)
        monkeypatch.setattr(statements, "LIST_DRIVERS", frozenset())


@BOTH
def test_rows_are_found_by_many_values(store: Store, service: Service, tables: bool) -> None:
    uuids = sorted(add_provider(service) for _ in range(3))
    selection = Selection(
        sa.select(resource_providers.c.uuid).order_by(resource_providers.c.uuid), resource_providers.c.uuid
    )
    with store.engines.single.connect() as connection:
        found = [row.uuid for row in selection.rows(connection, [*uuids[:2], new_uuid(), "o'clock"])]
        assert found == uuids[:2]
        assert selection.rows(connection, [f"{uuids[0]}x"]) == []
        assert selection.rows(connection, []) == []


def test_texts_are_found_as_they_are(store: Store, service: Service) -> None:
    """Whatever they mean where a database reads lists of texts."""
    odd = ["NULL", "a,b", "{a}", 'quo"te', '"', "back\\slash", "\\", "quo'te", "line\nbreak", "%s", "é 🚢"]
    absent = ["a", "b", "quote", "backslash", "", "{}", "\\\\"]
    selection = Selection(sa.select(traits.c.name), traits.c.name)
    with store.engines.write.connect() as connection:
        connection.execute(traits.insert(), [{"name": name} for name in odd])
        for wanted in (odd, [*absent, *odd], *([name] for name in odd)):
            assert sorted(name for (name,) in selection.tuples(connection, wanted)) == sorted(
                set(wanted) & {*odd}
            )
        assert selection.tuples(connection, absent) == []


def test_a_connection_that_is_closed_below_is_told_as_lost(store: Store) -> None:
    selection = Selection(sa.select(consumers.c.id, consumers.c.uuid), consumers.c.uuid)
    with store.engines.write.connect() as connection:
        connection.begin()
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.close()
        with pytest.raises(ConnectionLostError), translated():
            selection.tuples(connection, ["anybody"])
    # It does not come back from the pool.
    with store.engines.write.begin() as connection:
        assert selection.tuples(connection, ["anybody"]) == []


def test_a_writer_whose_connection_was_closed_below_is_told_so(store: Store) -> None:
    with store.engines.write.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.close()
        with pytest.raises(ConnectionLostError), translated(), connection.begin():
            connection.exec_driver_sql("SELECT 1")


def test_who_watches_statements_in_the_log_sees_those_of_claims(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sqlalchemy.engine.Engine")
    selection = Selection(sa.select(consumers.c.id, consumers.c.uuid), consumers.c.uuid)
    with store.engines.write.begin() as connection:
        assert selection.tuples(connection, ["whose?"]) == []
    told = [record.getMessage() for record in caplog.records]
    assert any("FROM consumers" in line and "whose?" in line for line in told)
    assert {"Rows []", "Rows [(0, None)]"} & {*told}


@BOTH
def test_many_rows_are_inserted_and_deleted(store: Store, tables: bool) -> None:
    insertion = Insertion(consumers, "uuid", "project_id", "user_id", "generation", "consumer_type_id")
    odd = "quo'te \\ é 🚢"
    rows = [(odd, 1, 2, 3, None), *((new_uuid(), 1, 2, 3, None) for _ in range(3))]
    deletion = Selection(consumers.delete(), consumers.c.uuid)
    with watching(store) as watched, store.engines.write.begin() as connection:
        insertion.execute(connection, rows)
        insertion.execute(connection, [])
        assert len(watched) == 1
        query = sa.select(consumers).order_by(consumers.c.id)
        found = connection.execute(query).all()
        assert {(row.uuid, row.project_id, row.generation, row.consumer_type_id) for row in found} == {
            (uuid, 1, 3, None) for uuid, *_ in rows
        }
        assert all(row.created_at is not None and row.updated_at is None for row in found)
        deletion.execute(connection, [odd, rows[1][0]])
        assert {row.uuid for row in connection.execute(query)} == {row[0] for row in rows[2:]}


@BOTH
def test_large_numbers_and_absent_ones_are_kept(store: Store, tables: bool) -> None:
    names = ("revision", "position", "root_provider_id", "kind", "transaction_id", "user_id", "project_id")
    insertion = Insertion(changes, *names, "request_id")
    large = 2**40
    with store.engines.write.begin() as connection:
        insertion.execute(connection, [(large, 0, None, "k", "t", "u", "p", "r"), (large, 1, 7, *"ktupr")])
        found = connection.execute(
            sa.select(changes.c.root_provider_id)
            .where(changes.c.revision == large)
            .order_by(changes.c.position)
        )
        assert found.scalars().all() == [None, 7]


@BOTH
def test_too_long_a_text_is_refused_rather_than_cut(store: Store, tables: bool) -> None:
    if store.engines.write.dialect.name == "sqlite":
        return  # It keeps texts of any length.
    insertion = Insertion(allocations, "resource_provider_id", "resource_class_id", "consumer_id", "used")
    with (
        store.engines.write.connect() as connection,
        pytest.raises(Exception, match=r"(?i)long|trunc|convert"),
    ):
        insertion.execute(connection, [(1, 1, "x" * 37, 1)])


@BOTH
def test_generations_go_up_where_they_are_what_was_read(store: Store, service: Service, tables: bool) -> None:
    for _ in range(3):
        add_provider(service)
    query = sa.select(resource_providers).order_by(resource_providers.c.id)
    with store.engines.write.begin() as connection:
        one, two, three = connection.execute(query).all()
        bumping = Bumping(resource_providers)
        assert bumping.execute(connection, []).is_complete()
        there = [(two.id, two.generation, 2), (one.id, one.generation, 1)]
        assert bumping.execute(connection, there).is_complete()
        not_all = [(two.id, two.generation, 1), (three.id, three.generation, 1)]
        assert not bumping.execute(connection, not_all).is_complete()
        after = connection.execute(query).all()
    steps = [now.generation - was.generation for was, now in zip((one, two, three), after, strict=True)]
    assert steps == [1, 2, 1]
    assert all(row.updated_at is not None for row in after)


@pytest.mark.parametrize(
    ("url", "is_mariadb", "version", "expected"),
    [
        ("sqlite://", False, (3, 37, 2), False),
        ("sqlite://", False, (3, 38, 0), True),
        ("mysql+pymysql://", True, (10, 5, 9), False),
        ("mysql+pymysql://", True, (10, 6, 1), True),
        ("mysql+pymysql://", False, (8, 0, 3), False),
        ("mysql+pymysql://", False, (8, 0, 36), True),
        ("postgresql+psycopg://", False, (12,), True),
        ("mysql+pymysql://", False, None, False),
    ],
)
def test_what_a_server_can_do_goes_by_its_version(
    url: str, is_mariadb: bool, version: tuple[int, ...] | None, expected: bool
) -> None:
    dialect = sa.create_engine(url).dialect
    dialect.server_version_info = version
    if dialect.name == "mysql":
        dialect.is_mariadb = is_mariadb  # type: ignore[attr-defined]
    assert statements.makes_tables(dialect) is expected
