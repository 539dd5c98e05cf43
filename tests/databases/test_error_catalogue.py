"""Every database error at every statement: a clear answer without inner details, and all or nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.service.facade import Service
from moorage.service.settings import CommitSettings, ServiceSettings
from moorage.store import tables
from moorage.store.store import Store
from tests.databases.error_catalogue import (
    FEW,
    INNER,
    OF_DRIVERS,
    OF_LIBRARIES,
    WORDS,
    Error,
    Fault,
    fault_in,
)
from tests.databases.prepared import store_on
from tests.unit.api.fake import Client, Result

HOST = "00000000-0000-4000-8000-000000000001"
FREE = "00000000-0000-4000-8000-000000000002"
AGGREGATE = "00000000-0000-4000-8000-00000000000a"
CONSUMER = "00000000-0000-4000-8000-00000000000c"
NEWCOMER = "00000000-0000-4000-8000-00000000000d"

NEWEST = 39

FULL = os.environ.get("MOORAGE_CATALOGUE") == "full"
DEADLINE_SECONDS = 0.0
"""A write that meets a conflict is tried once more, and then refused: nobody waits here."""


def claim(generation: int | None, **resources: int) -> dict[str, Any]:
    return {
        "allocations": {HOST: {"resources": resources}},
        "project_id": "new-project",
        "user_id": "new-user",
        "consumer_generation": generation,
        "consumer_type": "NEW_TYPE",
    }


def inventories(generation: int, **totals: int) -> dict[str, Any]:
    return {
        "resource_provider_generation": generation,
        "inventories": {name: {"total": total} for name, total in totals.items()},
    }


Asked = tuple[str, str, Any]

WRITES: list[Asked] = [
    ("POST", "/resource_classes", {"name": "CUSTOM_NEW"}),
    ("PUT", "/resource_classes/CUSTOM_NEW", None),
    ("DELETE", "/resource_classes/CUSTOM_FREE", None),
    ("PUT", "/traits/CUSTOM_NEW", None),
    ("DELETE", "/traits/CUSTOM_FREE", None),
    ("POST", "/resource_providers", {"name": "new", "parent_provider_uuid": HOST}),
    ("PUT", f"/resource_providers/{FREE}", {"name": "renamed", "parent_provider_uuid": HOST}),
    ("DELETE", f"/resource_providers/{FREE}", None),
    ("POST", f"/resource_providers/{FREE}/inventories", {"resource_class": "MEMORY_MB", "total": 4}),
    ("PUT", f"/resource_providers/{FREE}/inventories", inventories(3, VCPU=3, CUSTOM_HELD=2)),
    ("DELETE", f"/resource_providers/{FREE}/inventories", None),
    (
        "PUT",
        f"/resource_providers/{FREE}/inventories/VCPU",
        {"resource_provider_generation": 3, "total": 7},
    ),
    ("DELETE", f"/resource_providers/{FREE}/inventories/VCPU", None),
    (
        "PUT",
        f"/resource_providers/{FREE}/aggregates",
        {"resource_provider_generation": 3, "aggregates": [AGGREGATE, HOST]},
    ),
    (
        "PUT",
        f"/resource_providers/{FREE}/traits",
        {"resource_provider_generation": 3, "traits": ["CUSTOM_FREE", "HW_CPU_X86_AVX2"]},
    ),
    ("DELETE", f"/resource_providers/{FREE}/traits", None),
    ("PUT", f"/allocations/{NEWCOMER}", claim(None, VCPU=2)),
    ("PUT", f"/allocations/{CONSUMER}", claim(1, VCPU=3)),
    ("DELETE", f"/allocations/{CONSUMER}", None),
    ("POST", "/allocations", {CONSUMER: claim(1, VCPU=1), NEWCOMER: claim(None, VCPU=4)}),
    (
        "POST",
        "/reshaper",
        {
            "inventories": {HOST: inventories(2, VCPU=9, MEMORY_MB=5)},
            "allocations": {CONSUMER: claim(1, VCPU=1, MEMORY_MB=1)},
        },
    ),
]

READS: list[Asked] = [
    ("GET", path, None)
    for path in (
        "/resource_classes",
        "/resource_classes/CUSTOM_HELD",
        "/resource_providers",
        "/resource_providers?resources=VCPU:1",
        f"/resource_providers/{HOST}",
        f"/resource_providers/{HOST}/inventories",
        f"/resource_providers/{HOST}/inventories/VCPU",
        f"/resource_providers/{HOST}/usages",
        f"/resource_providers/{FREE}/aggregates",
        f"/resource_providers/{FREE}/traits",
        f"/resource_providers/{HOST}/allocations",
        f"/allocations/{CONSUMER}",
        "/allocation_candidates?resources=VCPU:1",
        "/traits",
        "/traits/CUSTOM_HELD",
        "/usages?project_id=project",
    )
]

CLOUD: list[Asked] = [
    ("PUT", "/traits/CUSTOM_FREE", None),
    ("PUT", "/traits/CUSTOM_HELD", None),
    ("PUT", "/resource_classes/CUSTOM_FREE", None),
    ("PUT", "/resource_classes/CUSTOM_HELD", None),
    ("POST", "/resource_providers", {"name": "host", "uuid": HOST}),
    ("POST", "/resource_providers", {"name": "free", "uuid": FREE}),
    ("PUT", f"/resource_providers/{HOST}/inventories", inventories(0, VCPU=8)),
    ("PUT", f"/resource_providers/{FREE}/inventories", inventories(0, VCPU=8, CUSTOM_HELD=1)),
    (
        "PUT",
        f"/resource_providers/{FREE}/traits",
        {"resource_provider_generation": 1, "traits": ["CUSTOM_HELD"]},
    ),
    (
        "PUT",
        f"/resource_providers/{FREE}/aggregates",
        {"resource_provider_generation": 2, "aggregates": [AGGREGATE]},
    ),
    (
        "PUT",
        f"/allocations/{CONSUMER}",
        claim(None, VCPU=2) | {"project_id": "project", "user_id": "user", "consumer_type": "INSTANCE"},
    ),
]

Dump = dict[str, frozenset[tuple[Any, ...]]]
"""All rows by table, with values as the driver gives them; each has a key of its own."""

TABLES = tables.metadata.sorted_tables
SELECTS = {table.name: f"SELECT * FROM {table.name}" for table in TABLES}

REFERRED_TO = {key.column.table for table in TABLES for key in table.foreign_keys}

Rows = dict[sa.Table, dict[tuple[Any, ...], dict[str, Any]]]
"""All rows by table and primary key, with values as columns take them."""


@dataclass
class Bench:
    """A database with a small cloud, and services on it that always begin with the same state."""

    url: str
    store: Store
    service: Service
    start: Dump

    def __init__(self, url: str) -> None:
        self.url = url
        self._open()
        for asked in CLOUD:
            result = self.ask(asked)
            assert result.status < 300, (asked, result)
        self.start, self._start_rows = self.dump(), self._rows()
        self._reopen()

    def _open(self) -> None:
        self.store = store_on(self.url)
        # Polls go the ordinary way, where faults can meet them.
        self.store._poll.rows = self._no_short_way  # type: ignore[method-assign]
        self.service = Service(
            self.store, ServiceSettings(commit=CommitSettings(deadline_seconds=DEADLINE_SECONDS))
        )
        self.client = Client(self.service)  # type: ignore[arg-type]
        self.service.warm_up()

    @staticmethod
    def _no_short_way(**_values: object) -> list[tuple[Any, ...]]:
        raise RuntimeError("the ordinary way is to be taken")

    def _reopen(self) -> None:
        self.service.close()
        self._open()

    def close(self) -> None:
        self.service.close()

    def ask(self, asked: Asked) -> Result:
        method, path, body = asked
        return self.client.ask(method, path, NEWEST, body, headers={"x-roles": "admin,service"})

    def dump(self) -> Dump:
        """All rows of all tables. It is asked for after each error, and so goes straight to the driver."""
        connection = self.store.engines.snapshot.raw_connection()
        try:
            cursor = connection.cursor()
            found: Dump = {}
            for name, select in SELECTS.items():
                cursor.execute(select)
                found[name] = frozenset(map(tuple, cursor.fetchall()))
            return found
        finally:
            connection.close()

    def _rows(self) -> Rows:
        found: Rows = {}
        with self.store.engines.snapshot.connect() as connection:
            for table in TABLES:
                key = [column.name for column in table.primary_key]
                rows = [dict(row) for row in connection.execute(table.select()).mappings()]
                found[table] = {tuple(row[name] for name in key): row for row in rows}
        return found

    def restore(self) -> None:
        """Bring the database back to the start, with a service that knows nothing else."""
        now = self._rows()
        providers = tables.resource_providers
        with self.store.engines.write.begin() as connection:

            def remove(table: sa.Table) -> None:
                new = [_is(table, key) for key in now[table].keys() - self._start_rows[table].keys()]
                if new and table is providers:
                    # They refer to each other.
                    loose = providers.update().values(root_provider_id=None, parent_provider_id=None)
                    connection.execute(loose.where(sa.or_(*new)))
                if new:
                    connection.execute(table.delete().where(sa.or_(*new)))

            for table in TABLES:
                if table not in REFERRED_TO:
                    remove(table)
            for table in TABLES:
                for key, row in self._start_rows[table].items():
                    if key not in now[table]:
                        connection.execute(table.insert(), row)
                    elif now[table][key] != row:
                        connection.execute(table.update().where(_is(table, key)).values(row))
            for table in reversed(TABLES):
                if table in REFERRED_TO:
                    remove(table)
        assert self.dump() == self.start
        self._reopen()

    def steps_of(self, asked: Asked) -> int:
        """How many statements and COMMITs a request takes when all is well."""
        fault = Fault()
        with fault_in(self.store.engines, fault):
            result = self.ask(asked)
        assert result.status < 300, (asked, result)
        if asked[0] != "GET":
            assert self.dump() != self.start
            self.restore()
        return fault.met

    def suffer(self, asked: Asked, error: Error, at: int, forever: bool) -> int:
        """One request with one fault; its status. Checks the answer and the database.

        A service remembers names that it has read, so that a later try may take fewer steps: then
        nothing is raised.
        """
        fault = Fault(error, at, forever)
        with fault_in(self.store.engines, fault):
            result = self.ask(asked)
        told = f"{asked[:2]} with {error} at step {at} of {fault.steps}: {result}"
        now = self.dump()
        if result.status < 300:
            assert fault.raised <= 1, told
            assert (now != self.start) == (asked[0] != "GET"), told
        else:
            assert fault.raised, told
            assert now == self.start, told
            check_answer(result, told)
        if now != self.start:
            self.restore()
        return result.status


def _is(table: sa.Table, key: tuple[Any, ...]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == value for column, value in zip(table.primary_key, key, strict=True)))


def check_answer(result: Result, told: str) -> None:
    """An error in the usual form that says nothing of the inside."""
    assert result.status in {400, 409, 500, 503}, told
    (error,) = result.json["errors"]
    assert error["request_id"] == result.headers["x-openstack-request-id"], told
    assert ("retry-after" in result.headers) == (result.status == 503), told
    shown = result.body.decode() + repr(result.headers)
    for inner in INNER:
        assert inner not in shown, told
    assert WORDS[:20] not in shown, told


@pytest.fixture
def bench(prepared_url: str, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    caplog.set_level(logging.CRITICAL)
    bench = Bench(prepared_url)
    yield bench
    bench.close()


@pytest.fixture
def sqlite_bench(prepare: Any, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    caplog.set_level(logging.CRITICAL)
    bench = Bench(prepare("sqlite"))
    yield bench
    bench.close()


def label(asked: Asked) -> str:
    return f"{asked[0]} {asked[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("asked", [*WRITES, *READS], ids=label)
def test_every_error_is_told_without_inner_details_and_changes_nothing(
    sqlite_bench: Bench, asked: Asked
) -> None:
    """Each error once at one statement in turn, and an eighth of them at each try.

    With MOORAGE_CATALOGUE=full it is each of them at every statement, and at each try.
    """
    steps = sqlite_bench.steps_of(asked)
    assert steps >= 1
    turn = [*WRITES, *READS].index(asked)
    for number, error in enumerate((*OF_DRIVERS["sqlite"], *OF_LIBRARIES)):
        for at in range(steps) if FULL else (number % steps,):
            sqlite_bench.suffer(asked, error, at, forever=False)
        if FULL or (number + turn) % 8 == 0:
            sqlite_bench.suffer(asked, error, number % steps, forever=True)


@pytest.mark.slow
def test_errors_of_each_kind_at_every_statement_change_nothing(bench: Bench) -> None:
    """On each kind of database, with one of its own driver's; with all of them if MOORAGE_CATALOGUE=full.

    On SQLite that is every statement. Of the servers, one has those with even numbers, and one the others.
    """
    dialect = bench.store.engines.write.dialect.name
    few = FEW[dialect]
    left_out = {"postgresql": 1, "mysql": 0}.get(dialect)
    seen = tried = 0
    for asked in (*WRITES, *READS):
        for at in range(bench.steps_of(asked)):
            seen += 1
            if not FULL and seen % 2 == left_out:
                continue
            for error in few if FULL else (few[tried % len(few)],):
                bench.suffer(asked, error, at, forever=False)
            tried += 1
    assert tried > 50


def test_each_error_of_each_driver_and_library_is_told_without_inner_details(bench: Bench) -> None:
    """At a write or at a read in turn; at both with MOORAGE_CATALOGUE=full."""
    dialect = bench.store.engines.write.dialect.name
    asked = WRITES[WRITES.index(("PUT", "/traits/CUSTOM_NEW", None))]
    steps = bench.steps_of(asked)
    for number, error in enumerate((*OF_DRIVERS[dialect], *OF_LIBRARIES)):
        if FULL or number % 2:
            bench.suffer(asked, error, number % steps, forever=True)
        if FULL or not number % 2:
            bench.suffer(READS[1], error, 0, forever=True)


def test_the_catalogue_has_the_errors_that_it_is_for() -> None:
    names = {error.name for error in OF_LIBRARIES}
    assert {"sqlalchemy.exc.TimeoutError", "sqlalchemy.exc.DBAPIError", "oslo.DBDeadlock"} <= names
    assert {"oslo.DBDuplicateEntry", "oslo.DBConnectionError", "sqlalchemy.exc.StatementError"} <= names
    assert "sqlite3.OperationalError" in {error.name for error in OF_DRIVERS["sqlite"]}
    assert len(OF_DRIVERS["postgresql"]) > 200
    assert len(OF_DRIVERS["mysql"]) > 40


def test_a_fault_is_raised_as_the_driver_would_raise_it(sqlite_store: Store) -> None:
    fault = Fault(next(error for error in OF_DRIVERS["sqlite"] if error.name == "sqlite3.ProgrammingError"))
    with (
        fault_in(sqlite_store.engines, fault),
        sqlite_store.engines.single.connect() as connection,
        pytest.raises(Exception, match=r"hunter2") as met,
    ):
        connection.execute(sa.select(sa.literal(1)))
    assert "sqlite3.ProgrammingError" in str(met.value)
