"""What a database holds before Moorage has touched it, and whether it may be taken over.

A database is taken over if it is empty, if it is one of openstack-placement at its newest schema, or
if an earlier attempt of our own was interrupted in it (MariaDB commits every single change of
schema). Anything else is left alone, with a word on what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa

from moorage.model.errors import SchemaError
from moorage.store.tables import PLACEMENT_REVISION, PLACEMENT_TABLES

PLACEMENT_VERSION_TABLE = "alembic_version"

PLACEMENT_HISTORY = ("b4ed3a175331", "611cd6dffd7b", "b5c396305c25", "422ece571366", PLACEMENT_REVISION)
"""Placement's own revisions, oldest first. Source: ``alembic history`` of openstack-placement 16."""

VERSION_TABLE = "moorage_alembic_version"
"""Our own history; Placement keeps its own in ``alembic_version``."""

SHOWN_TABLES = 3
"""Names of strange tables that an error shows."""


def take_over(connection: sa.Connection) -> None:
    """Leave the database with Placement's newest tables, marked as such.

    Raises SchemaError, and has changed nothing then.
    """
    if examine(connection) is None:
        create_missing(connection, PLACEMENT_TABLES)
        _stamp(connection)


def examine(connection: sa.Connection) -> str | None:
    """Placement's revision in a database that may be taken over; None if it is not marked yet.

    Raises SchemaError for one that may not be.
    """
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    stamp = _placement_stamp(connection, present)
    _check_stamp(stamp, present)
    ours = [table.name for table in PLACEMENT_TABLES]
    found = [name for name in ours if name in present]
    if not found:
        _check_empty(stamp, present)
    elif found != ours:
        _check_interrupted(connection, stamp, found, ours)
    _check_columns(inspector, found)
    return stamp


def create_missing(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    """Create those of ``tables``, and of their indexes, that are not there."""
    for table in tables:
        table.create(connection, checkfirst=True)
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            index.create(connection, checkfirst=True)


def _version_table() -> sa.Table:
    return sa.Table(
        PLACEMENT_VERSION_TABLE,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32), primary_key=True, nullable=False),
    )


def _placement_stamp(connection: sa.Connection, present: Collection[str]) -> str | None:
    if PLACEMENT_VERSION_TABLE not in present:
        return None
    found: str | None = connection.execute(sa.select(_version_table().c.version_num)).scalar()
    return found


def _stamp(connection: sa.Connection) -> None:
    table = _version_table()
    table.create(connection, checkfirst=True)
    connection.execute(table.insert().values(version_num=PLACEMENT_REVISION))


def _check_stamp(stamp: str | None, present: Collection[str]) -> None:
    if stamp in (None, PLACEMENT_REVISION):
        return
    if stamp in PLACEMENT_HISTORY:
        raise SchemaError(
            f"the database holds an older Placement schema ({stamp}): bring it to the newest one "
            f"({PLACEMENT_REVISION}) with 'placement-manage db sync' first"
        )
    if all(table.name in present for table in PLACEMENT_TABLES):
        raise SchemaError(
            f"the database holds a Placement schema that this version does not know ({stamp}, newer "
            f"than {PLACEMENT_REVISION}): it needs a newer Moorage"
        )
    raise SchemaError(
        f"the database belongs to something else: its {PLACEMENT_VERSION_TABLE} says {stamp}, which is "
        "no revision of Placement. Give Moorage an empty database, or one of Placement"
    )


def _check_empty(stamp: str | None, present: Collection[str]) -> None:
    strangers = sorted(set(present) - {PLACEMENT_VERSION_TABLE, VERSION_TABLE})
    if strangers:
        more = ", ..." if len(strangers) > SHOWN_TABLES else ""
        raise SchemaError(
            "the database belongs to something else: it holds the tables "
            f"{', '.join(strangers[:SHOWN_TABLES])}{more} and none of Placement's. "
            "Give Moorage an empty database, or one of Placement"
        )
    if stamp is not None:
        raise SchemaError(
            f"the database is half-made: it is marked as Placement's ({stamp}) but has none of its "
            f"tables. If nothing is to be kept in it, drop its table {PLACEMENT_VERSION_TABLE}"
        )


def _check_interrupted(
    connection: sa.Connection, stamp: str | None, found: Sequence[str], ours: Sequence[str]
) -> None:
    """Only what an interrupted attempt leaves is continued: the first few tables, and nothing in them."""
    if stamp is None and found == ours[: len(found)] and not _has_rows(connection, found):
        return
    missing = [name for name in ours if name not in found]
    raise SchemaError(
        f"the database is half-made: of Placement's tables it lacks {', '.join(missing)}. Restore it "
        "from a backup; if it is that of an old Placement, bring it to the newest schema with "
        "'placement-manage db sync' first"
    )


def _has_rows(connection: sa.Connection, names: Collection[str]) -> bool:
    tables = [table for table in PLACEMENT_TABLES if table.name in names]
    return any(
        connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None
        for table in tables
    )


def _check_columns(inspector: sa.Inspector, found: Collection[str]) -> None:
    for table in PLACEMENT_TABLES:
        if table.name not in found:
            continue
        present = {column["name"] for column in inspector.get_columns(table.name)}
        missing = [column.name for column in table.columns if column.name not in present]
        if missing:
            raise SchemaError(
                f"the database is not Placement's: its table {table.name} lacks {', '.join(missing)}. "
                "If it is that of an old Placement, bring it to the newest schema with "
                "'placement-manage db sync' first"
            )
