"""The indexer: makes subjects of the journal's records quick to find, some seconds after they were written.

Until then each answer about them reads the newest records. So nothing but the time of an answer depends on
it.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from moorage.model.errors import UnavailableError
from moorage.store.changes.subjects import SEGMENT
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Store

LOG = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Pause between two looks at the revision, give or take a half: processes should not begin together."""

SEGMENT_PAUSE_SECONDS: Final = 0.05
"""Pause between two segments: writers go first."""


class Indexer:
    """Indexes the journal of a store, from a thread of its own once it is started.

    Every process has one. It asks the database at its start, and then only when the revision that the process
    knows has come to another segment.
    """

    def __init__(self, store: Store, revision: Callable[[], int | None]) -> None:
        """``revision``: the last one that this process knows of, without a question; None: it knows none."""
        self._store = store
        self._revision = revision
        self._done = -1
        self._ending = threading.Event()
        self._random = random.Random()  # noqa: S311 - only spreads looks in time

    def start(self) -> None:
        """Start the thread, which ends with the process, or with ``stop``."""
        threading.Thread(target=self._run, name="moorage-indexer", daemon=True).start()

    def stop(self) -> None:
        """Begin no further segment."""
        self._ending.set()

    def look(self) -> int:
        """Index what is complete; returns how many segments that were.

        Raises UnavailableError, ConnectionLostError.
        """
        segment = (self._revision() or 0) // SEGMENT
        if segment == self._done:
            return 0
        count = 0
        # After a conflict another process goes on.
        with suppress(WriteConflictError):
            while not self._ending.is_set() and self._store.index_journal():
                count += 1
                self._ending.wait(SEGMENT_PAUSE_SECONDS)
        self._done = segment
        return count

    def _run(self) -> None:
        while not self._ending.wait(LOOK_SECONDS * self._random.uniform(0.5, 1.5)):
            try:
                self.look()
            except (UnavailableError, ConnectionLostError) as error:
                LOG.debug("The journal could not be indexed now: %r.", error)
            except Exception:
                LOG.exception("The journal could not be indexed.")
