"""What a database holds before Moorage has touched it, and whether Moorage may take it over.

Moorage takes a database over in three cases: it is empty, it is one of openstack-placement at its newest
schema, or an earlier attempt of Moorage was interrupted in it. (MariaDB commits every single change of
schema.) Any other database stays as it is, with an error that says what it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa

from moorage.model.errors import SchemaError
from moorage.store.healing import require_sound
from moorage.store.tables import PLACEMENT_REVISION, PLACEMENT_TABLES

PLACEMENT_VERSION_TABLE = "alembic_version"

PLACEMENT_HISTORY = ("b4ed3a175331", "611cd6dffd7b", "b5c396305c25", "422ece571366", PLACEMENT_REVISION)
"""Placement's own revisions, oldest first. Source: ``alembic history`` of openstack-placement 16."""

VERSION_TABLE = "moorage_alembic_version"
"""Moorage's own history. Placement keeps its own in ``alembic_version``."""

SHOWN_TABLES = 3
"""How many names of foreign tables an error shows."""


def take_over(connection: sa.Connection) -> None:
    """Bring the database to Placement's newest tables, and mark it so.

    If this raises SchemaError, nothing has changed.
    """
    if examine(connection) is None:
        create_missing(connection, PLACEMENT_TABLES)
        _stamp(connection)


def examine(connection: sa.Connection) -> str | None:
    """Placement's revision in a database that may be taken over; None if it is not marked yet.

    Raises SchemaError for any other database.
    """
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    stamp = placement_stamp(connection)
    _check_stamp(stamp, present)
    ours = [table.name for table in PLACEMENT_TABLES]
    found = [name for name in ours if name in present]
    if not found:
        _check_empty(stamp, present)
    elif found != ours:
        _check_interrupted(connection, stamp, found, ours)
    _check_columns(inspector, found)
    if found == ours:
        require_sound(connection)
    return stamp


def create_missing(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    """Create those of ``tables``, and of their indexes, that are missing."""
    for table in tables:
        table.create(connection, checkfirst=True)
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            index.create(connection, checkfirst=True)


def _version_table(name: str) -> sa.Table:
    """As Alembic makes it."""
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32), primary_key=True, nullable=False),
    )


def placement_stamp(connection: sa.Connection) -> str | None:
    """The revision that Placement has marked its schema with; None if there is no mark."""
    return mark_in(connection, PLACEMENT_VERSION_TABLE)


def mark_in(connection: sa.Connection, version_table: str) -> str | None:
    """The revision in one of Alembic's version tables; None if there is no such table, or nothing in it."""
    if not sa.inspect(connection).has_table(version_table):
        return None
    found: str | None = connection.execute(sa.select(_version_table(version_table).c.version_num)).scalar()
    return found


def _stamp(connection: sa.Connection) -> None:
    table = _version_table(PLACEMENT_VERSION_TABLE)
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
            f"tables. If it holds nothing that you need, drop its table {PLACEMENT_VERSION_TABLE}"
        )


def _check_interrupted(
    connection: sa.Connection, stamp: str | None, found: Sequence[str], ours: Sequence[str]
) -> None:
    """Continue only what an interrupted attempt leaves: the first few tables, with nothing in them."""
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
