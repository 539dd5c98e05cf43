"""The keeper: counts service time, and ends leases whose time has come.

Service time is one row of the database. One process of all, its keeper, sets it forward about once a second,
by the time that its own steady clock has measured, and at most by ``MOST_ADVANCE_SECONDS``. The statement
names the term and the time that the keeper knows. So a keeper that was replaced, or was paused, changes
nothing. A process that has seen the row stand still for ``TAKEOVER_SECONDS`` of its own steady clock begins a
new term. No wall clock matters. While neither a lease nor a finding waits for it, service time stands still.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import uuid4

from moorage.model.commands import Command, ExpireLeases
from moorage.model.errors import MoorageError, UnavailableError
from moorage.model.leases import ClockFact
from moorage.model.values import Requester
from moorage.service.observer import Observer
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError

LOG = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""Pause between two looks at service time."""

MOST_ADVANCE_SECONDS: Final = 2.0
"""The longest that one statement sets service time forward. A keeper that comes later loses the rest."""

MOST_TRIP_SECONDS: Final = 0.5
"""A statement that took longer is not counted as service time: others may have read the clock meanwhile."""

TAKEOVER_SECONDS: Final = 5.0
"""How long the row of a keeper may stand still, while leases wait, before another process takes over."""

END_SECONDS: Final = 2.0
"""How long ``stop`` waits for a look that is under way."""

TOGETHER: Final = 128
"""Leases that one transaction ends or empties, and consumers whose claims one takes away."""

PACE: Final = 1_200.0
"""Claims that are taken away in a second, at most: 10,000 are gone within nine seconds. Whatever comes sooner
slows the claims of others for nothing."""

LEAST_PAUSE: Final = 0.25
"""The pause after a batch, as a part of the time that it took, where that pace is not kept."""

DUE_TOGETHER: Final = 1_024
"""Leases that one look ends, at most, before service time is counted again."""

KEPT_MS: Final = 24 * 3600 * 1000
"""How much service time a released lease is still known."""

FORGET_SECONDS: Final = 60.0
"""Pause between two rounds of forgetting."""

SERVICE: Final = Requester()
"""The requester of what the service does of itself."""


class Clock(Protocol):
    """The row of service time, and the leases that wait for it. See ``store.leases.LeaseTable``."""

    def look(self) -> ClockFact:
        """The row, and what waits for it."""
        ...

    def advance(self, known: ClockFact, ticks: int) -> bool:
        """Set it forward if it is as it was known."""
        ...

    def take_over(self, known: ClockFact, keeper: str) -> bool:
        """Begin a new term if it is as it was known."""
        ...

    def due(self, most: int) -> list[str]:
        """Leases whose time has come."""
        ...

    def ended(self, most: int) -> list[str]:
        """Leases whose claims are still to be taken away."""
        ...

    def forget(self, before: int) -> int:
        """Forget some of the leases that were released before a tick."""
        ...


class Ending(Protocol):
    """Takes claims of leases away. See ``service.leases.LeaseService``."""

    def take_some(self, uuids: Sequence[str], requester: Requester) -> tuple[int, int]:
        """Some claims of the first leases; how many, and of how many leases none is left."""
        ...


Execute = Callable[[Command[Any], Requester], Any]


@dataclass(slots=True)
class _Seen:
    """How the row was when it was last seen to move, and when that was, while leases waited."""

    ticks: int
    term: int
    at: float


class TimeKeeper:
    """One process's part in counting service time, from a thread of its own once it is started."""

    def __init__(
        self,
        clock: Clock,
        ending: Ending,
        execute: Execute,
        observer: Observer | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``execute`` carries out commands. ``steady``: seconds of a clock that never jumps."""
        self.name = str(uuid4())
        self._clock = clock
        self._ending_of = ending
        self._execute = execute
        self._observer = observer
        self._steady = steady
        self._seen: _Seen | None = None
        # From when on this process's own time is not yet counted, and the row as it was left then; None while
        # nothing may count.
        self._counted_to: float | None = None
        self._left: tuple[int, int] | None = None
        self._forgot_at = steady()
        self._failing = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, which ends with the process, or with ``stop``."""
        self._thread = threading.Thread(target=self._run, name="moorage-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no further look, and wait for one that is under way, for ``END_SECONDS`` at most."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def look(self) -> bool:
        """Count service time if this process is the keeper, or take over if there is none.

        Returns whether this process keeps it now. Raises UnavailableError, ConnectionLostError,
        WriteConflictError; then the time since the last look is lost.
        """
        try:
            return self._look()
        except BaseException:
            # What the statement did is not known: nothing of the time so far may count any more.
            self._counted_to = None
            raise

    def _look(self) -> bool:
        known = self._clock.look()
        now = self._steady()
        if known.due is None and not known.has_ended and not known.has_findings:
            self._seen = self._counted_to = None
            return False
        if known.keeper == self.name:
            return self._advance(known, now)
        self._counted_to = None
        if known.term and not self._stands_still(known, now):
            return False
        if not self._clock.take_over(known, self.name):
            return False
        LOG.info("This process keeps service time now, in term %d.", known.term + 1)
        self._count_from_now(known.ticks, known.term + 1)
        self._seen = None
        return True

    def _count_from_now(self, ticks: int, term: int) -> None:
        self._counted_to, self._left = self._steady(), (ticks, term)

    def _stands_still(self, known: ClockFact, now: float) -> bool:
        seen = self._seen
        if seen is None or (seen.ticks, seen.term) != (known.ticks, known.term):
            self._seen = _Seen(known.ticks, known.term, now)
            return False
        return now - seen.at >= TAKEOVER_SECONDS

    def _advance(self, known: ClockFact, now: float) -> bool:
        since = self._counted_to
        if since is None or self._left != (known.ticks, known.term):
            # The first look after an error, or after a time without leases. A statement whose answer was lost
            # may have set the row forward since the last look.
            self._count_from_now(known.ticks, known.term)
            return True
        milliseconds = int(min(now - since, MOST_ADVANCE_SECONDS) * 1000)
        before = self._steady()
        kept = self._clock.advance(known, known.ticks + milliseconds)
        after = self._steady()
        if not kept:
            self._counted_to = None
            return False
        # What is cut off below a millisecond counts next time.
        exact = since + milliseconds / 1000 if now - since <= MOST_ADVANCE_SECONDS else now
        self._counted_to = exact if after - before <= MOST_TRIP_SECONDS else after
        self._left = (known.ticks + milliseconds, known.term)
        return True

    def end_due(self) -> int:
        """Let leases leave the states whose time has passed, a batch at a time; returns how many did.

        Each batch is decided anew under the locks of its leases, so that a renewal that came first wins, and
        a keeper that was replaced does no harm. Raises a ``MoorageError``.
        """
        begun, ended = self._steady(), 0
        for batch in _batches(self._clock.due(DUE_TOGETHER)):
            if self._has_no_time(begun):
                break
            expired = self._execute(ExpireLeases(batch), SERVICE)
            ended += len(expired)
            if self._observer is not None:
                self._observer.leases_expired(len(expired))
        return ended

    def take_away(self) -> int:
        """Take away claims of leases that have ended, one batch after the other; returns how many.

        It keeps to ``PACE``, so that other writers go first, and ends once it is time to count again.
        """
        begun, taken = self._steady(), 0
        left = self._clock.ended(DUE_TOGETHER)
        while left and not self._has_no_time(begun):
            batch_begun = self._steady()
            count, ended = self._ending_of.take_some(left, SERVICE)
            taken += count
            left = left[ended:]
            now = self._steady()
            pause = max(begun + taken / PACE - now, LEAST_PAUSE * (now - batch_begun))
            self._stopping.wait(min(pause, TICK_SECONDS))
        return taken

    def _has_no_time(self, begun: float) -> bool:
        return self._stopping.is_set() or self._steady() - begun > TICK_SECONDS

    def _forget(self) -> None:
        if self._steady() - self._forgot_at >= FORGET_SECONDS:
            self._forgot_at = self._steady()
            before = self._clock.look().ticks - KEPT_MS
            while not self._stopping.is_set() and self._clock.forget(before):
                pass

    def turn(self) -> bool:
        """One turn of the thread: count, and do what is due. Returns whether claims are left to take away.

        Logs an error once, until it is over, and never raises.
        """
        try:
            more = False
            if self.look():
                self.end_due()
                more = self.take_away() > 0
                with suppress(WriteConflictError, ConnectionLostError):
                    self._forget()
        except (MoorageError, ConnectionLostError, WriteConflictError) as error:
            self._failed(error)
            return False
        except Exception:
            LOG.exception("Leases could not be ended now; the next look comes.")
            return False
        if self._failing:
            LOG.info("Service time can be looked at again.")
            self._failing = False
        return more

    def _failed(self, error: Exception) -> None:
        if self._failing or self._stopping.is_set() or isinstance(error, WriteConflictError):
            LOG.debug("Leases cannot be ended now: %r.", error)
            return
        self._failing = isinstance(error, UnavailableError | ConnectionLostError)
        LOG.warning("Leases cannot be ended now, and the next look comes: %s.", error)

    def _run(self) -> None:
        next_at = self._steady()
        while not self._stopping.wait(max(0.0, next_at - self._steady())):
            next_at = self._steady() + TICK_SECONDS
            if self.turn():
                # Claims are left: time must be counted nevertheless.
                next_at = self._steady()


def _batches(uuids: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(uuids[start : start + TOGETHER]) for start in range(0, len(uuids), TOGETHER)]
