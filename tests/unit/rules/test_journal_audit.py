"""Every rule of the journal's audit, on rows made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moorage.model.values import Inventory
from moorage.rules.audit import AllocationFact, Facts, InventoryFact, MemberFact
from moorage.rules.journal import inventory_told
from moorage.rules.journal_audit import JournalFacts, check_journal
from tests.table import each
from tests.unit.rules.test_audit import CHILD, DISK, OTHER, VCPU, healthy

SOUND = JournalFacts(9, 9, (), (), (0, 0), ())

OF_CHILD = {
    "tree": "root",
    "generation": [1, 2],
    "name": ["old", None],
    "parent": [None, "root"],
    "root": ["child", "root"],
    "inventories": [{}, {"VCPU": inventory_told(Inventory(8, allocation_ratio=2.000001))}],
    "traits": [[], ["HW_NUMA_ROOT"]],
    "aggregates": [["x"], []],
    "used": {"VCPU": [0, 3], "DISK_GB": [1, 0]},
}
CLAIM = {
    "providers": {"child": OF_CHILD},
    "consumers": {
        "server": {"project_id": [None, "p"], "generation": [None, 1], "held": {"child": {"VCPU": [0, 3]}}},
        "gone": {"project_id": ["p", None], "generation": [4, None], "held": {"child": {"VCPU": [2, 0]}}},
        "owned": {"project_id": ["p", "q"], "user_id": ["u", "v"]},
    },
}
GONE: dict[str, Any] = {
    "providers": {"deleted": {"tree": "deleted", "generation": [3, None], "inventories": [{}, None]}}
}


def told(journal: JournalFacts, facts: Facts | None = None) -> list[str]:
    return [str(finding) for finding in check_journal(9, journal, facts or healthy())]


def newest(*bodies: Mapping[str, Any]) -> JournalFacts:
    return SOUND._replace(newest=[(9 - place, body) for place, body in enumerate(bodies)])


def test_records_that_lead_to_the_rows_are_sound() -> None:
    assert told(SOUND) == []
    assert told(SOUND._replace(records=0, last=None)) == []
    assert told(newest(CLAIM, GONE)) == []


def test_gaps_an_end_elsewhere_and_rows_without_a_record_are_told() -> None:
    assert told(SOUND._replace(gaps=((3, 3), (5, 6))))[0].startswith("revision 3 missing in the journal")
    assert told(SOUND._replace(gaps=((5, 6),)))[0].startswith("revisions 5 to 6 missing in the journal")
    assert told(SOUND._replace(last=7))[0].startswith("revisions 8 to 9 missing in the journal")
    assert told(SOUND._replace(last=10)) == ["revision 10 is in the journal, but the counter is at 9 only"]
    assert told(SOUND._replace(lost=(("host", 4),))) == [
        "record 4 about host is referred to, but is not in the journal"
    ]


def test_only_the_newest_record_of_a_value_counts() -> None:
    older = {"providers": {"child": {"tree": "root", "generation": [0, 1], "used": {"VCPU": [0, 9]}}}}
    assert told(newest(CLAIM, older)) == []
    assert told(newest(older)) == [
        "provider child generation is 2, but 1 in the journal (revision 9)",
        "provider child use of VCPU is 3, but 9 in the journal (revision 9)",
    ]


@each("end", [{"renamed": {"A": "B"}}, {"adopted": {}}, {"providers": {"child": {"tree": "root"}}}])
def test_what_came_before_a_change_of_everything_or_has_no_values_is_not_compared(
    end: Mapping[str, Any],
) -> None:
    wrong = {"providers": {"child": {"tree": "root", "generation": [0, 1]}}}
    assert told(newest(end, wrong)) == []
    assert told(SOUND._replace(newest=[(8, wrong)])) == []


def test_rows_that_differ_are_told() -> None:
    facts = healthy()
    facts.allocations.append(AllocationFact(CHILD, VCPU, "gone", 1))
    facts.provider_traits.append(MemberFact(CHILD, 99))
    facts.provider_traits.append(MemberFact(99, 5))
    facts.inventories += [InventoryFact(CHILD, DISK, Inventory(1)), InventoryFact(99, DISK, Inventory(1))]
    facts.providers[CHILD] = facts.providers[CHILD]._replace(parent_id=None, root_id=None, generation=None)
    facts.providers[OTHER] = facts.providers[OTHER]._replace(uuid="deleted", generation=7)
    found = told(newest(CLAIM, GONE), facts)
    places = [text.partition(" is ")[0] for text in found]
    assert places == [
        "provider child generation",
        "provider child parent",
        "provider child root",
        "provider child inventories",
        "provider child traits",
        "provider child use of VCPU",
        "consumer gone VCPU of child",
        "provider deleted generation",
        "provider deleted inventories",
    ]
    assert "is 4, but 3 in the journal (revision 9)" in found[5]


def test_a_provider_that_is_gone_has_nothing() -> None:
    facts = healthy()
    del facts.providers[CHILD]
    found = told(newest(CLAIM), facts)
    assert "provider child generation is None, but 2 in the journal (revision 9)" in found
