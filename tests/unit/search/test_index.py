from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.model.requests import CandidateRequest
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.index.columns import PAGE_BITS
from moorage.search.index.index import FEWEST_ENTRIES, MOST_ENTRIES, USUAL_ENTRIES, Index, Snapshot
from tests.unit.search.builders import CLASSES, ask, group, index_of, provider, search

ONE_VCPU = group("", {"VCPU": 1})


def trees_of(index: Index) -> list[list[str]]:
    """Uuids by tree."""
    return [
        [uuid.decode() for uuid in block.uuids[slice(*block.trees.bounds(tree))].tolist()]
        for block in index.snapshot().blocks
        for tree in range(block.trees.count)
    ]


def test_a_new_index_is_empty() -> None:
    index = Index()
    assert len(index) == 0
    assert list(index.records()) == []
    assert index.snapshot().find_uuid("p1") is None


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
    assert index.snapshot().find_uuid("p1") is None
    assert ask(index, group("", {"VCPU": 1}, required=[["RED"]], member_of=[["a"]])) == [{"p4": {"VCPU": 1}}]


def test_a_provider_that_was_under_another_root_moves() -> None:
    left, right = provider(1), provider(2)
    child = provider(3, {"VF": 1}, below=left)
    index = index_of(left, right, child)
    moved = provider(3, {"VF": 1}, below=right)
    index.replace_trees([2], [right, moved])
    assert list(index.records()) == [left, right, moved]
    assert trees_of(index) == [["p1"], ["p2", "p3"]]


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
    assert trees_of(index) == [["p1", "p2", "p3"]]


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
    assert not ask(index, group(member_of=[["a"]]))


def test_sharing_is_known_from_the_trait() -> None:
    index = index_of(provider(1))
    assert index.snapshot().sharing_blocks == ()
    index.replace_trees([1], [provider(1), provider(2, traits=[SHARING_TRAIT])])
    assert index.snapshot().sharing_blocks == (0,)


def test_another_name_of_the_same_provider_is_taken() -> None:
    index = index_of(provider(1))
    index.replace_trees([1], [replace(provider(1), uuid="renamed")])
    assert index.snapshot().find_uuid("p1") is None
    assert index.snapshot().find_uuid("renamed") == (0, 0)


def test_ids_far_apart_cost_no_more_than_ids_in_a_row() -> None:
    far = provider(2**40, {"VCPU": 1})
    index = index_of(provider(1), far)
    assert list(index.records()) == [provider(1), far]
    assert sum(len(page) for page in index._root_of._pages.values()) == 2 << PAGE_BITS


def hosts(*identifiers: int) -> list[ProviderRecord]:
    return [provider(identifier, {"VCPU": identifier}) for identifier in identifiers]


def test_a_block_that_is_too_large_is_divided_and_small_ones_are_joined() -> None:
    records = hosts(*range(1, 3 * MOST_ENTRIES))
    index = index_of(*records[:10])
    index.replace_trees([], reversed(records[10:]))
    assert list(index.records()) == records
    sizes = [len(block) for block in index.snapshot().blocks]
    assert len(sizes) > 2
    assert max(sizes) <= MOST_ENTRIES
    assert min(sizes) >= FEWEST_ENTRIES
    left = records[::100]
    index.replace_trees({record.id for record in records} - {record.id for record in left}, [])
    assert list(index.records()) == left
    assert len(index.snapshot().blocks) == 1


def test_two_blocks_that_would_be_too_large_together_stay_two() -> None:
    records = hosts(*range(1, 4 * USUAL_ENTRIES))
    index = index_of(*records)
    count = len(index.snapshot().blocks)
    last = index.snapshot().blocks[-1]
    lower = index.snapshot().blocks[-2]
    room = MOST_ENTRIES - len(lower)
    between = [provider(10**6 + number, below=records[lower.ids[-1] - 1]) for number in range(room)]
    index.replace_trees([], between)
    index.replace_trees(last.ids[1:].tolist(), [])
    assert [len(block) for block in index.snapshot().blocks][-2:] == [MOST_ENTRIES, 1]
    assert len(index.snapshot().blocks) == count


def test_a_block_goes_with_its_last_provider() -> None:
    records = hosts(*range(1, 3 * USUAL_ENTRIES))
    index = index_of(*records)
    count = len(index.snapshot().blocks)
    first = index.snapshot().blocks[0]
    index.replace_trees(first.ids.tolist(), [])
    assert len(index.snapshot().blocks) == count - 1
    index.replace_trees([], records[: len(first)])
    assert list(index.records()) == records


def test_a_tree_is_never_divided() -> None:
    root = provider(1)
    tree = [root, *(provider(number, {"VF": 1}, below=root) for number in range(2, MOST_ENTRIES + 100))]
    after = hosts(*range(10**6, 10**6 + MOST_ENTRIES))
    index = index_of(*tree, *after)
    blocks = index.snapshot().blocks
    assert len(blocks[0]) == len(tree)
    assert len(blocks) > 1
    assert list(index.records()) == [*tree, *after]
    index = index_of(*tree)
    assert [len(block) for block in index.snapshot().blocks] == [len(tree)]


def test_changes_in_several_blocks_at_once_are_taken() -> None:
    records = hosts(*range(1, 3 * MOST_ENTRIES))
    index = index_of(*records)
    gone = {record.id for record in records if record.id % 5}
    moved = replace(records[-1], root_id=5, parent_id=5)
    assert moved.id % 5 == 0 or moved.id in gone
    index.replace_trees([*gone, 5], [records[4], moved])
    kept = [record for record in records if record.id not in gone and record.id != moved.id]
    assert list(index.records()) == [*kept, moved]


def test_a_snapshot_is_not_disturbed_by_changes() -> None:
    records = hosts(1, 2, 3)
    index = index_of(*records)
    before = index.snapshot()
    index.replace_trees([1], [provider(1, {"VCPU": 9}, used={"VCPU": 1})])
    index.replace_trees([2], [])
    index.set_names([], [])
    assert list(before.records()) == records
    assert before.resource_class_names == frozenset(CLASSES)
    assert index.snapshot() is index.snapshot()
    assert len(index.snapshot()) == 2


def test_a_refresh_does_not_touch_other_trees() -> None:
    """Counted in what is made anew: what one change costs does not depend on what else is there."""
    index = index_of(*(provider(number, {"VCPU": 4, "VF": 1}) for number in range(1, 3 * MOST_ENTRIES)))
    before = index.snapshot().blocks
    trees = before[0].trees
    index.replace_trees([7], [provider(7, {"VCPU": 4, "VF": 1}, used={"VCPU": 1})])
    after = index.snapshot().blocks
    assert [old is new for old, new in zip(before, after, strict=True)] == [
        False,
        *[True] * (len(before) - 1),
    ]
    assert after[0].columns["VF"] is before[0].columns["VF"]
    assert after[0].traits is before[0].traits
    assert after[0].trees is trees
    index.replace_trees([7], [provider(7, {"VCPU": 4, "VF": 1}, used={"VCPU": 1})])
    assert index.snapshot().blocks == after


def test_a_uuid_is_told_from_others_that_begin_and_end_alike() -> None:
    index = index_of(
        replace(provider(1), uuid="abcd-1-wxyz".ljust(36, "z")),
        replace(provider(2), uuid="abcd-2-wxyz".ljust(36, "z")),
    )
    assert index.snapshot().find_uuid("abcd-2-wxyz".ljust(36, "z")) == (0, 1)
    assert index.snapshot().find_uuid("abcd-3-wxyz".ljust(36, "z")) is None
    assert index.snapshot().find_uuid("abcd-2-wxyz".ljust(37, "z")) is None


def test_a_parent_that_is_in_another_tree_is_not_shown() -> None:
    index = index_of(provider(1, {"VCPU": 1}), replace(provider(2, {"VCPU": 1}), parent_id=1))
    summaries = search(index, CandidateRequest((ONE_VCPU,))).summaries
    assert [(summary.uuid, summary.parent_uuid) for summary in summaries] == [("p1", None), ("p2", None)]


def test_what_readers_keep_with_a_tree_goes_when_it_changes() -> None:
    trees = [provider(number, {"VCPU": 4}) for number in (1, 3, 5)]
    child = provider(2, {"VF": 4}, below=trees[0])
    index = index_of(*trees, child)
    index.snapshot().blocks[0].kept["form"] = [b"1", b"3", b"5"]
    index.replace_trees([3], [provider(3, {"VCPU": 4}, used={"VCPU": 1})])
    assert index.snapshot().blocks[0].kept == {"form": [b"1", None, b"5"]}
    index.change_used({2: {"VF": 1}})
    assert index.snapshot().blocks[0].kept == {"form": [None, None, b"5"]}
    index.snapshot().blocks[0].kept["form"] = [b"1", b"3", b"5"]
    index.replace_trees([1], [trees[0], replace(child, traits=("RED",))])
    assert index.snapshot().blocks[0].kept == {"form": [None, b"3", b"5"]}
    index.replace_trees([1], [])
    assert index.snapshot().blocks[0].kept == {"form": [b"3", b"5"]}


def test_use_that_is_as_it_was_leaves_a_block_as_it_is() -> None:
    index = index_of(provider(1, {"VCPU": 4}, used={"VCPU": 3}))
    block = index.snapshot().blocks[0]
    index.change_used({1: {"VCPU": 3}})
    assert index.snapshot().blocks[0] is block
    index.change_used({1: {"VCPU": 4}})
    assert not ask(index, ONE_VCPU)


def test_use_of_a_provider_that_is_not_there_changes_nothing() -> None:
    index = index_of(provider(1, {"VCPU": 4}))
    snapshot = index.snapshot()
    with pytest.raises(KeyError, match=r"^7$"):
        index.change_used({1: {"VCPU": 4}, 7: {"VCPU": 1}})
    assert index.snapshot() is snapshot
    assert ask(index, ONE_VCPU)


def test_summaries_of_a_part_of_a_tree_name_parent_and_root_outside_of_it() -> None:
    root = provider(1, {"VCPU": 4})
    child = provider(2, {"VF": 4}, below=root)
    [block] = index_of(root, child, provider(3, {"VF": 1}, below=child)).snapshot().blocks
    assert list(block.summaries(1, 3)) == [block.summary(1), block.summary(2)]
    assert [summary.root_uuid for summary in block.summaries(1, 3)] == ["p1", "p1"]


def test_more_in_use_is_seen_on_an_overlay_and_what_is_not_there_is_left_out() -> None:
    snapshot = index_of(provider(1, {"VCPU": 4}, used={"VCPU": 1}), provider(2, {"VF": 4})).snapshot()
    overlay = snapshot.with_more({"p1": {"VCPU": 2, "VF": 1}, "p2": {"VF": 4}, "p9": {"VCPU": 1}}, {})

    def used(of: Snapshot) -> list[dict[str, tuple[int, int]]]:
        return [dict(summary.resources) for block in of.blocks for summary in block.summaries(0, len(block))]

    assert used(overlay) == [{"VCPU": (4, 3)}, {"VF": (4, 4)}]
    assert used(snapshot) == [{"VCPU": (4, 1)}, {"VF": (4, 0)}]
