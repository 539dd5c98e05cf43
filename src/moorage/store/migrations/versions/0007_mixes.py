"""Which requests usually come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from moorage.store.migrations.adoption import create_missing

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

mixes = sa.Table(
    "moorage_mixes",
    sa.MetaData(),
    sa.Column("market", sa.String(64), primary_key=True),
    sa.Column("body", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    comment="Which requests usually come, as orders by slots have learnt it, by digest of what they learn "
    "for; at is seconds since 1970.",
)


def upgrade() -> None:
    """Create the table, unless an interrupted attempt has created it."""
    create_missing(op.get_bind(), (mixes,))
