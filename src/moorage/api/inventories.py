"""``/resource_providers/{uuid}/inventories``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moorage.api import encode, versions
from moorage.api.exchange import Answer, Call
from moorage.model.commands import AddInventory, DeleteInventory, SetInventories, UpdateInventory
from moorage.model.errors import InventoryNotFoundError
from moorage.model.values import Inventory, ProviderInventories

_AMOUNTS = ("total", "reserved", "min_unit", "max_unit", "step_size")


def decode(record: Mapping[str, Any]) -> Inventory:
    """An inventory of a record that its schema takes; what is left out has its default."""
    # JSON knows one kind of number: 2.0 is a whole one.
    amounts = {name: int(record[name]) for name in _AMOUNTS if name in record}
    return Inventory(**amounts, allocation_ratio=float(record.get("allocation_ratio", 1.0)))


def decode_all(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Inventory]:
    """Inventories by class."""
    return {name: decode(record) for name, record in records.items()}


def _may_reserve_all(call: Call) -> bool:
    return call.minor >= versions.RESERVE_ALL


def _all_shown(items: ProviderInventories) -> Answer:
    return Answer(body=encode.inventories(items), dated=True, modified=items.modified)


def _one_shown(
    items: ProviderInventories, name: str, status: int = 200, location: str | None = None
) -> Answer:
    body = encode.inventory(items.inventories[name], items.generation)
    return Answer(status, body, location, dated=True, modified=items.dates.get(name, items.modified))


def list_(call: Call) -> Answer:
    """All inventories."""
    return _all_shown(call.service.provider_inventories(call.path["uuid"]))


def create(call: Call) -> Answer:
    """One more inventory. wire: the generation that comes with it counts for nothing."""
    uuid, name = call.path["uuid"], call.body["resource_class"]
    command = AddInventory(uuid, name, decode(call.body), _may_reserve_all(call))
    added = call.service.execute(command, call.requester)
    location = f"{encode.provider_path(call.prefix, uuid)}/inventories/{name}"
    return _one_shown(added, name, 201, location)


def set_(call: Call) -> Answer:
    """These inventories and no others."""
    command = SetInventories(
        provider=call.path["uuid"],
        generation=int(call.body["resource_provider_generation"]),
        inventories=decode_all(call.body["inventories"]),
        may_reserve_all=_may_reserve_all(call),
    )
    return _all_shown(call.service.execute(command, call.requester))


def clear(call: Call) -> Answer:
    """No inventories any more."""
    call.service.execute(SetInventories(call.path["uuid"], None, {}), call.requester)
    return Answer(204)


def show(call: Call) -> Answer:
    """One inventory. Raises InventoryNotFoundError."""
    uuid, name = call.path["uuid"], call.path["resource_class"]
    items = call.service.provider_inventories(uuid)
    if name not in items.inventories:
        raise InventoryNotFoundError(uuid, name)
    return _one_shown(items, name)


def update(call: Call) -> Answer:
    """Another inventory of a class that is there."""
    name = call.path["resource_class"]
    command = UpdateInventory(
        provider=call.path["uuid"],
        generation=int(call.body["resource_provider_generation"]),
        resource_class=name,
        inventory=decode(call.body),
        may_reserve_all=_may_reserve_all(call),
    )
    return _one_shown(call.service.execute(command, call.requester), name)


def delete(call: Call) -> Answer:
    """Away with one inventory."""
    command = DeleteInventory(call.path["uuid"], call.path["resource_class"])
    call.service.execute(command, call.requester)
    return Answer(204)
