"""The fixtures that hand out databases, and what is said at the end if some could not be had."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from tests.servers.binaries import MARIADB, POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database
from tests.servers.session import MissingServerError, SessionOwner, open_folder, require_binaries
from tests.servers.throwaway import ThrowAwayServer, server_of

SKIP_PREFIX = "no database server: "
"""Beginning of the reason of every skip that the summary tells of."""

OWNER = pytest.StashKey[SessionOwner]()

NewDatabase = Callable[[str], str]
NewServer = Callable[[str], ThrowAwayServer]


def pytest_configure(config: pytest.Config) -> None:
    """The session's first process owns the servers; workers find it through the environment."""
    if not hasattr(config, "workerinput"):
        config.stash[OWNER] = SessionOwner()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Runs even if collection or a test failed."""
    owner = config.stash.get(OWNER, None)
    if owner is not None:
        owner.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, so that ``-m "not databases"`` leaves SQLite only."""
    for item in items:
        if {"postgresql_url", "mariadb_url", "own_server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.databases)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for all that was skipped for want of a server."""
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _, found, advice = reason.partition(SKIP_PREFIX)
        if found:
            counts[advice] = counts.get(advice, 0) + 1
    if counts:
        told = "; ".join(f"{count} of {advice}" for advice, count in sorted(counts.items()))
        terminalreporter.write_line(f"Database tests skipped: {told}", yellow=True)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, but it stays until the session ends: a process that the test leaves may work in it."""
    return tmp_path_factory.mktemp(re.sub(r"\W", "_", request.node.name)[:30])


@pytest.fixture
def new_database(tmp_path: Path) -> Iterator[NewDatabase]:
    """Call it with "sqlite", "postgresql" or "mariadb" for the URL of an empty database.

    Databases are dropped when the test is over. A test that calls it for anything but SQLite
    itself must carry the mark ``databases``.
    """
    with ExitStack() as stack:

        def create(kind: str) -> str:
            try:
                return stack.enter_context(fresh_database(kind, tmp_path))
            except MissingServerError as missing:
                skip_or_fail(missing)

        yield create


@pytest.fixture(
    params=[
        SQLITE,
        pytest.param(POSTGRESQL, marks=pytest.mark.databases),
        pytest.param(MARIADB, marks=pytest.mark.databases),
    ]
)
def database_url(request: pytest.FixtureRequest, new_database: NewDatabase) -> str:
    """URL of an empty database; the test runs once for each kind of database."""
    return new_database(str(request.param))


@pytest.fixture
def sqlite_url(new_database: NewDatabase) -> str:
    """URL of an SQLite database that is not there yet."""
    return new_database(SQLITE)


@pytest.fixture
def postgresql_url(new_database: NewDatabase) -> str:
    """URL of an empty PostgreSQL database."""
    return new_database(POSTGRESQL)


@pytest.fixture
def mariadb_url(new_database: NewDatabase) -> str:
    """URL of an empty MariaDB database."""
    return new_database(MARIADB)


@pytest.fixture
def own_server() -> Iterator[NewServer]:
    """Call it with "postgresql" or "mariadb" for a server that the test may stop, kill and start.

    It takes seconds. Servers named in the environment are not touched: this one is always new.
    """
    folder = open_folder()
    servers: list[ThrowAwayServer] = []

    def create(kind: str) -> ThrowAwayServer:
        try:
            require_binaries(kind)
        except MissingServerError as missing:
            skip_or_fail(missing)
        server = server_of(kind, folder / f"{kind}-{len(servers)}")
        servers.append(server)
        server.start()
        return server

    try:
        yield create
    finally:
        for server in servers:
            server.remove()
        shutil.rmtree(folder)


def skip_or_fail(missing: MissingServerError) -> NoReturn:
    """Skip the test at hand; where ``CI`` is true nothing may be skipped, and it fails."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{SKIP_PREFIX}{missing}", pytrace=False)
    pytest.skip(f"{SKIP_PREFIX}{missing}")
