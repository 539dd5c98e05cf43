"""Deleting records of the journal while watchers read it."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from moorage.model.errors import UnavailableError
from moorage.store.changes.journal import compact_some
from moorage.store.settings import StoreSettings
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError, translated
from moorage.store.sql.statements import utcnow
from moorage.store.store import Store
from moorage.store.tables import revisions
from tests.faults.ledger import journal_begins, journal_of_leases
from tests.faults.targets import Target

MONTH_SECONDS = 30 * 24 * 3600.0
"""No record of a run is as old."""


class Compaction:
    """Deletes the oldest records of the journal while watchers read it. None up to ``end`` need be there.

    ``kept``: those of what time ended, which the audit needs.
    """

    def __init__(self, target: Target) -> None:
        self.end = 0
        self.kept: dict[int, Any] = {}
        self._url = target.direct_url

    def compact(self, dice: random.Random) -> None:
        """Leave few records, or none."""
        # A database that does not answer at the moment keeps its records.
        with suppress(UnavailableError, ConnectionLostError, WriteConflictError):
            store = Store(StoreSettings(self._url, connect_retry_seconds=0))
            try:
                with translated(), store.engines.write.begin() as connection:
                    # No write commits between the two.
                    connection.execute(select(revisions.c.revision).with_for_update()).scalar_one()
                    self.kept |= journal_of_leases(connection)
                    before = utcnow() - timedelta(seconds=MONTH_SECONDS)
                    compact_some(connection, dice.choice((0, 1, 2, 10, 100)), before, 0)
            finally:
                store.close()
        self.end = max(self.end, journal_begins(self._url) - 1)
