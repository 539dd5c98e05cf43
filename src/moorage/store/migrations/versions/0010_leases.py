"""Service time, and leases on which claims hang."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moorage.store.migrations.adoption import create_missing

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

metadata = sa.MetaData()

clock = sa.Table(
    "moorage_clock",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ticks", sa.BigInteger, nullable=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("keeper", sa.String(36), nullable=False),
    comment="One row: service time in milliseconds, and the process that counts it, in which term.",
)

leases = sa.Table(
    "moorage_leases",
    metadata,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("ttl_ms", sa.BigInteger, nullable=False),
    sa.Column("grace_ms", sa.BigInteger, nullable=False),
    sa.Column("on_expiry", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("due_tick", sa.BigInteger, nullable=False),
    sa.Column("end_tick", sa.BigInteger),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Index("moorage_leases_state_due_tick_idx", "state", "due_tick"),
    comment="Leases. fence is the revision of the grant, revision that of the last change after it, if there "
    "was one. due_tick is when a lease leaves its state, or came to it.",
)


def upgrade() -> None:
    """Create the tables, and add the column, unless an interrupted attempt has done so."""
    connection = op.get_bind()
    create_missing(connection, (clock, leases))
    if connection.execute(sa.select(clock.c.id)).first() is None:
        op.execute(clock.insert().values(id=1, ticks=0, term=0, keeper=""))
    columns = {column["name"] for column in sa.inspect(connection).get_columns("moorage_claims")}
    if "lease" not in columns:
        op.add_column("moorage_claims", sa.Column("lease", sa.String(36)))
    indexes = {index["name"] for index in sa.inspect(connection).get_indexes("moorage_claims")}
    if "moorage_claims_lease_idx" not in indexes:
        op.create_index("moorage_claims_lease_idx", "moorage_claims", ["lease"])
