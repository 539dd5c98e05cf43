"""Databases with schema and standard names, and services on them, at little cost per test.

Migrating takes a second on a server, so each kind of database is migrated once per process: an
SQLite file is copied for every test, a server's database is emptied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from pymysql.constants import CLIENT

from moorage.model.requests import SearchSettings
from moorage.model.values import CUSTOM_PREFIX
from moorage.service.facade import Service
from moorage.service.settings import CommitSettings, ServiceSettings
from moorage.store import tables
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.servers.binaries import MARIADB, POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database
from tests.servers.plugin import skip_or_fail
from tests.servers.session import MissingServerError

OpenStore = Callable[[str], Store]
OpenService = Callable[..., Service]
Prepare = Callable[[str], str]

KINDS = (
    SQLITE,
    pytest.param(POSTGRESQL, marks=pytest.mark.databases),
    pytest.param(MARIADB, marks=pytest.mark.databases),
)
SERVER_KINDS = KINDS[1:]

NAMES = (tables.resource_classes, tables.traits)
"""Tables that have standard rows."""

__all__ = [
    "KINDS",
    "SERVER_KINDS",
    "OpenService",
    "OpenStore",
    "open_service",
    "open_store",
    "prepare",
    "prepared_databases",
    "prepared_url",
    "server_service",
    "server_store",
    "service",
    "sqlite_service",
    "sqlite_store",
    "sqlite_template",
    "store",
]


def store_on(url: str) -> Store:
    """A store that does not wait for SQLite's fsync, nor long for a server."""
    return Store(StoreSettings(url, sqlite_synchronous_full=False, connect_retry_seconds=0))


def prepare_schema(url: str) -> None:
    """Schema and standard names."""
    store = store_on(url)
    store.migrate()
    store.synchronise_names()
    store.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "prepared.sqlite"
    prepare_schema(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def prepared_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepare]:
    """Call it with "postgresql" or "mariadb" for the URL of the process's prepared database, empty again."""
    ready: dict[str, tuple[str, Emptying]] = {}
    with ExitStack() as stack:

        def prepared(kind: str) -> str:
            if kind not in ready:
                folder = tmp_path_factory.mktemp(kind)
                url = stack.enter_context(fresh_database(kind, folder))
                prepare_schema(url)
                ready[kind] = (url, Emptying(url))
            url, empty = ready[kind]
            empty()
            return url

        yield prepared


@pytest.fixture
def prepare(prepared_databases: Prepare, sqlite_template: Path, tmp_path: Path) -> Prepare:
    """Call it with a kind of database for the URL of a prepared one without providers."""

    def prepared(kind: str) -> str:
        if kind == SQLITE:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.sqlite"
            shutil.copy(sqlite_template, path)
            return f"sqlite:///{path}"
        try:
            return prepared_databases(kind)
        except MissingServerError as missing:
            skip_or_fail(missing)

    return prepared


@pytest.fixture(params=KINDS)
def prepared_url(request: pytest.FixtureRequest, prepare: Prepare) -> str:
    """URL of a prepared database; the test runs once for each kind of database."""
    return prepare(str(request.param))


@pytest.fixture
def open_store() -> Iterator[OpenStore]:
    """Call it with a URL for a store, which is closed at the end."""
    with ExitStack() as stack:

        def opened(url: str) -> Store:
            store = store_on(url)
            stack.callback(store.close)
            return store

        yield opened


@pytest.fixture
def open_service(open_store: OpenStore) -> OpenService:
    """Call it with a URL, or a store, and fields of ``CommitSettings`` for a service."""

    def opened(place: str | Store, search: SearchSettings | None = None, **commit: float) -> Service:
        store = open_store(place) if isinstance(place, str) else place
        settings = ServiceSettings(search or SearchSettings(), CommitSettings(**commit))  # type: ignore[arg-type]
        return Service(store, settings)

    return opened


@pytest.fixture
def store(prepared_url: str, open_store: OpenStore) -> Store:
    """A store on each kind of database."""
    return open_store(prepared_url)


@pytest.fixture
def service(store: Store, open_service: OpenService) -> Service:
    """A service on each kind of database; it shares ``store`` with the test."""
    return open_service(store)


@pytest.fixture(params=SERVER_KINDS)
def server_store(request: pytest.FixtureRequest, prepare: Prepare, open_store: OpenStore) -> Store:
    """A store on each kind of database that has a server, row locks and several writers at a time."""
    return open_store(prepare(str(request.param)))


@pytest.fixture
def server_service(server_store: Store, open_service: OpenService) -> Service:
    """A service that shares ``server_store`` with the test."""
    return open_service(server_store)


@pytest.fixture
def sqlite_store(prepare: Prepare, open_store: OpenStore) -> Store:
    """A store on SQLite."""
    return open_store(prepare(SQLITE))


@pytest.fixture
def sqlite_service(sqlite_store: Store, open_service: OpenService) -> Service:
    """A service on SQLite; it shares ``sqlite_store`` with the test."""
    return open_service(sqlite_store)


class Emptying:
    """Takes away all that tests wrote to a server's database, which is prepared and empty at first.

    Standard names stay. They are added anew if a test took one away. What it says is put into words once, and
    sent at once: it is said before each test.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        flags = {"client_flag": CLIENT.MULTI_STATEMENTS} if url.startswith("mysql") else {}
        self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=flags)
        self._emptying = "; ".join(map(self._words, _emptying()))
        self._names = self._words(
            sa.union_all(
                *(
                    sa.select(sa.func.count(), sa.func.min(table.c.id), sa.func.max(table.c.id))
                    for table in NAMES
                )
            )
        )
        self._whole = self._found()

    def __call__(self) -> None:
        """Empty the database."""
        if self._found(self._emptying) != self._whole:
            with self._engine.begin() as connection:
                for table in NAMES:
                    connection.execute(table.delete())
            store = store_on(self._url)
            store.synchronise_names()
            store.close()
            self._whole = self._found()

    def _found(self, first: str = "SELECT 1") -> list[tuple[int, ...]]:
        """How many standard names there are after ``first``, and their first and last ids.

        A name that is away leaves a gap, or comes back with an id after the last one.
        """
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"{first}; {self._names}")
            found = cursor.fetchall() if cursor.description else ()
            while cursor.nextset():
                found = cursor.fetchall() if cursor.description else ()
            connection.commit()
        finally:
            connection.close()
        return [tuple(row) for row in found]

    def _words(self, statement: sa.ClauseElement) -> str:
        return str(statement.compile(self._engine, compile_kwargs={"literal_binds": True}))


def _emptying() -> Iterator[sa.ClauseElement]:
    provider = tables.resource_providers
    yield provider.update().values(root_provider_id=None, parent_provider_id=None)
    for table in reversed(tables.metadata.sorted_tables):
        if table in NAMES:
            yield table.delete().where(table.c.name.startswith(CUSTOM_PREFIX))
        elif table not in (tables.revisions, tables.clock):
            yield table.delete()
    yield tables.revisions.update().values(revision=0, compacted=0)
    yield tables.clock.update().values(ticks=0, term=0, keeper="")
