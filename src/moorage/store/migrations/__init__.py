"""The schema's history, which Alembic keeps in a version table of Moorage's own.

Missing tables of Placement are created as in its newest release. Placement's own version table then says
so, so that Placement can be started on the same database at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from moorage.model.errors import SchemaError, UnavailableError
from moorage.store.migrations.adoption import VERSION_TABLE, mark_in
from moorage.store.sql.engines import make_file

HEAD = "0012"
"""The newest revision; a test holds it to the scripts."""

LOCK_NAME = "moorage_migrations"
LOCK_SECONDS = 600
"""How long one host waits for another host's migrations."""


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """A transaction during which no other process changes the schema.

    On SQLite, BEGIN IMMEDIATE alone is enough. MariaDB commits after each DDL statement, so only a lock of
    the session lasts until the end. Raises UnavailableError.
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
                # Writers bound their waits, but a migration may take long.
                connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
                lock = sa.func.pg_advisory_xact_lock(sa.func.hashtext(LOCK_NAME))
                connection.execute(sa.select(lock))
            yield
    finally:
        if by_session:
            connection.execute(sa.select(sa.func.release_lock(LOCK_NAME)))


def upgrade(engine: sa.Engine, revision: str = HEAD) -> None:
    """Bring the schema to a revision, unless it is past it. Makes a missing SQLite file.

    Raises ConfigurationError, SchemaError, UnavailableError.
    """
    make_file(engine.url)
    with engine.connect() as connection, _alone(connection):
        present = version_in(connection)
        check_known(present)
        if present == HEAD:
            return
        # Alembic takes an eighth of the time that a process needs to start. At nearly every start there is
        # nothing for it to do.
        from moorage.store.migrations.scripts import run_scripts

        run_scripts(connection, revision)


def version(engine: sa.Engine) -> str | None:
    """Revision of the database's schema; None if it has none of Moorage's tables."""
    with engine.connect() as connection:
        return version_in(connection)


def version_in(connection: sa.Connection) -> str | None:
    """As ``version``, over an existing connection."""
    return mark_in(connection, VERSION_TABLE)


def check_known(present: str | None) -> None:
    """Raises SchemaError for a database at a revision that only a newer version knows."""
    if present in (None, HEAD):
        return
    from moorage.store.migrations.scripts import revisions

    if present not in revisions():
        raise SchemaError(
            f"the database is at revision {present}, which this version does not know (its newest is "
            f"{HEAD}): a newer Moorage has upgraded it, and one at least as new must serve it"
        )
