"""Subjects of the journal's records in segments, in place of two indexes that every write had to keep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moorage.store.migrations.adoption import create_missing

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

metadata = sa.MetaData()

subjects = sa.Table(
    "moorage_journal_subjects",
    metadata,
    sa.Column("segment", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.String(36), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    comment="The consumer and the root of the tree of each record that has only one of them, written "
    "later, a segment of revisions at a time. Each segment has a row without a subject too.",
    sqlite_with_rowid=False,
)

_JOURNAL = "moorage_journal"


def upgrade() -> None:
    """Create the table, and drop the indexes, unless an interrupted attempt has done so.

    The service fills the table: until then it finds subjects by reading the records.
    """
    connection = op.get_bind()
    create_missing(connection, (subjects,))
    present = {index["name"] for index in sa.inspect(connection).get_indexes(_JOURNAL)}
    for name in ("moorage_journal_consumer_idx", "moorage_journal_tree_idx"):
        if name in present:
            op.drop_index(name, _JOURNAL)
