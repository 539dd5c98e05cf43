"""An index of the trees whose reports are doubted: every process asks each second whether there are any."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index, unless an interrupted attempt has done so."""
    indexes = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("moorage_reports")}
    if "moorage_reports_doubted_idx" not in indexes:
        op.create_index("moorage_reports_doubted_idx", "moorage_reports", ["doubted"])
