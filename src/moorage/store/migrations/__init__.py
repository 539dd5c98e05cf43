"""The schema's history, kept by Alembic in a version table of our own.

Placement's tables are created as its newest release has them where they are missing, and its own
version table then says so, so that it can be started on the same database at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from moorage.model.errors import SchemaError, UnavailableError
from moorage.store.migrations.adoption import VERSION_TABLE

HEAD = "0002"
"""The newest revision; a test holds it to the scripts."""


def configuration() -> Config:
    """Alembic's configuration without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


LOCK_NAME = "moorage_migrations"
LOCK_SECONDS = 600
"""How long one host waits for another one's migrations."""


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """A transaction in which no other process changes the schema.

    SQLite's BEGIN IMMEDIATE is enough by itself. MariaDB's DDL commits on its own, so that only a
    lock of the session lasts until the end. Raises UnavailableError.
    """
    by_session = connection.dialect.name == "mysql"
    if by_session:
        taken = connection.execute(sa.select(sa.func.get_lock(LOCK_NAME, LOCK_SECONDS))).scalar()
        connection.commit()
        if taken != 1:
            raise UnavailableError("another process changes the schema")
    try:
        with connection.begin():
            if connection.dialect.name == "postgresql":
                # Writers do not wait long, but this takes as long as it takes.
                connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
                lock = sa.func.pg_advisory_xact_lock(sa.func.hashtext(LOCK_NAME))
                connection.execute(sa.select(lock))
            yield
    finally:
        if by_session:
            connection.execute(sa.select(sa.func.release_lock(LOCK_NAME)))


@cache
def revisions() -> tuple[str, ...]:
    """All revisions of our own tables, oldest first: every one of them has been released."""
    scripts = ScriptDirectory.from_config(configuration()).walk_revisions()
    return tuple(reversed([script.revision for script in scripts]))


def upgrade(engine: sa.Engine, revision: str = HEAD) -> None:
    """Bring the schema to a revision, if it is not past it. Raises SchemaError, UnavailableError."""
    with engine.connect() as connection, _alone(connection):
        check_known(_version(connection))
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def version(engine: sa.Engine) -> str | None:
    """Revision that the database is at; None if it has none of our tables."""
    with engine.connect() as connection:
        return _version(connection)


def _version(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def check_known(present: str | None) -> None:
    """Raises SchemaError for a database at a revision that only a newer version knows."""
    if present is not None and present not in revisions():
        raise SchemaError(
            f"the database is at revision {present}, which this version does not know (its newest is "
            f"{HEAD}): a newer Moorage has upgraded it, and one at least as new must serve it"
        )
