"""The table of mixes that were learnt. They belong to no tree and to no index, so no revision counts them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

import sqlalchemy as sa

from moorage.model.errors import UnavailableError
from moorage.model.mixes import Shape, read, with_arrivals, written
from moorage.rules.journal import arrivals
from moorage.store.changes.journal import newest_bodies
from moorage.store.sql.errors import ConnectionLostError, ConstraintError, WriteConflictError, translated
from moorage.store.sql.texts import packed_text, unpacked_text
from moorage.store.store import Store
from moorage.store.tables import mixes

LOG: Final = logging.getLogger(__name__)

WRITE_ATTEMPTS: Final = 3
"""How often arrivals are added anew after another process has won. A lost COMMIT may count them twice."""

JOURNALLED: Final = 2_000
"""Newest records of the journal from which a mix that is new begins: some ten milliseconds of reading."""

MOST_KEPT: Final = 64
"""Mixes that are kept: the latest. A profile that has changed has a mix of its own."""

Learnt = dict[Shape, float]
"""How often each shape has come."""


class MixTable:
    """The mixes of a database. Every method may raise UnavailableError."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def learnt(self, market: str) -> Learnt:
        """What all processes have learnt for a market. If it is new, what the journal says of claims."""
        return self._store.read(
            lambda connection: _begun(connection, _learnt(connection, market, lock=False))
        )

    def add(self, market: str, arrived: Mapping[Shape, float]) -> Learnt:
        """Add arrivals to those of all processes, and return these."""
        last: Exception | None = None
        for _ in range(WRITE_ATTEMPTS):
            try:
                with translated(), self._store.engines.write.begin() as connection:
                    return self._added(connection, market, arrived)
            except (ConnectionLostError, ConstraintError, WriteConflictError) as error:
                last = error
        raise UnavailableError("the arrivals of a mix could not be kept") from last

    def _added(self, connection: sa.Connection, market: str, arrived: Mapping[Shape, float]) -> Learnt:
        before = _learnt(connection, market, lock=True)
        found = with_arrivals(_begun(connection, before), arrived)
        values = {"body": packed_text(written(found)), "at": int(self._clock())}
        if before is not None:
            connection.execute(mixes.update().where(mixes.c.market == market).values(values))
            return found
        connection.execute(mixes.insert().values(market=market, **values))
        kept = sa.select(mixes.c.market).order_by(mixes.c.at.desc(), mixes.c.market)
        for old in connection.execute(kept).scalars().all()[MOST_KEPT:]:
            connection.execute(mixes.delete().where(mixes.c.market == old))
        return found


def _begun(connection: sa.Connection, learnt: Learnt | None) -> Learnt:
    # A claim that has been counted meanwhile may count twice, among thousands.
    return arrivals(newest_bodies(connection, JOURNALLED)) if learnt is None else learnt


def _learnt(connection: sa.Connection, market: str, *, lock: bool) -> Learnt | None:
    query = sa.select(mixes.c.body).where(mixes.c.market == market)
    text = connection.execute(query.with_for_update() if lock else query).scalar()
    if text is None:
        return None
    try:
        return read(unpacked_text(text))
    except ValueError:
        LOG.warning("A mix that was kept cannot be read, and is learnt anew.")
        return {}
