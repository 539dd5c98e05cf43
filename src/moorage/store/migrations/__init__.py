"""The schema's history, kept by Alembic in a version table of our own.

Placement's tables are created as its newest release has them where they are missing, and its own
version table then says so, so that it can be started on the same database at any time.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

VERSION_TABLE = "moorage_alembic_version"
"""Placement keeps its own history in ``alembic_version``."""

HEAD = "0001"
"""The newest revision; a test holds it to the scripts."""


def configuration() -> Config:
    """Alembic's configuration without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def upgrade(engine: sa.Engine) -> None:
    """Bring the schema to the newest revision."""
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def version(engine: sa.Engine) -> str | None:
    """Revision that the database is at; None if it has none of our tables."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()
