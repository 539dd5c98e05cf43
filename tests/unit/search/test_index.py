from __future__ import annotations

from dataclasses import replace

from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT
from moorage.search.columns import NONE
from moorage.search.index import Index
from tests.unit.search.builders import ask, group, index_of, provider, search

ONE_VCPU = group("", {"VCPU": 1})


def test_a_new_index_is_empty() -> None:
    index = Index()
    assert len(index) == 0
    assert list(index.records()) == []
    assert index.slot_of_uuid("p1") == NONE
    assert index.room_at(0, "VCPU") == NONE


def test_records_come_back_by_id_as_they_were_given() -> None:
    root = provider(5, {"VCPU": 8, "MEMORY_MB": 64}, traits=["RED", "FAST"], aggregates=["b", "a"])
    child = provider(2, {"VF": 4}, below=root, used={"VF": 1})
    lone = provider(9, {"VCPU": 2})
    index = index_of(lone, child, root)
    assert list(index.records()) == [child, root, lone]
    assert len(index) == 3


def test_what_a_tree_no_longer_has_is_forgotten() -> None:
    root = provider(1, {"VCPU": 8}, traits=["RED"], aggregates=["a"])
    children = [provider(number, {"VF": 4}, below=root, traits=["BLUE"]) for number in (2, 3)]
    other = provider(4, {"VCPU": 1}, traits=["RED"], aggregates=["a"])
    index = index_of(root, *children, other)
    index.replace_trees([1], [root, children[1]])
    assert list(index.records()) == [root, children[1], other]
    index.replace_trees([1], [root])
    assert list(index.records()) == [root, other]
    index.replace_trees([1], [])
    assert list(index.records()) == [other]
    assert index.slot_of_uuid("p1") == NONE
    assert ask(index, group("", {"VCPU": 1}, required=[["RED"]], member_of=[["a"]])) == [{"p4": {"VCPU": 1}}]


def test_slots_are_used_again() -> None:
    index = index_of(provider(1), provider(2), provider(3))
    index.replace_trees([1, 2], [])
    index.replace_trees([4], [provider(4), provider(5), provider(6)])
    assert index.size == 4
    assert [record.id for record in index.records()] == [3, 4, 5, 6]


def test_a_provider_that_was_under_another_root_moves() -> None:
    left, right = provider(1), provider(2)
    child = provider(3, {"VF": 1}, below=left)
    index = index_of(left, right, child)
    moved = provider(3, {"VF": 1}, below=right)
    index.replace_trees([2], [right, moved])
    assert list(index.records()) == [left, right, moved]
    assert index.is_alone(index.slot_of_uuid("p1"))
    assert not index.is_alone(index.slot_of_uuid("p2"))


def test_a_tree_that_becomes_part_of_another_moves_as_a_whole() -> None:
    top, old_root = provider(1), provider(2, {"VCPU": 1})
    leaf = provider(3, {"VF": 1}, below=old_root)
    index = index_of(top, old_root, leaf)
    state = [
        top,
        replace(old_root, parent_id=1, root_id=1),
        replace(leaf, root_id=1),
    ]
    index.replace_trees([1, 2], reversed(state))
    assert list(index.records()) == state
    assert [index.uuid_at(slot) for slot in index.members(index.slot_of_uuid("p1"))] == ["p1", "p2", "p3"]


def test_a_child_may_come_before_its_root() -> None:
    root = provider(1, {"VCPU": 4})
    child = provider(2, {"VF": 4}, below=root)
    index = index_of(child)
    assert ask(index, group("", {"VF": 1})) == [{"p2": {"VF": 1}}]
    index.replace_trees([], [root])
    assert ask(index, group("", {"VF": 1, "VCPU": 1})) == [{"p1": {"VCPU": 1}, "p2": {"VF": 1}}]


def test_children_outlive_a_root_that_is_told_of_alone() -> None:
    root = provider(1, {"VCPU": 4})
    child = provider(2, {"VF": 4}, below=root)
    index = index_of(root, child)
    index.replace_trees([], [replace(root, traits=("RED",))])
    assert ask(index, group("", {"VF": 1, "VCPU": 1})) == [{"p1": {"VCPU": 1}, "p2": {"VF": 1}}]


def test_children_left_behind_stand_as_trees_of_their_own() -> None:
    root = provider(1, {"VCPU": 4})
    index = index_of(root, provider(2, {"VF": 4}, below=root))
    index.replace_trees([], [replace(root, root_id=7)])
    result = search(index, CandidateRequest((group("", {"VF": 1}),)))
    assert [(summary.uuid, summary.root_uuid) for summary in result.summaries] == [("p2", "p2")]


def test_of_two_records_with_one_id_the_last_one_counts() -> None:
    index = index_of(provider(1, {"VCPU": 4}), provider(1, {"VF": 4}))
    assert list(index.records()) == [provider(1, {"VF": 4})]


def test_new_amounts_are_seen_at_once() -> None:
    index = index_of(provider(1, {"VCPU": 4}))
    assert ask(index, ONE_VCPU)
    full = provider(1, {"VCPU": 4}, used={"VCPU": 4})
    index.replace_trees([1], [full])
    assert not ask(index, ONE_VCPU)
    assert list(index.records()) == [full]


def test_a_trait_or_aggregate_named_twice_counts_once() -> None:
    record = provider(1, {"VCPU": 1}, traits=["RED", "RED"], aggregates=["a", "a"])
    index = index_of(record)
    assert ask(index, group("", {"VCPU": 1}, required=[["RED"]], member_of=[["a"]]))
    index.replace_trees([1], [])
    assert not index.in_any_aggregate(["a"]).any()


def test_sharing_is_known_from_the_trait() -> None:
    index = index_of(provider(1))
    assert not index.is_sharing(index.slot_of_uuid("p1"))
    index.replace_trees([1], [provider(1), provider(2, traits=[SHARING_TRAIT])])
    assert index.is_sharing(index.slot_of_uuid("p2"))
    assert not index.is_sharing(index.slot_of_uuid("p1"))


def test_another_name_of_the_same_provider_is_taken() -> None:
    index = index_of(provider(1))
    index.replace_trees([1], [replace(provider(1), uuid="renamed")])
    assert index.slot_of_uuid("p1") == NONE
    assert index.uuid_at(index.slot_of_uuid("renamed")) == "renamed"


def test_ids_far_apart_cost_no_more_than_ids_in_a_row() -> None:
    far = provider(2**40, {"VCPU": 1})
    index = index_of(provider(1), far)
    assert list(index.records()) == [provider(1), far]
    assert len(index.ids) == 16


def test_an_index_grows_beyond_its_first_columns() -> None:
    records = [provider(identifier, {"VCPU": identifier}) for identifier in range(1, 101)]
    index = index_of(*records[:10])
    index.replace_trees([], records[10:])
    assert list(index.records()) == records


def test_a_refresh_does_not_touch_other_trees() -> None:
    """Counted in rows written: what one change costs does not depend on what else is there."""
    index = index_of(*(provider(identifier, {"VCPU": 4}) for identifier in range(1, 50)))
    before = index._tables["VCPU"].used.copy()
    index.replace_trees([7], [provider(7, {"VCPU": 4}, used={"VCPU": 1})])
    assert int((index._tables["VCPU"].used != before).sum()) == 1
