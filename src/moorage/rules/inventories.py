"""Changes of inventories, and the generations that go with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from moorage.model.commands import AddInventory, DeleteInventory, SetInventories, UpdateInventory
from moorage.model.errors import (
    InventoryExistsError,
    InventoryInUseError,
    InventoryNotFoundError,
)
from moorage.model.values import Inventory, ProviderInventories
from moorage.rules.capacity import check_inventory
from moorage.rules.state import (
    Changes,
    Inventories,
    ProviderRow,
    State,
    Touch,
    bumped,
    check_classes_exist,
    check_generation,
    existing,
    in_use,
)


def check_removal(state: State, provider: str, old: Inventories, new: Inventories) -> None:
    """Raises InventoryInUseError if a class that goes is still held."""
    used = state.used[provider]
    held = sorted(name for name in old if name not in new and used.get(name))
    if held:
        raise InventoryInUseError(provider, ", ".join(held))


def _changed(
    row: ProviderRow, kind: str, inventories: Mapping[str, Inventory], added: Iterable[str] = ()
) -> Changes[ProviderInventories]:
    new_row = bumped(row)
    return Changes(
        ProviderInventories(new_row.generation, inventories),
        kind,
        providers={row.uuid: new_row},
        inventories={row.uuid: inventories},
        resource_classes=in_use(added),
    )


def touch_add(command: AddInventory | UpdateInventory) -> Touch:
    """The provider with its inventories, and the class."""
    one = frozenset((command.provider,))
    name = frozenset((command.resource_class,))
    return Touch(providers=one, inventories=one, resource_classes=name, kept_classes=name)


def decide_add(state: State, command: AddInventory) -> Changes[ProviderInventories]:
    """Raises ProviderNotFoundError, InvalidCapacityError, ResourceClassNotFoundError,
    InventoryExistsError.
    """
    row = existing(state, command.provider)
    name = command.resource_class
    check_inventory(row.uuid, name, command.inventory, may_reserve_all=command.may_reserve_all)
    check_classes_exist(state, (name,))
    present = state.inventories[row.uuid]
    if name in present:
        raise InventoryExistsError(row.uuid, name)
    return _changed(row, "inventory.add", {**present, name: command.inventory}, (name,))


def decide_update(state: State, command: UpdateInventory) -> Changes[ProviderInventories]:
    """A capacity below the use is allowed: allocations stay, and new claims are refused.

    Raises ProviderNotFoundError, StaleGenerationError, InvalidCapacityError,
    ResourceClassNotFoundError, InventoryNotFoundError.
    """
    row = existing(state, command.provider)
    name = command.resource_class
    check_generation(row, command.generation)
    check_inventory(row.uuid, name, command.inventory, may_reserve_all=command.may_reserve_all)
    check_classes_exist(state, (name,))
    present = state.inventories[row.uuid]
    if name not in present:
        raise InventoryNotFoundError(row.uuid, name)
    return _changed(row, "inventory.update", {**present, name: command.inventory})


def touch_set(command: SetInventories) -> Touch:
    """The provider with its inventories and their use, and all classes named."""
    one = frozenset((command.provider,))
    names = frozenset(command.inventories)
    return Touch(providers=one, inventories=one, used=one, resource_classes=names, kept_classes=names)


def decide_set(state: State, command: SetInventories) -> Changes[ProviderInventories]:
    """Replace all inventories; the generation goes up even if nothing changes.

    Raises ProviderNotFoundError, StaleGenerationError, InvalidCapacityError,
    ResourceClassNotFoundError, InventoryInUseError.
    """
    row = existing(state, command.provider)
    check_generation(row, command.generation)
    for name, inventory in command.inventories.items():
        check_inventory(row.uuid, name, inventory, may_reserve_all=command.may_reserve_all)
    check_classes_exist(state, command.inventories)
    present = state.inventories[row.uuid]
    check_removal(state, row.uuid, present, command.inventories)
    added = command.inventories.keys() - present.keys()
    return _changed(row, "inventory.set", dict(command.inventories), added)


def touch_delete(command: DeleteInventory) -> Touch:
    """The provider with its inventories and their use, and the class."""
    one = frozenset((command.provider,))
    return Touch(
        providers=one,
        inventories=one,
        used=one,
        resource_classes=frozenset((command.resource_class,)),
    )


def decide_delete(state: State, command: DeleteInventory) -> Changes[None]:
    """Raises ProviderNotFoundError, ResourceClassNotFoundError, InventoryNotFoundError,
    InventoryInUseError.
    """
    row = existing(state, command.provider)
    name = command.resource_class
    check_classes_exist(state, (name,))
    present = state.inventories[row.uuid]
    if name not in present:
        raise InventoryNotFoundError(row.uuid, name)
    rest = {other: inventory for other, inventory in present.items() if other != name}
    check_removal(state, row.uuid, present, rest)
    return Changes(None, "inventory.delete", providers={row.uuid: bumped(row)}, inventories={row.uuid: rest})
