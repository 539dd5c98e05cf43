"""The journal: what is kept of each write beside the change log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum

from moorage.model.valueclass import valueclass


class JournalMode(Enum):
    """How much the journal keeps of a write.

    ``FULL``: each value that changed, before and after. ``REFS``: only which providers and consumers
    changed. ``OFF``: nothing.
    """

    FULL = "full"
    REFS = "refs"
    OFF = "off"


NEW_HISTORY = "history.new"
"""Kind of a write that begins a new history: what was known of an earlier one may no longer hold."""


@valueclass(frozen=True, slots=True)
class ChangeSelection:
    """Which records are wanted: all that have every part that is not None, after a revision.

    ``after`` None: those that are written from now on. ``kinds``: kinds, or their parts before the point.
    ``frees``: resource classes; records that may make room for them.
    """

    after: int | None
    limit: int
    kinds: frozenset[str] | None = None
    tree: str | None = None
    consumer: str | None = None
    project_id: str | None = None
    provider: str | None = None
    frees: frozenset[str] | None = None

    @property
    def looks_inside(self) -> bool:
        """Whether only the body of a record says that it is wanted."""
        parts = (self.tree, self.consumer, self.project_id, self.provider, self.frees)
        return any(part is not None for part in parts)


@valueclass(frozen=True, slots=True)
class KeptChange:
    """A record of the journal. ``body``: JSON in the form of ``rules.journal.Body``; ``at`` is naive UTC."""

    revision: int
    kind: str
    path: str
    user_id: str
    project_id: str
    request_id: str
    global_request_id: str
    at: datetime
    body: str


@valueclass(frozen=True, slots=True)
class RecentChanges:
    """How many of the newest records are of each kind, the most frequent first. They span so many seconds."""

    seconds: float
    kinds: Mapping[str, int]

    @classmethod
    def of(cls, records: Sequence[tuple[str, datetime]]) -> RecentChanges:
        """Of records by kind and time, in any order."""
        times = [at for _, at in records]
        seconds = (max(times) - min(times)).total_seconds() if times else 0.0
        return cls(seconds, dict(Counter(kind for kind, _ in records).most_common()))


@valueclass(frozen=True, slots=True)
class HistoryPage:
    """Records about one thing, the newest first, at ``revision``.

    ``begins``: the first revision of the journal. ``next_before``: where the next page begins, None for the
    last page.
    """

    revision: int
    begins: int
    next_before: int | None
    changes: tuple[KeptChange, ...]


@valueclass(frozen=True, slots=True)
class ChangePage:
    """Records in order. All wanted ones up to ``next_after`` are among them, or among those of earlier pages.

    ``revision``: the last one of the history ``epoch``. ``more``: the journal has further revisions.
    ``freed_at``: the first revision up to ``next_after`` that may have made room for the classes that are
    wanted, be its record among these or not.
    """

    epoch: str
    revision: int
    next_after: int
    more: bool
    changes: tuple[KeptChange, ...]
    freed_at: int | None = None

    @property
    def is_news(self) -> bool:
        """Whether a client that waits gets this page at once."""
        return bool(self.changes) or self.more or self.freed_at is not None
