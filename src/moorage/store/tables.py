"""Tables: those of openstack-placement's newest schema, and Moorage's own ``moorage_`` ones.

The shared tables keep Placement's names, columns, indexes and constraints, so that both services can be
started on one database. As in Placement, ``created_at`` and ``updated_at`` are naive UTC.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from moorage.store.sql.statements import utcnow

PLACEMENT_REVISION = "a082b8bb98d0"
"""Placement's own name for the schema below, as its migration tool records it."""


metadata = sa.MetaData()


def _table(name: str, *items: sa.Column[object] | sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("created_at", sa.DateTime, default=utcnow),
        sa.Column("updated_at", sa.DateTime, onupdate=utcnow),
        *items,
    )


resource_providers = _table(
    "resource_providers",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("name", sa.Unicode(200)),
    sa.Column("generation", sa.Integer, default=0),
    sa.Column("root_provider_id", sa.Integer, sa.ForeignKey("resource_providers.id")),
    sa.Column("parent_provider_id", sa.Integer, sa.ForeignKey("resource_providers.id")),
    sa.UniqueConstraint("uuid", name="uniq_resource_providers0uuid"),
    sa.UniqueConstraint("name", name="uniq_resource_providers0name"),
    sa.Index("resource_providers_root_provider_id_idx", "root_provider_id"),
    sa.Index("resource_providers_parent_provider_id_idx", "parent_provider_id"),
)

inventories = _table(
    "inventories",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("resource_provider_id", sa.Integer, nullable=False),
    sa.Column("resource_class_id", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("reserved", sa.Integer, nullable=False),
    sa.Column("min_unit", sa.Integer, nullable=False),
    sa.Column("max_unit", sa.Integer, nullable=False),
    sa.Column("step_size", sa.Integer, nullable=False),
    sa.Column("allocation_ratio", sa.Float, nullable=False),
    sa.UniqueConstraint(
        "resource_provider_id",
        "resource_class_id",
        name="uniq_inventories0resource_provider_resource_class",
    ),
    sa.Index("inventories_resource_class_id_idx", "resource_class_id"),
)

allocations = _table(
    "allocations",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("resource_provider_id", sa.Integer, nullable=False),
    sa.Column("consumer_id", sa.String(36), nullable=False),
    sa.Column("resource_class_id", sa.Integer, nullable=False),
    sa.Column("used", sa.Integer, nullable=False),
    sa.Index(
        "allocations_resource_provider_class_used_idx",
        "resource_provider_id",
        "resource_class_id",
        "used",
    ),
    sa.Index("allocations_resource_class_id_idx", "resource_class_id"),
    sa.Index("allocations_consumer_id_idx", "consumer_id"),
)

resource_classes = _table(
    "resource_classes",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.UniqueConstraint("name", name="uniq_resource_classes0name"),
)

traits = _table(
    "traits",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Unicode(255), nullable=False),
    sa.UniqueConstraint("name", name="uniq_traits0name"),
)

provider_traits = _table(
    "resource_provider_traits",
    sa.Column("trait_id", sa.Integer, sa.ForeignKey("traits.id"), primary_key=True),
    sa.Column("resource_provider_id", sa.Integer, sa.ForeignKey("resource_providers.id"), primary_key=True),
    sa.Index("resource_provider_traits_resource_provider_trait_idx", "resource_provider_id", "trait_id"),
)

aggregates = _table(
    "placement_aggregates",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36)),
    sa.UniqueConstraint("uuid", name="uniq_placement_aggregates0uuid"),
)

provider_aggregates = _table(
    "resource_provider_aggregates",
    sa.Column("resource_provider_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("aggregate_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Index("resource_provider_aggregates_aggregate_id_idx", "aggregate_id"),
)

projects = _table(
    "projects",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("external_id", sa.String(255), nullable=False),
    sa.UniqueConstraint("external_id", name="uniq_projects0external_id"),
)

users = _table(
    "users",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("external_id", sa.String(255), nullable=False),
    sa.UniqueConstraint("external_id", name="uniq_users0external_id"),
)

consumer_types = _table(
    "consumer_types",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Unicode(255), nullable=False),
    sa.UniqueConstraint("name", name="uniq_consumer_types0name"),
)

consumers = _table(
    "consumers",
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("project_id", sa.Integer, nullable=False),
    sa.Column("user_id", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False, server_default="0", default=0),
    sa.Column(
        "consumer_type_id",
        sa.Integer,
        sa.ForeignKey("consumer_types.id", name="consumers_consumer_type_id_fkey"),
    ),
    sa.UniqueConstraint("uuid", name="uniq_consumers0uuid"),
    sa.Index("consumers_project_id_uuid_idx", "project_id", "uuid"),
    sa.Index("consumers_project_id_user_id_uuid_idx", "project_id", "user_id", "uuid"),
    sa.Index("consumers_consumer_type_id_idx", "consumer_type_id"),
)

PLACEMENT_TABLES = tuple(metadata.tables.values())
"""The tables that Placement has too."""

revisions = sa.Table(
    "moorage_revision",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("compacted", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.String(16), nullable=False, server_default=""),
    comment="One row: the number of the last write, and up to which the change log is gone.",
)

changes = sa.Table(
    "moorage_changes",
    metadata,
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("root_provider_id", sa.Integer),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("transaction_id", sa.String(32), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False, default=utcnow),
    sa.Index("moorage_changes_transaction_id_idx", "transaction_id"),
    comment="One row per write and tree that it changed; no tree: names changed.",
)

journal = sa.Table(
    "moorage_journal",
    metadata,
    # SQLite finds rows by an INTEGER key without an index beside the table.
    sa.Column(
        "revision",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("path", sa.String(16), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("global_request_id", sa.String(64), nullable=False),
    sa.Column("consumer", sa.String(36)),
    sa.Column("tree", sa.String(36)),
    sa.Column("body", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False, default=utcnow),
    comment="One row per write: its request, the consumer and the root of the tree if there is only one of "
    "each, and JSON of all that changed, compressed if it is long.",
)

journal_refs = sa.Table(
    "moorage_journal_refs",
    metadata,
    sa.Column("subject", sa.String(36), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    comment="The consumers and roots of trees of the records in which there are several.",
    sqlite_with_rowid=False,
)

journal_subjects = sa.Table(
    "moorage_journal_subjects",
    metadata,
    sa.Column("segment", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.String(36), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    comment="The consumer and the root of the tree of each record that has only one of them, written "
    "later, a segment of revisions at a time. Each segment has a row without a subject too.",
    sqlite_with_rowid=False,
)

tokens = sa.Table(
    "moorage_tokens",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("role", sa.String(32), nullable=False),
    sa.Column("project_id", sa.String(255)),
    # Plain numbers: all drivers return them as they are, without SQLAlchemy's help.
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    comment="Tokens by their public part, with the digest of their secret. Times are seconds since 1970.",
)

keys = sa.Table(
    "moorage_keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("answer", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False, default=utcnow),
    sa.Index("moorage_keys_created_at_idx", "created_at"),
    comment="Answers to native writes by the digest of their idempotency keys, compressed if they are long.",
)

claims = sa.Table(
    "moorage_claims",
    metadata,
    sa.Column("consumer_uuid", sa.String(36), primary_key=True),
    sa.Column("ask", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")),
    sa.Column("profile", sa.String(255)),
    sa.Column("labels", sa.Text),
    sa.Column("decided_at", sa.BigInteger),
    sa.Column("created_at", sa.DateTime, nullable=False, default=utcnow),
    sa.Column("lease", sa.String(36)),
    sa.Index("moorage_claims_lease_idx", "lease"),
    comment="What native claims asked for, by consumer, with the revision on which their places were chosen.",
)

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
    sa.Column("created_at", sa.DateTime, nullable=False, default=utcnow),
    sa.Index("moorage_leases_state_due_tick_idx", "state", "due_tick"),
    comment="Leases. fence is the revision of the grant, revision that of the last change after it, if there "
    "was one. due_tick is when a lease leaves its state, or came to it.",
)

mixes = sa.Table(
    "moorage_mixes",
    metadata,
    sa.Column("market", sa.String(64), primary_key=True),
    sa.Column("body", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    comment="Which requests usually come, as orders by slots have learnt it, by digest of what they learn "
    "for; at is seconds since 1970.",
)

reports = sa.Table(
    "moorage_reports",
    metadata,
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Column("tree", sa.String(36), primary_key=True),
    sa.Column("consumers", sa.Integer, nullable=False),
    sa.Column("counted_at", sa.BigInteger, nullable=False),
    sa.Column("doubted", sa.Integer),
    sa.Column("doubted_at", sa.BigInteger),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("moorage_reports_doubted_idx", "doubted"),
    comment="How many consumers each source has reported of each tree. The row without a tree has the last "
    "report of its source. Times are milliseconds of service time; at is seconds since 1970.",
)

findings = sa.Table(
    "moorage_findings",
    metadata,
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
    metadata,
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

unmet = sa.Table(
    "moorage_unmet",
    metadata,
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
    sa.Column("project_id", sa.String(255)),
    sa.Index("moorage_unmet_request_id_idx", "request_id"),
    sa.Index("moorage_unmet_global_request_id_idx", "global_request_id"),
    comment="Searches that found nothing, with compressed JSON that says why; at is seconds since 1970.",
)
