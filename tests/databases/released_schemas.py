"""What each released revision of the schema looks like, kept so that no later change alters it.

``python -m tests.databases.released_schemas`` writes the descriptions that are missing under
``tests/databases/released``. One that is there is never written again: it is what operators have.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from moorage.store import migrations
from moorage.store.migrations import scripts

FOLDER = Path(__file__).parent / "released"

KINDS: tuple[type[sa.types.TypeEngine[Any]], ...] = (
    sa.BigInteger,
    sa.Integer,
    sa.Float,
    sa.DateTime,
    sa.LargeBinary,
    sa.Text,
    sa.String,
    sa.Boolean,
)
"""Kinds of columns that all databases have, the narrower before the wider."""


def engine_for(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=sa.pool.NullPool)


def described(url: str) -> dict[str, Any]:
    """All that a database tells of its tables, in words that are the same for every kind of it."""
    with engine_for(url).connect() as connection:
        inspector = sa.inspect(connection)
        return {name: _table(inspector, name) for name in sorted(inspector.get_table_names())}


def _table(inspector: sa.Inspector, name: str) -> dict[str, Any]:
    key = inspector.get_pk_constraint(name)["constrained_columns"]
    return {
        "columns": {
            column["name"]: [_kind(column["type"], is_key=key == [column["name"]]), column["nullable"]]
            for column in inspector.get_columns(name)
        },
        "key": key,
        "unique": sorted(
            [constraint["name"], constraint["column_names"]]
            for constraint in inspector.get_unique_constraints(name)
        ),
        "indexes": sorted(
            [index["name"], index["column_names"]]
            for index in inspector.get_indexes(name)
            if not index["unique"]
        ),
        "references": sorted(
            [key["constrained_columns"], key["referred_table"], key["referred_columns"]]
            for key in inspector.get_foreign_keys(name)
        ),
    }


def _kind(found: sa.types.TypeEngine[Any], *, is_key: bool) -> str:
    if is_key and isinstance(found, sa.BigInteger):
        # On SQLite only an INTEGER, whatever the size of its numbers, is a key without an index of its own.
        return sa.Integer.__name__
    if isinstance(found, mysql.MEDIUMTEXT):
        # What other databases call a text has a name of its own for its length here.
        return sa.Text.__name__
    kind = next(kind for kind in KINDS if isinstance(found, kind)).__name__
    length = getattr(found, "length", None)
    return f"{kind}({length})" if length and kind == "String" else kind


def path_of(revision: str) -> Path:
    return FOLDER / f"{revision}.json"


def released(revision: str) -> dict[str, Any]:
    """The description of a released revision."""
    found: dict[str, Any] = json.loads(path_of(revision).read_text())
    return found


def write_missing(folder: Path) -> list[str]:
    """Write what is missing, from new databases in ``folder``; returns the revisions."""
    missing = [revision for revision in scripts.revisions() if not path_of(revision).exists()]
    for revision in missing:
        url = f"sqlite:///{folder / revision}.sqlite"
        migrations.upgrade(engine_for(url), revision)
        path_of(revision).write_text(json.dumps(described(url), indent=1, sort_keys=True) + "\n")
    return missing


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        write_missing(Path(where))
