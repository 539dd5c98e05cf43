"""Healing: what a consumer holds becomes what a report says, for a reason that the journal keeps."""

from __future__ import annotations

from typing import Final

from moorage.model.commands import KEEP, Claim, HealClaim, Healed
from moorage.model.errors import CannotHealError, FindingChangedError, FindingNotFoundError
from moorage.model.reports import CLAIM, RELEASE, ReportFinding, claim_version, is_version
from moorage.rules.claims import check_claims, granted, touch_claims
from moorage.rules.reports import remedy_of
from moorage.rules.state import Changes, State, Touch, check_classes_exist

HEALED: Final = "allocations.heal"
"""Kind of the write."""


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


def touch_heal(command: HealClaim) -> Touch:
    """The consumer, and the providers that it must hold something of."""
    return Touch() if command.finding is None else touch_claims((_claim(command.finding),))


def decide_heal(state: State, command: HealClaim) -> Changes[Healed]:
    """The claim as ``granted`` decides it, if it is still the one that the report was compared with.

    Raises FindingNotFoundError, CannotHealError, FindingChangedError, and what ``granted`` and
    ``check_claims`` raise.
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
    claim = _claim(finding)
    check_claims(state, (claim,))
    check_classes_exist(state, sorted({name for amounts in claim.allocations.values() for name in amounts}))
    changes = granted(state, (claim,), over_capacity=command.over_capacity)
    now = changes.consumers[consumer]
    return Changes(
        Healed(consumer, 0 if now is None else now.generation, claim.allocations),
        HEALED,
        reason={
            "finding": finding.id,
            "kind": finding.kind,
            "source": finding.source,
            "action": CLAIM if CLAIM in remedy else RELEASE,
            "compared_at": finding.revision,
        },
        providers=changes.providers,
        used=changes.used,
        consumers=changes.consumers,
        held=changes.held,
        origins=changes.origins,
        attached=changes.attached,
    )
