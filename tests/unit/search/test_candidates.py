from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from moorage.model.requests import (
    Candidate,
    CandidateRequest,
    ProviderSummary,
    RequestGroup,
    SearchSettings,
)
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord
from moorage.search.index.block import Trees
from moorage.search.index.columns import NONE
from moorage.search.index.index import MOST_ENTRIES, Index
from moorage.search.match.candidates import Work, find
from tests.unit.search.builders import amounts, ask, group, index_of, provider, search, shown

A_VCPU = {"VCPU": 1}


def test_a_candidate_names_amounts_and_who_serves_which_group() -> None:
    root = provider(1, {"VCPU": 4, "MEMORY_MB": 64})
    index = index_of(root, provider(2, {"VF": 4}, below=root))
    request = CandidateRequest(
        (group("", {"VCPU": 2, "MEMORY_MB": 8}), group("_net", {"VF": 1}), group("_host", required=[]))
    )
    candidate = Candidate(
        allocations={"p1": {"VCPU": 2, "MEMORY_MB": 8}, "p2": {"VF": 1}},
        mappings={"": ("p1",), "_net": ("p2",), "_host": ("p1",)},
    )
    assert candidate in search(index, request).candidates


def test_summaries_tell_of_all_providers_of_all_trees_taken_from() -> None:
    root = provider(
        3, {"VCPU": 4, "MEMORY_MB": Inventory(10, reserved=1, allocation_ratio=1.5)}, traits=["RED"]
    )
    child = provider(2, {"VF": 4}, below=root, used={"VF": 3}, traits=["FAST", "BLUE"])
    index = index_of(root, child, provider(4, below=child), provider(5, {"VCPU": 1}), provider(6, {"VF": 1}))
    result = search(index, CandidateRequest((group("", {"VF": 1}),), limit=1))
    assert result.summaries == (
        ProviderSummary("p2", "p3", "p3", {"VF": (4, 3)}, ("FAST", "BLUE")),
        ProviderSummary("p3", None, "p3", {"VCPU": (4, 0), "MEMORY_MB": (13, 0)}, ("RED",)),
        ProviderSummary("p4", "p2", "p3", {}, ()),
    )


def test_a_tree_that_only_serves_a_group_without_resources_has_no_summaries() -> None:
    index = index_of(
        provider(1, traits=["RED"], aggregates=["a"]),
        provider(2, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    request = CandidateRequest((group("1", {"DISK_GB": 1}), group("2", required=[["RED"]])))
    result = search(index, request)
    assert len(result.candidates) == 1
    assert shown(result) == ["p2"]


def test_nothing_is_found_in_an_empty_index() -> None:
    index = Index()
    index.set_names(["VCPU"], [])
    result = search(index, CandidateRequest((group("", A_VCPU),)))
    assert (result.candidates, result.summaries) == ((), ())


def test_amounts_of_two_groups_are_added_where_one_provider_serves_both() -> None:
    root = provider(1, {"VCPU": 8})
    index = index_of(root, provider(2, {"VCPU": 8}, below=root))
    assert ask(index, group("", {"VCPU": 1}), group("1", {"VCPU": 2})) == [
        {"p1": {"VCPU": 1}, "p2": {"VCPU": 2}},
        {"p1": {"VCPU": 2}, "p2": {"VCPU": 1}},
        {"p1": {"VCPU": 3}},
        {"p2": {"VCPU": 3}},
    ]


@pytest.mark.parametrize(
    ("inventory", "used", "fits"),
    [
        (Inventory(4), 0, True),
        (Inventory(4), 1, False),
        (Inventory(8, max_unit=3), 0, False),
        (Inventory(8, max_unit=4), 0, True),
        (Inventory(8, min_unit=2, step_size=2), 0, True),
    ],
)
def test_groups_must_fit_together_on_what_is_free_and_below_max_unit(
    inventory: Inventory, used: int, fits: bool
) -> None:
    index = index_of(provider(1, {"VCPU": inventory}, used={"VCPU": used}))
    groups = (group("1", {"VCPU": 2}), group("2", {"VCPU": 2}))
    assert bool(ask(index, *groups, policy="none")) is fits


def test_units_are_asked_of_each_group_and_not_of_the_sum() -> None:
    index = index_of(provider(1, {"VCPU": Inventory(9, min_unit=2)}))
    assert ask(index, group("1", {"VCPU": 2}), group("2", {"VCPU": 1})) == []


def test_isolate_puts_suffixed_groups_on_different_providers() -> None:
    root = provider(1, {"VCPU": 8})
    index = index_of(root, provider(2, {"VF": 8}, below=root), provider(3, {"VF": 8}, below=root))
    groups = (group("", A_VCPU), group("1", {"VF": 1}), group("2", {"VF": 2}))
    assert ask(index, *groups, policy="isolate") == [
        {"p1": {"VCPU": 1}, "p2": {"VF": 1}, "p3": {"VF": 2}},
        {"p1": {"VCPU": 1}, "p2": {"VF": 2}, "p3": {"VF": 1}},
    ]
    assert len(ask(index, *groups, policy="none")) == 4


def test_isolate_lets_the_unsuffixed_group_share_with_a_suffixed_one() -> None:
    index = index_of(provider(1, {"VCPU": 8}))
    assert ask(index, group("", A_VCPU), group("1", A_VCPU), policy="isolate") == [{"p1": {"VCPU": 2}}]


def test_isolate_concerns_groups_without_resources_too() -> None:
    index = index_of(provider(1, {"VCPU": 8}))
    assert ask(index, group("1", A_VCPU), group("2"), policy="isolate") == []


def test_same_subtree_wants_one_of_the_providers_above_all_others() -> None:
    root = provider(1)
    numa = [provider(number, {"VCPU": 4}, below=root) for number in (2, 3)]
    ports = [provider(10 + node.id, {"VF": 4}, below=node) for node in numa]
    index = index_of(root, *numa, *ports)
    groups = (group("_cpu", A_VCPU), group("_net", {"VF": 1}))
    together = CandidateRequest(groups, same_subtree=(frozenset(["_cpu", "_net"]),))
    assert amounts(search(index, together)) == [
        {"p12": {"VF": 1}, "p2": A_VCPU},
        {"p13": {"VF": 1}, "p3": A_VCPU},
    ]
    assert len(search(index, CandidateRequest(groups)).candidates) == 4


def test_siblings_are_in_one_subtree_if_their_parent_serves_a_group_of_it() -> None:
    root = provider(1, traits=["RED"])
    numa = [provider(number, below=root, traits=["BLUE"]) for number in (2, 3)]
    ports = [provider(10 * node.id + side, {"VF": 1}, below=node) for node in numa for side in (1, 2)]
    index = index_of(root, *numa, *ports)
    suffixes = frozenset(["_a", "_b", "_top"])
    for top, count in (("BLUE", 4), ("RED", 12)):
        groups = (group("_a", {"VF": 1}), group("_b", {"VF": 1}), group("_top", required=[[top]]))
        request = CandidateRequest(groups, group_policy="isolate", same_subtree=(suffixes,))
        assert len(search(index, request).candidates) == count


def test_every_same_subtree_has_to_hold() -> None:
    root = provider(1, {"VCPU": 4})
    index = index_of(root, provider(2, {"VF": 4}, below=root), provider(3, {"MEMORY_MB": 4}, below=root))
    groups = (group("_c", A_VCPU), group("_v", {"VF": 1}), group("_m", {"MEMORY_MB": 1}))
    with_root = frozenset(["_c", "_v"])
    siblings = frozenset(["_v", "_m"])
    assert search(index, CandidateRequest(groups, same_subtree=(with_root,))).candidates
    assert not search(index, CandidateRequest(groups, same_subtree=(with_root, siblings))).candidates


def test_providers_of_different_trees_are_never_in_one_subtree() -> None:
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a"]),
        provider(2, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    groups = (group("_c", A_VCPU), group("_d", {"DISK_GB": 1}))
    assert search(index, CandidateRequest(groups)).candidates
    assert not search(index, CandidateRequest(groups, same_subtree=(frozenset(["_c", "_d"]),))).candidates


def test_one_provider_per_tree_leaves_out_candidates_within_a_tree() -> None:
    root = provider(1, {"VCPU": 4}, aggregates=["a"])
    child = provider(2, {"DISK_GB": 9}, below=root)
    share = provider(3, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
    index = index_of(root, child, share)
    groups = (group("", {"VCPU": 1, "DISK_GB": 1}), group("1"))
    result = search(index, CandidateRequest(groups, one_provider_per_tree=True))
    assert amounts(result)[0] == {"p1": {"VCPU": 1}, "p3": {"DISK_GB": 1}}
    assert {str(item) for item in amounts(result)} == {str(amounts(result)[0])}
    assert shown(result) == ["p1", "p3"]


def test_one_provider_per_tree_keeps_a_single_nested_provider() -> None:
    root = provider(1)
    index = index_of(root, provider(2, {"VF": 2}, below=root))
    result = search(index, CandidateRequest((group("", {"VF": 1}),), one_provider_per_tree=True))
    assert amounts(result) == [{"p2": {"VF": 1}}]
    assert shown(result) == ["p2"]


def test_a_limit_leaves_summaries_of_all_that_give_in_the_trees_that_are_left() -> None:
    root, other = provider(1), provider(4)
    index = index_of(
        root,
        *(provider(number, {"DISK_GB": 8}, below=root) for number in (2, 3)),
        other,
        provider(5, {"DISK_GB": 8}, below=other),
        provider(6, {"VCPU": 8}, below=root),
    )
    older = CandidateRequest((group("", {"DISK_GB": 1}),), one_provider_per_tree=True)
    for limit, wanted in ((1, ["p2", "p3"]), (2, ["p2", "p3"]), (3, ["p2", "p3", "p5"])):
        result = search(index, replace(older, limit=limit))
        assert len(result.candidates) == limit
        assert shown(result) == wanted


def test_a_limit_leaves_summaries_of_all_that_share_from_the_trees_that_are_left() -> None:
    disk, pool = {"DISK_GB": 8}, provider(2)
    hosts = [provider(number) for number in range(10, 10 + MOST_ENTRIES)]
    index = index_of(
        provider(1, {"VCPU": 8}, aggregates=["a"]),
        pool,
        provider(3, disk, below=pool, traits=[SHARING_TRAIT], aggregates=["a"]),
        provider(4, disk, below=pool, traits=[SHARING_TRAIT], aggregates=["b"]),
        provider(5, disk, below=pool, traits=[SHARING_TRAIT], aggregates=["nobody else's"]),
        provider(6, disk, below=pool),
        provider(7, disk | {"VCPU": 8}, below=pool),
        *hosts,
        provider(10 + MOST_ENTRIES, {"VCPU": 8}, aggregates=["b"]),
    )
    older = CandidateRequest((group("", {"DISK_GB": 1, "VCPU": 1}),), limit=1, one_provider_per_tree=True)
    assert len(index.snapshot().blocks) > 1
    result = search(index, older)
    assert amounts(result) == [{"p1": {"VCPU": 1}, "p3": {"DISK_GB": 1}}]
    assert shown(result) == ["p1", "p3", "p4", "p7"]


def test_what_a_limit_has_left_is_answered_even_if_no_steps_are_left_for_more_summaries() -> None:
    root = provider(1)
    index = index_of(root, *(provider(number, {"DISK_GB": 8}, below=root) for number in range(2, 20)))
    older = CandidateRequest((group("", {"DISK_GB": 1}),), limit=1, one_provider_per_tree=True)
    result = search(index, older, SearchSettings(step_limit=600))
    assert len(result.candidates) == 1
    assert 1 <= len(shown(result)) < 18


def shared_disk(trees: int, shares: int = 1) -> Index:
    return index_of(
        *(provider(number, {"VCPU": 4}, aggregates=["a"]) for number in range(1, trees + 1)),
        *(
            provider(1000 + number, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
            for number in range(shares)
        ),
    )


def test_shared_disk_alone_is_one_candidate_however_many_trees_there_are() -> None:
    index = shared_disk(trees=5)
    for suffix in ("", "1"):
        assert ask(index, group(suffix, {"DISK_GB": 1})) == [{"p1000": {"DISK_GB": 1}}]


def test_trees_that_could_only_repeat_a_candidate_are_not_visited() -> None:
    index = shared_disk(trees=50, shares=2)
    work = Work()
    result = search(index, CandidateRequest((group("", {"DISK_GB": 1}),)), work=work)
    assert len(result.candidates) == 2
    assert work.trees == 1
    in_turn = Work()
    search(
        index,
        CandidateRequest((group("", {"DISK_GB": 1}),)),
        SearchSettings(breadth_first=True),
        work=in_turn,
    )
    assert in_turn.trees == 3


def test_the_same_shared_candidate_is_found_once_from_wider_trees_too() -> None:
    roots = [provider(number, aggregates=["a"]) for number in (1, 2)]
    index = index_of(
        *roots,
        *(provider(10 + root.id, {"DISK_GB": 9}, below=root) for root in roots),
        provider(3, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    assert ask(index, group("", {"DISK_GB": 1})) == [
        {"p11": {"DISK_GB": 1}},
        {"p12": {"DISK_GB": 1}},
        {"p3": {"DISK_GB": 1}},
    ]


def test_an_unsuffixed_group_without_resources_asks_for_nothing() -> None:
    index = index_of(provider(1, {"VCPU": 1}, traits=["RED"]))
    assert ask(index, group("1", A_VCPU), group()) == [{"p1": A_VCPU}]
    assert ask(index, group("1", A_VCPU), group("", required=[["RED"]])) == []
    assert ask(index, group()) == [{}]


def hosts(count: int) -> Index:
    return index_of(*(provider(number, {"VCPU": 4}) for number in range(1, count + 1)))


def names(index: Index, request: CandidateRequest, settings: SearchSettings, seed: int = 0) -> list[str]:
    found = find(index.snapshot(), request, settings, Random(seed)).candidates
    return [uuid for candidate in found for uuid in candidate.allocations]


def test_candidates_come_by_id_of_the_root_unless_random_order_is_set() -> None:
    index = index_of(*(provider(number, {"VCPU": 4}) for number in (4, 2, 9, 1)))
    request = CandidateRequest((group("", A_VCPU),))
    assert names(index, request, SearchSettings()) == ["p1", "p2", "p4", "p9"]


def test_a_limit_ends_the_work_not_only_the_answer() -> None:
    work = Work()
    result = search(hosts(500), CandidateRequest((group("", A_VCPU),), limit=3), work=work)
    assert len(result.candidates) == 3
    assert (work.trees, work.steps) == (3, 3)
    assert len(result.summaries) == 3


def test_breadth_first_with_a_limit_opens_as_many_trees_as_it_needs() -> None:
    work = Work()
    breadth_first = SearchSettings(breadth_first=True)
    search(hosts(500), CandidateRequest((group("", A_VCPU),), limit=3), breadth_first, work=work)
    assert work.trees == 3


@pytest.mark.parametrize(
    ("max_candidates", "limit", "count"),
    [(-1, None, 9), (0, None, 1), (4, None, 4), (4, 2, 2), (2, 4, 2), (-1, 20, 9)],
)
def test_the_lesser_of_limit_and_bound_holds(max_candidates: int, limit: int | None, count: int) -> None:
    request = CandidateRequest((group("", A_VCPU),), limit=limit)
    assert len(names(hosts(9), request, SearchSettings(max_candidates=max_candidates))) == count


def nested_hosts() -> Index:
    records: list[ProviderRecord] = []
    for number in (1, 2, 3):
        root = provider(number, {"VCPU": 4})
        ports = [provider(10 * number + port, {"VF": 1}, below=root) for port in range(1, number + 1)]
        records += [root, *ports]
    return index_of(*records)


def ports_in_order(settings: SearchSettings) -> list[str]:
    request = CandidateRequest((group("", {"VF": 1}),))
    return names(nested_hosts(), request, settings)


def test_depth_first_takes_all_of_a_tree_before_the_next() -> None:
    assert ports_in_order(SearchSettings()) == ["p11", "p21", "p22", "p31", "p32", "p33"]


def test_breadth_first_takes_one_of_each_tree_in_turn() -> None:
    assert ports_in_order(SearchSettings(breadth_first=True)) == ["p11", "p21", "p31", "p22", "p32", "p33"]


def test_breadth_first_passes_over_trees_that_have_nothing() -> None:
    index = index_of(provider(1, {"VCPU": 1}), provider(2, {"VCPU": 2}))
    request = CandidateRequest((group("1", A_VCPU), group("2", A_VCPU)))
    assert names(index, request, SearchSettings(breadth_first=True)) == ["p2"]


def test_random_order_depends_on_the_source_given_and_takes_a_sample() -> None:
    index = hosts(40)
    request = CandidateRequest((group("", A_VCPU),), limit=5)
    randomize = SearchSettings(randomize=True)
    samples = [tuple(names(index, request, randomize, seed)) for seed in range(8)]
    assert len(set(samples)) > 1
    assert {len(set(sample)) for sample in samples} == {5}
    assert tuple(names(index, request, randomize, 3)) == samples[3]


def test_random_order_visits_every_tree_once() -> None:
    everything = names(hosts(40), CandidateRequest((group("", A_VCPU),)), SearchSettings(randomize=True))
    assert sorted(everything) == sorted(f"p{number}" for number in range(1, 41))


def test_options_within_a_tree_are_in_random_order_too() -> None:
    request = CandidateRequest((group("", {"VF": 1}, in_tree="p3"),), limit=1)
    seen = {names(nested_hosts(), request, SearchSettings(randomize=True), seed)[0] for seed in range(20)}
    assert seen == {"p31", "p32", "p33"}


def test_a_random_sample_costs_what_it_takes() -> None:
    work = Work()
    request = CandidateRequest((group("", A_VCPU),), limit=3)
    search(hosts(500), request, SearchSettings(randomize=True), work=work)
    assert work.trees == 3


def test_the_same_provider_can_serve_everything_in_a_flat_cloud() -> None:
    index = index_of(provider(1, {"VCPU": 4, "VF": 1}, traits=["RED"]), provider(2, {"VCPU": 4, "VF": 1}))
    groups: tuple[RequestGroup, ...] = (group("", A_VCPU, required=[["RED"]]), group("1", {"VF": 1}))
    request = CandidateRequest(
        groups, same_subtree=(frozenset(["1"]),), one_provider_per_tree=True, group_policy="isolate"
    )
    assert amounts(search(index, request)) == [{"p1": {"VCPU": 1, "VF": 1}}]


def test_trees_alike_are_all_found_however_many_there_are() -> None:
    hosts = [provider(number, {"VCPU": 4}) for number in range(1, 201)]
    index = index_of(*hosts, *(provider(1000 + host.id, {"VF": 1}, below=host) for host in hosts))
    request = CandidateRequest((group("", {"VCPU": 1}), group("_net", {"VF": 1})))
    result = search(index, request)
    assert [set(candidate.allocations) for candidate in result.candidates] == [
        {f"p{host.id}", f"p{1000 + host.id}"} for host in hosts
    ]
    assert len(shown(result)) == 400


def test_of_a_tree_that_gives_nothing_itself_nothing_is_shown_to_who_wants_givers_alone() -> None:
    hosts = [provider(number, {"VCPU": 4}) for number in range(2, 2 * MOST_ENTRIES)]
    user = provider(1, {"VCPU": 4}, aggregates=["a"])
    pool = provider(2 * MOST_ENTRIES, {"DISK_GB": 9}, traits=[SHARING_TRAIT], aggregates=["a"])
    index = index_of(user, *hosts, pool)
    assert len(index.snapshot().blocks) > 1
    result = search(index, CandidateRequest((group("", {"DISK_GB": 1}),), one_provider_per_tree=True))
    assert shown(result) == [pool.uuid]


def test_same_subtree_follows_a_sharing_provider_to_the_root_of_its_own_tree() -> None:
    host = provider(1, {"VCPU": 4}, aggregates=["a"])
    store = provider(2, traits=["RED"])
    pool = provider(3, {"DISK_GB": 9}, below=store, traits=[SHARING_TRAIT], aggregates=["a"])
    index = index_of(host, store, pool)
    groups = (group("_cpu", A_VCPU), group("_disk", {"DISK_GB": 1}))
    found = search(index, CandidateRequest(groups, group_policy="none"))
    assert amounts(found) == [{"p1": {"VCPU": 1}, "p3": {"DISK_GB": 1}}]
    together = frozenset(["_cpu", "_disk"])
    assert not search(index, CandidateRequest(groups, "none", same_subtree=(together,))).candidates


def test_trees_alike_that_give_nothing_are_found_and_not_shown() -> None:
    hosts = [provider(number, traits=["RED"]) for number in range(1, 51)]
    index = index_of(*hosts, *(provider(100 + host.id, {"VF": 1}, below=host) for host in hosts))
    result = search(index, CandidateRequest((group("_host", required=[["RED"]]),)))
    assert [candidate.mappings for candidate in result.candidates] == [
        {"_host": (host.uuid,)} for host in hosts
    ]
    assert (amounts(result), shown(result)) == ([{}] * 50, [])


@pytest.mark.parametrize("step", [1, 0])
def test_of_an_inventory_with_a_step_of_zero_nothing_is_given(step: int) -> None:
    index = index_of(provider(1, {"VCPU": Inventory(8, step_size=step)}), provider(2, {"VCPU": 8}))
    assert len(ask(index, group("", {"VCPU": 2}))) == 1 + step


@pytest.mark.parametrize("loop", [[1, 2, 0], [0], [NONE, 2, 1, 1], [1, 0, 0]])
def test_parents_that_lead_in_a_circle_lead_nowhere(loop: list[int]) -> None:
    ids = np.arange(len(loop) + 4)
    parents = np.array([*loop, NONE, len(loop), len(loop) + 1, len(loop) + 2])
    trees = Trees(ids, parents, np.zeros(len(ids), dtype=np.int64))
    assert trees.parents.tolist() == [*[NONE] * len(loop), *parents[len(loop) :].tolist()]
