"""What the service reports to its observers, in its own words: counts and seconds."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Stage(Enum):
    """A part of answering from the index."""

    POLL = "poll"
    CATCH_UP = "catch_up"
    SEARCH = "search"


class Setback(Enum):
    """Why a group of writes had to be repeated."""

    CONFLICT = "conflict"
    CONSTRAINT = "constraint"
    CONNECTION = "connection"
    LOST_COMMIT = "lost_commit"


class Observer(Protocol):
    """Receives reports of what has ended, from the thread that did it; several threads may report at once.

    It must neither raise nor take long: requests wait for it.
    """

    def stage_ended(self, stage: Stage, seconds: float) -> None:
        """A part of answering from the index took so long."""
        ...

    def index_changed(self, revision: int, providers: int) -> None:
        """The index is at ``revision`` now and holds so many providers."""
        ...

    def index_built(self, seconds: float) -> None:
        """The index was read anew, whole."""
        ...

    def group_ended(self, commands: int, waiting: int, seconds: float) -> None:
        """A group of so many writes was answered, conflicts included; so many wait for the next one."""
        ...

    def search_unmet(self, verdict: str) -> None:
        """A search found nothing. ``verdict`` says why, or that it was not explained."""
        ...

    def report_received(self, source: str, suspect: int) -> None:
        """A source has reported. So many trees of its report are suspect."""
        ...

    def finding_acted_on(self, kind: str, action: str, *, done: bool) -> None:
        """The service has acted on a finding of itself, or tried to."""
        ...

    def group_set_back(self, reason: Setback) -> None:
        """A group of writes must be repeated."""
        ...

    def watchers_changed(self, more: int) -> None:
        """So many more clients wait for changes; less, if it is negative."""
        ...

    def watcher_dropped(self) -> None:
        """A client that waited for changes read them too slowly, and was dropped."""
        ...

    def leases_renewed(self, count: int) -> None:
        """A request has renewed so many leases."""
        ...

    def leases_expired(self, count: int) -> None:
        """The time of so many leases has come: they have expired, or their grace has passed."""
        ...
