"""Reports of what is really there, and what they and the account disagree about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from moorage.store.migrations.adoption import create_missing

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_metadata = sa.MetaData()

reports = sa.Table(
    "moorage_reports",
    _metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("tree", sa.String(36), primary_key=True),
    sa.Column("consumers", sa.Integer, nullable=False),
    sa.Column("counted_at", sa.BigInteger, nullable=False),
    sa.Column("doubted", sa.Integer),
    sa.Column("doubted_at", sa.BigInteger),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    comment="How many consumers each source has reported of each tree. The row without a tree has the last "
    "report of its source. Times are milliseconds of service time; at is seconds since 1970.",
)

findings = sa.Table(
    "moorage_findings",
    _metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("consumer_uuid", sa.String(36), nullable=False),
    sa.Column("tree", sa.String(36), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("acted_at", sa.BigInteger),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Index("moorage_findings_source_tree_idx", "source", "tree"),
    comment="What reports and the account disagree about. Times are milliseconds of service time; at is "
    "seconds since 1970.",
)

healings = sa.Table(
    "moorage_healings",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("begun_at", sa.BigInteger, nullable=False),
    sa.Column("finding", sa.String(16), nullable=False),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("consumer_uuid", sa.String(36), nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("revision", sa.BigInteger),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("moorage_healings_begun_at_idx", "begun_at"),
    comment="Actions on findings, with the revision of what they wrote. begun_at is milliseconds of service "
    "time, at seconds since 1970.",
)


def upgrade() -> None:
    """Create the tables, unless an interrupted attempt has created them."""
    create_missing(op.get_bind(), (reports, findings, healings))
