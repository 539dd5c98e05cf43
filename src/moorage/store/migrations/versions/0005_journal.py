"""The journal, and the epoch that tells one history from another."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from moorage.store.migrations.adoption import create_missing

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

metadata = sa.MetaData()

journal = sa.Table(
    "moorage_journal",
    metadata,
    sa.Column(
        "revision",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("path", sa.String(16), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("global_request_id", sa.String(64), nullable=False),
    sa.Column("consumer", sa.String(36)),
    sa.Column("tree", sa.String(36)),
    sa.Column("body", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Index("moorage_journal_consumer_idx", "consumer"),
    sa.Index("moorage_journal_tree_idx", "tree"),
    comment="One row per write: its request, the consumer and the root of the tree if there is only one of "
    "each, and JSON of all that changed, compressed if it is long.",
)

journal_refs = sa.Table(
    "moorage_journal_refs",
    metadata,
    sa.Column("subject", sa.String(36), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    comment="The consumers and roots of trees of the records in which there are several.",
    sqlite_with_rowid=False,
)

_revisions = sa.table("moorage_revision", sa.column("epoch", sa.String))


def upgrade() -> None:
    """Create the tables, and give the history an epoch, unless an interrupted attempt has done so."""
    connection = op.get_bind()
    create_missing(connection, (journal, journal_refs))
    columns = {column["name"] for column in sa.inspect(connection).get_columns("moorage_revision")}
    if "epoch" not in columns:
        op.add_column(
            "moorage_revision", sa.Column("epoch", sa.String(16), nullable=False, server_default="")
        )
    op.execute(_revisions.update().where(_revisions.c.epoch == "").values(epoch=secrets.token_hex(8)))
