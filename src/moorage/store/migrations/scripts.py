"""The steps between revisions, which Alembic runs.

Imported only to change a schema, or to look at one that is not the newest.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory


def configuration() -> Config:
    """Alembic's configuration without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


@cache
def revisions() -> tuple[str, ...]:
    """All revisions of Moorage's tables, oldest first. All of them have been released."""
    scripts = ScriptDirectory.from_config(configuration()).walk_revisions()
    return tuple(reversed([script.revision for script in scripts]))


def run_scripts(connection: sa.Connection, revision: str) -> None:
    """Bring the schema to a revision, unless it is past it, in the connection's transaction."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
