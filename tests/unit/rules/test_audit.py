"""Every rule of the audit, on rows made by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest

from moorage.model.findings import Finding
from moorage.model.values import Inventory, ProviderRecord
from moorage.rules import audit
from moorage.rules.audit import (
    AllocationFact,
    ConsumerFact,
    CounterFact,
    Facts,
    InventoryFact,
    LogFact,
    MemberFact,
    ProviderFact,
    UsedFact,
)

VCPU, DISK = 0, 2
ROOT, CHILD, OTHER = 1, 2, 3


def healthy() -> Facts:
    """A tree of two, a lone provider, and one consumer that holds cores of the child."""
    return Facts(
        providers={
            ROOT: ProviderFact(ROOT, "root", 1, None, ROOT),
            CHILD: ProviderFact(CHILD, "child", 2, ROOT, ROOT),
            OTHER: ProviderFact(OTHER, "other", 0, None, OTHER),
        },
        inventories=[
            InventoryFact(ROOT, DISK, Inventory(100)),
            InventoryFact(CHILD, VCPU, Inventory(8, allocation_ratio=2.0)),
        ],
        allocations=[AllocationFact(CHILD, VCPU, "server", 3)],
        consumers=[ConsumerFact("server", 1, 1, 1, 1)],
        provider_traits=[MemberFact(CHILD, 5)],
        provider_aggregates=[MemberFact(ROOT, 6)],
        sums=[UsedFact(CHILD, "VCPU", 3)],
        resource_classes={VCPU: "VCPU", DISK: "DISK_GB"},
        traits={5: "HW_NUMA_ROOT"},
        aggregates={6: "rack"},
        projects=frozenset((1,)),
        users=frozenset((1,)),
        consumer_types=frozenset((1,)),
    )


CHECKS = (
    audit.check_trees,
    audit.check_inventories,
    audit.check_members,
    audit.check_consumers,
    audit.check_allocations,
    audit.check_usage,
    audit.check_generations,
)


def found(facts: Facts) -> list[Finding]:
    return [finding for check in CHECKS for finding in check(facts)]


def texts(findings: Iterable[Finding]) -> list[str]:
    return [str(finding) for finding in findings]


def test_nothing_is_found_where_all_is_well() -> None:
    assert found(healthy()) == []


# Trees.


def test_recorded_root_must_be_where_the_parents_lead() -> None:
    facts = healthy()
    facts.providers[CHILD] = ProviderFact(CHILD, "child", 2, ROOT, OTHER)
    facts.providers[OTHER] = ProviderFact(OTHER, "other", 0, None, None)
    assert texts(audit.check_trees(facts)) == [
        "provider child has provider other recorded as its root, but its parents lead to provider root",
        "provider other has none recorded as its root, but its parents lead to provider other",
    ]


def test_parent_must_be_there() -> None:
    facts = healthy()
    facts.providers[OTHER] = ProviderFact(OTHER, "other", 0, 99, OTHER)
    assert texts(audit.check_trees(facts)) == ["provider other has a parent that is not there (id 99)"]


def test_loop_of_parents_is_told_for_all_who_are_in_it_or_below_it() -> None:
    facts = healthy()
    facts.providers[ROOT] = ProviderFact(ROOT, "root", 1, CHILD, ROOT)
    facts.providers[OTHER] = ProviderFact(OTHER, "other", 0, CHILD, ROOT)
    assert texts(audit.check_trees(facts)) == [
        f"provider {name} is among its own ancestors, or below one that is"
        for name in ("root", "child", "other")
    ]


# Inventories, traits, aggregates.


@pytest.mark.parametrize(("provider", "resource_class"), [(99, VCPU), (ROOT, 99)])
def test_inventory_without_provider_or_class_is_an_orphan(provider: int, resource_class: int) -> None:
    facts = healthy()
    facts.inventories.append(InventoryFact(provider, resource_class, Inventory(1)))
    [finding] = audit.check_inventories(facts)
    assert finding.message == "is an orphan"
    assert "missing" in finding.subject
    assert "99" in finding.subject


@pytest.mark.parametrize(
    ("field", "value"),
    [("total", -1), ("reserved", -1), ("min_unit", 0), ("max_unit", 0), ("step_size", 0)],
)
def test_inventory_that_no_claim_can_be_decided_on_is_told(field: str, value: int) -> None:
    facts = healthy()
    facts.inventories[0] = InventoryFact(ROOT, DISK, replace(Inventory(100), **{field: value}))
    [finding] = audit.check_inventories(facts)
    assert f"has {field} {value}" in finding.message


def test_ratio_below_zero_is_told() -> None:
    facts = healthy()
    facts.inventories[0] = InventoryFact(ROOT, DISK, Inventory(100, allocation_ratio=-0.5))
    assert "allocation_ratio -0.5" in texts(audit.check_inventories(facts))[0]
    for ratio in (math.inf, math.nan):
        facts.inventories[0] = InventoryFact(ROOT, DISK, Inventory(100, allocation_ratio=ratio))
        assert "which is not finite" in texts(audit.check_inventories(facts))[0]


def test_traits_and_aggregates_without_either_side_are_orphans() -> None:
    facts = healthy()
    facts.provider_traits += [MemberFact(99, 5), MemberFact(ROOT, 98)]
    facts.provider_aggregates.append(MemberFact(ROOT, 97))
    assert texts(audit.check_members(facts)) == [
        "trait HW_NUMA_ROOT of the missing provider with id 99 is an orphan",
        "the missing trait with id 98 of provider root is an orphan",
        "the missing aggregate with id 97 of provider root is an orphan",
    ]


# Consumers and allocations.


def test_consumer_without_allocations_project_user_or_type_is_told() -> None:
    facts = healthy()
    facts.consumers.append(ConsumerFact("ghost", 1, 7, 8, 9))
    assert texts(audit.check_consumers(facts)) == [
        "consumer ghost has no allocations: it should have gone with the last one",
        "consumer ghost has a project that is not there (id 7)",
        "consumer ghost has a user that is not there (id 8)",
        "consumer ghost has a consumer type that is not there (id 9)",
    ]


def test_consumer_without_a_type_is_fine() -> None:
    facts = healthy()
    facts.consumers[0] = ConsumerFact("server", 1, 1, 1, None)
    assert found(facts) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (AllocationFact(CHILD, VCPU, "nobody", 1), "is an orphan: there is no such consumer"),
        (AllocationFact(99, VCPU, "server", 1), "is an orphan"),
        (AllocationFact(CHILD, 99, "server", 1), "is an orphan"),
        (AllocationFact(ROOT, VCPU, "server", 1), "is of a class that the provider has no inventory of"),
        (
            AllocationFact(CHILD, VCPU, "server", 1),
            "is there twice: what the consumer holds is counted double",
        ),
    ],
)
def test_allocation_that_lacks_what_it_needs_is_told(row: AllocationFact, message: str) -> None:
    facts = healthy()
    facts.allocations.append(row)
    [finding] = audit.check_allocations(facts)
    assert finding.message == message


def test_allocation_of_nothing_is_told() -> None:
    facts = healthy()
    facts.allocations[0] = AllocationFact(CHILD, VCPU, "server", 0)
    assert [finding.message for finding in audit.check_allocations(facts)] == ["is of no positive amount"]


def test_sum_that_is_not_that_of_the_allocations_is_told() -> None:
    facts = healthy()
    facts.sums[0] = UsedFact(CHILD, "VCPU", 4)
    facts.allocations.append(AllocationFact(ROOT, DISK, "server", 7))
    assert texts(audit.check_usage(facts)) == [
        "use of DISK_GB of provider root is 0 as the database sums it up, but 7 added up by hand",
        "use of VCPU of provider child is 4 as the database sums it up, but 3 added up by hand",
    ]


def test_use_of_a_missing_class_is_left_to_the_check_of_allocations() -> None:
    facts = healthy()
    facts.allocations.append(AllocationFact(CHILD, 99, "server", 1))
    assert list(audit.check_usage(facts)) == []


def test_use_over_capacity_is_a_warning_and_use_up_to_it_is_nothing() -> None:
    facts = healthy()
    facts.allocations[0] = AllocationFact(CHILD, VCPU, "server", 16)
    facts.sums[0] = UsedFact(CHILD, "VCPU", 16)
    assert list(audit.check_usage(facts)) == []
    facts.inventories[1] = InventoryFact(CHILD, VCPU, Inventory(8, reserved=1, allocation_ratio=2.0))
    [finding] = audit.check_usage(facts)
    assert finding.warning
    assert "is 16, over its capacity of 14" in finding.message


# Generations.


@pytest.mark.parametrize("generation", [None, -1])
def test_generation_that_is_no_count_is_told(generation: int | None) -> None:
    facts = healthy()
    facts.providers[OTHER] = ProviderFact(OTHER, "other", generation, None, OTHER)
    facts.consumers[0] = ConsumerFact("server", generation, 1, 1, 1)
    assert texts(audit.check_generations(facts)) == [
        f"provider other has generation {generation}",
        f"consumer server has generation {generation}",
    ]


def test_generation_zero_of_who_was_written_is_a_warning() -> None:
    facts = healthy()
    facts.providers[ROOT] = ProviderFact(ROOT, "root", 0, None, ROOT)
    facts.providers[CHILD] = ProviderFact(CHILD, "child", 0, ROOT, ROOT)
    facts.consumers[0] = ConsumerFact("server", 0, 1, 1, 1)
    findings = list(audit.check_generations(facts))
    assert [finding.subject for finding in findings] == ["provider root", "provider child", "consumer server"]
    assert all(finding.warning for finding in findings)


# The change log.


def log(*rows: tuple[int, int, str]) -> list[LogFact]:
    return [LogFact(*row) for row in rows]


GOOD_LOG = log((4, 0, "a"), (5, 0, "a"), (5, 1, "a"), (6, 0, "b"))


def log_findings(rows: Iterable[LogFact], *counters: tuple[int, int, int]) -> list[str]:
    return texts(audit.check_log([CounterFact(*counter) for counter in counters], rows))


def test_dense_log_that_ends_at_the_counter_is_fine() -> None:
    assert log_findings(GOOD_LOG, (1, 6, 3)) == []
    assert log_findings([], (1, 0, 0)) == []


@pytest.mark.parametrize("counters", [(), ((1, 6, 3), (2, 6, 3))])
def test_there_is_one_counter(counters: tuple[tuple[int, int, int], ...]) -> None:
    [text] = log_findings(GOOD_LOG, *counters)
    assert text == f"the revision counter must be one row, but is {len(counters)}"


def test_compaction_past_the_counter_is_told() -> None:
    assert "compacted up to 9" in log_findings([], (1, 6, 9))[0]


def test_gaps_in_the_log_are_told_wherever_they_are() -> None:
    lost = "missing in the change log: an index that catches up does not learn of it"
    assert log_findings(GOOD_LOG[:1] + GOOD_LOG[3:], (1, 6, 3)) == [f"revision 5 {lost}"]
    assert log_findings(GOOD_LOG, (1, 8, 3)) == [f"revisions 7 to 8 {lost}"]
    assert log_findings(GOOD_LOG, (1, 6, 1)) == [f"revisions 2 to 3 {lost}"]


def test_lost_line_of_a_revision_is_told() -> None:
    [text] = log_findings([row for row in GOOD_LOG if row[:2] != (5, 0)], (1, 6, 3))
    assert text == "revision 5 has lost a line in the change log: positions are 1"


def test_entries_outside_of_what_the_counter_says_are_told() -> None:
    assert log_findings(GOOD_LOG, (1, 6, 4)) == ["revision 4 is in the change log, but was compacted away"]
    assert log_findings(GOOD_LOG, (1, 5, 3)) == [
        "revision 6 is in the change log, but the counter is at 5 only"
    ]


def test_transactions_that_share_a_revision_or_come_twice_are_told() -> None:
    assert log_findings(log((1, 0, "a"), (1, 1, "b")), (1, 1, 0)) == ["revision 1 belongs to 2 transactions"]
    [text] = log_findings(log((1, 0, "a"), (2, 0, "b"), (3, 0, "a")), (1, 3, 0))
    assert "belongs to the transaction of revision 1, with others between" in text


# The index.


def test_index_that_holds_what_the_rows_say_is_fine() -> None:
    facts = healthy()
    facts.provider_traits.append(MemberFact(ROOT, 98))
    facts.inventories.append(InventoryFact(ROOT, 99, Inventory(1)))
    wanted = audit.records_by_hand(facts)
    assert wanted[CHILD] == ProviderRecord(
        id=CHILD,
        uuid="child",
        parent_id=ROOT,
        root_id=ROOT,
        inventories=(("VCPU", Inventory(8, allocation_ratio=2.0), 3),),
        traits=("HW_NUMA_ROOT",),
    )
    assert list(audit.check_index("x", wanted.values(), wanted)) == []


def test_order_of_inventories_and_aggregates_does_not_count() -> None:
    one = ProviderRecord(1, "u", None, 1, (("A", Inventory(1), 0), ("B", Inventory(2), 0)), (), ("x", "y"))
    other = replace(one, inventories=one.inventories[::-1], aggregates=("y", "x"))
    assert list(audit.check_index("x", [one], {1: other})) == []


def test_each_difference_of_an_index_is_told() -> None:
    wanted = audit.records_by_hand(healthy())
    record = replace(wanted[CHILD], inventories=(("VCPU", Inventory(8, allocation_ratio=2.0), 2),), traits=())
    stranger = replace(wanted[OTHER], id=9, uuid="stranger")
    assert texts(audit.check_index("that caught up", [wanted[ROOT], record, stranger], wanted)) == [
        "provider child differs in VCPU use: 2 in the index that caught up, 3 in the database",
        "provider child differs in traits: () in the index that caught up, ('HW_NUMA_ROOT',) in the database",
        "provider stranger is in the index that caught up, but not in the database",
        "provider other is in the database, but not in the index that caught up",
    ]


def test_names_that_an_index_lacks_or_should_not_have_are_told() -> None:
    facts = healthy()
    known = frozenset(("VCPU", "DISK_GB", "HW_NUMA_ROOT"))
    assert list(audit.check_names("x", known, facts)) == []
    assert texts(audit.check_names("built anew", known - {"VCPU"} | {"CUSTOM_GONE"}, facts)) == [
        "CUSTOM_GONE is in the index, but not in the database (the index built anew)",
        "VCPU is in the database, but not in the index (the index built anew)",
    ]


def test_provider_without_a_root_counts_as_its_own_in_what_an_index_must_hold() -> None:
    facts = healthy()
    facts.providers[OTHER] = ProviderFact(OTHER, "other", 0, None, None)
    assert audit.records_by_hand(facts)[OTHER].root_id == OTHER
