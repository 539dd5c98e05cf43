"""The newest records of the journal in memory, for a process in which many clients wait for them.

One look at the database serves all of them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from moorage.model.journal import KeptChange
from moorage.store.changes.journal import KeptPage
from moorage.store.store import Store

READ_TOGETHER: Final = 1_000
"""Records that one statement reads."""

MOST_MISSED: Final = 5_000
"""Revisions that a look reads. If it has missed more, the tail begins anew at the present."""

BYTES_OF_RECORD: Final = 500
"""What a record takes beside its body: an estimate, so that many small ones count."""


class Tail:
    """Records without a gap, up to the revision of the last look. Safe for use by several threads."""

    def __init__(self, store: Store, kept_bytes: int) -> None:
        """``kept_bytes``: of records; the oldest are forgotten beyond that."""
        self._store = store
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._begin_at("", -1)

    def _begin_at(self, epoch: str, revision: int) -> None:
        self._epoch = epoch
        self._after = self._revision = revision
        self._records: list[KeptChange] = []
        self._bytes_before = [0]
        """For each record, and the next one, the bytes of all before it."""

    @property
    def epoch(self) -> str:
        """The history of the records, "" before the first look."""
        return self._epoch

    @property
    def revision(self) -> int:
        """The last one that is known; -1 before the first look."""
        return self._revision

    def look(self) -> bool:
        """Read what is new; whether anything is. To be called by one thread at a time.

        Raises UnavailableError.
        """
        present = self._store.revision()
        if present == self._revision:
            return False
        missed = present - self._revision
        first = self._revision if self._epoch and 0 < missed <= MOST_MISSED else None
        while True:
            page = self._store.changes(first, READ_TOGETHER)
            with self._lock:
                if first is None or not self._continues(page):
                    self._begin_at(page.epoch, page.revision)
                    return True
                self._add(page.changes)
                if self._revision >= page.revision:
                    return True
            first = self._revision

    def _continues(self, page: KeptPage) -> bool:
        known = self._revision
        dense = all(change.revision == known + at for at, change in enumerate(page.changes, 1))
        return page.epoch == self._epoch and dense and bool(page.changes)

    def _add(self, changes: Sequence[KeptChange]) -> None:
        sums = self._bytes_before
        for change in changes:
            sums.append(sums[-1] + len(change.body) + BYTES_OF_RECORD)
        self._records += changes
        self._revision += len(changes)
        # Half as much again may come before the oldest are taken out together.
        if sums[-1] - sums[0] > self._kept_bytes * 3 // 2:
            gone = bisect_left(sums, sums[-1] - self._kept_bytes)
            del self._records[:gone], sums[:gone]
            self._after += gone

    def has(self, after: int) -> bool:
        """Whether all records after a revision are here, up to the last look."""
        return self._after <= after <= self._revision

    def bytes_after(self, after: int) -> int | None:
        """How many bytes have come after a revision; None if not all are here."""
        with self._lock:
            return (
                self._bytes_before[-1] - self._bytes_before[after - self._after] if self.has(after) else None
            )

    def changes(self, after: int | None, most: int) -> KeptPage:
        """As ``Store.changes``, without asking the database where that is possible.

        Raises UnavailableError.
        """
        with self._lock:
            if after is not None and self.has(after):
                begin = after - self._after
                return KeptPage(self._epoch, self._revision, self._records[begin : begin + most])
        return self._store.changes(after, most)
