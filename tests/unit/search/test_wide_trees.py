"""Trees with many alike providers: answers must not cost what all combinations would."""

from __future__ import annotations

import pytest

from moorage.model.requests import CandidateRequest, SearchSettings
from moorage.model.values import Inventory, ProviderRecord
from moorage.search.match.candidates import Work
from tests.unit.search.builders import amounts, group, index_of, provider, search

FEW_STEPS = 2_000
"""Placements that a search may try where all combinations are millions."""


def wide_tree(children: int, offers: dict[str, int | Inventory], used: int = 0) -> list[ProviderRecord]:
    """A root and ``children`` below it; the class VF of the first ``used`` children is used up."""
    root = provider(1, {"VCPU": 64})
    total = offers["VF"] if isinstance(offers.get("VF"), int) else 0
    return [
        root,
        *(
            provider(
                10 + number,
                offers,
                below=root,
                used={"VF": total} if number < used and isinstance(total, int) else None,
            )
            for number in range(children)
        ),
    ]


def groups_of(
    count: int, resources: dict[str, int], policy: str, limit: int | None = None
) -> CandidateRequest:
    return CandidateRequest(
        tuple(group(f"_{number}", resources) for number in range(count)), group_policy=policy, limit=limit
    )


def test_eight_isolated_groups_over_eight_children_are_placed_without_a_detour() -> None:
    work = Work()
    index = index_of(*wide_tree(8, {"VF": 4}))
    result = search(index, groups_of(8, {"VF": 1}, "isolate", limit=10), work=work)
    assert len(result.candidates) == 10
    assert all(len(candidate.allocations) == 8 for candidate in result.candidates)
    assert work.steps < 150


def test_eight_isolated_groups_over_seven_free_children_are_refused_without_a_step() -> None:
    work = Work()
    index = index_of(*wide_tree(8, {"VF": 4}, used=1))
    result = search(index, groups_of(8, {"VF": 1}, "isolate"), work=work)
    assert not result.candidates
    assert work.steps == 0
    assert result.stages[-1].left == 0


def test_more_than_all_room_together_is_refused_without_a_step() -> None:
    work = Work()
    index = index_of(*wide_tree(8, {"VF": 1}, used=1))
    assert not search(index, groups_of(8, {"VF": 1}, "none"), work=work).candidates
    assert work.steps == 0


def test_groups_that_fit_only_one_to_a_provider_are_counted_not_tried() -> None:
    work = Work()
    index = index_of(*wide_tree(7, {"VF": 3}))
    assert not search(index, groups_of(8, {"VF": 2}, "none"), work=work).candidates
    assert work.steps == 0


def test_equal_dead_ends_are_entered_once() -> None:
    """Neither the sum nor the number tells that eleven times 3 do not go into ten times 5."""
    work = Work()
    index = index_of(*wide_tree(10, {"VF": 5}))
    wanted = [group(f"_{number}", {"VF": 3}) for number in range(11)] + [group("_small", {"VF": 1})]
    request = CandidateRequest(tuple(wanted), group_policy="none")
    assert not search(index, request, work=work).candidates
    assert 0 < work.steps < FEW_STEPS


def test_dead_ends_of_two_classes_at_once_are_entered_once() -> None:
    """Each class alone would fit; together they do not, whichever children are taken."""
    work = Work()
    index = index_of(*wide_tree(10, {"VF": 3, "MEMORY_MB": 3}))
    wanted = [group(f"_v{number}", {"VF": 2, "MEMORY_MB": 1}) for number in range(5)]
    wanted += [group(f"_m{number}", {"VF": 1, "MEMORY_MB": 3}) for number in range(6)]
    request = CandidateRequest(tuple(wanted), group_policy="none")
    assert not search(index, request, work=work).candidates
    assert work.steps < FEW_STEPS


def test_a_first_candidate_is_found_at_once_where_only_a_full_packing_fits() -> None:
    work = Work()
    index = index_of(*wide_tree(8, {"VF": 3}))
    request = CandidateRequest(
        (
            *(group(f"_a{number}", {"VF": 1}) for number in range(8)),
            *(group(f"_b{number}", {"VF": 2}) for number in range(8)),
        ),
        group_policy="none",
        limit=1,
    )
    result = search(index, request, work=work)
    assert amounts(result) == [{f"p{10 + number}": {"VF": 3} for number in range(8)}]
    assert work.steps < FEW_STEPS


def test_isolation_and_traits_of_the_unsuffixed_group_do_not_explode_together() -> None:
    work = Work()
    records = wide_tree(9, {"VF": 4})
    plain = [record for record in records if record.id != 18]
    last = provider(18, {"VF": 4}, below=records[0], traits=["RED"])
    wanted = (
        *(group(f"_{number}", {"VF": 3}) for number in range(9)),
        group("", {"VF": 2}, required=[["RED"]]),
    )
    request = CandidateRequest(wanted, group_policy="isolate")
    assert not search(index_of(*plain, last), request, work=work).candidates
    assert work.steps < FEW_STEPS


def test_groups_are_tried_with_the_fewest_options_first() -> None:
    work = Work()
    records = wide_tree(6, {"VF": 4})
    only = provider(90, {"VF": 4, "DISK_GB": 1}, below=records[0])
    wanted = (
        *(group(f"_{number}", {"VF": 1}) for number in range(5)),
        group("_disk", {"DISK_GB": 1}),
    )
    request = CandidateRequest(wanted, group_policy="isolate", limit=1)
    result = search(index_of(*records, only), request, work=work)
    assert result.candidates[0].mappings["_disk"] == ("p90",)
    assert work.steps < 25


def test_same_subtree_cuts_off_a_branch_as_soon_as_it_cannot_hold() -> None:
    work = Work()
    root = provider(1)
    nodes = [provider(10 + number, {"VCPU": 4}, below=root) for number in range(8)]
    ports = [provider(30 + number, {"VF": 1}, below=node) for number, node in enumerate(nodes)]
    suffixes = [f"_v{number}" for number in range(6)]
    request = CandidateRequest(
        (group("_cpu", {"VCPU": 1}), *(group(suffix, {"VF": 1}) for suffix in suffixes)),
        group_policy="isolate",
        same_subtree=(frozenset(["_cpu", *suffixes]),),
    )
    assert not search(index_of(root, *nodes, *ports), request, work=work).candidates
    assert work.steps < FEW_STEPS


@pytest.mark.parametrize("policy", ["isolate", "none"])
def test_hundreds_of_groups_do_not_need_a_deep_stack(policy: str) -> None:
    index = index_of(*wide_tree(600, {"VF": 1}))
    unbounded = SearchSettings(step_limit=-1)
    result = search(index, groups_of(600, {"VF": 1}, policy, limit=1), unbounded)
    assert len(result.candidates[0].allocations) == 600
