"""What fits: the one definition of capacity, of room and of the units of an inventory."""

from __future__ import annotations

from moorage.model.errors import CapacityExceededError, InvalidCapacityError, UnitViolatedError
from moorage.model.values import Inventory


def capacity(inventory: Inventory) -> int:
    """Amount that may be held in all, in the unit of the resource class.

    Source: API reference, "capacity" of provider summaries. Truncates towards zero. With a ratio that is no
    number, which only another program can have written, there is none.
    """
    try:
        return int((inventory.total - inventory.reserved) * inventory.allocation_ratio)
    except (OverflowError, ValueError):
        return 0


def keeps_units(inventory: Inventory, amount: int) -> bool:
    """Whether ``amount`` keeps to min_unit, max_unit and step_size.

    None does where step_size is 0, which only another program can have written.
    """
    if not inventory.min_unit <= amount <= inventory.max_unit:
        return False
    return inventory.step_size != 0 and amount % inventory.step_size == 0


def has_room(inventory: Inventory, used: int, amount: int) -> bool:
    """Whether ``amount`` more can be held where ``used`` is held already."""
    return used + amount <= capacity(inventory)


def misfit_of(
    inventory: Inventory, before: int, now: int, amount: int
) -> type[UnitViolatedError | CapacityExceededError] | None:
    """Which error refuses a claim of ``amount``; None: it is granted.

    ``before``: the use with what the claiming consumers held until now. ``now``: the use without it.
    """
    if not keeps_units(inventory, amount):
        return UnitViolatedError
    # An inventory may have shrunk below its use. A claim for no more than the same consumers held before
    # makes that no worse, and is granted.
    if not has_room(inventory, now, amount) and now + amount > before:
        return CapacityExceededError
    return None


def check_inventory(
    provider: str, resource_class: str, inventory: Inventory, *, may_reserve_all: bool
) -> None:
    """Refuse an inventory that can never serve a claim.

    Raises InvalidCapacityError if the capacity is below 0 or, unless ``may_reserve_all``
    (microversion 1.26), if it is 0.
    """
    least = 0 if may_reserve_all else 1
    if capacity(inventory) < least:
        raise InvalidCapacityError(provider, resource_class, may_reserve_all)
