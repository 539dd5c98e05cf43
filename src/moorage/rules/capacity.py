"""What fits: the one definition of capacity, of room and of the units of an inventory."""

from __future__ import annotations

from moorage.model.errors import InvalidCapacityError
from moorage.model.values import Inventory


def capacity(inventory: Inventory) -> int:
    """Amount that may be held in all, in the unit of the resource class.

    Source: API reference, "capacity" of provider summaries. Truncates towards zero.
    """
    return int((inventory.total - inventory.reserved) * inventory.allocation_ratio)


def keeps_units(inventory: Inventory, amount: int) -> bool:
    """Whether ``amount`` keeps to min_unit, max_unit and step_size."""
    return inventory.min_unit <= amount <= inventory.max_unit and amount % inventory.step_size == 0


def has_room(inventory: Inventory, used: int, amount: int) -> bool:
    """Whether ``amount`` more can be held where ``used`` is held already."""
    return used + amount <= capacity(inventory)


def check_inventory(
    provider: str, resource_class: str, inventory: Inventory, *, may_reserve_all: bool
) -> None:
    """Refuse an inventory that can never serve anybody.

    Raises InvalidCapacityError if the capacity is below 0 or, unless ``may_reserve_all``
    (microversion 1.26), if it is 0.
    """
    least = 0 if may_reserve_all else 1
    if capacity(inventory) < least:
        raise InvalidCapacityError(provider, resource_class, may_reserve_all)
