"""Leases: how their states follow each other, and which claims may hang on them.

An active lease expires once service time has reached its ``due_tick``. An expired one loses nothing until its
grace has passed as well. Then its claims are quarantined or taken away. An end that renewals do not move has
no grace. Renewals are no commands: see ``renewed_until``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moorage.model.commands import (
    AttachClaim,
    DetachClaim,
    EndLease,
    ExpireLeases,
    GrantLease,
    QuarantineClaims,
    Released,
    ResolveLease,
)
from moorage.model.errors import (
    AllocationsNotFoundError,
    AttachmentNotFoundError,
    EqualNameError,
    LeaseCrowdedError,
    LeaseGoneError,
    LeaseNotFoundError,
)
from moorage.model.leases import (
    ENDED,
    SLACK_MS,
    TIMED,
    Lease,
    LeaseAt,
    LeaseState,
    OnExpiry,
    Resolution,
)
from moorage.model.placing import ClaimOrigin
from moorage.rules.state import MOST_LEFT, TICKS, Changes, State, Touch

_CLOCK = frozenset((TICKS,))


def renewed_until(ticks: int, ttl_ms: int, end_tick: int | None) -> int:
    """When a lease is due that is granted or renewed at ``ticks``."""
    due = ticks + ttl_ms + SLACK_MS
    return due if end_tick is None else min(due, end_tick)


def touch_grant(command: GrantLease) -> Touch:
    """The new lease, and the time."""
    return Touch(leases=frozenset((command.uuid,)), clock=_CLOCK)


def decide_grant(state: State, command: GrantLease) -> Changes[LeaseAt]:
    """Raises EqualNameError if there is such a lease already."""
    if state.leases[command.uuid] is not None:
        raise EqualNameError
    ticks = state.clock[TICKS]
    end = None if command.max_life_ms is None else ticks + command.max_life_ms + SLACK_MS
    lease = Lease(
        command.uuid,
        command.owner,
        command.project_id,
        command.user_id,
        command.ttl_ms,
        command.grace_ms,
        command.on_expiry,
        LeaseState.ACTIVE,
        renewed_until(ticks, command.ttl_ms, end),
        end,
    )
    return _changed(lease, ticks, "leases.grant")


def touch_attach(command: AttachClaim | DetachClaim) -> Touch:
    """The lease, and the consumer with what it holds."""
    return Touch(leases=frozenset((command.lease,)), consumers=frozenset((command.consumer,)), clock=_CLOCK)


def decide_attach(state: State, command: AttachClaim) -> Changes[LeaseAt]:
    """Raises LeaseNotFoundError, LeaseGoneError, AllocationsNotFoundError."""
    lease = existing_lease(state, command.lease, command.project_id)
    row = state.consumers[command.consumer]
    is_own = command.project_id is None or (row is not None and row.project_id == command.project_id)
    if not state.held[command.consumer] or not is_own:
        raise AllocationsNotFoundError(command.consumer)
    changes = Changes(LeaseAt(lease, state.clock[TICKS]), "leases.attach")
    hang_claim(state, changes, command.lease, command.consumer)
    return changes


def hang_claim(
    state: State, changes: Changes[Any], lease: str, consumer: str, project_id: str | None = None
) -> None:
    """Let a consumer's claim, which ``changes`` may make, hang on a lease.

    With ``project_id`` leases of all other projects are not known. Raises LeaseGoneError.
    """
    row = state.leases[lease]
    if row is None or project_id not in (None, row.project_id):
        raise LeaseGoneError(lease, "not known")
    if row.state is not LeaseState.ACTIVE:
        raise LeaseGoneError(lease, row.state.value)
    _hang(state, changes, lease, consumer)


def _hang(state: State, changes: Changes[Any], lease: str, consumer: str) -> None:
    if state.attached.get(consumer) == lease and consumer not in changes.attached:
        return
    if changes.origins.get(consumer, state.origins.get(consumer)) is None:
        changes.origins[consumer] = ClaimOrigin()
    changes.attached[consumer] = lease


def decide_detach(state: State, command: DetachClaim) -> Changes[LeaseAt]:
    """Raises LeaseNotFoundError, LeaseGoneError, AttachmentNotFoundError."""
    lease = _running(state, command.lease, command.project_id)
    if state.attached.get(command.consumer) != command.lease:
        raise AttachmentNotFoundError(command.lease, command.consumer)
    changes = Changes(LeaseAt(lease, state.clock[TICKS]), "leases.detach")
    changes.attached[command.consumer] = None
    return changes


def touch_end(command: EndLease | ResolveLease) -> Touch:
    """The lease, the time, and the claims that may lose the lease."""
    leases = frozenset((command.uuid,))
    if isinstance(command, EndLease):
        lets_go = command.keeps_claims
    else:
        lets_go = command.resolution is Resolution.RESTORE
    return Touch(leases=leases, hanging=leases if lets_go else frozenset(), clock=_CLOCK)


def decide_end(state: State, command: EndLease) -> Changes[LeaseAt]:
    """Raises LeaseNotFoundError, LeaseGoneError, LeaseCrowdedError."""
    lease, ticks = _running(state, command.uuid, command.project_id), state.clock[TICKS]
    if command.keeps_claims:
        return _let_go(state, lease, "leases.release")
    return _changed(_in_state(lease, LeaseState.RELEASING, ticks), ticks, "leases.release")


def _let_go(state: State, lease: Lease, kind: str) -> Changes[LeaseAt]:
    """End a lease whose claims stay without it."""
    if state.hanging[lease.uuid] > MOST_LEFT:
        raise LeaseCrowdedError(lease.uuid)
    ticks = state.clock[TICKS]
    changes = _changed(_in_state(lease, LeaseState.RELEASED, ticks), ticks, kind)
    for consumer, attached in sorted(state.attached.items()):
        if attached == lease.uuid and state.held[consumer]:
            changes.attached[consumer] = None
    return changes


def decide_resolve(state: State, command: ResolveLease) -> Changes[LeaseAt]:
    """A lease that was never renewed by anything, such as that of a finding, ends when it is restored.

    Its claims stay without it. Raises LeaseNotFoundError, LeaseGoneError, LeaseCrowdedError.
    """
    lease, ticks = existing_lease(state, command.uuid, command.project_id), state.clock[TICKS]
    if lease.state is not LeaseState.QUARANTINED:
        raise LeaseGoneError(lease.uuid, lease.state.value)
    if command.resolution is Resolution.RELEASE:
        return _changed(_in_state(lease, LeaseState.RELEASING, ticks), ticks, "leases.release")
    if not lease.ttl_ms:
        return _let_go(state, lease, "leases.restore")
    due = renewed_until(ticks, lease.ttl_ms, None)
    end = None if lease.end_tick is None else max(lease.end_tick, due)
    restored = replace(lease, state=LeaseState.ACTIVE, due_tick=due, end_tick=end, revision=None)
    return _changed(restored, ticks, "leases.restore")


def touch_expire(command: ExpireLeases) -> Touch:
    """The leases, and the time."""
    return Touch(leases=frozenset(command.leases), clock=_CLOCK)


def decide_expire(state: State, command: ExpireLeases) -> Changes[tuple[str, ...]]:
    """Nothing refuses it: what is not due stays as it is."""
    ticks = state.clock[TICKS]
    changes: Changes[tuple[str, ...]] = Changes((), "leases.expire")
    for uuid in command.leases:
        lease = state.leases[uuid]
        if lease is not None and lease.state in TIMED and lease.due_tick <= ticks:
            changes.leases[uuid] = _expired(lease, ticks)
    changes.result = tuple(changes.leases)
    return changes


def _expired(lease: Lease, ticks: int) -> Lease:
    ends = lease.end_tick is not None and lease.end_tick <= ticks
    if lease.state is LeaseState.ACTIVE and lease.grace_ms and not ends:
        due = ticks + lease.grace_ms
        due = due if lease.end_tick is None else min(due, lease.end_tick)
        return _in_state(lease, LeaseState.EXPIRED, due)
    takes_away = lease.on_expiry is OnExpiry.RELEASE
    return _in_state(lease, LeaseState.RELEASING if takes_away else LeaseState.QUARANTINED, ticks)


def touch_quarantine(command: QuarantineClaims) -> Touch:
    """The lease, the time, and the consumers with what they hold."""
    return Touch(leases=frozenset((command.uuid,)), consumers=frozenset(command.consumers), clock=_CLOCK)


def decide_quarantine(state: State, command: QuarantineClaims) -> Changes[Released]:
    """Raises LeaseGoneError if the lease is there, but not quarantined."""
    named = tuple(dict.fromkeys(command.consumers))
    hanging = tuple([each for each in named if state.held[each] and state.attached.get(each) is None])
    result = Released(hanging, tuple([each for each in named if each not in hanging]))
    changes = Changes(result, "leases.quarantine")
    lease = state.leases[command.uuid]
    if lease is not None and lease.state is not LeaseState.QUARANTINED:
        raise LeaseGoneError(lease.uuid, lease.state.value)
    if hanging and lease is None:
        changes.leases[command.uuid] = Lease(
            command.uuid,
            command.owner,
            command.project_id,
            command.user_id,
            0,
            0,
            OnExpiry.QUARANTINE,
            LeaseState.QUARANTINED,
            state.clock[TICKS],
        )
    for consumer in hanging:
        _hang(state, changes, command.uuid, consumer)
    return changes


def existing_lease(state: State, uuid: str, project_id: str | None = None) -> Lease:
    """With ``project_id`` leases of other projects are not there. Raises LeaseNotFoundError."""
    lease = state.leases[uuid]
    if lease is None or project_id not in (None, lease.project_id):
        raise LeaseNotFoundError(uuid)
    return lease


def _running(state: State, uuid: str, project_id: str | None) -> Lease:
    lease = existing_lease(state, uuid, project_id)
    if lease.state in ENDED:
        raise LeaseGoneError(uuid, LeaseState.RELEASED.value)
    return lease


def _in_state(lease: Lease, state: LeaseState, due_tick: int) -> Lease:
    return replace(lease, state=state, due_tick=due_tick, revision=None)


def _changed(lease: Lease, ticks: int, kind: str) -> Changes[LeaseAt]:
    return Changes(LeaseAt(lease, ticks), kind, leases={lease.uuid: lease})


def released_lease(state: State, uuid: str) -> Lease:
    """A lease that has ended, now that no claim hangs on it."""
    return _in_state(existing_lease(state, uuid), LeaseState.RELEASED, state.clock[TICKS])
