"""Databases with schema and standard names, and services on them, at little cost per test.

Migrating takes a second on a server, so each kind of database is migrated once per process: an
SQLite file is copied for every test, a server's database is emptied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import os_resource_classes
import os_traits
import pytest
import sqlalchemy as sa

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
    """Call it with "postgresql" or "mariadb" for the URL of the process's prepared database."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def prepared(kind: str) -> str:
            if kind not in urls:
                folder = tmp_path_factory.mktemp(kind)
                urls[kind] = stack.enter_context(fresh_database(kind, folder))
                prepare_schema(urls[kind])
            return urls[kind]

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
            url = prepared_databases(kind)
        except MissingServerError as missing:
            skip_or_fail(missing)
        empty(url)
        return url

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


def empty(url: str) -> None:
    """Take away all that tests wrote; standard names stay, or come back as a new database has them."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        provider = tables.resource_providers
        connection.execute(provider.update().values(root_provider_id=None, parent_provider_id=None))
        for table in reversed(tables.metadata.sorted_tables):
            if table in (tables.resource_classes, tables.traits):
                connection.execute(table.delete().where(table.c.name.startswith(CUSTOM_PREFIX)))
            elif table not in (tables.revisions, tables.clock):
                connection.execute(table.delete())
        connection.execute(tables.revisions.update().values(revision=0, compacted=0))
        connection.execute(tables.clock.update().values(ticks=0, term=0, keeper=""))
        lost = _names_differ(connection)
        if lost:
            connection.execute(tables.traits.delete())
            connection.execute(tables.resource_classes.delete())
    if lost:
        store = store_on(url)
        store.synchronise_names()
        store.close()
        empty(url)


def _names_differ(connection: sa.Connection) -> bool:
    """Whether a test left other standard names, or gave one another id."""
    found = [
        list(connection.execute(sa.select(table.c.name).order_by(table.c.id)).scalars())
        for table in (tables.resource_classes, tables.traits)
    ]
    return found != [list(os_resource_classes.STANDARDS), sorted(os_traits.get_traits())]
