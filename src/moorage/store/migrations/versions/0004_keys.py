"""Idempotency keys of native writes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from moorage.store.migrations.adoption import create_missing

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

keys = sa.Table(
    "moorage_keys",
    sa.MetaData(),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("answer", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Index("moorage_keys_created_at_idx", "created_at"),
    comment="Answers to native writes by the digest of their idempotency keys, compressed if they are long.",
)


def upgrade() -> None:
    """Create the table, unless an interrupted attempt has created it."""
    create_missing(op.get_bind(), (keys,))
