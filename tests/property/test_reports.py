"""Reports of a source that changes its mind, forgets and lies, against the slow twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from moorage.model.reports import (
    ACTIONS,
    CLAIM,
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
from moorage.rules.reports import judge, remedy_of
from tests.oracle.reports import Told, Twin, flat
from tests.property.strategies_search import examples

ROOTS = {"a": "a", "a1": "a", "b": "b", "c": "c"}
SETTLE = 10
OWNER = ClaimOwner("p", "u")


@dataclass(frozen=True)
class Step:
    """A change of the account, a time that passes, and a report: what is held, spoilt."""

    changes: dict[str, tuple[Amounts, str]]
    passes: int
    trees: str
    complete: bool
    types: frozenset[str] | None
    accepts: bool
    lies: dict[str, Amounts | None]
    forgets: frozenset[str]
    is_wiped: bool

    def report(self, claims: Mapping[str, HeldClaim]) -> Report:
        """What the source tells."""
        told: dict[str, Amounts | None] = {name: claim.held for name, claim in claims.items()}
        covered = {
            name: None if each is None else {uuid: n for uuid, n in each.items() if ROOTS[uuid] in self.trees}
            for name, each in (told | self.lies).items()
            if name not in self.forgets and not self.is_wiped
        }
        return Report(
            source="s",
            trees=frozenset(self.trees),
            consumers={name: each for name, each in covered.items() if each is None or each},
            complete=self.complete,
            consumer_types=self.types,
            owners=dict.fromkeys(covered, OWNER),
            accept_shrink=self.accepts,
        )


def mostly(usual: bool, often: int) -> st.SearchStrategy[bool]:
    return st.sampled_from([usual] * often + [not usual])


of_provider = st.sampled_from([{"VCPU": 1}, {"VCPU": 2, "DISK_GB": 1}])
some = st.dictionaries(st.sampled_from(sorted(ROOTS)), of_provider, max_size=2)
consumers = st.sampled_from([f"consumer-{number:02}" for number in range(14)])
types = st.sampled_from(["INSTANCE", "JOB", "unknown"])
steps = st.builds(
    Step,
    changes=st.dictionaries(consumers, st.tuples(some, types), max_size=1),
    passes=st.sampled_from([0, 1, 5, 10, 11]),
    trees=st.sampled_from(["a", "b", "ab"]),
    complete=mostly(True, 3),
    types=st.sampled_from([None, None, frozenset({"INSTANCE"})]),
    accepts=mostly(False, 5),
    lies=st.dictionaries(consumers, st.none() | some, max_size=2),
    forgets=st.frozensets(consumers, max_size=6),
    is_wiped=mostly(False, 4),
)
beginnings = st.dictionaries(consumers, st.tuples(some, types), max_size=14)


class Source:
    """A source, its memory at the service, and the twin's."""

    def __init__(self) -> None:
        self.trees: dict[str, ReportedTree] = {}
        self.findings: dict[str, ReportFinding] = {}
        self.twin = Twin(ROOTS, SETTLE)

    def tell(self, report: Report, claims: dict[str, HeldClaim], now: int) -> Judgement:
        """Both sides judge a report; their findings must be equal."""
        roots = {provider: root for provider, root in ROOTS.items() if root in report.trees}
        seen = {
            name: claim
            for name, claim in claims.items()
            if name in report.consumers or claim.held.keys() & roots.keys()
        }
        known = {tree: each for tree, each in self.trees.items() if tree in report.trees}
        there = {each.id: each for each in self.findings.values() if each.tree in report.trees}
        judgement = judge(
            report,
            Comparison(1, now, roots, seen, known, there),
            Safeguards(SETTLE, frozenset(ACTIONS) - {"quarantine"}),
        )
        self.trees |= judgement.trees
        for gone in judgement.gone:
            del self.findings[gone]
        self.findings |= {each.id: each for each in judgement.findings}
        told = Told(
            now,
            report.trees,
            report.complete,
            report.consumer_types,
            report.accept_shrink,
            {name: flat(each) for name, each in report.consumers.items()},
            {
                name: (each.version, each.owner.consumer_type or "unknown", flat(each.held) or frozenset())
                for name, each in claims.items()
            },
        )
        kinds = self.twin.tell(told)
        assert {(each.consumer, each.tree): each.kind for each in judgement.findings} == kinds
        assert {(each.consumer, each.tree) for each in judgement.due} == self.twin.due()
        return judgement


@given(beginnings, st.lists(steps, min_size=1, max_size=6))
@examples(4)
def test_findings_and_what_is_due_are_what_the_twin_sees_in_the_whole_history(
    begun: dict[str, tuple[Amounts, str]], happening: list[Step]
) -> None:
    source, now, claims = Source(), 0, dict[str, HeldClaim]()
    for number, step in enumerate([replace(happening[0], changes=begun), *happening]):
        now += step.passes
        for name, (held, kind) in step.changes.items():
            claims.pop(name, None)
            if held:
                owner = replace(OWNER, consumer_type=None if kind == "unknown" else kind)
                claims[name] = HeldClaim(f"{number}", owner, held)
        report = step.report(claims)
        judgement = source.tell(report, claims, now)
        for finding in judgement.due:
            assert now - finding.since >= SETTLE
            assert finding.tree not in judgement.suspect
            remedy = remedy_of(finding)
            assert remedy is not None
            assert report.complete or remedy == {CLAIM}
