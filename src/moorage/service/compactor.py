"""The compactor: removes what no reader needs any more from the change log and the journal, and old keys.

The journal is also indexed here, by a thread beside: see ``indexer``.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

from moorage.model.errors import UnavailableError
from moorage.service.indexer import Indexer
from moorage.service.settings import ChangeLogSettings
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Store

LOG = logging.getLogger(__name__)

ROUND_SECONDS = 60.0
"""Pause between two rounds, give or take a half, so that processes do not begin at the same time."""

SETTLE_SECONDS = 600.0
"""How old a write must be before the log may forget it, whatever the settings say: a process that lost a
COMMIT may still look for it. The age is taken by this process's steady clock, since the times in the log
come from clocks that may jump."""

BATCH_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
PAUSES = 9
"""Shortest and longest pause between two batches of one round: as many times as long as the batch took. So
writers lose no more than a tenth of the time to it."""


class Compactor:
    """Compacts the change log of a store, from a thread of its own once it is started.

    Every process has one. The store lets only one of them compact at a time.
    """

    def __init__(
        self,
        store: Store,
        settings: ChangeLogSettings,
        clock: Callable[[], float] = time.monotonic,
        revision: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``revision``: see ``Indexer``."""
        self._indexer = Indexer(store, revision)
        self._store = store
        self._settings = settings
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._ending = threading.Event()
        self._random = random.Random()  # noqa: S311 - only spreads rounds in time

    def start(self) -> None:
        """Start the threads, which end with the process, or with ``stop``."""
        self._indexer.start()
        threading.Thread(target=self._run, name="moorage-compactor", daemon=True).start()

    def stop(self) -> None:
        """Begin no further batch."""
        self._indexer.stop()
        self._ending.set()

    def compact(self) -> int:
        """One round: forget what may be forgotten. Returns how many writes of the change log that was.

        Raises UnavailableError, ConnectionLostError.
        """
        now = self._clock()
        self._seen.append((now, self._store.revision()))
        settled = 0
        while self._seen and self._seen[0][0] <= now - SETTLE_SECONDS:
            settled = self._seen.popleft()[1]
        forgotten = 0
        while settled and not self._ending.is_set():
            begun = perf_counter()
            try:
                batch = self._store.compact(
                    self._settings.kept_revisions, self._settings.kept_seconds, settled
                )
            except WriteConflictError:
                break  # another process is compacting
            if not batch:
                break
            forgotten += batch
            self._rest(begun)
        self._compact_journal(settled)
        self._forget_keys(settled)
        return forgotten

    def _compact_journal(self, settled: int) -> None:
        settings = self._settings
        begun = perf_counter()
        with suppress(WriteConflictError):
            while not self._ending.is_set() and self._store.compact_journal(
                settings.journal_revisions, settings.journal_seconds, settled
            ):
                self._rest(begun)
                begun = perf_counter()

    def _forget_keys(self, settled: int) -> None:
        kept, begun = self._settings.keys_kept_seconds, perf_counter()
        with suppress(WriteConflictError):
            while not self._ending.is_set() and self._store.forget_keys(kept, settled):
                self._rest(begun)
                begun = perf_counter()

    def _rest(self, begun: float) -> None:
        """Leave the database to writers after a batch that began at a time of ``perf_counter``."""
        pause = PAUSES * (perf_counter() - begun)
        self._ending.wait(min(LONGEST_PAUSE_SECONDS, max(BATCH_PAUSE_SECONDS, pause)))

    def _run(self) -> None:
        while not self._ending.wait(ROUND_SECONDS * self._random.uniform(0.5, 1.5)):
            try:
                forgotten = self.compact()
            except (UnavailableError, ConnectionLostError) as error:
                LOG.debug("The change log could not be compacted now: %r.", error)
            except Exception:
                LOG.exception("The change log could not be compacted.")
            else:
                if forgotten:
                    LOG.info("The change log has forgotten its %d oldest writes.", forgotten)
