from __future__ import annotations

import numpy as np

from moorage.model.values import Inventory
from moorage.search.columns import NONE, PAGE_BITS, IntArray, Interned, PagedInts
from moorage.search.inventories import CLAMP, ClassTable
from moorage.search.postings import POSTING_PAGE_BITS, Posting


def array(*values: int) -> IntArray:
    return np.array(values, dtype=np.int64)


FAR = 5 << PAGE_BITS


def test_paged_integers_read_as_none_until_they_are_set() -> None:
    values = PagedInts()
    assert values.get(7) == NONE
    values.set_many(array(7, FAR, 9), array(70, 80, 90))
    assert [values.get(7), values.get(8), values.get(FAR)] == [70, NONE, 80]
    assert values.get_many(array(FAR, 8, 1 << 40, 9)).tolist() == [80, NONE, NONE, 90]


def test_a_page_of_integers_goes_with_its_last_value() -> None:
    values = PagedInts()
    values.set_many(array(1, 2, FAR), array(10, 20, 30))
    values.unset_many(array(1, FAR))
    assert values.get_many(array(1, 2, FAR)).tolist() == [NONE, 20, NONE]
    assert list(values._pages) == [0]
    assert values.get_many(array()).tolist() == []


def test_equal_values_share_a_code_until_the_last_use_is_given_back() -> None:
    sets: Interned[tuple[str, ...]] = Interned()
    red = sets.take(("RED",))
    blue = sets.take(("BLUE",))
    assert sets.take(("RED",)) == red != blue
    sets.release(red)
    assert sets[red] == ("RED",)
    sets.release(red)
    assert len(sets) == 1
    assert sets.take(("FAST",)) == red
    assert sets[red] == ("FAST",)


def test_a_posting_knows_its_slots_across_pages() -> None:
    posting = Posting()
    far = (3 << POSTING_PAGE_BITS) + 5
    posting.add_many(array(far, 0, 9, 63))
    posting.add_many(array(9))
    assert [slot in posting for slot in (0, 1, 9, far, far - 1, 1 << POSTING_PAGE_BITS)] == [
        True,
        False,
        True,
        True,
        False,
        False,
    ]
    mask = np.zeros(far + 1, dtype=np.bool_)
    mask[1] = True
    posting.mark(mask)
    assert np.flatnonzero(mask).tolist() == [0, 1, 9, 63, far]


def test_a_posting_is_empty_when_all_are_taken_out() -> None:
    posting = Posting()
    posting.add_many(array(1, 2, 3))
    posting.discard_many(array(2))
    assert posting
    assert [slot in posting for slot in (1, 2, 3)] == [True, False, True]
    posting.discard_many(array(1, 3))
    assert not posting


def test_a_row_taken_out_is_filled_with_the_last_one() -> None:
    table = ClassTable()
    slots = list(range(40))
    table.add(slots, [(Inventory(100 + slot, step_size=1 + slot % 2), slot) for slot in slots])
    table.remove([0, 5, 39])
    left = [slot for slot in slots if slot not in (0, 5, 39)]
    assert table.count == 37
    assert sorted(table.slot[: table.count].tolist()) == left
    assert table.room_at(5) == NONE
    for slot in left:
        assert table.entry(slot) == (Inventory(100 + slot, step_size=1 + slot % 2), slot)
    assert sorted(table.slots_with(101).tolist()) == []
    assert sorted(table.slots_with(100).tolist()) == [slot for slot in left if 100 % (1 + slot % 2) == 0]


def test_steps_are_looked_at_again_once_numbers_change() -> None:
    table = ClassTable()
    table.add([0, 1], [(Inventory(10, step_size=5), 0), (Inventory(10), 0)])
    assert table.slots_with(3).tolist() == [1]
    table.rewrite([0], [(Inventory(10), 4)])
    assert table.slots_with(3).tolist() == [0, 1]
    table.rewrite([1], [(Inventory(10, step_size=2), 0)])
    assert table.slots_with(3).tolist() == [0]
    table.remove([1])
    assert table.slots_with(6).tolist() == [0]


def test_a_capacity_beyond_64_bits_is_shown_exactly() -> None:
    huge = Inventory(2**31 - 1, allocation_ratio=3.4e38)
    table = ClassTable()
    table.add([0, 1], [(huge, 7), (Inventory(5), 1)])
    assert int(table.capacity[0]) == CLAMP
    assert table.amounts(array(1, 0)) == [(5, 1), (int((2**31 - 1) * 3.4e38), 7)]
    assert table.room_at(0) == huge.max_unit


def test_a_capacity_far_below_zero_has_no_room() -> None:
    table = ClassTable()
    table.add([0], [(Inventory(1, reserved=2**31 - 1, allocation_ratio=3.4e38), 3)])
    assert table.slots_with(1).tolist() == []
    assert table.amounts(array(0)) == [(int((2 - 2**31) * 3.4e38), 3)]


def test_an_amount_beyond_64_bits_fits_nowhere() -> None:
    table = ClassTable()
    table.add([0], [(Inventory(5, step_size=2), 0)])
    assert table.slots_with(10**30).tolist() == []
