"""Keeps leases: renews them in the background, and knows by its own clock until when they hold.

A lease holds until the time at which its last renewal was *sent*, plus what the service said remains. The
service counts from a later moment, so the holder's end always comes first. The clock goes on while the
machine sleeps, where the system has such a clock.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable

from moorage_client.ask import Question
from moorage_client.claiming import Claimed
from moorage_client.errors import LeaseLostError, MoorageError, ProblemError
from moorage_client.leases import LeaseShown, Renewals, Span, seconds, written

if TYPE_CHECKING:
    from moorage_client.client import Moorage

TOGETHER = 100
"""Most leases that one request renews."""

RENEWALS = 3.0
"""A lease is renewed so often while it lasts: two renewals may fail."""

SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0
"""Pause after a renewal that failed: a sixth of what is left, within these."""

LEAST_SECONDS = {"ttl": 1.0, "grace": 0.0, "max_life": 1.0}
"""Shortest spans that a lease may have."""

LONGEST_SLEEP_SECONDS = 1.0
"""A thread looks at the clock so often: its own waits stand still while the machine sleeps."""

SHORTEST_TIMEOUT_SECONDS = 0.5
"""A renewal waits for its answer at least so long, and a third of what is left if that is more."""


def boot_clock() -> float:
    """Seconds that also count while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


Renew = Callable[[Sequence[str], float], Renewals]
"""Renews leases in one request, whose answer comes within so many seconds or not at all."""


class Lease:
    """A lease that is held from the beginning of a ``with`` block to its end.

    A thread of the client renews it. ``lost`` is set as soon as it may have ended: then stop what its claims
    are for. ``check()`` raises in that case. A lost lease stays lost.
    """

    def __init__(
        self,
        client: Moorage,
        keeper: Keeper,
        options: dict[str, Any],
        *,
        at_end: str,
        through_grace: bool,
    ) -> None:
        if at_end not in ("release", "keep", "leave"):
            raise ValueError("at_end is release, keep or leave")
        self._client = client
        self._keeper = keeper
        self._options = options
        self._at_end = at_end
        self._through_grace = through_grace
        self._shown: LeaseShown | None = None
        self._told = False
        self.lost = threading.Event()
        self.reason = ""
        self.failed = ""
        self.deadline = 0.0
        self.due = 0.0
        self._ends = math.inf

    @property
    def id(self) -> str:
        """Its UUID."""
        return self.shown.id

    @property
    def fence(self) -> int | None:
        """A number that is larger for each later lease."""
        return self.shown.fence

    @property
    def shown(self) -> LeaseShown:
        """The lease as it was granted. Raises ``LeaseLostError`` before that."""
        if self._shown is None:
            raise LeaseLostError("The lease has not been granted: it begins with its with block.")
        return self._shown

    @property
    def remaining(self) -> float:
        """Seconds for which it holds without another renewal; 0 once it is lost."""
        return 0.0 if self.lost.is_set() else max(0.0, self.last_moment - self._keeper.now())

    def check(self) -> None:
        """Raise ``LeaseLostError`` if it may have ended."""
        if self.remaining <= 0:
            raise LeaseLostError(self.reason or "No renewal was confirmed in time.")

    def claim(self, ask: Question | None = None, **options: Any) -> Claimed:
        """Claim something that ends with this lease. Arguments are those of ``Moorage.claim``.

        Raises ``LeaseGoneError`` if the service knows that the lease has ended.
        """
        return self._client.claim(ask, lease=self.id, **options)

    def __enter__(self) -> Lease:
        sent = self._keeper.now()
        self._shown = self._client.grant_lease(**self._options)
        self.extend(sent, self._shown.remaining)
        if self._shown.ends_in is not None:
            self._ends = sent + self._shown.ends_in
        self._keeper.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._keeper.remove(self)
        if self._at_end == "leave" or self._told:
            return
        try:
            self._client.end_lease(self.id, claims=self._at_end)
        except ProblemError as refusal:
            # What has ended meanwhile need not be ended.
            if refusal.code not in ("lease_gone", "not_found") and error is None:
                raise
        except MoorageError:
            # What nothing renews ends without a request. The error of the block is the one to see.
            if error is None:
                raise

    # For the keeper

    def extend(self, sent: float, remaining: float) -> None:
        """Note a renewal that was sent at a time of the keeper's clock."""
        self.deadline = sent + remaining
        self.due = sent + remaining / RENEWALS

    def lose(self, reason: str, *, told: bool = False) -> None:
        """Note that it may have ended; ``told``: the service says so."""
        self._told = self._told or told
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()

    @property
    def last_moment(self) -> float:
        """When the keeper gives it up."""
        grace = self.shown.grace if self._through_grace else 0.0
        # An end that renewals do not move has no grace.
        return min(self.deadline + grace, self._ends)


class Keeper:
    """Renews all leases of a client, together where that is possible, and gives up those that it cannot.

    Two threads do it while there are leases: one sends, the other one watches the clock, because an answer
    may take longer than a lease lasts.
    """

    def __init__(self, renew: Renew, clock: Callable[[], float] = boot_clock) -> None:
        self._renew = renew
        self.now = clock
        self._leases: list[Lease] = []
        self._changed = threading.Condition()
        self._running: set[str] = set()

    def add(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        with self._changed:
            self._leases.append(lease)
            for body in (self._send, self._watch):
                if body.__name__ not in self._running:
                    self._running.add(body.__name__)
                    threading.Thread(target=body, name=f"moorage-lease{body.__name__}", daemon=True).start()
            self._changed.notify_all()

    def remove(self, lease: Lease) -> None:
        """Renew a lease no more."""
        with self._changed:
            if lease in self._leases:
                self._leases.remove(lease)
            self._changed.notify_all()

    def _watch(self) -> None:
        with self._changed:
            while self._leases:
                self._give_up()
                self._wait(min((lease.last_moment for lease in self._leases), default=self.now()))
            self._running.discard(self._watch.__name__)

    def _give_up(self) -> None:
        now = self.now()
        for lease in [each for each in self._leases if each.last_moment <= now]:
            lease.lose(f"No renewal was confirmed in time. {lease.failed}".strip())
            self._leases.remove(lease)

    def _send(self) -> None:
        while True:
            with self._changed:
                if not self._leases:
                    self._running.discard(self._send.__name__)
                    return
                batch = self._due()
                if not batch:
                    self._wait(min(lease.due for lease in self._leases))
                    continue
                left = min(lease.deadline for lease in batch) - self.now()
            self._renew_all(batch, max(SHORTEST_TIMEOUT_SECONDS, left / RENEWALS))

    def _due(self) -> list[Lease]:
        """What to renew now: what is due, and with it what soon will be, so that leases share requests."""
        now = self.now()
        if all(lease.due > now for lease in self._leases):
            return []
        soon = [each for each in self._leases if each.due - now <= max(0.0, each.deadline - now) / 4]
        return sorted(soon, key=lambda lease: lease.due)[:TOGETHER]

    def _renew_all(self, batch: Sequence[Lease], patience: float) -> None:
        sent = self.now()
        try:
            found = self._renew([lease.id for lease in batch], patience)
        except MoorageError as error:
            with self._changed:
                now = self.now()
                for lease in batch:
                    lease.failed = str(error)
                    left = (lease.last_moment - now) / 6
                    lease.due = now + min(LONGEST_PAUSE_SECONDS, max(SHORTEST_PAUSE_SECONDS, left))
            return
        renewed = {each.lease: each for each in found.renewed}
        gone = {each.lease: each for each in found.gone}
        with self._changed:
            for lease in batch:
                if lease.id in renewed and lease in self._leases:
                    lease.extend(sent, renewed[lease.id].remaining)
                elif lease.id in gone and lease in self._leases:
                    lease.lose(f"The service has ended it: {gone[lease.id].state or 'not known'}.", told=True)
                    self._leases.remove(lease)
            self._changed.notify_all()

    def _wait(self, until: float) -> None:
        """Wait for a change, or until a time. The lock is held."""
        self._changed.wait(max(0.0, min(until - self.now(), LONGEST_SLEEP_SECONDS)))


def options_of(ttl: Span, grace: Span | None, max_life: Span | None, **rest: Any) -> dict[str, Any]:
    """The body of a grant. Raises ValueError."""
    body = {
        "ttl": written(ttl),
        "grace": None if grace is None else written(grace),
        "max_life": None if max_life is None else written(max_life),
        **rest,
    }
    for name in ("ttl", "grace", "max_life"):
        if body[name] is not None and seconds(str(body[name])) < LEAST_SECONDS[name]:
            raise ValueError(f"{name} is {LEAST_SECONDS[name]:g} s at least")
    return {name: value for name, value in body.items() if value is not None}
