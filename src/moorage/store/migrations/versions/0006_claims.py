"""What native claims asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from moorage.store.migrations.adoption import create_missing

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

claims = sa.Table(
    "moorage_claims",
    sa.MetaData(),
    sa.Column("consumer_uuid", sa.String(36), primary_key=True),
    sa.Column("ask", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")),
    sa.Column("profile", sa.String(255)),
    sa.Column("labels", sa.Text),
    sa.Column("decided_at", sa.BigInteger),
    sa.Column("created_at", sa.DateTime, nullable=False),
    comment="What native claims asked for, by consumer, with the revision on which their places were chosen.",
)


def upgrade() -> None:
    """Create the table, unless an interrupted attempt has created it."""
    create_missing(op.get_bind(), (claims,))
