"""The auditor of leases: whether each ended in time, by the clients' clock and by service time.

early
    no lease ends before its ttl, and its grace, have passed since the last renewal that was acknowledged.
late
    it ends at most ``LATEST_SECONDS`` after, by service time always, and by the clients' clock while nothing
    disturbs the service.
clock
    service time never goes back, and never runs faster than real time.

That it ends once, in the right state, and takes away its own claims alone, the replay sees
(``tests.faults.leased``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from moorage.model.leases import SLACK_MS
from moorage.service.keeper import TAKEOVER_SECONDS
from tests.faults.auditor import Verdict, Windows
from tests.faults.history import History, Outcome, Renewal
from tests.faults.leased import ACTIVE, EXPIRED, HeldLease, Left
from tests.faults.service_time import Ticks

LATEST_SECONDS = 10.0
"""How much later than its time a lease may end, while a keeper can run."""

RECOVERY_SECONDS = TAKEOVER_SECONDS + 3.0
"""After a fault, once all processes are there again, one of them may have to become the keeper."""

LONGEST_UNDER_WAY_SECONDS = 75.0
"""A request that was not answered may still take effect for so long."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Start:
    """Something that gave a lease its ttl anew, between two moments; whether it surely did. It had happened
    before all revisions after ``high``.
    """

    begun: float
    ended: float
    is_sure: bool
    high: float
    is_granted: bool = False


@dataclass
class LeaseAudit:
    """``moments``: when revisions were first told. ``disturbed``: when faults did harm. ``start_seconds``:
    how long a process takes to begin on this machine as it is.
    """

    history: History
    verdict: Verdict
    moments: Mapping[int, float]
    ticks: Ticks
    disturbed: Sequence[Interval]
    start_seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    """How many leases came to each state by time."""

    def run(self) -> list[str]:
        """All violations, each a sentence with its kind."""
        self._add("clock", self.ticks.faults())
        if self.verdict.windows is None:
            return self.violations
        starts = self._starts()
        restored = self._restored()
        revived_from: dict[str, Left] = {}
        for left in self.verdict.account.story.left:
            self.ended[f"{left.after} by time"] += 1
            lease = self.verdict.account.leases[left.lease]
            expired = revived_from.get(left.lease) if left.before == EXPIRED else None
            self._add("early", self._early(lease, left, starts[left.lease], restored[left.lease]))
            self._add("late", self._late(lease, left, expired, starts[left.lease]))
            if left.after == EXPIRED:
                revived_from[left.lease] = left
        return self.violations

    def _add(self, kind: str, texts: Iterable[str]) -> None:
        self.violations += [f"lease {kind}: {text}" for text in texts]

    def _starts(self) -> Mapping[str, list[_Start]]:
        """Grants, restorations and renewals of each lease."""
        windows = self.verdict.windows
        assert windows is not None
        found: dict[str, list[_Start]] = defaultdict(list)
        for began in self.verdict.account.story.began:
            operation = self.verdict.written[began.tag].operation
            answered = operation.outcome is Outcome.ACKNOWLEDGED and operation.ended is not None
            ended = operation.ended if answered else None
            latest = operation.begun + LONGEST_UNDER_WAY_SECONDS if ended is None else ended
            found[began.lease].append(_Start(operation.begun, latest, True, began.revision, True))
        for renewal in self.history.renewals:
            for uuid in renewal.renewed:
                found[uuid].append(_renewed(renewal, windows))
        return found

    def _restored(self) -> Mapping[str, list[tuple[int, float]]]:
        """Revision and beginning of each restoration, and of each grant, by lease."""
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for began in self.verdict.account.story.began:
            operation = self.verdict.written[began.tag].operation
            found[began.lease].append((began.revision, operation.begun))
        return found

    def _early(
        self, lease: HeldLease, left: Left, starts: Sequence[_Start], restored: Sequence[tuple[int, float]]
    ) -> list[str]:
        moment = self.moments.get(left.revision)
        if moment is None:
            return []
        # What has ended stays so: what was renewed was renewed before, unless it was restored later.
        again = min((begun for revision, begun in restored if revision > left.revision), default=None)

        def is_before(start: _Start) -> bool:
            if start.high < left.revision:
                return True
            return left.after != EXPIRED and (again is None or start.ended < again)

        counted = [start.begun for start in starts if start.is_sure and is_before(start)]
        if not counted:
            return [f"nothing began the lease before {left}"]
        ttl = lease.ttl_ms + (lease.grace_ms if left.before == EXPIRED else 0)
        told = []
        since, first = max(counted), min(counted)
        ends = lease.max_life_ms is not None
        if moment < since + ttl / 1000 and not (ends and moment >= first + (lease.max_life_ms or 0) / 1000):
            told.append(
                f"{moment - since:.2f} seconds after it was renewed, of {ttl / 1000}: {left}, {lease}"
            )
        now, then, at_first = self.ticks.most(moment), self.ticks.least(since), self.ticks.least(first)
        if now is None or then is None or at_first is None:
            return told
        passed, alive = now - then, now - at_first
        if passed < ttl + SLACK_MS and not (ends and alive >= (lease.max_life_ms or 0) + SLACK_MS):
            told.append(f"{passed} ms of service time after it was renewed, of {ttl}: {left}, {lease}")
        return told

    def _late(
        self, lease: HeldLease, left: Left, expired: Left | None, starts: Sequence[_Start]
    ) -> list[str]:
        windows = self.verdict.windows
        assert windows is not None
        # It was committed after this.
        committed = windows.after(left.revision)
        if committed is None:
            return []
        if left.before == ACTIVE:
            since = max((start.ended for start in starts if start.begun < committed), default=committed)
            due_ms = lease.ttl_ms
        elif expired is None:
            return ["it never expired: " + str(left)]
        else:
            since, due_ms = self.moments.get(expired.revision, committed), lease.grace_ms
        told = self._overdue(since, committed, due_ms, f"{left}, {lease}")
        grants = [start for start in starts if start.is_granted]
        if lease.max_life_ms is not None and len(grants) == 1:
            told += self._overdue(grants[0].ended, committed, lease.max_life_ms, f"{left}, {lease}")
        return told

    def _overdue(self, since: float, moment: float, due_ms: int, what: str) -> list[str]:
        """Whether what was due ``due_ms`` after ``since`` had not happened by ``moment`` in time."""
        told = []
        allowed = due_ms / 1000 + LATEST_SECONDS
        recovery = RECOVERY_SECONDS + 2 * self.start_seconds
        calm = calm_seconds(self.disturbed, since, moment, recovery)
        if calm > allowed:
            told.append(f"not within {calm:.1f} seconds without a fault, due after {due_ms / 1000}: {what}")
        now, then = self.ticks.least(moment), self.ticks.most(since)
        if now is not None and then is not None and (now - then) / 1000 > allowed:
            told.append(f"not within {now - then} ms of service time, due after {due_ms}: {what}")
        return told


def _renewed(renewal: Renewal, windows: Windows) -> _Start:
    if renewal.ended is None:
        return _Start(renewal.begun, renewal.begun + LONGEST_UNDER_WAY_SECONDS, False, float("inf"))
    return _Start(renewal.begun, renewal.ended, True, windows.high(renewal.ended))


def calm_seconds(disturbed: Iterable[Interval], since: float, until: float, recovery: float) -> float:
    """How much of a time nothing disturbed the service, nor had done so within ``recovery`` before."""
    calm, at = 0.0, since
    for begun, ended in sorted(disturbed):
        if begun >= until:
            break
        calm += max(0.0, begun - at)
        at = max(at, ended + recovery)
    return calm + max(0.0, until - at)
