"""What a report means: findings, when they are acted on, and when the report is not believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

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
from moorage.rules import reports
from moorage.rules.reports import due_in, finding_id, judge, outside, remedy_of

ROOTS = {"host": "host", "gpu": "host", "other": "other"}
OWNER = ClaimOwner("p", "u", "INSTANCE")
SETTLE = 600

TWO: Amounts = {"host": {"VCPU": 2}}
ONE: Amounts = {"host": {"VCPU": 1}}
ON_GPU: Amounts = {"gpu": {"CUSTOM_GPU": 1}}
ELSEWHERE: Amounts = {"other": {"VCPU": 2}}
UNCOVERED: Amounts = {"far": {"VCPU": 2}}


def held(amounts: Amounts, version: str = "1.1", consumer_type: str | None = "INSTANCE") -> HeldClaim:
    return HeldClaim(version, replace(OWNER, consumer_type=consumer_type), amounts)


def told(consumers: Mapping[str, Amounts | None], *, complete: bool = True, **more: object) -> Report:
    report = Report("nova", frozenset({"host", "other"}), consumers, complete)
    return replace(report, **more)  # type: ignore[arg-type]


class Memory:
    """A source and what the service keeps of its reports. All actions of ``heal`` are allowed."""

    def __init__(self, claims: Mapping[str, HeldClaim], *heal: str) -> None:
        self.claims = dict(claims)
        self.now = 0
        self.trees: Mapping[str, ReportedTree] = {}
        self.findings: dict[str, ReportFinding] = {}
        self.safeguards = Safeguards(SETTLE, frozenset(heal))

    def tell(self, report: Report, after: int = 0) -> Judgement:
        """A report that comes ``after`` some milliseconds."""
        self.now += after
        compared = Comparison(7, self.now, ROOTS, self.claims, self.trees, self.findings)
        judgement = judge(report, compared, self.safeguards)
        self.trees = {**self.trees, **judgement.trees}
        for gone in judgement.gone:
            del self.findings[gone]
        self.findings |= {each.id: each for each in judgement.findings}
        return judgement

    def set(self, **changes: object) -> None:
        """Change the only finding."""
        ((name, finding),) = self.findings.items()
        self.findings[name] = replace(finding, **changes)  # type: ignore[arg-type]


OTHERS = {f"other-{number}": held(ELSEWHERE) for number in range(9)}
"""So many that one consumer less is nothing to wonder at."""


def settled(*heal: str, claims: Mapping[str, HeldClaim] | None = None) -> Memory:
    """A source that has told of all claims."""
    memory = Memory({**OTHERS, **(claims or {})}, *heal)
    consumers = {
        name: {provider: each for provider, each in claim.held.items() if provider in ROOTS}
        for name, claim in memory.claims.items()
    }
    memory.tell(told(consumers))
    assert not memory.findings
    return memory


def others(**more: Amounts | None) -> dict[str, Amounts | None]:
    return {**{name: claim.held for name, claim in OTHERS.items()}, **more}


@pytest.mark.parametrize(
    ("claim", "reported", "kind", "tree"),
    [
        (TWO, TWO, None, ""),
        (TWO, None, None, ""),
        ({}, TWO, MISSING, "host"),
        ({}, None, MISSING, "host"),
        (TWO, ONE, DIFFERS, "host"),
        (TWO, ON_GPU, DIFFERS, "host"),
        ({**TWO, **ELSEWHERE}, TWO, DIFFERS, "host"),
        (TWO, ELSEWHERE, MOVED, "host"),
        (UNCOVERED, TWO, MOVED, "host"),
        (UNCOVERED, None, MOVED, "host"),
        ({**TWO, **UNCOVERED}, TWO, None, ""),
    ],
)
def test_each_disagreement_has_its_kind(
    claim: Amounts, reported: Amounts | None, kind: str | None, tree: str
) -> None:
    memory = settled()
    if claim:
        memory.claims["c"] = held(claim)
    findings = memory.tell(told(others(c=reported))).findings
    assert [(each.kind, each.consumer, each.tree) for each in findings] == (
        [(kind, "c", tree)] if kind else []
    )


def test_what_is_held_and_not_reported_is_leaked_as_far_as_the_report_covers_it() -> None:
    memory = settled(claims={"c": held({**TWO, **UNCOVERED})})
    (finding,) = memory.tell(told(others()), 5).findings
    assert finding == ReportFinding(
        id=finding_id("nova", "c", "host"),
        source="nova",
        kind=LEAKED,
        consumer="c",
        tree="host",
        state=OPEN,
        since=5,
        version="1.1",
        held=TWO,
        reported=None,
        rest=UNCOVERED,
        owner=OWNER,
        revision=7,
    )
    assert finding.target == UNCOVERED
    assert not memory.tell(told(others(c=TWO))).findings
    assert not memory.findings, "the next report no longer shows it"


def test_consumers_of_other_types_are_none_of_the_sources_business() -> None:
    memory = settled(claims={"c": held(TWO, consumer_type="JOB"), "d": held(TWO, consumer_type=None)})
    found = memory.tell(told(others(), consumer_types=frozenset({"INSTANCE"}), accept_shrink=True))
    assert not found.findings
    found = memory.tell(told(others(), consumer_types=frozenset({"unknown"}), accept_shrink=True))
    assert [each.consumer for each in found.findings] == ["d"]


def test_a_report_that_is_not_complete_makes_nothing_leaked_and_gives_nothing_back() -> None:
    memory = settled(RELEASE, CLAIM, claims={"c": held(TWO)})
    assert not memory.tell(told(others(), complete=False)).findings
    for after in (0, SETTLE):
        found = memory.tell(told({"c": ONE}, complete=False), after)
        assert [(each.kind, each.action) for each in found.findings] == [(DIFFERS, None)]
        assert not found.due
    found = memory.tell(told({"c": {"host": {"VCPU": 3}}}, complete=False))
    assert [each.action for each in found.findings] == [CLAIM]


def test_a_report_that_is_not_complete_leaves_findings_that_it_does_not_mention() -> None:
    memory = settled(claims={"c": held(TWO)})
    memory.tell(told(others()))
    assert memory.findings
    assert not memory.tell(told({}, complete=False)).gone
    memory.claims["c"] = held(TWO, "1.2")
    assert memory.tell(told({}, complete=False)).gone
    memory.tell(told(others(c=TWO, d=TWO), owners={"d": OWNER}))
    assert not memory.tell(told({}, complete=False)).gone
    assert memory.tell(told({"d": TWO}, complete=False)).findings


@pytest.mark.parametrize(
    ("heal", "claim", "reported", "action"),
    [
        ((), TWO, "absent", None),
        ((RELEASE,), TWO, "absent", RELEASE),
        ((QUARANTINE,), TWO, "absent", QUARANTINE),
        ((QUARANTINE, RELEASE), TWO, "absent", QUARANTINE),
        ((CLAIM,), TWO, "absent", None),
        ((QUARANTINE,), {}, TWO, None),
        ((CLAIM,), {}, TWO, CLAIM),
        ((CLAIM,), {}, None, None),
        ((RELEASE,), TWO, ONE, RELEASE),
        ((CLAIM,), TWO, ONE, None),
        ((CLAIM,), ONE, TWO, CLAIM),
        ((RELEASE,), ONE, TWO, None),
        ((CLAIM,), TWO, ELSEWHERE, None),
        ((RELEASE, CLAIM), TWO, ELSEWHERE, CLAIM),
    ],
)
def test_only_what_is_allowed_heals_a_finding(
    heal: tuple[str, ...], claim: Amounts, reported: Amounts | str | None, action: str | None
) -> None:
    memory = settled(*heal, claims={"c": held(claim)} if claim else {})
    consumers = others() if isinstance(reported, str) else others(c=reported)
    (finding,) = memory.tell(told(consumers, owners={"c": OWNER})).findings
    assert finding.action == action
    assert due_in(finding, memory.now, SETTLE) == (SETTLE if action else None)


def test_a_missing_claim_without_an_owner_cannot_be_healed() -> None:
    memory = settled(CLAIM)
    (finding,) = memory.tell(told(others(c=TWO))).findings
    assert (finding.action, finding.owner, remedy_of(finding)) == (None, None, None)


def test_nothing_is_done_before_a_report_shows_a_finding_after_the_settle_time() -> None:
    memory = settled(RELEASE, claims={"c": held(TWO)})
    assert not memory.tell(told(others())).due
    judged = memory.tell(told(others()), SETTLE - 1)
    assert not judged.due
    assert due_in(judged.findings[0], memory.now, SETTLE) == 1
    assert [each.consumer for each in memory.tell(told(others()), 1).due] == ["c"]


@pytest.mark.parametrize(
    "change",
    [
        lambda memory: memory.claims.update(c=held(TWO, "1.2")),
        lambda memory: memory.tell(told(others(c=ONE))),
        lambda memory: memory.tell(told(others(c=TWO))),
    ],
)
def test_a_disagreement_that_changes_is_a_new_one(change: object) -> None:
    memory = settled(RELEASE, claims={"c": held(TWO)})
    memory.tell(told(others()))
    change(memory)  # type: ignore[operator]
    judged = memory.tell(told(others()), SETTLE)
    assert not judged.due
    assert judged.findings[0].since == memory.now


@pytest.mark.parametrize("state", [IGNORED, QUARANTINED])
def test_an_answered_finding_is_left_alone_until_the_claim_changes(state: str) -> None:
    memory = settled(RELEASE, claims={"c": held(TWO)})
    memory.tell(told(others()))
    memory.set(state=state)
    judged = memory.tell(told(others()), 2 * SETTLE)
    assert not judged.due
    assert judged.findings[0].state == state
    assert due_in(judged.findings[0], memory.now, SETTLE) is None
    memory.claims["c"] = held(TWO, "1.2")
    assert memory.tell(told(others())).findings[0].state == OPEN


def test_an_action_is_tried_again_after_another_settle_time() -> None:
    memory = settled(RELEASE, claims={"c": held(TWO)})
    memory.tell(told(others()))
    assert memory.tell(told(others()), SETTLE).due
    memory.set(state=ACTING, acted_at=memory.now, trouble="no")
    judged = memory.tell(told(others()), SETTLE - 1)
    assert not judged.due
    assert (judged.findings[0].state, judged.findings[0].trouble) == (ACTING, "no")
    assert memory.tell(told(others()), 1).due


def test_the_oldest_findings_are_acted_on_first() -> None:
    memory = settled(RELEASE, claims={"b": held(TWO), "c": held(TWO)})
    memory.tell(told(others(b=TWO)))
    memory.tell(told(others()), 1)
    assert [each.consumer for each in memory.tell(told(others()), SETTLE).due] == ["c", "b"]


MANY = {f"on-host-{number}": held(TWO) for number in range(10)}


def test_a_report_of_far_fewer_consumers_causes_nothing_until_a_later_one_agrees() -> None:
    memory = settled(RELEASE, claims=MANY)
    few = others(**{"on-host-0": TWO, "on-host-1": TWO})
    judged = memory.tell(told(few))
    assert judged.suspect == {"host", "other"}
    assert {each.state for each in judged.findings} == {SUSPECT}
    assert memory.tell(told(few), SETTLE - 1).suspect
    judged = memory.tell(told(few), 1)
    assert not judged.suspect
    assert {(each.state, each.since) for each in judged.findings} == {(OPEN, memory.now)}
    assert not judged.due, "the disagreement counts from now on"
    assert len(memory.tell(told(few), SETTLE).due) == 8


def test_each_tree_is_doubted_alone_if_the_whole_report_is_usual() -> None:
    many = {f"more-{number}": held(ELSEWHERE) for number in range(91)}
    memory = settled(RELEASE, claims={**MANY, **many})
    judged = memory.tell(told(others(**{name: claim.held for name, claim in many.items()})))
    assert judged.suspect == {"host"}
    assert {each.state for each in judged.findings} == {SUSPECT}


def test_numbers_that_fall_further_are_doubted_anew_and_those_that_recover_are_believed() -> None:
    memory = settled(RELEASE, claims=MANY)
    usual = others(**{name: claim.held for name, claim in MANY.items()})
    assert memory.tell(told(others(**{"on-host-0": TWO, "on-host-1": TWO}))).suspect
    assert memory.tell(told(others()), SETTLE).suspect
    assert not memory.tell(told(usual)).suspect
    assert memory.trees["host"] == ReportedTree(10, memory.now)


def test_a_shrink_that_is_accepted_is_believed_at_once() -> None:
    memory = settled(RELEASE, claims=MANY)
    judged = memory.tell(told({}, accept_shrink=True))
    assert not judged.suspect
    assert memory.trees["host"] == ReportedTree(0, memory.now)


def test_a_wiped_source_is_never_believed_however_often_it_tells_of_nothing() -> None:
    memory = settled(RELEASE, claims=MANY)
    for _ in range(10):
        judged = memory.tell(told({}), SETTLE)
        assert judged.suspect
        assert not judged.due
        assert len(judged.findings) == 19


def test_the_first_report_is_held_against_the_account() -> None:
    memory = Memory({**OTHERS, **MANY}, RELEASE)
    assert memory.tell(told(others())).suspect
    assert memory.trees["host"] == ReportedTree(10, 0, 0, 0)


def test_a_source_cannot_shrink_by_many_small_steps_at_once() -> None:
    memory = settled(RELEASE, claims=MANY)
    names = [*MANY]
    for kept in (9, 8, 7):
        judged = memory.tell(told(others(**dict.fromkeys(names[:kept], TWO))), 1)
        assert not judged.suspect
    assert memory.tell(told(others(**dict.fromkeys(names[:6], TWO))), 1).suspect == {"host", "other"}
    memory = settled(RELEASE, claims=MANY)
    for kept in (9, 8, 7, 6):
        assert not memory.tell(told(others(**dict.fromkeys(names[:kept], TWO))), SETTLE).suspect


def test_a_tree_that_loses_a_few_consumers_is_not_suspect() -> None:
    memory = settled(claims={f"on-host-{number}": held(TWO) for number in range(4)} | OTHERS)
    more = {f"more-{number}": held(ELSEWHERE) for number in range(20)}
    memory.claims |= more
    memory.tell(told({name: claim.held for name, claim in memory.claims.items()}))
    judged = memory.tell(told(others(**{name: claim.held for name, claim in more.items()})))
    assert not judged.suspect
    assert len(judged.findings) == 4


def test_a_consumer_of_unknown_amounts_counts_where_it_holds_something() -> None:
    memory = settled(claims=MANY)
    assert not memory.tell(told(others(**dict.fromkeys(MANY)))).suspect
    assert not memory.tell(told(others(**dict.fromkeys(MANY), ghost=None))).suspect
    assert [each.kind for each in memory.findings.values()] == [MISSING]


def test_a_finding_that_was_acted_on_is_suspect_too_in_a_suspect_report() -> None:
    memory = settled(RELEASE, claims={"c": held(TWO)})
    memory.tell(told(others()))
    memory.set(state=ACTING)
    assert memory.tell(told({})).findings[0].state == SUSPECT


def test_providers_that_a_report_does_not_cover_are_named() -> None:
    assert outside(told({"b": None, "c": TWO}), ROOTS) is None
    assert outside(told({"b": None, "c": UNCOVERED}), ROOTS) == ("c", "far")


def test_an_id_is_the_same_for_each_report_and_another_for_each_part() -> None:
    ids = {
        finding_id(*parts) for parts in (("a", "b", "c"), ("a", "b", "d"), ("b", "b", "c"), ("a", "c", "b"))
    }
    assert len(ids) == 4
    assert finding_id("a", "b", "c") == finding_id("a", "b", "c")
    assert reports.REMAINING == (4, 5)
