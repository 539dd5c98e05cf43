"""A database server for the benchmark alone, gone when it is over."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.servers.binaries import MARIADB, POSTGRESQL, URL_VARIABLES, Binaries
from tests.servers.databases import SQLITE
from tests.servers.throwaway import MariaDBServer, PostgreSQLServer

KINDS = (SQLITE, POSTGRESQL, MARIADB)

BUFFER = "1GB"
"""The tests' servers are content with 32 MB; here the tables of a large cloud shall fit."""


class RoomyPostgreSQL(PostgreSQLServer):
    """PostgreSQL with its durable defaults and enough buffers."""

    def _serve_command(self, binaries: Binaries) -> list[str]:
        # Of an option that is given twice, the last one counts.
        return [*super()._serve_command(binaries), "-c", f"shared_buffers={BUFFER}", "-c", "max_wal_size=4GB"]


class RoomyMariaDB(MariaDBServer):
    """MariaDB with its durable defaults and enough buffers."""

    def _serve_command(self, binaries: Binaries) -> list[str]:
        sizes = [f"--innodb-buffer-pool-size={BUFFER.removesuffix('B')}", "--innodb-log-file-size=512M"]
        return [*super()._serve_command(binaries), *sizes]


@contextmanager
def running_server(kind: str) -> Iterator[None]:
    """A server for ``tests.servers.databases.fresh_database``, unless the environment names one.

    Its data lie on the disk, where a commit costs what it costs. Raises ServerError.
    """
    if kind == SQLITE or os.environ.get(URL_VARIABLES[kind]):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="moorage-bench-server-") as name:
        folder = Path(name)
        # As root, servers run as another user, who has to pass.
        folder.chmod(0o711)
        server = (RoomyPostgreSQL if kind == POSTGRESQL else RoomyMariaDB)(folder / kind)
        try:
            server.start()
            os.environ[URL_VARIABLES[kind]] = server.url
            yield
        finally:
            os.environ.pop(URL_VARIABLES[kind], None)
            server.stop()


def version(url: str) -> str:
    """Version of the database at ``url``."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        function = "sqlite_version()" if connection.dialect.name == "sqlite" else "version()"
        return str(connection.scalar(sa.text(f"SELECT {function}")))
