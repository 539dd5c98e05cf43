from __future__ import annotations

import pytest

from moorage.model.explanations import ExplainRequest, Miss, UnlockingEvent
from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from moorage.search.explain.distance import Distances
from moorage.search.explain.facts import Sharers
from moorage.search.explain.misses import TREES_LOOKED_INTO
from moorage.search.explain.terms import Terms
from moorage.search.match.plan import Work
from tests.table import each
from tests.unit.search.builders import group, index_of, provider
from tests.unit.search.test_explain_counts import why


def nearest(request: CandidateRequest, *records: ProviderRecord, most: int = 5) -> list[Miss]:
    return list(why(index_of(*records), request, ExplainRequest(nearest=most)).nearest)


def events(miss: Miss) -> list[tuple[str, str, str, int]]:
    return [
        (each.event, each.provider, each.resource_class or each.trait or each.aggregate, each.amount)
        for each in miss.events
    ]


def test_trees_come_by_distance_then_in_their_order() -> None:
    hosts = [provider(number, {"VCPU": 8}, used={"VCPU": used}) for number, used in ((1, 8), (2, 6), (3, 6))]
    found = nearest(CandidateRequest((group("", {"VCPU": 4}),)), *hosts, most=2)
    assert [(miss.root, miss.distance) for miss in found] == [("p2", 0.5), ("p3", 0.5)]


def test_a_short_amount_counts_by_its_part_of_the_need_and_all_else_counts_one() -> None:
    asked = group("", {"VCPU": 4, "VF": 2}, required=[["RED"]], forbidden=["BLUE"])
    host = provider(1, {"VCPU": 8}, traits=["BLUE"], used={"VCPU": 5})
    [miss] = nearest(CandidateRequest((asked,)), host)
    assert miss.distance == pytest.approx(0.25 + 1 + 1 + 1)
    assert (miss.satisfies, miss.fails) == ((), ("c1", "c2", "c3", "c4"))
    [cpu, vf, red, blue] = miss.missing
    assert (cpu.provider, cpu.need, cpu.room, cpu.short, cpu.units) == ("p1", 4, 3, 1, ())
    assert (vf.need, vf.room, vf.short) == (2, 0, 2)
    assert (red.term, red.traits, blue.traits) == ("c3", frozenset(["RED"]), frozenset(["BLUE"]))


@each(
    ("inventory", "amount", "units", "distance"),
    [
        (Inventory(9, min_unit=3), 2, ("min_unit",), 1),
        (Inventory(9, max_unit=3), 4, ("max_unit",), 1),
        (Inventory(9, step_size=2), 3, ("step_size",), 1),
        (Inventory(9, step_size=0), 3, ("step_size",), 1),
        (Inventory(2, min_unit=2, max_unit=3, step_size=3), 4, ("max_unit", "step_size"), 2.5),
    ],
)
def test_units_that_an_amount_does_not_meet_are_named(
    inventory: Inventory, amount: int, units: tuple[str, ...], distance: float
) -> None:
    [miss] = nearest(CandidateRequest((group("", {"VCPU": amount}),)), provider(1, {"VCPU": inventory}))
    assert miss.missing[0].units == units
    assert miss.distance == pytest.approx(distance)
    assert events(miss)[-1] == ("units_changed", "p1", "VCPU", amount)


def test_the_distance_is_the_least_over_all_ways_to_give_groups_to_providers() -> None:
    root = provider(1, {"VCPU": 1}, traits=["RED"])
    child = provider(2, {"VCPU": 4}, below=root)
    [miss] = nearest(CandidateRequest((group("_A", {"VCPU": 4}, required=[["RED"]]),)), root, child)
    # A missing trait costs 1, three of four cores cost 0.75.
    assert miss.distance == 0.75
    assert [(each.provider, each.short) for each in miss.missing] == [("p1", 3)]


def test_amounts_that_add_up_count_by_the_summed_need() -> None:
    request = CandidateRequest((group("", {"VCPU": 3}), group("_A", {"VCPU": 3})))
    [miss] = nearest(request, provider(1, {"VCPU": 4}))
    assert (miss.distance, miss.fails) == (pytest.approx(2 / 6), ("c3",))
    [lack] = miss.missing
    assert (lack.term, lack.need, lack.room, lack.short) == ("c3", 6, 4, 2)
    assert events(miss) == [("capacity_raised", "p1", "VCPU", 6)]


def test_a_rule_that_no_amount_meets_counts_one_and_no_event_helps() -> None:
    root = provider(1, {"VCPU": 8})
    left = provider(2, {"VCPU": 8}, below=root)
    isolated = CandidateRequest(
        (group("_A", {"VCPU": 1}), group("_B", {"VCPU": 1}), group("_C", {"VCPU": 1})), "isolate"
    )
    [miss] = nearest(isolated, root, left)
    assert (miss.distance, miss.fails, miss.missing, miss.events) == (1, ("c4",), (), ())
    right = provider(3, {"VF": 8}, below=root)
    apart = CandidateRequest(
        (group("_A", {"VCPU": 1}, forbidden=["RED"]), group("_B", {"VF": 1})),
        same_subtree=(frozenset(["_A", "_B"]),),
    )
    bare = provider(1, traits=["RED"])
    [miss] = nearest(apart, bare, left, right)
    assert (miss.distance, miss.fails) == (1, ("c4",))
    lone = CandidateRequest((group("", {"VCPU": 1, "VF": 1}),), one_provider_per_tree=True)
    [miss] = nearest(lone, bare, left, right)
    assert (miss.distance, miss.fails) == (1, ("c3",))


def test_many_equal_providers_do_not_make_measuring_long() -> None:
    root = provider(1)
    devices = [provider(number, {"VF": 1}, below=root) for number in range(2, 10)]
    groups = tuple(group(f"_{number}", {"VF": 1}) for number in range(10))
    found = why(
        index_of(root, *devices), CandidateRequest(groups, group_policy="isolate"), step_limit=300_000
    )
    assert found.exact
    assert found.nearest[0].distance == 1
    assert not found.notes


def steps_of_measuring(request: CandidateRequest, *records: ProviderRecord) -> int:
    """Steps of measuring the first tree."""
    snapshot, work = index_of(*records).snapshot(), Work()
    facts = Sharers(snapshot, work).facts((0, 0))
    work.done = 0
    Distances(Terms.of(request), {}, work).of(facts)
    return work.done


def test_rules_between_groups_take_steps() -> None:
    root = provider(1)
    devices = [provider(number, {"VF": 1}, below=root) for number in range(2, 22)]
    groups = tuple(group(f"_{number}", {"VF": 2}) for number in range(20))
    pairs = tuple(frozenset([f"_{one}", f"_{one + 1}"]) for one in range(19))
    without = steps_of_measuring(CandidateRequest(groups), root, *devices)
    assert steps_of_measuring(CandidateRequest(groups, same_subtree=pairs), root, *devices) > 2 * without


def test_names_of_a_condition_take_steps() -> None:
    host = provider(1, {"VCPU": 1}, aggregates=["a"])
    few = CandidateRequest((group("_A", {"VCPU": 2}, member_of=[["x"]]),))
    many = CandidateRequest((group("_A", {"VCPU": 2}, member_of=[map(str, range(2000))]),))
    assert steps_of_measuring(many, host) > 2 * steps_of_measuring(few, host)


def test_providers_deep_below_their_root_take_steps_to_read() -> None:
    chain = [provider(1)]
    for number in range(2, 102):
        chain.append(provider(number, {"VF": 1}, below=chain[-1]))
    flat = [chain[0], *[provider(number, {"VF": 1}, below=chain[0]) for number in range(2, 102)]]
    done = []
    for records in (chain, flat):
        work = Work()
        Sharers(index_of(*records).snapshot(), work).facts((0, 0))
        done.append(work.done)
    assert done[0] > 1.5 * done[1]


def test_a_tree_in_which_too_much_must_be_tried_is_not_said_to_be_the_nearest() -> None:
    root = provider(1)
    devices = [provider(number, {"VF": number, "VCPU": 30 - number}, below=root) for number in range(2, 14)]
    groups = tuple(group(f"_{number}", {"VF": 9 + number, "VCPU": 20}) for number in range(8))
    request = CandidateRequest(groups, group_policy="isolate")
    found = why(index_of(root, *devices), request, step_limit=10_000_000)
    assert len(found.nearest) == 1
    assert found.notes[0] == "other trees may be as near as the nearest ones"


def test_a_request_of_more_groups_than_there_are_trials_gets_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.search.explain.distance.TREE_NODES", 2)
    groups = tuple(group(f"_{number}", {"VCPU": 1}) for number in range(4))
    [miss] = nearest(CandidateRequest(groups), provider(1, {"VCPU": 3}))
    assert (miss.distance, miss.fails) == (0.25, ("c5",))


def test_more_trees_than_are_looked_into_are_said_not_to_be_ruled_out() -> None:
    records = []
    for number in range(1, 2 * TREES_LOOKED_INTO + 10, 2):
        root = provider(number)
        records += [root, provider(number + 1, {"VCPU": 3}, below=root)]
    request = CandidateRequest((group("", {"VCPU": 3}), group("_A", {"VCPU": 3})))
    found = why(index_of(*records), request, step_limit=10_000_000)
    assert len(found.nearest) == 5
    assert found.notes == ("other trees may be as near as the nearest ones",)


def test_only_the_trees_that_come_near_are_looked_into() -> None:
    hosts = [
        provider(number, {"VCPU": 8, "VF": 1}, used={"VCPU": 8 - number % 3}, traits=["RED"])
        for number in range(1, 4 * TREES_LOOKED_INTO)
    ]
    asked = group(
        "", {"VCPU": 4, "VF": 1}, required=[["RED"]], forbidden=["BLUE"], forbidden_aggregates=["a"]
    )
    found = nearest(CandidateRequest((asked,)), *hosts, most=3)
    assert [miss.root for miss in found] == ["p2", "p5", "p8"]


def test_a_provider_that_shares_may_be_the_nearest() -> None:
    pool = provider(9, {"VF": 4}, traits=[SHARING_TRAIT], aggregates=["a"], used={"VF": 1})
    host = provider(1, {"VCPU": 4}, aggregates=["a"])
    found = nearest(CandidateRequest((group("", {"VCPU": 4, "VF": 4}),)), host, pool)
    assert [(miss.root, miss.distance) for miss in found] == [("p1", 0.25), ("p9", 1.25)]
    assert events(found[0]) == [("freed", "p9", "VF", 1)]


def test_events_free_what_is_used_and_raise_what_is_not_there() -> None:
    host = provider(1, {"VCPU": 4, "VF": 2}, used={"VCPU": 3})
    asked = group("", {"VCPU": 4, "VF": 3, "DISK_GB": 5})
    [miss] = nearest(CandidateRequest((asked,)), host)
    assert events(miss) == [
        ("freed", "p1", "VCPU", 3),
        ("capacity_raised", "p1", "VF", 3),
        ("capacity_raised", "p1", "DISK_GB", 5),
    ]


def test_events_mend_traits_and_aggregates() -> None:
    root = provider(1, traits=["RED"], aggregates=["a"])
    child = provider(2, {"VCPU": 4, "VF": 1, "DISK_GB": 1}, below=root, traits=["BLUE"], aggregates=["b"])
    request = CandidateRequest(
        (
            group(
                "",
                {"VCPU": 1, "VF": 1, "DISK_GB": 1},
                required=[["FAST"]],
                forbidden=["BLUE"],
                member_of=[["c"]],
                forbidden_aggregates=["a", "b"],
            ),
        ),
        root_required=frozenset(["FAST"]),
        root_forbidden=frozenset(["RED"]),
    )
    [miss] = nearest(request, root, child)
    assert events(miss) == [
        ("trait_added", "p2", "FAST", 0),
        ("trait_removed", "p2", "BLUE", 0),
        ("aggregate_joined", "p2", "c", 0),
        ("aggregate_left", "p1", "a", 0),
        ("aggregate_left", "p2", "b", 0),
        ("trait_added", "p1", "FAST", 0),
        ("trait_removed", "p1", "RED", 0),
    ]


def test_a_root_in_a_forbidden_aggregate_is_named_once() -> None:
    asked = group("", {"VCPU": 1}, forbidden_aggregates=["a"])
    [miss] = nearest(CandidateRequest((asked,)), provider(1, {"VCPU": 1}, aggregates=["a"]))
    assert [each.provider for each in miss.missing] == ["p1"]
    assert events(miss) == [("aggregate_left", "p1", "a", 0)]


@each(
    "asked",
    [
        [group("", {"VCPU": 1}, in_tree="p5")],
        [group("", {"VCPU": 1}, required=[["BLUE"]], forbidden=["BLUE"])],
        [group("", {"VF": 1}, forbidden=[SHARING_TRAIT])],
        [group("_A", {"VF": 1}, forbidden_aggregates=["a"])],
    ],
)
def test_no_events_are_named_where_none_can_mend_it(asked: list[object]) -> None:
    host = provider(1, {"VCPU": 4}, aggregates=["a"])
    pool = provider(3, {"VF": 4}, traits=[SHARING_TRAIT, "BLUE"], aggregates=["a"])
    request = CandidateRequest(tuple(asked))  # type: ignore[arg-type]
    found = nearest(request, host, pool, provider(5))
    miss = next(miss for miss in found if miss.root == "p1")
    assert miss.fails
    assert miss.events == ()


def test_lists_that_only_free_something_come_first() -> None:
    hosts = [provider(1, {"VCPU": 7}, used={"VCPU": 1}), provider(2, {"VCPU": 8}, used={"VCPU": 3})]
    found = why(index_of(*hosts), CandidateRequest((group("", {"VCPU": 8}),)))
    assert [miss.root for miss in found.nearest] == ["p1", "p2"]
    assert found.unlocked_by == (
        (UnlockingEvent("freed", "p2", "VCPU", 3),),
        (UnlockingEvent("capacity_raised", "p1", "VCPU", 9),),
    )


def test_a_group_that_only_places_a_condition_has_a_distance_too() -> None:
    root = provider(1, traits=["RED"])
    request = CandidateRequest((group("", required=[["RED"], ["BLUE"]]), group("_A", {"VCPU": 1})))
    [miss] = nearest(request, root, provider(2, {"VCPU": 4}, below=root))
    assert (miss.distance, miss.fails) == (1, ("c2",))
    assert events(miss) == [("trait_added", "p1", "BLUE", 0)]


def test_conditions_on_roots_alone_have_a_distance_too() -> None:
    [miss] = nearest(CandidateRequest((), root_required=frozenset(["RED"])), provider(1))
    assert (miss.distance, miss.fails) == (1, ("c1",))


def test_every_part_of_a_suffixed_group_counts() -> None:
    asked = group(
        "_A",
        {"VCPU": 1},
        required=[["RED"]],
        forbidden=["BLUE"],
        member_of=[["b"]],
        forbidden_aggregates=["a"],
        in_tree="p2",
    )
    host = provider(1, {"VCPU": 4}, traits=["BLUE"], aggregates=["a"])
    found = nearest(CandidateRequest((asked,)), host, provider(2, {"VF": 1}))
    assert [(miss.root, miss.distance) for miss in found] == [("p2", 3), ("p1", 5)]


def test_no_tree_is_measured_if_none_is_wanted() -> None:
    found = why(index_of(provider(1)), CandidateRequest((group("", {"VCPU": 1}),)), ExplainRequest(nearest=0))
    assert found.nearest == ()
    assert found.unlocked_by == ()


def test_a_root_counts_as_a_member_for_its_tree_only_if_it_is_in_all_that_is_asked() -> None:
    root = provider(1, aggregates=["a"])
    child = provider(2, {"VCPU": 4}, below=root, aggregates=["b"])
    [miss] = nearest(CandidateRequest((group("", {"VCPU": 1}, member_of=[["a"], ["b"]]),)), root, child)
    assert (miss.distance, miss.fails) == (1, ("c2",))
    assert events(miss) == [("aggregate_joined", "p2", "a", 0)]
    # The root lacks less than the provider.
    asked = group("", {"VCPU": 1}, member_of=[["a"], ["c"], ["d"]])
    [miss] = nearest(CandidateRequest((asked,)), provider(1, aggregates=["a", "d"]), child)
    assert (miss.distance, miss.fails) == (1, ("c3",))
    assert events(miss) == [("aggregate_joined", "p1", "c", 0)]


def test_a_root_does_not_count_as_a_member_for_a_provider_that_shares() -> None:
    pool = provider(9, {"VF": 4}, traits=[SHARING_TRAIT], aggregates=["a"])
    host = provider(1, {"VCPU": 4}, aggregates=["a", "b"])
    asked = group("", {"VCPU": 1, "VF": 1}, member_of=[["b"], ["a"]])
    found = nearest(CandidateRequest((asked,)), host, pool)
    miss = next(miss for miss in found if miss.root == "p1")
    assert (miss.distance, miss.fails) == (1, ("c3",))
    assert events(miss) == [("aggregate_joined", "p9", "b", 0)]


def test_an_explanation_without_its_nearest_trees_is_not_exact() -> None:
    index = index_of(provider(1, {"VCPU": 3, "VF": 3, "DISK_GB": 3}))
    request = CandidateRequest((group("_0", {}, required=[["RED"]]),))
    whole = why(index, request)
    parts = [why(index, request, step_limit=steps) for steps in range(0, 1_000, 5)]
    assert any(part.exact for part in parts)
    assert any(part.verdict == whole.verdict and not part.nearest for part in parts)
    assert all(part == whole for part in parts if part.exact)
