"""Tokens that Moorage gives out where there is no Keystone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moorage.store.migrations.adoption import create_missing

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

tokens = sa.Table(
    "moorage_tokens",
    sa.MetaData(),
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("project_id", sa.String(255)),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    comment="Tokens by their public part, with the digest of their secret. Times are seconds since 1970.",
)


def upgrade() -> None:
    """Create the table, unless an interrupted attempt has created it."""
    create_missing(op.get_bind(), (tokens,))
