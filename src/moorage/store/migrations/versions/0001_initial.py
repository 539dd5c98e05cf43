"""Placement's tables where they are missing, the revision and the change log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moorage.model.errors import SchemaError
from moorage.store.changelog import create_revision_row
from moorage.store.tables import MOORAGE_TABLES, PLACEMENT_REVISION, PLACEMENT_TABLES

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PLACEMENT_VERSION_TABLE = "alembic_version"


def upgrade() -> None:
    """Create what is missing; a half or an older Placement schema is refused."""
    connection = op.get_bind()
    present = set(sa.inspect(connection).get_table_names())
    ours = {table.name for table in PLACEMENT_TABLES}
    if not ours & present:
        for table in PLACEMENT_TABLES:
            table.create(connection)
        _stamp_placement(connection)
    else:
        _check_placement(connection, present, ours)
    for table in MOORAGE_TABLES:
        table.create(connection)
    create_revision_row(connection)


def _version_table() -> sa.Table:
    return sa.Table(
        PLACEMENT_VERSION_TABLE,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32), primary_key=True, nullable=False),
    )


def _stamp_placement(connection: sa.Connection) -> None:
    table = _version_table()
    table.create(connection, checkfirst=True)
    if connection.execute(sa.select(table.c.version_num)).first() is None:
        connection.execute(table.insert().values(version_num=PLACEMENT_REVISION))


def _check_placement(connection: sa.Connection, present: set[str], ours: set[str]) -> None:
    found = None
    if PLACEMENT_VERSION_TABLE in present:
        found = connection.execute(sa.select(_version_table().c.version_num)).scalar()
    if ours - present or found not in (None, PLACEMENT_REVISION):
        raise SchemaError(
            "the database holds an older Placement schema: bring it to the newest one with "
            "'placement-manage db sync' first"
        )
