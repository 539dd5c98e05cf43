from __future__ import annotations

import numpy as np
import pytest

from moorage.model.values import Inventory
from moorage.search.index import columns
from moorage.search.index.columns import (
    CLAMP,
    FEW_NAMES,
    MOST_BITS,
    NONE,
    PAGE_BITS,
    ClassColumn,
    IntArray,
    Labels,
    PagedInts,
)


def array(*values: int) -> IntArray:
    return np.array(values, dtype=np.int64)


FAR = 5 << PAGE_BITS


def test_paged_integers_read_as_none_until_they_are_set() -> None:
    values = PagedInts()
    values.set_many(array(7, FAR, 9), array(70, 1 << 40, 90))
    assert values.get_many(array(FAR, 8, 1 << 40, 9)).tolist() == [1 << 40, NONE, NONE, 90]
    values.set_many(array(8), array(80))
    assert values.get_many(array(8)).tolist() == [80]


def test_a_page_of_integers_goes_with_its_last_value() -> None:
    values = PagedInts()
    values.set_many(array(1, 2, FAR), array(10, 20, 30))
    values.unset_many(array(1, FAR))
    assert values.get_many(array(1, 2, FAR)).tolist() == [NONE, 20, NONE]
    assert list(values._pages) == [0]
    assert values.get_many(array()).tolist() == []


def test_equal_labels_are_held_once() -> None:
    labels = Labels.of([("RED",), ("BLUE", "RED"), ("RED",), ()])
    assert [labels[offset] for offset in range(len(labels))] == [("RED",), ("BLUE", "RED"), ("RED",), ()]
    assert len(labels.sets) == 3
    assert labels.names == {"RED", "BLUE"}


def test_who_has_one_of_some_names_is_known() -> None:
    labels = Labels.of([("RED",), ("BLUE", "RED"), (), ("FAST",)] * 5)
    found = labels.having_any(["BLUE", "FAST", "NOBODY"])
    assert found is not None
    assert found.tolist() == [False, True, False, True] * 5
    assert labels.having_any(["NOBODY"]) is None
    assert labels.having_any([]) is None


def test_one_of_many_names_is_found_as_one_of_a_few_is() -> None:
    labels = Labels.of([(f"T{number % 40}", f"U{number % 7}") for number in range(90)] + [()])
    for count in (2, FEW_NAMES, FEW_NAMES + 1, 30):
        wanted = [f"T{number}" for number in range(count)]
        found = labels.having_any([*wanted, "NOBODY"])
        assert found is not None
        assert found.tolist() == [not set(labels[offset]).isdisjoint(wanted) for offset in range(len(labels))]


def test_names_that_do_not_exist_leave_no_trace() -> None:
    labels = Labels.of([("RED",)])
    for number in range(100):
        labels.having_any(["RED", f"NOBODY_{number}"])
    assert len(labels._bits) == 1


def test_of_many_names_only_so_many_are_kept() -> None:
    names = [f"NAME_{number}" for number in range(2 * MOST_BITS + 9)]
    labels = Labels.of([(name,) for name in names])
    for _ in range(2):
        for offset, name in enumerate(names):
            found = labels.having_any([name])
            assert found is not None
            assert found.nonzero()[0].tolist() == [offset]
            assert len(labels._bits) <= MOST_BITS


def test_labels_that_nobody_has_any_more_do_not_pile_up() -> None:
    labels = Labels.of([("FIRST",)])
    for number in range(10):
        labels = labels.merged(array(), Labels.of([(f"L{number}",)]), array(0))
    assert labels.sets == [("L9",)]


def column(*inventories: Inventory) -> ClassColumn:
    """A column of two entries more than there are rows; the first and the last have none."""
    entries = [(offset, inventory, 0) for offset, inventory in enumerate(inventories, 1)]
    return ClassColumn.of(len(inventories) + 2, entries)


def offsets(found: object) -> list[int]:
    assert isinstance(found, np.ndarray)
    return np.flatnonzero(found).tolist()


def test_room_min_unit_and_step_size_are_asked_of_each_inventory() -> None:
    some = column(Inventory(10, step_size=5), Inventory(10), Inventory(10, min_unit=4), Inventory(2))
    assert offsets(some.with_room(6, 3)) == [2]
    assert offsets(some.with_room(6, 5)) == [1, 2, 3]
    assert offsets(some.with_room(6, 2)) == [2, 4]
    assert offsets(some.with_room(6, 11)) == []
    assert some.rooms(6).tolist() == [NONE, 10, 10, 10, 2, NONE]
    assert [some.room_at(offset) for offset in range(6)] == [NONE, 10, 10, 10, 2, NONE]


def test_a_column_in_which_everybody_has_a_row_is_looked_up_by_offset() -> None:
    dense = ClassColumn.of(2, [(0, Inventory(4), 1), (1, Inventory(8), 0)])
    assert dense.dense
    assert offsets(dense.with_room(2, 4)) == [1]
    assert dense.rooms(2).tolist() == [3, 8]
    assert dense.at(1) == (Inventory(8), 0)


def test_numbers_are_rewritten_without_touching_the_column_that_was() -> None:
    before = column(Inventory(10), Inventory(10))
    one = ClassColumn.of(1, [(0, Inventory(6), 1)])
    after, changed = before.rewritten(4, array(2), one)
    assert changed.tolist() == [2]
    assert before.at(2) == (Inventory(10), 0)
    assert after.at(2) == (Inventory(6), 1)
    assert after.room_at(2) == 5
    used, changed = after.rewritten(4, array(2), one.with_used(1, [(0, 2)]))
    assert changed.tolist() == [2]
    assert used.codes is after.codes
    assert used.kinds is after.kinds
    assert used.used_at(2) == 2
    same, unchanged = used.rewritten(4, array(2), one.with_used(1, [(0, 2)]))
    assert same is used
    assert unchanged.tolist() == []


def test_only_numbers_that_differ_are_rewritten() -> None:
    before = ClassColumn.of(3, [(0, Inventory(4), 1), (1, Inventory(8), 0), (2, Inventory(4), 2)])
    fresh = ClassColumn.of(2, [(0, Inventory(4), 1), (1, Inventory(4), 3)])
    after, changed = before.rewritten(3, array(0, 2), fresh)
    assert changed.tolist() == [2]
    assert [after.at(offset) for offset in range(3)] == [
        (Inventory(4), 1),
        (Inventory(8), 0),
        (Inventory(4), 3),
    ]
    assert after.rooms(3).tolist() == [3, 8, 1]


def test_kinds_of_inventories_that_nobody_has_any_more_do_not_pile_up() -> None:
    some = column(Inventory(1), Inventory(1))
    for total in range(2, 20):
        some, _ = some.rewritten(4, array(1), ClassColumn.of(1, [(0, Inventory(total), 0)]))
    assert len(some.kinds) <= 4
    assert some.at(1) == (Inventory(19), 0)
    assert some.at(2) == (Inventory(1), 0)


def test_rows_move_with_their_entries_and_two_columns_join() -> None:
    one, other = column(Inventory(1), Inventory(2), Inventory(3)), column(Inventory(3), Inventory(4))
    moved = one.moved(6, array(NONE, 5, NONE, 0, NONE))
    assert moved is not None
    assert [moved.room_at(offset) for offset in range(6)] == [3, NONE, NONE, NONE, NONE, 1]
    placed = other.moved(6, array(NONE, 2, 3, NONE))
    assert placed is not None
    joined = moved.joined(6, placed)
    assert [joined.room_at(offset) for offset in range(6)] == [3, NONE, 3, 4, NONE, 1]
    assert one.moved(1, array(0, NONE, NONE, NONE, NONE)) is None


def test_a_capacity_beyond_64_bits_is_shown_exactly() -> None:
    huge = Inventory(2**31 - 1, allocation_ratio=3.4e38)
    some = ClassColumn.of(2, [(0, huge, 7), (1, Inventory(5), 1)])
    assert int(some.kinds.top[0]) == CLAMP
    assert [some.amounts_at(1), some.amounts_at(0)] == [(5, 1), (int((2**31 - 1) * 3.4e38), 7)]
    assert some.room_at(0) == huge.max_unit


def test_a_capacity_far_below_zero_has_no_room() -> None:
    some = ClassColumn.of(1, [(0, Inventory(1, reserved=2**31 - 1, allocation_ratio=3.4e38), 3)])
    assert offsets(some.with_room(1, 1)) == []
    assert some.amounts_at(0) == (int((2 - 2**31) * 3.4e38), 3)


def test_an_amount_beyond_64_bits_fits_nowhere() -> None:
    assert offsets(column(Inventory(5, step_size=2)).with_room(3, 10**30)) == []


@pytest.mark.parametrize("few", [0, 100])
@pytest.mark.parametrize("changed", [{0: 3}, {1: 0, 2: 9}, {0: 1, 1: 1, 2: 30}])
def test_a_column_takes_over_what_is_used(
    few: int, changed: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "FEW_ROWS", few)
    offers = [Inventory(8), Inventory(20, max_unit=6), Inventory(16, reserved=4)]
    offsets = [1, 4, 5]
    before = [(offset, offer, 2) for offset, offer in zip(offsets, offers, strict=True)]
    after = [(offset, offer, changed.get(row, 2)) for row, (offset, offer, _) in enumerate(before)]
    for knows_most in (False, True):
        column = ClassColumn.of(6, before)
        if knows_most:
            assert column.most == 10
        found = column.with_used(6, [(offsets[row], amount) for row, amount in changed.items()])
        wanted = ClassColumn.of(6, after)
        assert found.used.tolist() == wanted.used.tolist()
        assert found.room.tolist() == wanted.room.tolist()
        assert found.most == wanted.most
        # The first column stays as it was.
        assert column.used.tolist() == [2, 2, 2]
