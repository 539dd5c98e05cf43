"""Placement's tables where they are missing, the revision and the change log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moorage.store.migrations.adoption import create_missing, take_over

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

metadata = sa.MetaData()

# The tables as of this revision. A later revision changes them in a step of its own, not here.

revisions = sa.Table(
    "moorage_revision",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("compacted", sa.BigInteger, nullable=False),
    comment="One row: the number of the last write, and up to which the change log is gone.",
)

changes = sa.Table(
    "moorage_changes",
    metadata,
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("root_provider_id", sa.Integer),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("transaction_id", sa.String(32), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Index("moorage_changes_transaction_id_idx", "transaction_id"),
    comment="One row per write and tree that it changed; no tree: names changed.",
)


def upgrade() -> None:
    """Take the database over. Raises SchemaError for one that may not be taken over.

    Like every revision it can run again after an interruption: MariaDB keeps what was done.
    """
    connection = op.get_bind()
    take_over(connection)
    create_missing(connection, (revisions, changes))
    if connection.execute(sa.select(revisions.c.id)).first() is None:
        connection.execute(revisions.insert().values(id=1, revision=0, compacted=0))
