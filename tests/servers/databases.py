"""Fresh databases on a server: each test gets one of its own and leaves nothing behind."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.servers.binaries import POSTGRESQL
from tests.servers.session import server_url

SQLITE = "sqlite"
DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
"""The driver that Moorage uses, whichever one a given URL names."""

NO_SUCH_THREAD = 1094
"""MariaDB's and MySQL's error number for KILL of a connection that is not there."""


@contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """SQLAlchemy URL of an empty database, which is dropped at the end.

    ``folder`` takes the file of an SQLite database. Raises what ``server_url`` raises.
    """
    name = f"moorage_test_{secrets.token_hex(6)}"
    if kind == SQLITE:
        yield f"sqlite:///{folder / name}.sqlite"
        return
    server = with_driver(server_url(kind))
    _execute(server, f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        if kind == POSTGRESQL:
            _execute(server, f"DROP DATABASE {name} WITH (FORCE)")
        else:
            _end_connections(server, name)
            _execute(server, f"DROP DATABASE {name}")


def with_driver(url: str) -> URL:
    """``url`` with Moorage's own driver for its kind of database."""
    parsed = make_url(url)
    return parsed.set(drivername=DRIVERS[parsed.get_backend_name()])


def _execute(server: URL, statement: str) -> None:
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))


def _end_connections(server: URL, name: str) -> None:
    """A transaction that a test left open would make MariaDB's DROP wait for its locks."""
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        left = connection.execute(
            text("SELECT id FROM information_schema.processlist WHERE db = :name"), {"name": name}
        ).scalars()
        for connection_id in left.all():
            try:
                connection.exec_driver_sql(f"KILL {int(connection_id)}")
            except DBAPIError as failure:
                # It may have gone by itself since it was listed.
                if failure.orig is None or failure.orig.args[0] != NO_SUCH_THREAD:
                    raise
