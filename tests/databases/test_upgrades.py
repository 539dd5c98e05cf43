"""From every schema that was ever released to the newest one, whatever happens on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_db.exception import DBError

from moorage.model.errors import SchemaError
from moorage.store import migrations, tables
from moorage.store.migrations import scripts
from moorage.store.migrations.adoption import VERSION_TABLE
from tests.databases import released_schemas
from tests.databases.prepared import OpenService, OpenStore
from tests.databases.released_schemas import described, engine_for

REVISIONS = scripts.revisions()

CHANGING = ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE")
"""Beginnings of statements after which a process may be killed."""


class KilledError(Exception):
    """The process ended here."""


def test_every_revision_is_described_as_it_was_released() -> None:
    described_ones = sorted(path.stem for path in released_schemas.FOLDER.iterdir())
    assert described_ones == list(REVISIONS), "run `python -m tests.databases.released_schemas`"


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_makes_what_it_made_when_it_was_released(
    revision: str, database_url: str, open_store: OpenStore
) -> None:
    migrations.upgrade(open_store(database_url).engines.write, revision)
    assert described(database_url) == released_schemas.released(revision)


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_released_schema_is_upgraded_to_the_newest_with_all_that_it_holds(
    revision: str, database_url: str, open_store: OpenStore, open_service: OpenService
) -> None:
    store = open_store(database_url)
    migrations.upgrade(store.engines.write, revision)
    rows: list[tuple[str, dict[str, Any]]] = [
        (
            "resource_providers",
            {"id": 1, "uuid": "a" * 36, "name": "kept", "generation": 3, "root_provider_id": 1},
        ),
        (
            "moorage_changes",
            {
                "revision": 7,
                "position": 0,
                "root_provider_id": 1,
                "kind": "provider.create",
                "transaction_id": "t",
                "user_id": "user",
                "project_id": "project",
                "request_id": "req",
            },
        ),
    ]
    with engine_for(database_url).begin() as connection:
        for name, row in rows:
            connection.execute(tables.metadata.tables[name].insert().values(row))
        connection.execute(tables.revisions.update().values(revision=7, compacted=6))
    store.migrate()
    store.check_schema()
    assert described(database_url) == released_schemas.released(migrations.HEAD)
    service = open_service(store)
    assert service.provider("a" * 36).generation == 3
    assert store.revision() == 7
    refresh = store.refresh(6)
    assert refresh is not None
    assert [record.uuid for record in refresh.records] == ["a" * 36]


def test_a_database_that_a_newer_version_has_upgraded_is_left_alone(
    database_url: str, open_store: OpenStore
) -> None:
    store = open_store(database_url)
    store.migrate()
    with engine_for(database_url).begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    before = described(database_url)
    for action in (store.check_schema, store.migrate):
        with pytest.raises(
            SchemaError, match=f"at revision 9999, which this version does not know .*{migrations.HEAD}"
        ):
            action()
    assert described(database_url) == before
    assert store.schema_version() == "9999"


@pytest.mark.slow
def test_an_upgrade_can_be_killed_at_any_statement_and_run_again(
    database_url: str, open_store: OpenStore
) -> None:
    store = open_store(database_url)
    engine = store.engines.write
    # MariaDB keeps every change of schema, so that the next attempt has to go on from there; on the
    # others an attempt that was killed leaves nothing.
    keeps = engine.dialect.name == "mysql"
    statements, before = 1, described(database_url)
    for attempt in count(1):
        assert attempt < 200
        if not killed_after(engine, statements, store.migrate):
            break
        left = described(database_url)
        assert keeps or left == {}
        statements = statements + 1 if left == before else 1
        before = left
    store.check_schema()
    assert described(database_url) == released_schemas.released(migrations.HEAD)
    assert attempt > 20
    assert store.revision() == 0
    assert store.synchronise_names() > 0


def killed_after(engine: sa.Engine, statements: int, action: Callable[[], None]) -> bool:
    """Whether ``action`` was ended by so many statements that change something."""
    left = statements

    def after(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        nonlocal left
        if statement.lstrip().upper().startswith(CHANGING):
            left -= 1
            if left == 0:
                raise KilledError("here")

    sa.event.listen(engine, "after_cursor_execute", after)
    try:
        action()
    except (DBError, KilledError) as error:
        if not isinstance(getattr(error, "inner_exception", error), KilledError):
            raise
        return True
    finally:
        sa.event.remove(engine, "after_cursor_execute", after)
    return False


@pytest.mark.slow
def test_hosts_that_run_db_sync_at_once_all_succeed(database_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "moorage", "db", "sync", "--database", database_url]
    hosts = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    told = [host.communicate()[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0, 0], told
    # Whoever had to wait for long may have said so before.
    ends = [text.splitlines()[-1] for text in told]
    assert all(end.startswith("Up to date: ") for end in ends), told
    assert described(database_url) == released_schemas.released(migrations.HEAD)
    before = rows_of(database_url)
    assert subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL).returncode == 0
    assert rows_of(database_url) == before


TOLD = (tables.revisions, tables.changes, tables.journal, tables.journal_refs)
"""Tables in which each ``db sync`` begins a new history."""


def rows_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with engine_for(url).connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table)).all()), key=repr)
            for table in tables.metadata.sorted_tables
            if table not in TOLD
        }
