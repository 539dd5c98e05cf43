"""Searches that found nothing, with their explanations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moorage.store.migrations.adoption import create_missing

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

unmet = sa.Table(
    "moorage_unmet",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("ask_hash", sa.String(64), nullable=False),
    sa.Column("ask", sa.Text, nullable=False),
    sa.Column("verdict", sa.String(32), nullable=False),
    sa.Column("explanation", sa.LargeBinary, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("global_request_id", sa.String(64)),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("searches", sa.Integer, nullable=False),
    sa.Index("moorage_unmet_request_id_idx", "request_id"),
    sa.Index("moorage_unmet_global_request_id_idx", "global_request_id"),
    comment="Searches that found nothing, with compressed JSON that says why; at is seconds since 1970.",
)


def upgrade() -> None:
    """Create the table, unless an interrupted attempt has created it."""
    create_missing(op.get_bind(), (unmet,))
