"""Healing: what a consumer holds becomes what a report says, for a reason that the journal keeps."""

from __future__ import annotations

from typing import Any, Final

from moorage.model.commands import KEEP, Claim, HealClaim, Healed, QuarantineClaims
from moorage.model.errors import CannotHealError, FindingChangedError, FindingNotFoundError
from moorage.model.reports import CLAIM, LEAKED, QUARANTINE, RELEASE, ReportFinding, claim_version, is_version
from moorage.rules.claims import check_claims, granted, touch_claims
from moorage.rules.leases import decide_quarantine, touch_quarantine
from moorage.rules.reports import remedy_of
from moorage.rules.state import Changes, State, Touch, check_classes_exist

HEALED: Final = "allocations.heal"
"""Kind of the write."""

OWNER: Final = "finding of"
"""How the owner of a quarantined lease begins; the source follows."""


def _claim(finding: ReportFinding) -> Claim:
    """What the consumer must hold. It keeps its owner, if it has one."""
    owner = finding.owner
    project_id, user_id = ("", "") if owner is None else (owner.project_id, owner.user_id)
    is_new = finding.version is None and owner is not None
    return Claim(
        finding.consumer,
        {provider: amounts for provider, amounts in finding.target.items() if amounts},
        project_id,
        user_id,
        None if finding.version is None else KEEP,
        owner.consumer_type if is_new and owner is not None else KEEP,
    )


def _quarantining(finding: ReportFinding, lease: str) -> QuarantineClaims:
    owner = finding.owner
    project_id, user_id = ("", "") if owner is None else (owner.project_id, owner.user_id)
    return QuarantineClaims(lease, f"{OWNER} {finding.source}", project_id, user_id, (finding.consumer,))


def touch_heal(command: HealClaim) -> Touch:
    """The consumer, and the providers that it must hold something of, or the lease that it must hang on."""
    if command.finding is None:
        return Touch()
    if command.lease is not None:
        return touch_quarantine(_quarantining(command.finding, command.lease))
    return touch_claims((_claim(command.finding),))


def decide_heal(state: State, command: HealClaim) -> Changes[Healed]:
    """What ``granted`` or ``decide_quarantine`` decide, if the claim is still the one that was compared.

    Raises FindingNotFoundError, CannotHealError, FindingChangedError, and what these and ``check_claims``
    raise.
    """
    finding = command.finding
    if finding is None:
        raise FindingNotFoundError(command.id)
    remedy = remedy_of(finding)
    if remedy is None:
        raise CannotHealError(finding.id, "does not say what the consumer must hold, or whose it is")
    consumer = finding.consumer
    row = state.consumers[consumer]
    # A row that was left behind without allocations is no claim.
    version = claim_version(row.id, row.generation) if row is not None and state.held[consumer] else None
    if not is_version(finding.version, version):
        raise FindingChangedError(consumer)
    if command.lease is not None:
        return _because(finding, QUARANTINE, *_quarantined(state, finding, command.lease))
    claim = _claim(finding)
    check_claims(state, (claim,))
    check_classes_exist(state, sorted({name for amounts in claim.allocations.values() for name in amounts}))
    changes: Changes[Any] = granted(state, (claim,), over_capacity=command.over_capacity)
    changes.kind = HEALED
    now = changes.consumers.get(consumer)
    healed = Healed(consumer, 0 if now is None else now.generation, claim.allocations)
    return _because(finding, CLAIM if CLAIM in remedy else RELEASE, changes, healed)


def _quarantined(state: State, finding: ReportFinding, lease: str) -> tuple[Changes[Any], Healed]:
    if finding.kind != LEAKED:
        raise CannotHealError(finding.id, f"is {finding.kind}, and only what is leaked can be quarantined")
    changes: Changes[Any] = decide_quarantine(state, _quarantining(finding, lease))
    if changes.result.absent:
        raise CannotHealError(finding.id, "is about a claim that hangs on a lease already")
    row = state.consumers[finding.consumer]
    assert row is not None, "a claim that hangs on a lease has a consumer"
    return changes, Healed(finding.consumer, row.generation, {**finding.rest, **finding.held})


def _because(finding: ReportFinding, action: str, changes: Changes[Any], result: Healed) -> Changes[Healed]:
    """The changes with the result, and with the reason for the journal."""
    changes.result = result
    changes.reason = {
        "finding": finding.id,
        "kind": finding.kind,
        "source": finding.source,
        "action": action,
        "compared_at": finding.revision,
    }
    return changes
