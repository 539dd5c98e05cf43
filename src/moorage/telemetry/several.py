"""Several observers of the service as one."""

from __future__ import annotations

from collections.abc import Sequence

from moorage.service.observer import Observer, Setback, Stage


class Several:
    """Passes each report to all observers, one after the other."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def stage_ended(self, stage: Stage, seconds: float) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.stage_ended(stage, seconds)

    def index_changed(self, revision: int, providers: int) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.index_changed(revision, providers)

    def index_built(self, seconds: float) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.index_built(seconds)

    def group_ended(self, commands: int, waiting: int, seconds: float) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.group_ended(commands, waiting, seconds)

    def search_unmet(self, verdict: str) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.search_unmet(verdict)

    def report_received(self, source: str, suspect: int) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.report_received(source, suspect)

    def finding_acted_on(self, kind: str, action: str, *, done: bool) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.finding_acted_on(kind, action, done=done)

    def group_set_back(self, reason: Setback) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.group_set_back(reason)

    def watchers_changed(self, more: int) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.watchers_changed(more)

    def watcher_dropped(self) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.watcher_dropped()

    def leases_renewed(self, count: int) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.leases_renewed(count)

    def leases_expired(self, count: int) -> None:
        """See ``Observer``."""
        for observer in self._observers:
            observer.leases_expired(count)
