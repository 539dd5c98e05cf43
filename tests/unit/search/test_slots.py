"""The strategy ``slots``: which placement takes least away from the requests that usually come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moorage.model.mixes import Mix
from moorage.model.orders import Order, wishes
from moorage.model.requests import CandidateRequest, SearchSettings
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from moorage.search.match.outcomes import Memory
from moorage.search.order import chances, options, remembered
from moorage.search.order.chances import MixTerms, demand_of, prices_of, scored_class
from moorage.search.order.ranking import OrderMemory, best, ordered
from tests.oracle.candidates import canonical
from tests.oracle.order import BILLION, OrderOracle
from tests.oracle.slots import SlotsOracle
from tests.unit.search.builders import group, index_of, provider

SLOTS = Order("slots")
LINEAR = [number / 100 for number in range(101)]
HALVES = [float(number // 50) / 2 for number in range(101)]

Shares = Sequence[tuple[CandidateRequest, float]]


def node(
    identifier: int, cpus: int, *free: int, traits: Iterable[str] = (), used: int = 0
) -> list[ProviderRecord]:
    """A root with processors, and a child for each device of 100, of which some is free."""
    root = provider(identifier, {"VCPU": cpus}, used={"VCPU": used})
    root = replace(root, name=f"n{9 - identifier % 10}-{identifier}")
    return [
        root,
        *[
            provider(identifier + number, {"VF": 100}, below=root, traits=traits, used={"VF": 100 - amount})
            for number, amount in enumerate(free, start=1)
        ],
    ]


def task(cpus: int, *devices: int, required: Iterable[Iterable[str]] = ()) -> CandidateRequest:
    groups = [group(f"_{number}", {"VF": each}, required=required) for number, each in enumerate(devices)]
    return CandidateRequest(
        (group("", {"VCPU": cpus}), *groups), group_policy="isolate" if len(devices) > 1 else None
    )


CLOUD = [
    *node(10, 8, 100, 100, 40, traits=["RED"]),
    *node(20, 8, 100, 60, 60),
    *node(30, 4, 30, 30, 100, 100, used=1),
    *node(40, 16),
    *node(50, 2, 100, 100, 100, 100, traits=["RED"]),
]
USUAL: Shares = [
    (task(1, 30), 3),
    (task(1, 60), 2),
    (task(2, 100), 2),
    (task(2, 100, 100), 2),
    (task(1, 50, 50), 1),
    (task(1, 40, required=[["RED"]]), 1),
    (task(4), 1),
    (replace(task(1, 30), root_required=frozenset(["RED"])), 1),
    (CandidateRequest((group("", {"VCPU": 1}, required=[["RED"]]), group("_0", {"VF": 20}))), 1),
    (CandidateRequest((group("_0", {"VF": 20}), group("_1", {"VF": 20}))), 1),
    (CandidateRequest((group("", {"DISK_GB": 1}),)), 1),
    (CandidateRequest((group("", {"VCPU": 2}, required=[["RED"]]),)), 1),
]


def agree(
    records: Sequence[ProviderRecord],
    request: CandidateRequest,
    usual: Shares = USUAL,
    *,
    scored: str = "VF",
    residual: Sequence[float] = HALVES,
    order: Order = SLOTS,
    memory: OrderMemory | None = None,
) -> None:
    """Check that all candidates come in the order of the twin's, the best of each tree and all of a tree."""
    snapshot = index_of(*records).snapshot()
    prices = prices_of(snapshot, Mix.of(usual), scored, np.array(residual))
    known = {record.uuid: record for record in records}
    placed = OrderOracle(records, SlotsOracle(records, usual, scored, residual)).all_placed(request, order)
    left = {(each.rank, each.candidate) for each in placed}
    for all_of_tree in (False, True):
        found = best(snapshot, request, order, 10_000, all_of_tree=all_of_tree, prices=prices, memory=memory)
        told = [
            (
                (-round(each.score * BILLION), known[each.root].name, known[each.root].id),
                canonical(each.candidate.allocations, each.candidate.mappings),
            )
            for each in found.candidates
        ]
        assert found.exact
        assert {each.tie for each in found.candidates} <= {0}
        assert set(told) <= left
        ranks = [rank for rank, _ in told]
        assert ranks == sorted(ranks)
        if all_of_tree:
            assert set(told) == left
            assert len(told) == len(left)
            result = ordered(snapshot, request, order, SearchSettings(), prices=prices)
            assert [canonical(each.allocations, each.mappings) for each in result.candidates] == [
                candidate for _, candidate in told
            ]
        else:
            trees = {rank[2] for rank, _ in left}
            assert set(ranks) == {min(rank for rank, _ in left if rank[2] == tree) for tree in trees}
    for limit in (1, 2):
        some = best(snapshot, request, order, limit, prices=prices, memory=memory)
        whole = best(snapshot, request, order, 10_000, prices=prices)
        assert some.candidates == whole.candidates[:limit]


@pytest.mark.parametrize(
    "request_",
    [
        task(1, 30),
        task(1, 60),
        task(1, 100),
        task(3),
        task(1, 100, 100),
        task(1, 50, 50),
        task(1, 30, required=[["RED"]]),
        CandidateRequest((group("_0", {"VF": 20}), group("_1", {"VF": 30}))),
        CandidateRequest((group("_0", {"VF": 20}), group("_1", {"VF": 30})), group_policy="isolate"),
        CandidateRequest((group("_0", {"VF": 100}), group("_1", {"VCPU": 1})), group_policy="isolate"),
        CandidateRequest((group("", {"VCPU": 1}, required=[["RED"]]), group("_0", {"VF": 30}))),
        CandidateRequest(
            (group("_0", {"VF": 100}), group("_1", {"VF": 100}, required=[["RED"]])), group_policy="isolate"
        ),
        CandidateRequest((group("", {"VF": 30}),)),
        CandidateRequest(
            (group("", {"VCPU": 1}), group("_0", {"VF": 30}), group("_1")), same_subtree=(frozenset(["_1"]),)
        ),
        task(99),
    ],
)
def test_placements_come_in_the_order_of_the_twin(request_: CandidateRequest) -> None:
    memory = OrderMemory(Memory())
    agree(CLOUD, request_, memory=memory)
    agree(CLOUD, request_, residual=LINEAR, order=replace(SLOTS, prefer=wishes({"RED": 2})))


@pytest.mark.parametrize("scored", ["VCPU", "MEMORY_MB"])
def test_any_class_may_be_scored(scored: str) -> None:
    """Also one that no provider has."""
    agree(CLOUD, task(1, 60), scored=scored)


def test_a_mix_need_not_ask_for_devices_nor_for_them_apart() -> None:
    agree(CLOUD, task(1, 60), [(task(2), 1.0)])
    agree(CLOUD, task(1, 60), [(CandidateRequest((group("_0", {"VF": 20}), group("_1", {"VF": 20}))), 1.0)])


def test_flat_hosts_are_devices_themselves() -> None:
    hosts = [
        replace(
            provider(number, {"VCPU": 8, "MEMORY_MB": 64}, used={"VCPU": number % 5}), name=f"h{number % 7}"
        )
        for number in range(1, 20)
    ]
    usual = [(CandidateRequest((group("", {"VCPU": 4, "MEMORY_MB": each}),)), 1.0) for each in (8, 40)]
    agree(hosts, usual[0][0], usual, scored="VCPU", memory=OrderMemory(Memory()))


def test_units_that_admit_no_usual_amount_leave_no_slots() -> None:
    odd = provider(1, {"VCPU": Inventory(8, min_unit=2, step_size=2), "VF": Inventory(8, max_unit=1)})
    agree([odd, provider(2, {"VCPU": 8, "VF": 8})], CandidateRequest((group("", {"VF": 1}),)))


def test_a_sharing_provider_loses_as_well() -> None:
    pool = provider(5, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"])
    hosts = [provider(number, {"VCPU": 8}, aggregates=["a"], used={"VCPU": number}) for number in (1, 2)]
    disk = provider(3, {"VCPU": 8, "DISK_GB": 10})
    request = CandidateRequest((group("", {"VCPU": 1, "DISK_GB": 5}),))
    for order in (SLOTS, replace(SLOTS, spare_special=1.0)):
        agree([*hosts, disk, pool], request, [(request, 1.0)], scored="DISK_GB", order=order)
    some = best(index_of(*hosts, disk, pool).snapshot(), request, SLOTS, 9)
    assert [each.score for each in some.candidates] == [0.0] * 3


def test_without_prices_the_lowest_name_comes_first() -> None:
    found = best(index_of(*CLOUD).snapshot(), task(1, 100), SLOTS, 9)
    assert [(each.root, each.score, each.parts) for each in found.candidates] == [
        (root, 0.0, {"slots": 0.0}) for root in ("p10", "p20", "p30", "p50")
    ]
    names = [replace(record, name=f"{99 - record.id}") for record in CLOUD]
    found = best(index_of(*names).snapshot(), task(1, 100), SLOTS, 9)
    assert [each.root for each in found.candidates] == ["p50", "p30", "p20", "p10"]


def test_only_trees_that_changed_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    worth = chances.Prices.worth

    def watched(self: chances.Prices, block: Any, trees: Any, *rest: Any) -> Any:
        looked.append(len(set(trees.tolist())))
        return worth(self, block, trees, *rest)

    index = index_of(*CLOUD)
    memory = OrderMemory(Memory())
    prices = prices_of(index.snapshot(), Mix.of(USUAL), "VF", np.array(HALVES))
    monkeypatch.setattr(chances.Prices, "worth", watched)
    request = task(1, 100)
    for few, amount, expected in ((99, 1, 4), (99, 2, 1), (0, 3, 1), (0, 4, 1)):
        monkeypatch.setattr(options, "FEW_TREES", few)
        index.change_used({20: {"VCPU": amount}})
        kept = best(index.snapshot(), request, SLOTS, 9, prices=prices, memory=memory)
        assert looked[0] == expected
        assert kept == best(index.snapshot(), request, SLOTS, 9, prices=prices)
        looked.clear()


def test_with_more_ways_than_are_looked_at_an_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = index_of(*CLOUD).snapshot()
    prices = prices_of(snapshot, Mix.of(USUAL), "VF")
    monkeypatch.setattr(options, "MOST_WAYS", 2)
    request = task(1, 20, 20)
    assert not best(snapshot, request, SLOTS, 9, prices=prices).exact
    assert not best(snapshot, request, SLOTS, 9, prices=prices, all_of_tree=True).exact
    assert best(snapshot, task(1, 100), SLOTS, 9, prices=prices).exact


def test_many_trees_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chances, "CHUNK", 2)
    agree(CLOUD, task(1, 30))
    agree(CLOUD, task(1, 100, 100))


def test_trees_are_remembered_by_what_they_have_in_use() -> None:
    """Whatever is remembered, an answer is that of a new search."""
    index = index_of(*CLOUD)
    memory = OrderMemory(Memory())
    prices = prices_of(index.snapshot(), Mix.of(USUAL), "VF", np.array(HALVES))
    for used in (10, 70, 0, 10):
        index.change_used({13: {"VF": used}, 21: {"VF": 100 - used}})
        for request in (task(1, 30), task(2), task(1, 100)):
            kept = best(index.snapshot(), request, SLOTS, 3, prices=prices, memory=memory)
            assert kept == best(index.snapshot(), request, SLOTS, 3, prices=prices)


def test_nothing_is_remembered_without_a_key() -> None:
    [block] = index_of(*CLOUD).snapshot().blocks
    trees = np.arange(2)
    assert remembered.remembered(block, None, trees, lambda some: some + 5).tolist() == [5, 6]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"VCPU": 4, "VF": 1}, "VF"),
        ({"VCPU": 4}, "VCPU"),
        ({"VCPU": 4, "MEMORY_MB": 1}, "MEMORY_MB"),
        ({"DISK_GB": 4}, None),
    ],
)
def test_devices_are_of_the_scarcest_class_below_a_root(
    asked: Mapping[str, int], expected: str | None
) -> None:
    some = replace(CLOUD[0], inventories=(*CLOUD[0].inventories, ("MEMORY_MB", Inventory(2), 0)))
    snapshot = index_of(some, *CLOUD[1:]).snapshot()
    mix = Mix.of([(CandidateRequest((group("", asked),)), 1.0)])
    assert scored_class(snapshot, MixTerms(mix)) == expected
    prices = prices_of(snapshot, mix)
    assert (None if prices is None else prices.scored) == expected


def test_what_is_asked_of_a_device_in_part_is_demand_for_residuals() -> None:
    mix = Mix.of([(task(1, 25), 1), (task(1, 50, 50), 1), (task(1, 100), 5), (task(9), 2)])
    assert demand_of(MixTerms(mix), "VF", 100.0) == pytest.approx({25: 1 / 3, 50: 2 / 3})
    assert demand_of(MixTerms(Mix.of([(task(1, 100), 1)])), "VF", 100.0) == {}


def test_what_became_plenty_since_prices_were_made_is_worth_no_more_than_a_number_holds() -> None:
    scarce = provider(1, {"VCPU": 8}, used={"VCPU": 8})
    prices = prices_of(index_of(scarce).snapshot(), Mix.of([(task(1), 1.0)]), "VCPU")
    plenty = provider(1, {"VCPU": Inventory(8, allocation_ratio=3.4e38)})
    found = best(index_of(plenty).snapshot(), task(1), SLOTS, 1, prices=prices, memory=OrderMemory(Memory()))
    assert [each.root for each in found.candidates] == ["p1"]


def test_prices_say_how_much_they_hold() -> None:
    prices = prices_of(index_of(*CLOUD).snapshot(), Mix.of(USUAL), "VF")
    assert prices is not None
    assert prices.size > 1_000
    assert (prices.shapes, prices.classes) == (12, {"VF", "VCPU", "DISK_GB"})
    again = prices.with_residuals(np.array(HALVES))
    assert again.key != prices.key
    assert (again.free, again.totals.tolist()) == (prices.free, prices.totals.tolist())
