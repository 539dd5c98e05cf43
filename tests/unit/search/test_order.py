from __future__ import annotations

from collections.abc import Mapping

import pytest

from moorage.model.errors import SearchLimitError
from moorage.model.orders import Order, Ranking, wishes
from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match.candidates import Work
from moorage.search.match.outcomes import Memory
from moorage.search.match.plan import Plan, Survey
from moorage.search.order import facts, kept, ranking, standing
from moorage.search.order.ranking import OrderMemory, best, first
from tests.oracle.order import OrderOracle, tie_of
from tests.unit.search.builders import group, index_of, provider

PACK = Order("pack")
ONE_VCPU = CandidateRequest((group("", {"VCPU": 1}),))


def hosts(*used: int, total: int = 8, traits: Mapping[int, str] | None = None) -> list[ProviderRecord]:
    return [
        provider(
            number,
            {"VCPU": total},
            used={"VCPU": taken},
            traits=[(traits or {})[number]] if number in (traits or {}) else (),
        )
        for number, taken in enumerate(used, start=1)
    ]


def roots(found: Ranking) -> list[str]:
    return [each.root for each in found.candidates]


def ranked(order: Order, *records: ProviderRecord, request: CandidateRequest = ONE_VCPU) -> list[str]:
    return roots(best(index_of(*records).snapshot(), request, order, 10))


def test_pack_takes_the_fullest_tree_and_spread_the_emptiest() -> None:
    some = hosts(2, 5, 0, 8)
    assert ranked(PACK, *some) == ["p2", "p1", "p3"]
    assert ranked(Order("spread"), *some) == ["p3", "p1", "p2"]


def test_a_score_is_a_share_and_does_not_depend_on_other_trees() -> None:
    [found] = best(index_of(*hosts(3)).snapshot(), ONE_VCPU, PACK, 1).candidates
    assert (found.score, found.parts) == (0.5, {"pack": 0.5})
    assert found.candidate.allocations == {"p1": {"VCPU": 1}}
    assert found.tie == tie_of("p1", 0)


def test_best_fit_compares_what_is_left_with_the_largest_tree() -> None:
    small, large = provider(1, {"VCPU": 4}), provider(2, {"VCPU": 16}, used={"VCPU": 8})
    found = best(index_of(small, large).snapshot(), ONE_VCPU, Order("best_fit"), 2)
    assert [(each.root, each.score) for each in found.candidates] == [("p1", 0.8125), ("p2", 0.5625)]
    assert found.largest == {"VCPU": 16.0}
    [named, _] = best(
        index_of(small, large).snapshot(), ONE_VCPU, Order("best_fit", largest={"VCPU": 6}), 2
    ).candidates
    assert named.score == 0.5


def test_the_first_has_the_least_root_id_and_no_tie() -> None:
    found = best(index_of(*hosts(2, 5, 0)).snapshot(), ONE_VCPU, Order(), 10)
    assert [(each.root, each.score, each.tie) for each in found.candidates] == [
        ("p1", 0.0, 0),
        ("p2", 0.0, 0),
        ("p3", 0.0, 0),
    ]


def test_a_seed_says_how_random_candidates_are_ordered() -> None:
    some = hosts(0, 0, 0, 0, 0)
    names = [record.uuid for record in some]
    for seed in range(5):
        expected = sorted([(tie_of(name, seed), name) for name in names])
        assert ranked(Order("random", seed=seed), *some) == [name for _, name in expected]
    assert len({tuple(ranked(Order("random", seed=seed), *some)) for seed in range(5)}) > 1


def test_weights_say_how_much_a_class_counts() -> None:
    one = provider(1, {"VCPU": 8, "MEMORY_MB": 8}, used={"VCPU": 7})
    other = provider(2, {"VCPU": 8, "MEMORY_MB": 8}, used={"MEMORY_MB": 6})
    request = CandidateRequest((group("", {"VCPU": 1, "MEMORY_MB": 1}),))
    assert ranked(PACK, one, other, request=request) == ["p1", "p2"]
    assert ranked(Order("pack", {"VCPU": 0.5}), one, other, request=request) == ["p2", "p1"]


@pytest.mark.parametrize(("strategy", "score"), [("pack", 0.0), ("spread", 1.0), ("best_fit", 1.0)])
def test_without_a_class_that_counts_every_tree_scores_the_same(strategy: str, score: float) -> None:
    order = Order(strategy, {"VCPU": 0})
    [found] = best(index_of(*hosts(3)).snapshot(), ONE_VCPU, order, 1).candidates
    assert found.score == score


def test_preferred_traits_and_providers_come_first_and_avoided_ones_last() -> None:
    some = hosts(0, 0, 0, 0, traits={2: "RED", 3: "BLUE"})
    order = Order(prefer=wishes({"BLUE": 1, "FAST": 9}, [("p4", 2), ("nobody", 9)]), avoid=wishes({"RED": 1}))
    found = best(index_of(*some).snapshot(), ONE_VCPU, order, 10)
    assert [(each.root, each.score) for each in found.candidates] == [
        ("p4", 2.0),
        ("p3", 1.0),
        ("p1", 0.0),
        ("p2", -1.0),
    ]
    assert found.candidates[1].parts == {"first": 0.0, "prefer": 1.0, "avoid": 0.0}


def test_special_trees_are_spared_for_those_that_ask_for_them() -> None:
    some = hosts(*[0] * 12, traits={1: "RED"})
    order = Order(spare_special=1.0)
    found = best(index_of(*some).snapshot(), ONE_VCPU, order, 12)
    assert roots(found)[-1] == "p1"
    assert found.rare == {"RED"}
    assert found.candidates[-1].parts == {"first": 0.0, "special": 0.5}
    asking = CandidateRequest((group("", {"VCPU": 1}, required=[["RED"]]),))
    assert best(index_of(*some).snapshot(), asking, order, 12).candidates[0].score == 0.0


def test_rare_names_may_be_given() -> None:
    root = provider(1, {"VCPU": 8})
    some = [root, provider(2, {"VF": 1}, below=root, traits=["RED"]), provider(3, {"VCPU": 8})]
    order = Order(spare_special=2.0, rare=frozenset(["VF"]))
    found = best(index_of(*some).snapshot(), ONE_VCPU, order, 12)
    assert [(each.root, each.score) for each in found.candidates] == [("p3", 0.0), ("p1", -0.666666667)]


def test_a_wide_tree_counts_with_all_its_providers() -> None:
    root = provider(1, {"VCPU": 8}, used={"VCPU": 8})
    some = [root, provider(2, {"VCPU": 8}, below=root), provider(3, {"VCPU": 8}, used={"VCPU": 5})]
    found = best(index_of(*some).snapshot(), ONE_VCPU, PACK, 10)
    assert [(each.root, each.score) for each in found.candidates] == [("p3", 0.75), ("p1", 0.5625)]


def test_each_tree_is_there_once_or_with_all_its_placements() -> None:
    root = provider(1, {"VCPU": 8})
    index = index_of(root, provider(2, {"VCPU": 8}, below=root), *hosts(0, 0, 0)[2:])
    once = best(index.snapshot(), ONE_VCPU, Order(), 10)
    each = best(index.snapshot(), ONE_VCPU, Order(), 10, all_of_tree=True)
    assert roots(once) == ["p1", "p3"]
    assert roots(each) == ["p1", "p1", "p3"]
    assert roots(best(index.snapshot(), ONE_VCPU, Order(), 2, all_of_tree=True)) == ["p1", "p1"]
    # Known kinds of trees that are all taken need no second look.
    memory = OrderMemory(Memory())
    for _ in range(2):
        assert best(index.snapshot(), ONE_VCPU, Order(), 10, all_of_tree=True, memory=memory) == each


def test_trees_that_only_seem_to_fit_are_left_out() -> None:
    root, other = provider(1), provider(4)
    index = index_of(
        root,
        provider(2, {"VF": 1}, below=root),
        provider(3, {"VF": 1}, below=root),
        other,
        provider(5, {"VF": 1}, below=other),
    )
    two = CandidateRequest((group("1", {"VF": 1}), group("2", {"VF": 1})), group_policy="isolate")
    memory = OrderMemory(Memory())
    for _ in range(2):
        found = best(index.snapshot(), two, PACK, 10, memory=memory)
        assert (roots(found), found.feasible_trees) == (["p1"], 1)
    nothing = CandidateRequest((group("1", {"VF": 1}), group("2", {"VF": 2})), group_policy="isolate")
    assert best(index.snapshot(), nothing, PACK, 10) == Ranking([], 0)


def test_a_block_whose_trees_all_fail_has_no_best() -> None:
    root = provider(1)
    index = index_of(root, provider(2, {"VF": 1}, below=root))
    two = CandidateRequest((group("1", {"VF": 1}), group("2", {"VF": 1})), group_policy="isolate")
    assert best(index.snapshot(), two, PACK, 10).candidates == []
    assert first(index.snapshot(), two, PACK) is None


def sharing_scene() -> Index:
    """Two hosts with a pool each, and a third host with both."""
    return index_of(
        provider(1, {"VCPU": 8}, aggregates=["a"]),
        provider(2, {"VCPU": 8}, aggregates=["b"]),
        provider(3, {"VCPU": 8}, aggregates=["a", "b"]),
        provider(4, {"DISK_GB": 10}, traits=[SHARING_TRAIT], aggregates=["a"], used={"DISK_GB": 8}),
        provider(5, {"DISK_GB": 10}, traits=[SHARING_TRAIT, "RED"], aggregates=["b"]),
    )


def test_a_provider_that_shares_counts_with_what_it_gives() -> None:
    request = CandidateRequest((group("", {"VCPU": 4, "DISK_GB": 2}),))
    found = best(sharing_scene().snapshot(), request, PACK, 10)
    assert [(each.root, each.score) for each in found.candidates if each.root != "p2"] == [
        (name, 0.75) for name in sorted(["p1", "p3"], key=lambda name: tie_of(name, 0))
    ]
    assert found.candidates[-1].root == "p2"
    assert found.candidates[-1].score == 0.35
    assert found.feasible_trees == 3
    assert {"p3", "p4"} in [set(each.candidate.allocations) for each in found.candidates]
    both = best(sharing_scene().snapshot(), request, PACK, 10, all_of_tree=True)
    assert len(both.candidates) == 4
    assert len(best(sharing_scene().snapshot(), request, PACK, 1).candidates) == 1


def test_a_wish_may_be_met_by_a_provider_that_shares() -> None:
    request = CandidateRequest((group("", {"VCPU": 4, "DISK_GB": 2}),))
    order = Order(prefer=wishes({"RED": 1}, [("p5", 1), ("p3", 1)]))
    found = best(sharing_scene().snapshot(), request, order, 10)
    assert [(each.root, each.score) for each in found.candidates] == [("p3", 3.0), ("p2", 2.0), ("p1", 0.0)]


def test_what_only_sharing_providers_give_is_there_once() -> None:
    request = CandidateRequest((group("", {"DISK_GB": 2}),))
    found = best(sharing_scene().snapshot(), request, PACK, 10, all_of_tree=True)
    assert sorted(name for each in found.candidates for name in each.candidate.allocations) == ["p4", "p5"]


def test_a_tree_with_too_many_placements_may_lack_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MOST_PLACEMENTS", 1)
    request = CandidateRequest((group("", {"VCPU": 4, "DISK_GB": 2}),))
    found = best(sharing_scene().snapshot(), request, PACK, 10)
    assert not found.exact
    assert found.feasible_trees == 3


def test_the_best_of_many_blocks_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "FEWEST_BEST", 1)
    index = index_of(*hosts(*[number % 8 for number in range(20_000)]))
    assert len(index.snapshot().blocks) > 1
    memory = OrderMemory(Memory())
    expected = sorted(
        (placed.rank for placed in OrderOracle([]).of_hosts(20_000, 8)),
    )
    for limit in (1, 7, 40, 10):
        found = best(index.snapshot(), ONE_VCPU, PACK, limit, memory=memory)
        assert [each.tie for each in found.candidates] == [rank[1] for rank in expected[:limit]]
        assert found.feasible_trees == 20_000


def test_a_claim_lets_only_its_block_be_scored_again() -> None:
    index = index_of(*hosts(*[0] * 20_000))
    memory = OrderMemory(Memory())
    before = best(index.snapshot(), ONE_VCPU, PACK, 3, memory=memory)
    kept_before = [block.standings for block in index.snapshot().blocks]
    index.change_used({int(before.candidates[2].root[1:]): {"VCPU": 1}})
    after = best(index.snapshot(), ONE_VCPU, PACK, 3, memory=memory)
    assert after.candidates[0].root == before.candidates[2].root
    same = [
        block.standings is known for block, known in zip(index.snapshot().blocks, kept_before, strict=True)
    ]
    assert same.count(False) == 1


def test_steps_are_counted_whether_or_not_something_was_remembered() -> None:
    root = provider(1, {"VCPU": 8})
    index = index_of(root, provider(2, {"VF": 1}, below=root), *hosts(0, 0, 0)[2:])
    request = CandidateRequest((group("", {"VCPU": 1}), group("1", {"VF": 1})))
    memory = OrderMemory(Memory())
    counted = []
    for order in (PACK, PACK, Order("spread")):
        work = Work()
        best(index.snapshot(), request, order, 3, memory=memory, work=work)
        counted.append(work.done)
    assert len(set(counted)) == 1
    with pytest.raises(SearchLimitError):
        best(index.snapshot(), request, PACK, 3, step_limit=counted[0] - 1)
    assert best(index.snapshot(), request, PACK, 3, step_limit=-1).candidates


def test_a_limit_of_the_request_does_not_count() -> None:
    request = CandidateRequest((group("", {"VCPU": 1}),), limit=1)
    assert len(ranked(PACK, *hosts(0, 1, 2), request=request)) == 3


def test_blocks_forget_what_they_kept_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_BYTES", 2_000)
    [block] = index_of(*hosts(0)).snapshot().blocks
    kept.keep_with(block, "one", 1, 1_000)
    kept.keep_with(block, "two", 2, 1_000)
    kept.keep_with(block, "three", 3, 1_000)
    assert [kept.kept_with(block, name) for name in ("one", "two", "three")] == [None, 2, 3]
    assert kept.keep_with(block, "huge", 4, 3_000) == 4
    assert kept.kept_with(block, "huge") is None


def test_facts_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "FACTS_BYTES", 0)
    [block] = index_of(*hosts(*[0] * 4)).snapshot().blocks
    orders = [wishes({"RED": weight}) for weight in range(1, 20)]
    for prefer in orders:
        assert not facts.wished_of(block, prefer).any()
    assert 0 < len(block.facts) < len(orders)
    monkeypatch.setattr(facts, "FACTS_BYTES_PER_ENTRY", 1)
    block.facts.clear()
    assert not facts.wished_of(block, orders[0]).any()
    assert not block.facts


def test_facts_go_on_to_the_block_that_a_claim_makes() -> None:
    index = index_of(*hosts(0, 0, 0))
    [before] = index.snapshot().blocks
    digests = facts.digests_of(before)
    index.change_used({1: {"VCPU": 1}})
    [after] = index.snapshot().blocks
    assert facts.digests_of(after) is digests
    index.replace_trees([1], [provider(1, {"VCPU": Inventory(9)}, traits=["RED"])])
    [other] = index.snapshot().blocks
    assert facts.digests_of(other) is not digests


def test_a_memory_of_orders_is_bounded() -> None:
    memory = OrderMemory(Memory(), most=100_000)
    index = index_of(*hosts(0))
    for seed in range(100):
        best(index.snapshot(), ONE_VCPU, Order("random", seed=seed), 1, memory=memory)
    assert 0 < memory.size <= 100_000


def test_capacity_of_nothing_is_full() -> None:
    none = provider(1, {"VCPU": Inventory(4, reserved=4)})
    root = provider(2, {"VF": 1})
    index = index_of(none, root)
    request = CandidateRequest((group("", {"VF": 1}),))
    assert best(index.snapshot(), request, Order("best_fit", largest={"VF": 0}), 1).candidates[0].score == 1.0


def test_the_seed_draws_among_the_best() -> None:
    index = index_of(*hosts(0, 1, 2, 3, 4, 5))
    drawn = [
        roots(best(index.snapshot(), ONE_VCPU, Order("pack", seed=seed, among_best=3), 4))
        for seed in range(8)
    ]
    assert {tuple(sorted(some[:3])) for some in drawn} == {("p4", "p5", "p6")}
    assert len({tuple(some) for some in drawn}) > 1
    assert {some[3] for some in drawn} == {"p3"}
    assert len(best(index.snapshot(), ONE_VCPU, Order("pack", among_best=3), 1).candidates) == 1


def test_a_wish_counts_once_for_a_tree_that_takes_from_another_one() -> None:
    index = index_of(
        provider(1, {"VCPU": 8}, traits=["RED"], aggregates=["b"]),
        provider(2, {"DISK_GB": 10}, traits=[SHARING_TRAIT, "RED"], aggregates=["b"]),
    )
    request = CandidateRequest((group("", {"VCPU": 4, "DISK_GB": 2}),))
    order = Order("spread", prefer=wishes({"RED": 1, "BLUE": 1}))
    assert best(index.snapshot(), request, order, 10).candidates[0].parts == {"spread": 0.65, "prefer": 1.0}


def test_blocks_without_a_class_have_no_largest() -> None:
    index = index_of(*hosts(*[0] * 9000))
    index.replace_trees([9001], [provider(9001, {"VF": 4})])
    memory = OrderMemory(Memory())
    request = CandidateRequest((group("", {"VF": 1}),))
    for _ in range(2):
        assert best(index.snapshot(), request, Order("best_fit"), 1, memory=memory).largest == {"VF": 4.0}


def test_a_standing_for_more_takes_the_place_of_one_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "FEWEST_BEST", 1)
    index, memory = index_of(*hosts(0, 1, 2, 3)), OrderMemory(Memory())
    for limit in (1, 3, 2):
        assert len(best(index.snapshot(), ONE_VCPU, PACK, limit, memory=memory).candidates) == limit
    [block] = index.snapshot().blocks
    [(_, kept_standing)] = block.standings.values()
    assert len(kept_standing.trees) == 4


def test_a_tree_may_have_nothing_of_a_class_that_another_one_gives_it() -> None:
    index = index_of(
        provider(1, {"VCPU": 8}, aggregates=["a"]),
        *[provider(number, {"VCPU": 8}) for number in range(2, 9001)],
        provider(9001, {"DISK_GB": 10}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    request = CandidateRequest((group("", {"VCPU": 4, "DISK_GB": 2}),))
    [found] = best(index.snapshot(), request, PACK, 10).candidates
    assert (found.root, found.score) == ("p1", 0.35)


def test_trees_that_only_seem_to_fit_are_left_out_where_providers_share() -> None:
    index = index_of(
        provider(1, {"VCPU": 8}, aggregates=["a"]),
        provider(2, {"DISK_GB": 10}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    two = CandidateRequest((group("1", {"DISK_GB": 1}), group("2", {"DISK_GB": 1})), group_policy="isolate")
    assert best(index.snapshot(), two, PACK, 10) == Ranking([], 0)


def test_trees_that_candidates_take_from_are_shown_if_asked_for() -> None:
    request = CandidateRequest((group("", {"VCPU": 4, "DISK_GB": 2}),))
    snapshot = sharing_scene().snapshot()
    assert best(snapshot, request, PACK, 3).summaries == ()
    assert [each.uuid for each in best(snapshot, request, Order("spread"), 1, summaries=True).summaries] in (
        ["p2", "p5"],
        ["p3", "p5"],
    )
    only = CandidateRequest((group("", {"DISK_GB": 2}),))
    found = best(snapshot, only, Order("spread"), 1, summaries=True)
    assert [each.uuid for each in found.summaries] == ["p5"]
    root = provider(1, {"VCPU": 8})
    index = index_of(root, provider(2, {"VCPU": 8}, below=root), provider(3, {"VCPU": 8}))
    some = best(index.snapshot(), ONE_VCPU, Order(), 2, all_of_tree=True, summaries=True)
    assert [each.uuid for each in some.summaries] == ["p1", "p2"]


def test_a_kept_standing_needs_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    root = provider(1, {"VCPU": 8})
    index = index_of(root, provider(2, {"VCPU": 8}, below=root), provider(3, {"VCPU": 8}))
    memory = OrderMemory(Memory())
    expected = best(index.snapshot(), ONE_VCPU, PACK, 10, memory=memory)
    looked: list[int] = []
    survey = Plan.survey

    def noted(plan: Plan, number: int, work: Work, owner: object = None) -> Survey | None:
        looked.append(number)
        return survey(plan, number, work, owner)

    monkeypatch.setattr(Plan, "survey", noted)
    assert best(index.snapshot(), ONE_VCPU, PACK, 10, memory=memory) == expected
    assert looked == []
    best(index.snapshot(), ONE_VCPU, PACK, 10, all_of_tree=True, memory=memory)
    assert looked == [0]
