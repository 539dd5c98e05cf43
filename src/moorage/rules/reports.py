"""What a report of what is really there means for the account: findings, and when to act on them.

The rules keep a source that is wiped, half-told or lying from doing harm:

- What a report does not cover is none of its business.
- A report that is not complete says nothing of consumers that it does not name.
- A disagreement is acted on only if a report still shows it after the settle time, and the claim is the same.
- A report of far fewer consumers than before is suspect. It causes nothing until a later one agrees.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from moorage.model.reports import (
    ACTING,
    CLAIM,
    DIFFERS,
    IGNORED,
    LEAKED,
    MISSING,
    MOVED,
    OPEN,
    QUARANTINE,
    QUARANTINED,
    RELEASE,
    SUSPECT,
    Amounts,
    ClaimOwner,
    Comparison,
    HeldClaim,
    Judgement,
    Report,
    ReportedTree,
    ReportFinding,
    Safeguards,
)
from moorage.model.values import UNKNOWN_CONSUMER_TYPE

REMAINING: Final = (4, 5)
"""A report with less than four fifths of the consumers of the last one is suspect."""

LOST_TOGETHER: Final = 5
"""Consumers. A single tree that has lost fewer is not suspect by itself: that happens every day."""

WIPED_FROM: Final = 10
"""A report of nothing at all, in place of so many consumers, looks like a wiped database. A second one like
it proves nothing."""

MOST_FINDINGS: Final = 10_000
"""Findings of one report that are kept, the oldest. A wiped source may disagree about every consumer."""

FLAT: Final = "/"
"""Stands between the parts of what an id is a digest of. No uuid has it."""


def finding_id(source: str, consumer: str, tree: str) -> str:
    """The id of what a source and the account disagree about: the same one for each report."""
    return hashlib.sha256(FLAT.join((source, tree, consumer)).encode()).hexdigest()[:16]


def outside(report: Report, roots: Mapping[str, str]) -> tuple[str, str] | None:
    """A consumer, and a provider that the report says it has although the report does not cover it."""
    for consumer, amounts in report.consumers.items():
        for provider in amounts or ():
            if provider not in roots:
                return consumer, provider
    return None


def judge(report: Report, compared: Comparison, safeguards: Safeguards) -> Judgement:
    """What ``report`` means, given all that ``compared`` knows. It names only providers that it covers."""
    trees = _counted(report, compared, safeguards.settle_ms) if report.complete else compared.trees
    suspect = frozenset(tree for tree, each in trees.items() if each.doubted is not None)
    every = sorted(
        _findings(report, compared, suspect, safeguards.heal), key=lambda each: (each.since, each.id)
    )
    found = {each.id: each for each in every[:MOST_FINDINGS]}
    kept = set[str]() if report.complete else set(_unmentioned(report, compared))
    due = [each for each in found.values() if is_due(each, compared.now, safeguards.settle_ms)]
    return Judgement(
        trees,
        tuple(found.values()),
        frozenset(compared.findings.keys() - found.keys() - kept),
        tuple(due),
        suspect,
    )


def due_in(finding: ReportFinding, now: int, settle_ms: int) -> int | None:
    """Milliseconds until a report that still shows the finding has its action carried out; None: never."""
    if finding.action is None or finding.state not in (OPEN, ACTING):
        return None
    begun = finding.since if finding.acted_at is None else finding.acted_at
    return max(0, begun + settle_ms - now)


def is_due(finding: ReportFinding, now: int, settle_ms: int) -> bool:
    """Whether its action must be carried out now."""
    return due_in(finding, now, settle_ms) == 0


def remedy_of(finding: ReportFinding) -> frozenset[str] | None:
    """Which of release and claim bring the consumer to what is reported; None if nothing can."""
    if finding.kind == LEAKED:
        return frozenset((RELEASE,))
    if finding.reported is None or finding.owner is None:
        return None
    gives = any(_exceeds(finding.held, finding.reported))
    takes = any(_exceeds(finding.reported, finding.held))
    return frozenset(name for name, needed in ((RELEASE, gives), (CLAIM, takes)) if needed)


def _exceeds(some: Amounts, others: Amounts) -> Iterator[bool]:
    for provider, amounts in some.items():
        for name, amount in amounts.items():
            yield amount > others.get(provider, {}).get(name, 0)


def _action(finding: ReportFinding, report: Report, heal: frozenset[str]) -> str | None:
    """What the settings let be done about a finding."""
    if finding.kind == LEAKED and QUARANTINE in heal:
        return QUARANTINE
    needed = remedy_of(finding)
    if needed is None or not needed <= heal or (RELEASE in needed and not report.complete):
        return None
    return CLAIM if CLAIM in needed else RELEASE


def _is_covered(report: Report, claim: HeldClaim) -> bool:
    named = claim.owner.consumer_type or UNKNOWN_CONSUMER_TYPE
    return report.consumer_types is None or named in report.consumer_types


def _within(amounts: Amounts, roots: Mapping[str, str]) -> Amounts:
    return {provider: dict(each) for provider, each in amounts.items() if provider in roots}


def _trees_of(amounts: Amounts, roots: Mapping[str, str]) -> set[str]:
    return {roots[provider] for provider in amounts if provider in roots}


def _counted(report: Report, compared: Comparison, settle_ms: int) -> dict[str, ReportedTree]:
    """How many consumers are reported, tree by tree, and which numbers are doubted."""
    held, told = Counter[str](), Counter[str]()
    for claim in compared.claims.values():
        if _is_covered(report, claim):
            held.update(_trees_of(claim.held, compared.roots))
    for consumer, amounts in report.consumers.items():
        if amounts is None:
            known = compared.claims.get(consumer)
            amounts = {} if known is None else known.held
        told.update(_trees_of(amounts, compared.roots))
    trees = {
        tree: compared.trees.get(tree) or ReportedTree(held[tree], compared.now) for tree in report.trees
    }
    before = sum(each.consumers for each in trees.values())
    all_shrank = _shrank(sum(told.values()), before)
    is_wiped = not report.consumers and before >= WIPED_FROM
    return {
        tree: _believed(each, told[tree], compared.now, 0 if report.accept_shrink else settle_ms)
        if report.accept_shrink or not (all_shrank or _fell(told[tree], each.consumers))
        else _doubted(each, told[tree], compared.now, settle_ms, is_wiped=is_wiped)
        for tree, each in trees.items()
    }


def _shrank(count: int, before: int) -> bool:
    part, whole = REMAINING
    return count * whole < before * part


def _fell(count: int, before: int) -> bool:
    return _shrank(count, before) and before - count >= LOST_TOGETHER


def _doubted(known: ReportedTree, count: int, now: int, settle_ms: int, *, is_wiped: bool) -> ReportedTree:
    """A number that is far below the last one: believed if it was about the same a settle time ago."""
    if known.doubted is None or known.doubted_at is None or _shrank(count, known.doubted):
        return replace(known, doubted=count, doubted_at=now)
    if is_wiped or now - known.doubted_at < settle_ms:
        return known
    return ReportedTree(count, now)


def _believed(known: ReportedTree, count: int, now: int, settle_ms: int) -> ReportedTree:
    """A number that is not doubted. A lower one counts after a settle time, so that no source can shrink by
    many small steps at once."""
    if count >= known.consumers or now - known.counted_at >= settle_ms:
        return ReportedTree(count, now)
    return ReportedTree(known.consumers, known.counted_at)


def _findings(
    report: Report, compared: Comparison, suspect: frozenset[str], heal: frozenset[str]
) -> Iterator[ReportFinding]:
    for consumer in sorted({*compared.claims, *report.consumers}):
        finding = _disagreement(report, compared, consumer)
        if finding is not None:
            finding = replace(finding, action=_action(finding, report, heal))
            trees = _trees_of(finding.held, compared.roots) | _trees_of(
                finding.reported or {}, compared.roots
            )
            yield _aged(finding, compared, is_suspect=bool(trees & suspect))


def _disagreement(report: Report, compared: Comparison, consumer: str) -> ReportFinding | None:
    """What the source and the account disagree about, as if it were new; None if they agree."""
    claim, roots = compared.claims.get(consumer), compared.roots
    whole: Amounts = {} if claim is None else claim.held
    held = _within(whole, roots)
    is_named = consumer in report.consumers
    reported = report.consumers.get(consumer)
    if not is_named:
        if not report.complete or not held or claim is None or not _is_covered(report, claim):
            return None
        kind = LEAKED
    elif not held:
        kind = MOVED if whole else MISSING
    elif reported is None or held == reported:
        return None
    else:
        apart = _trees_of(held, roots).isdisjoint(_trees_of(reported, roots))
        kind = MOVED if apart else DIFFERS
    tree = min(_trees_of(held, roots) or _trees_of(reported or {}, roots) or report.trees)
    return ReportFinding(
        id=finding_id(report.source, consumer, tree),
        source=report.source,
        kind=kind,
        consumer=consumer,
        tree=tree,
        state=OPEN,
        since=compared.now,
        version=None if claim is None else claim.version,
        held=held,
        reported=reported,
        rest={provider: dict(each) for provider, each in whole.items() if provider not in roots},
        owner=_owner(report, claim, consumer),
        revision=compared.revision,
    )


def _owner(report: Report, claim: HeldClaim | None, consumer: str) -> ClaimOwner | None:
    return report.owners.get(consumer) if claim is None else claim.owner


def _aged(finding: ReportFinding, compared: Comparison, *, is_suspect: bool) -> ReportFinding:
    """The finding with what is known of it from earlier reports."""
    state = SUSPECT if is_suspect else OPEN
    old = compared.findings.get(finding.id)
    if old is None or (old.kind, old.version, old.reported) != (
        finding.kind,
        finding.version,
        finding.reported,
    ):
        return replace(finding, state=state)
    if old.state in (IGNORED, QUARANTINED):
        state = old.state
    elif old.state == ACTING and not is_suspect:
        state = ACTING
    # What was seen in a suspect report only begins to count once it is believed.
    is_new = old.state == SUSPECT and not is_suspect
    return replace(
        finding,
        state=state,
        since=compared.now if is_new else old.since,
        acted_at=old.acted_at,
        trouble=old.trouble,
    )


def _unmentioned(report: Report, compared: Comparison) -> Iterable[str]:
    """Ids of findings of which a report that is not complete says nothing."""
    for finding in compared.findings.values():
        claim = compared.claims.get(finding.consumer)
        version = None if claim is None else claim.version
        if finding.consumer not in report.consumers and version == finding.version:
            yield finding.id
