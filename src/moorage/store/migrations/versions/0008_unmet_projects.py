"""Which project asked what found nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, unless an interrupted attempt has added it."""
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("moorage_unmet")}
    if "project_id" not in columns:
        op.add_column("moorage_unmet", sa.Column("project_id", sa.String(255)))
