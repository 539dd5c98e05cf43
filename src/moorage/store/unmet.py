"""The table of searches that found nothing. They belong to no tree and to no index, so no revision counts
them, and no transaction of a write takes part in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

import sqlalchemy as sa

from moorage.model.unmet import UnmetFound, UnmetGroup, UnmetRecord
from moorage.store.sql.errors import translated
from moorage.store.store import Store
from moorage.store.tables import unmet

MOST_BYTES: Final = 60_000
"""Characters of an ask and bytes of an explanation that a row takes. MariaDB has 65,535."""

TRIMMED_TOGETHER: Final = 200
"""Rows that one transaction removes: writers of SQLite wait for it."""

MOST_OTHERS: Final = 20
"""Other searches of one id that are named."""

_COLUMNS: Final = [unmet.c[field.name] for field in fields(UnmetRecord)]


class UnmetTable:
    """Searches that found nothing. Every method may raise UnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, records: Iterable[UnmetRecord], repeats: Mapping[str, int]) -> None:
        """Add records, and count equal searches: ``repeats`` of the one that each request id names.

        Raises WriteConflictError or ConnectionLostError; what was added may be lost then.
        """
        rows = [asdict(record) for record in records]
        with translated(), self._store.engines.write.begin() as connection:
            if rows:
                connection.execute(unmet.insert(), rows)
            for request_id, count in repeats.items():
                counted = unmet.update().where(unmet.c.request_id == request_id)
                connection.execute(counted.values(searches=unmet.c.searches + count))

    def trim(self, kept: int) -> bool:
        """Remove some of the oldest records if there are more than ``kept``; whether more are to go.

        Raises WriteConflictError, ConnectionLostError.
        """
        beyond = sa.select(unmet.c.id).order_by(unmet.c.id.desc()).offset(kept).limit(1)
        newest_to_go = self._store.read(lambda connection: connection.execute(beyond).scalar())
        if newest_to_go is None:
            return False
        oldest = sa.select(unmet.c.id).where(unmet.c.id <= newest_to_go).order_by(unmet.c.id)
        with translated(), self._store.engines.write.begin() as connection:
            going = connection.execute(oldest.limit(TRIMMED_TOGETHER)).scalars().all()
            connection.execute(unmet.delete().where(unmet.c.id.in_(going)))
        return len(going) == TRIMMED_TOGETHER

    def find(self, request_id: str, project_id: str | None = None) -> UnmetFound | None:
        """The newest search of a request, by the service's id or by the client's; None if none is kept.

        Of the clients of one project only, if ``project_id`` names it.
        """
        return self._store.read(lambda connection: _find(connection, request_id, project_id))

    def groups(self, since: int, most: int) -> list[UnmetGroup]:
        """Searches from the time ``since`` on, by ask and verdict, the most frequent first."""
        return self._store.read(lambda connection: _groups(connection, since, most))


def _find(connection: sa.Connection, request_id: str, project_id: str | None) -> UnmetFound | None:
    has_id = sa.or_(unmet.c.request_id == request_id, unmet.c.global_request_id == request_id)
    if project_id is not None:
        has_id = sa.and_(has_id, unmet.c.project_id == project_id)
    newest = sa.select(unmet.c.id, unmet.c.request_id).where(has_id).order_by(unmet.c.id.desc())
    found = connection.execute(newest.limit(1 + MOST_OTHERS)).all()
    if not found:
        return None
    row = connection.execute(sa.select(*_COLUMNS).where(unmet.c.id == found[0].id)).one()
    return UnmetFound(UnmetRecord(*row), tuple(other.request_id for other in found[1:]))


def _groups(connection: sa.Connection, since: int, most: int) -> list[UnmetGroup]:
    searches: sa.ColumnElement[Any] = sa.func.sum(unmet.c.searches)
    grouped = (
        sa.select(
            searches.label("searches"),
            sa.func.min(unmet.c.at).label("first"),
            sa.func.max(unmet.c.at).label("last"),
            sa.func.max(unmet.c.id).label("newest"),
        )
        .where(unmet.c.at >= since)
        .group_by(unmet.c.ask_hash, unmet.c.verdict)
        .order_by(searches.desc(), sa.func.max(unmet.c.id).desc())
        .limit(most)
        .subquery()
    )
    rows = connection.execute(
        sa.select(
            unmet.c.ask,
            unmet.c.verdict,
            grouped.c.searches,
            grouped.c.first,
            grouped.c.last,
            unmet.c.request_id,
            unmet.c.global_request_id,
        )
        .join_from(grouped, unmet, unmet.c.id == grouped.c.newest)
        .order_by(grouped.c.searches.desc(), grouped.c.newest.desc())
    ).all()
    return [UnmetGroup(row.ask, row.verdict, int(row.searches), *row[3:]) for row in rows]
