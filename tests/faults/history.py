"""What clients did and what they were told: all that an audit knows beside the database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from moorage.model.commands import Command


class Outcome(Enum):
    """What a client may conclude about its write."""

    ACKNOWLEDGED = "acknowledged"
    """2xx: it is done."""

    REFUSED = "refused"
    """4xx: it was not done, and the state says why."""

    TURNED_AWAY = "turned away"
    """503 that says that nothing was done."""

    UNKNOWN = "unknown"
    """The connection died, nobody answered in time, or a 503 says that it is not known."""

    FAILED = "failed"
    """An answer that nobody foresaw: a 500. Whether it was done is not known either."""

    UNSENT = "unsent"
    """No connection was to be had: it cannot have been done."""


@dataclass(slots=True)
class Operation:
    """One write. ``tag`` is the project of its token, by which the change log knows it.

    ``begun`` and ``ended`` are seconds of the clients' monotonic clock; ``ended`` is None where
    there was no answer, for then it may still happen.
    """

    tag: str
    command: Command[Any]
    begun: float
    outcome: Outcome = Outcome.UNKNOWN
    ended: float | None = None
    status: int | None = None
    code: str | None = None
    detail: str = ""
    request_id: str | None = None
    body: Any = None
    problems: list[str] = field(default_factory=list)
    """What is wrong with the answers to a request that was sent several times with one key."""

    def __str__(self) -> str:
        told = f" {self.status} {self.detail.strip()[-200:]}" if self.status else f" {self.detail}"
        return f"{self.tag} {self.command} {self.outcome.value}{told.rstrip()}"


@dataclass(frozen=True, slots=True)
class Reading:
    """One answered GET. ``question`` says what was asked, in the auditor's words."""

    question: tuple[Any, ...]
    begun: float
    ended: float
    status: int
    body: Any

    def __str__(self) -> str:
        return f"{self.question} answered {self.status} {self.body}"


@dataclass(frozen=True, slots=True)
class Renewal:
    """A request to renew leases. ``ended`` and ``answer`` are None if it is not known what became of it."""

    leases: tuple[str, ...]
    begun: float
    ended: float | None
    status: int | None
    answer: Any

    @property
    def renewed(self) -> tuple[str, ...]:
        """The leases that it has renewed; those that it may have renewed if that is not known."""
        if self.answer is None:
            return self.leases
        return tuple(item["lease"] for item in self.answer["renewed"])

    def __str__(self) -> str:
        return f"renewal of {', '.join(self.leases)} answered {self.status} {self.answer}"


@dataclass
class History:
    """Everything that all clients did. Safe for use by several threads."""

    operations: list[Operation] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    renewals: list[Renewal] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, operation: Operation) -> None:
        """To be called before it is sent: whatever happens then, it is not forgotten."""
        with self._lock:
            self.operations.append(operation)

    def read(self, reading: Reading) -> None:
        """Keep what was read."""
        with self._lock:
            self.readings.append(reading)

    def renew(self, renewal: Renewal) -> None:
        """Keep what became of a renewal."""
        with self._lock:
            self.renewals.append(renewal)

    def counts(self) -> Mapping[str, int]:
        """Operations by outcome, readings, and leases by what became of their renewals."""
        with self._lock:
            counted = Counter(operation.outcome.value for operation in self.operations)
            known = [renewal.answer for renewal in self.renewals if renewal.answer is not None]
            counted["renewed"] = sum(len(answer["renewed"]) for answer in known)
            counted["renewed too late"] = sum(len(answer["gone"]) for answer in known)
            return {**counted, "read": len(self.readings)}
