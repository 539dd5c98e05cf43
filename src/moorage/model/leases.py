"""Leases: what makes claims end that nothing renews. Durations are in milliseconds of service time.

Service time is a number of ticks, one for each millisecond that the service has counted. It stands still
while no process counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from moorage.model.valueclass import valueclass

SLACK_MS: Final = 2_500
"""Ticks may stand for time that passed before a client asked: two seconds of a late keeper, and half a second
of its last statement. A lease lasts so much longer, so that it never ends early by its holder's own clock."""


class LeaseState(Enum):
    """What has become of a lease.

    ``ACTIVE``: until its ttl has passed. ``EXPIRED``: its grace passes; nothing is taken away, and a renewal
    makes it active again. ``QUARANTINED``: its claims stay until an operator decides. ``RELEASING``: it has
    ended, and its claims are being taken away. ``RELEASED``: it has ended, and no claim hangs on it.
    """

    ACTIVE = "active"
    EXPIRED = "expired"
    QUARANTINED = "quarantined"
    RELEASING = "releasing"
    RELEASED = "released"


class OnExpiry(Enum):
    """What becomes of the claims of a lease that nothing has renewed."""

    QUARANTINE = "quarantine"
    RELEASE = "release"


class Resolution(Enum):
    """What an operator does with a quarantined lease: take its claims away, or make it active again."""

    RELEASE = "release"
    RESTORE = "restore"


ENDED: Final = (LeaseState.RELEASING, LeaseState.RELEASED)
"""States that no lease leaves for another one than ``RELEASED``."""

TIMED: Final = (LeaseState.ACTIVE, LeaseState.EXPIRED)
"""States that a lease leaves by itself once service time has reached its ``due_tick``."""


@valueclass(frozen=True, slots=True)
class Lease:
    """A lease as the database has it.

    ``owner`` is the client's word for what holds it; ``project_id`` and ``user_id`` are the requester's.
    ``due_tick``: when it leaves its state, if that is one of ``TIMED``; else when it came to it. ``end_tick``
    is an end that renewals do not move. ``fence`` is the revision of its grant, and ``revision`` that of its
    last change; both are None until they are known.
    """

    uuid: str
    owner: str
    project_id: str
    user_id: str
    ttl_ms: int
    grace_ms: int
    on_expiry: OnExpiry
    state: LeaseState
    due_tick: int
    end_tick: int | None = None
    fence: int | None = None
    revision: int | None = None


@valueclass(frozen=True, slots=True)
class LeaseAt:
    """A lease at a time. ``claims``: how many hang on it, if that is known."""

    lease: Lease
    ticks: int
    claims: int | None = None

    @property
    def remaining_ms(self) -> int:
        """What is left of its ttl if it is active, of its grace if it has expired; otherwise 0."""
        lease = self.lease
        if lease.state is LeaseState.ACTIVE:
            return max(0, lease.due_tick - SLACK_MS - self.ticks)
        return max(0, lease.due_tick - self.ticks) if lease.state is LeaseState.EXPIRED else 0


@valueclass(frozen=True, slots=True)
class Renewed:
    """A renewal that was granted. ``revived``: the lease had expired, and is active again."""

    uuid: str
    remaining_ms: int
    revived: bool


@valueclass(frozen=True, slots=True)
class Gone:
    """A lease that cannot be renewed. ``state`` None: no such lease is known."""

    uuid: str
    state: LeaseState | None = None
    revision: int | None = None


@valueclass(frozen=True, slots=True)
class LeaseSelection:
    """A page of the leases that all given fields choose: the first ``limit`` after the uuid ``after``."""

    limit: int
    after: str = ""
    states: tuple[LeaseState, ...] = ()
    owner: str | None = None
    project_id: str | None = None


@valueclass(frozen=True, slots=True)
class LeasePage:
    """A page of leases, by uuid."""

    leases: tuple[LeaseAt, ...]
    has_more: bool


@valueclass(frozen=True, slots=True)
class ClockFact:
    """Service time, and what waits for it: ``due`` is the first time at which a lease leaves its state.

    ``due`` None: no lease will. ``has_ended``: claims of leases that have ended are still there.
    ``has_findings``: there are findings of reports, or doubts about reports, which age.
    """

    ticks: int
    term: int
    keeper: str
    due: int | None
    has_ended: bool
    has_findings: bool = False


@valueclass(frozen=True, slots=True)
class LeaseCounts:
    """How many leases are in each state, and the present service time with the term of its keeper.

    ``due`` as in ``ClockFact``.
    """

    states: Mapping[LeaseState, int]
    ticks: int
    term: int
    due: int | None
