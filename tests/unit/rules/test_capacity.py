from __future__ import annotations

import math

import pytest

from moorage.model.errors import InvalidCapacityError
from moorage.model.values import MAX_INT, Inventory
from moorage.rules.capacity import capacity, check_inventory, has_room, keeps_units
from tests.table import each


@each(
    ("inventory", "expected"),
    [
        (Inventory(8), 8),
        (Inventory(8, reserved=3), 5),
        (Inventory(8, allocation_ratio=16.0), 128),
        (Inventory(7, allocation_ratio=1.5), 10),
        (Inventory(3, allocation_ratio=0.5), 1),
        (Inventory(1, allocation_ratio=0.9), 0),
        (Inventory(1, allocation_ratio=math.inf), 0),
        (Inventory(1, reserved=1, allocation_ratio=math.inf), 0),
        (Inventory(8, allocation_ratio=0.0), 0),
        (Inventory(8, reserved=8), 0),
        (Inventory(8, reserved=10), -2),
        (Inventory(1, reserved=2, allocation_ratio=0.9), 0),
        (Inventory(MAX_INT, allocation_ratio=2.0), 2 * MAX_INT),
    ],
)
def test_capacity_is_what_is_not_reserved_times_the_ratio_cut_towards_zero(
    inventory: Inventory, expected: int
) -> None:
    assert capacity(inventory) == expected


@each(
    ("amount", "expected"),
    [(0, False), (3, False), (4, True), (5, False), (6, True), (10, True), (11, False), (12, False)],
)
def test_units_are_bounds_that_may_be_met_and_a_step_from_zero(amount: int, expected: bool) -> None:
    assert keeps_units(Inventory(100, min_unit=3, max_unit=10, step_size=2), amount) is expected


def test_an_inventory_without_units_takes_any_amount_from_one() -> None:
    assert not keeps_units(Inventory(10), 0)
    assert not keeps_units(Inventory(10, step_size=0), 1)
    assert keeps_units(Inventory(10), 1)
    assert keeps_units(Inventory(10), MAX_INT)
    assert not keeps_units(Inventory(10), MAX_INT + 1)


def test_there_is_room_until_capacity_is_met_exactly() -> None:
    inventory = Inventory(7, reserved=1, allocation_ratio=1.5)
    assert has_room(inventory, 4, 5)
    assert not has_room(inventory, 4, 6)
    assert not has_room(inventory, 10, 1)


@pytest.mark.parametrize("may_reserve_all", [True, False])
def test_an_inventory_with_room_for_one_is_allowed(may_reserve_all: bool) -> None:
    check_inventory("p", "VCPU", Inventory(3, reserved=2), may_reserve_all=may_reserve_all)


def test_reserving_all_is_allowed_only_to_who_may() -> None:
    check_inventory("p", "VCPU", Inventory(3, reserved=3), may_reserve_all=True)
    with pytest.raises(InvalidCapacityError) as caught:
        check_inventory("p", "VCPU", Inventory(3, reserved=3), may_reserve_all=False)
    error = caught.value
    assert (error.provider, error.resource_class, error.may_reserve_all) == ("p", "VCPU", False)


@pytest.mark.parametrize("may_reserve_all", [True, False])
def test_reserving_more_than_all_is_never_allowed(may_reserve_all: bool) -> None:
    with pytest.raises(InvalidCapacityError):
        check_inventory("p", "VCPU", Inventory(3, reserved=4), may_reserve_all=may_reserve_all)
