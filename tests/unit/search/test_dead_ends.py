"""A dead end is remembered by all that matters of it: nothing that works may look like one.

In each scene the first way into the last group fails, and a second one, alike but for one
thing, does not.
"""

from __future__ import annotations

from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.match.candidates import Work
from tests.unit.search.builders import amounts, group, index_of, provider, search

ROOT = provider(1)


def test_traits_that_are_covered_already_matter() -> None:
    index = index_of(
        ROOT,
        provider(2, {"VCPU": 1}, below=ROOT),
        provider(3, {"VCPU": 1}, below=ROOT, traits=["RED"]),
        provider(4, {"VF": 1}, below=ROOT, traits=["RED"]),
        provider(5, {"VF": 1}, below=ROOT),
    )
    request = CandidateRequest(
        (group("_1", {"VF": 1}, required=[["RED"]]), group("", {"VCPU": 1, "VF": 1}, required=[["RED"]]))
    )
    assert amounts(search(index, request)) == [{"p3": {"VCPU": 1}, "p4": {"VF": 1}, "p5": {"VF": 1}}]


def test_it_matters_whether_an_isolated_group_or_another_one_is_on_a_provider() -> None:
    index = index_of(
        ROOT,
        provider(2, {"DISK_GB": 1, "MEMORY_MB": 1, "VF": 2}, below=ROOT),
        provider(3, {"DISK_GB": 1}, below=ROOT),
        provider(4, {"VF": 2}, below=ROOT),
    )
    request = CandidateRequest(
        (
            group("_disk", {"DISK_GB": 1}),
            group("", {"MEMORY_MB": 1, "VF": 1}),
            group("_port", {"VF": 2}),
        ),
        group_policy="isolate",
    )
    assert amounts(search(index, request)) == [
        {"p2": {"DISK_GB": 1, "MEMORY_MB": 1, "VF": 1}, "p4": {"VF": 2}},
        {"p2": {"MEMORY_MB": 1, "VF": 1}, "p3": {"DISK_GB": 1}, "p4": {"VF": 2}},
        {"p2": {"MEMORY_MB": 1, "VF": 2}, "p3": {"DISK_GB": 1}, "p4": {"VF": 1}},
    ]


def test_the_subtree_that_was_begun_matters() -> None:
    nodes = [
        provider(2, {"VCPU": 1}, below=ROOT, traits=["RED"]),
        provider(3, {"VCPU": 1}, below=ROOT),
    ]
    ports = [provider(10 + node.id, {"VF": 1}, below=node) for node in nodes]
    request = CandidateRequest(
        (
            group("_taken", {"VCPU": 1}, required=[["RED"]]),
            group("_port", {"VF": 1}),
            group("_top", {"VCPU": 1}),
        ),
        group_policy="none",
        same_subtree=(frozenset(["_port", "_top"]),),
    )
    assert amounts(search(index_of(ROOT, *nodes, *ports), request)) == [
        {"p13": {"VF": 1}, "p2": {"VCPU": 1}, "p3": {"VCPU": 1}}
    ]


def test_trees_that_give_already_matter_where_each_may_give_once() -> None:
    far = provider(2)

    def share(identifier: int, offers: dict[str, int], below: ProviderRecord | None) -> ProviderRecord:
        return provider(identifier, offers, below=below, traits=[SHARING_TRAIT], aggregates=["a"])

    index = index_of(
        provider(1, {"VF": 1}, traits=["RED"], aggregates=["a"]),
        far,
        share(3, {"DISK_GB": 1}, far),
        share(4, {"VF": 1}, far),
        share(5, {"DISK_GB": 1}, None),
    )
    request = CandidateRequest(
        (group("_1", {"VF": 1}, required=[["RED"]]), group("", {"DISK_GB": 1, "VF": 1})),
        one_provider_per_tree=True,
    )
    assert amounts(search(index, request)) == [{"p1": {"VF": 1}, "p4": {"VF": 1}, "p5": {"DISK_GB": 1}}]


def test_room_that_is_left_matters() -> None:
    index = index_of(
        ROOT,
        provider(2, {"VF": 3}, below=ROOT),
        provider(3, {"VF": 2}, below=ROOT),
    )
    request = CandidateRequest(
        (group("_1", {"VF": 2}), group("_2", {"VF": 1}), group("_3", {"VF": 2})), group_policy="none"
    )
    assert amounts(search(index, request)) == [{"p2": {"VF": 3}, "p3": {"VF": 2}}] * 2


def test_a_scene_without_dead_ends_needs_no_memory_of_them() -> None:
    work = Work()
    index = index_of(ROOT, *(provider(number, {"VF": 9}, below=ROOT) for number in (2, 3)))
    request = CandidateRequest((group("_1", {"VF": 1}), group("_2", {"VF": 1})), group_policy="none")
    assert len(search(index, request, work=work).candidates) == 4
    assert work.steps == 6
