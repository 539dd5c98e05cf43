"""Steps stand for work: whatever is asked of whatever cloud, a step is a bounded number of operations.

Operations are bytecodes that the interpreter executes for a search and its text, counted and not timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from types import FrameType
from typing import Any, Final

import pytest

from moorage.api.placement import allocation_candidates as candidate_body
from moorage.model.errors import SearchLimitError
from moorage.model.orders import Order, wishes
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match.candidates import Work, find
from moorage.search.order.ranking import best
from tests.table import each
from tests.unit.search.builders import group, provider

STEPS: Final = 40_000
"""Steps of a search, a hundredth of the default limit."""

OPERATIONS_PER_STEP: Final = 24
OPERATIONS_AT_ONCE: Final = 40_000
"""What a step may take, and what a search takes however little it does."""

Case = tuple[Sequence[ProviderRecord], CandidateRequest]


def wide(count: int, **offers: Any) -> list[ProviderRecord]:
    """A tree of so many equal providers."""
    root = provider(1, {"VCPU": 64})
    return [root, *[provider(2 + place, {"VF": 64}, below=root, **offers) for place in range(count)]]


def chain(count: int) -> list[ProviderRecord]:
    """A tree as deep as it has providers."""
    found = [provider(1, {"VF": 64})]
    for number in range(2, count + 1):
        found.append(ProviderRecord(number, f"p{number}", number - 1, 1, found[0].inventories, (), ()))
    return found


def alike(count: int, amount: int = 1, **conditions: Any) -> tuple[RequestGroup, ...]:
    return tuple(group(f"_{number}", {"VF": amount}, **conditions) for number in range(count))


def together(groups: Sequence[RequestGroup]) -> frozenset[str]:
    return frozenset([asked.suffix for asked in groups])


def isolated_groups() -> Case:
    return wide(100), CandidateRequest(alike(3), "isolate")


def as_many_isolated_groups_as_providers() -> Case:
    return wide(120), CandidateRequest(alike(120), "isolate")


def isolated_groups_that_compete() -> Case:
    root = provider(1)
    children = [
        provider(2 + place, {"VF": 1}, below=root, traits=[f"T{place}", f"T{place + 1}"])
        for place in range(80)
    ]
    wanted = [
        group(
            f"_{place}", {"VF": 1}, required=[[f"T{near}" for near in range(max(0, place - 30), place + 2)]]
        )
        for place in range(80)
    ]
    return [root, *children], CandidateRequest(tuple(wanted), "isolate")


def many_groups() -> Case:
    return wide(60), CandidateRequest(alike(60), "none")


def many_groups_of_one_provider() -> Case:
    return [provider(number, {"VF": 1_000 + number}) for number in range(1, 200)], CandidateRequest(
        alike(60), "none"
    )


def groups_that_hardly_fit() -> Case:
    root = provider(1)
    children = [provider(2 + place, {"VF": 5}, below=root) for place in range(40)]
    return [root, *children], CandidateRequest((*alike(40, 3), group("_x", {"VF": 1})), "none")


def one_subtree() -> Case:
    root = provider(1)
    records = [root]
    for place in range(20):
        node = provider(100 * (place + 1), {"VCPU": 4}, below=root)
        records += [node]
        records += [
            ProviderRecord(node.id + port, f"p{node.id + port}", node.id, 1, wide(1)[1].inventories, (), ())
            for port in range(1, 6)
        ]
    wanted = (group("_c", {"VCPU": 1}), *alike(6))
    return records, CandidateRequest(wanted, "none", same_subtree=(together(wanted),))


def many_subtrees_in_a_deep_tree() -> Case:
    wanted = alike(25)
    pairs = tuple(together(wanted[place : place + 2]) for place in range(24))
    return chain(200), CandidateRequest(wanted, "none", same_subtree=pairs)


def many_subtrees_in_many_trees() -> Case:
    records: list[ProviderRecord] = []
    for tree in range(40):
        root = provider(1 + 10 * tree, {"VCPU": 4})
        records += [root, *[provider(root.id + each, {"VF": 90 + tree}, below=root) for each in (1, 2)]]
    groups = alike(240)
    pairs = tuple(together(groups[place : place + 2]) for place in range(239))
    return records, CandidateRequest(groups, "none", same_subtree=pairs)


def one_subtree_that_cannot_be() -> Case:
    wanted = alike(5, required=[["RED"]])
    return wide(60, traits=["RED"]), CandidateRequest(wanted, "isolate", same_subtree=(together(wanted),))


def sharing(count: int, aggregates: Sequence[str]) -> list[ProviderRecord]:
    return [
        provider(number, {"DISK_GB": 90, "VF": 9}, traits=[SHARING_TRAIT], aggregates=aggregates)
        for number in range(1, count + 1)
    ]


def sharing_providers_alone() -> Case:
    others = [provider(1_000 + number, {"VCPU": 1}, aggregates=["a"]) for number in range(300)]
    return [*sharing(60, ["a"]), *others], CandidateRequest((group("", {"DISK_GB": 1, "VF": 1}),))


def sharing_providers_from_wider_trees() -> Case:
    records = sharing(40, ["a"])
    for number in range(200):
        root = provider(1_000 + 2 * number, {"VCPU": 1}, aggregates=["a"])
        records += [root, provider(root.id + 1, {"VCPU": 1}, below=root)]
    return records, CandidateRequest((group("", {"DISK_GB": 1, "VF": 1}),))


def many_aggregates_of_sharing_providers() -> Case:
    wanted = tuple(group(f"_{number}", {"DISK_GB": 1}) for number in range(40))
    return sharing(100, [f"a{number}" for number in range(60)]), CandidateRequest(wanted, "none", limit=50)


def one_provider_per_tree() -> Case:
    return wide(80), CandidateRequest(alike(5), "none", limit=100, one_provider_per_tree=True)


def many_patterns() -> Case:
    return wide(30), CandidateRequest(alike(9), "none")


def wide_trees_that_differ() -> Case:
    records: list[ProviderRecord] = []
    for tree in range(60):
        root = provider(1 + 50 * tree, {"VCPU": 4})
        records.append(root)
        records += [
            provider(root.id + 1 + place, {"VF": 2 + (tree + place) % 9}, below=root) for place in range(40)
        ]
    return records, CandidateRequest(alike(20), "none", limit=60)


def trees_with_much_to_show() -> Case:
    records: list[ProviderRecord] = []
    names = [f"TRAIT_{number}" for number in range(40)]
    for tree in range(30):
        root = provider(1 + 100 * tree, {"VCPU": 4})
        records.append(root)
        records += [provider(root.id + 1 + place, {"VF": 2}, below=root, traits=names) for place in range(90)]
    return records, CandidateRequest((group("", {"VCPU": 1}),))


def a_provider_by_name_for_each_group() -> Case:
    records = [provider(number, {"VF": 900}) for number in range(1, 200)]
    return records, CandidateRequest(alike(60, in_tree="p7"), "none")


def many_names() -> Case:
    records = [
        provider(number, {"VF": 9}, traits=[f"T{(7 * number + 13 * place) % 900}" for place in range(20)])
        for number in range(1, 400)
    ]
    return records, CandidateRequest(
        (group("", {"VF": 1}, required=[[f"T{number}" for number in range(700)]]),)
    )


CASES: list[Callable[[], Case]] = [
    isolated_groups,
    as_many_isolated_groups_as_providers,
    isolated_groups_that_compete,
    many_groups,
    many_groups_of_one_provider,
    groups_that_hardly_fit,
    one_subtree,
    many_subtrees_in_a_deep_tree,
    many_subtrees_in_many_trees,
    one_subtree_that_cannot_be,
    sharing_providers_alone,
    sharing_providers_from_wider_trees,
    many_aggregates_of_sharing_providers,
    one_provider_per_tree,
    many_patterns,
    wide_trees_that_differ,
    trees_with_much_to_show,
    a_provider_by_name_for_each_group,
    many_names,
]


def index_of_any(records: Sequence[ProviderRecord]) -> Index:
    """An index in which all names exist that its providers have."""
    index = Index()
    index.set_names(
        {name for record in records for name, _, _ in record.inventories} | {"VCPU", "VF", "DISK_GB"},
        {name for record in records for name in record.traits} | {f"T{number}" for number in range(900)},
    )
    index.replace_trees((), records)
    return index


def operations(work: Callable[[], object]) -> int:
    """Bytecodes executed meanwhile."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.slow
@each("make", CASES)
@each("randomize", [False, True])
def test_a_step_is_a_bounded_number_of_operations(make: Callable[[], Case], randomize: bool) -> None:
    records, request = make()
    snapshot, work = index_of_any(records).snapshot(), Work()
    settings = SearchSettings(step_limit=STEPS, randomize=randomize)

    def search() -> None:
        with suppress(SearchLimitError):
            found = find(snapshot, request, settings, Random(0), work)
            candidate_body.encoded(found, frozenset(), 39)

    # What is worked out of the index once belongs to no search.
    find(snapshot, request, SearchSettings(step_limit=2_000, truncate=True), Random(0))
    done = operations(search)
    assert done <= OPERATIONS_AT_ONCE + OPERATIONS_PER_STEP * work.done


@pytest.mark.slow
@each("make", CASES)
def test_a_step_of_ordering_is_a_bounded_number_of_operations(make: Callable[[], Case]) -> None:
    records, request = make()
    snapshot, work = index_of_any(records).snapshot(), Work()
    traits = {f"T{number}": 1.0 for number in range(50)}
    order = Order("best_fit", prefer=wishes(traits, [("p7", 1)]), avoid=wishes(traits), spare_special=1.0)

    def search() -> None:
        with suppress(SearchLimitError):
            best(
                snapshot, request, order, 1_000, all_of_tree=True, summaries=True, step_limit=STEPS, work=work
            )

    # What is worked out of the index once belongs to no search.
    with suppress(SearchLimitError):
        best(snapshot, request, order, 1, step_limit=2_000)
    done = operations(search)
    assert done <= OPERATIONS_AT_ONCE + OPERATIONS_PER_STEP * work.done
