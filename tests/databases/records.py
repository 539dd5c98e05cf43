"""What the journal has, for tests."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from moorage.store.sql.texts import unpacked_text
from moorage.store.store import Store
from moorage.store.tables import changes, journal, journal_refs, journal_subjects, revisions


def rows(store: Store, after: int = 0) -> list[dict[str, Any]]:
    """All records after a revision, in order, with their bodies as objects."""
    query = sa.select(journal).where(journal.c.revision > after).order_by(journal.c.revision)
    with store.engines.snapshot.connect() as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    for row in found:
        row["body"] = orjson.loads(unpacked_text(row["body"]))
    return found


def refs(store: Store, after: int = 0) -> set[tuple[int, str]]:
    """Revision and subject of what has several of them."""
    query = sa.select(journal_refs.c.revision, journal_refs.c.subject).where(journal_refs.c.revision > after)
    with store.engines.snapshot.connect() as connection:
        return {(row.revision, row.subject) for row in connection.execute(query)}


def put_back(store: Store, revision: int, *statements: str) -> None:
    """Take all that counts writes back to a revision, as a restored backup does."""
    with store.engines.write.begin() as connection:
        connection.execute(revisions.update().values(revision=revision))
        for table in (changes, journal, journal_refs, journal_subjects):
            connection.execute(table.delete().where(table.c.revision > revision))
        for statement in statements:
            connection.execute(sa.text(statement))
