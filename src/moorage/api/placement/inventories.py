"""``/resource_providers/{uuid}/inventories``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.placement import encode, schemas, versions
from moorage.api.placement.answers import NO_CONTENT, reference
from moorage.api.placement.call import Call
from moorage.api.placement.errors import (
    BAD,
    CONCURRENT_UPDATE,
    CONFLICT,
    INVENTORY_IN_USE,
    MISSING,
    UPDATED_MEANWHILE,
    Reply,
)
from moorage.api.placement.operation import NO_PROVIDER, Operation, can_raise
from moorage.model import errors as model
from moorage.model.commands import AddInventory, DeleteInventory, SetInventories, UpdateInventory
from moorage.model.errors import InventoryNotFoundError
from moorage.model.values import Inventory, ProviderInventories

_AMOUNTS = ("total", "reserved", "min_unit", "max_unit", "step_size")


def decode(record: Mapping[str, Any]) -> Inventory:
    """The inventory of a record that is valid by its schema; missing fields have their defaults."""
    # JSON has one kind of number: 2.0 is a whole number.
    amounts = {name: int(record[name]) for name in _AMOUNTS if name in record}
    return Inventory(**amounts, allocation_ratio=float(record.get("allocation_ratio", 1.0)))


def decode_all(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Inventory]:
    """Inventories by class."""
    return {name: decode(record) for name, record in records.items()}


def _may_reserve_all(call: Call) -> bool:
    return call.minor >= versions.RESERVE_ALL


def _one_shown(
    items: ProviderInventories,
    name: str,
    given: encode.Record,
    status: int = 200,
    location: str | None = None,
) -> Answer:
    body = encode.inventory(items.inventories[name], items.generation, given)
    return Answer(status, body, location, dated=True, modified=items.dates.get(name, items.modified))


def list_(call: Call) -> Answer:
    """List the inventories of a provider."""
    items = call.service.provider_inventories(call.path["uuid"])
    return Answer(body=encode.inventories(items), dated=True, modified=items.modified)


def create(call: Call) -> Answer:
    """Add an inventory. wire: the generation in the body is ignored."""
    uuid, name = call.path["uuid"], call.body["resource_class"]
    command = AddInventory(uuid, name, decode(call.body), _may_reserve_all(call))
    added = call.service.execute(command, call.requester)
    location = f"{encode.provider_path(call.prefix, uuid)}/inventories/{name}"
    return _one_shown(added, name, call.body, 201, location)


def set_(call: Call) -> Answer:
    """Replace all inventories of a provider."""
    command = SetInventories(
        provider=call.path["uuid"],
        generation=int(call.body["resource_provider_generation"]),
        inventories=decode_all(call.body["inventories"]),
        may_reserve_all=_may_reserve_all(call),
    )
    items = call.service.execute(command, call.requester)
    body = encode.inventories(items, call.body["inventories"])
    return Answer(body=body, dated=True, modified=items.modified)


def clear(call: Call) -> Answer:
    """Delete all inventories of a provider."""
    call.service.execute(SetInventories(call.path["uuid"], None, {}), call.requester)
    return Answer(204)


def show(call: Call) -> Answer:
    """Show one inventory. Raises InventoryNotFoundError."""
    uuid, name = call.path["uuid"], call.path["resource_class"]
    items = call.service.provider_inventories(uuid)
    if name not in items.inventories:
        raise InventoryNotFoundError(uuid, name)
    return _one_shown(items, name, {})


def update(call: Call) -> Answer:
    """Change an existing inventory."""
    name = call.path["resource_class"]
    command = UpdateInventory(
        provider=call.path["uuid"],
        generation=int(call.body["resource_provider_generation"]),
        resource_class=name,
        inventory=decode(call.body),
        may_reserve_all=_may_reserve_all(call),
    )
    return _one_shown(call.service.execute(command, call.requester), name, call.body)


def delete(call: Call) -> Answer:
    """Delete one inventory."""
    command = DeleteInventory(call.path["uuid"], call.path["resource_class"])
    call.service.execute(command, call.requester)
    return Answer(204)


def inventories_of_all(inventories: object) -> int:
    """Number of inventories of several providers; a provider with none counts as one."""
    return sum(intake.sizes(inventories, "inventories"))


_CANNOT_CREATE_INVENTORY: Final = Reply(
    BAD, "Unable to create inventory for resource provider {call[uuid]}: {error}"
)

_CANNOT_UPDATE_INVENTORY: Final = Reply(
    BAD, "Unable to update inventory for resource provider {call[uuid]}: {error}"
)

_CHANGED_INVENTORY: Final = NO_PROVIDER + can_raise(
    model.StaleGenerationError, model.ResourceClassNotFoundError, model.InvalidCapacityError
)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/resource_providers/{uuid}/inventories",
        list_,
        summary="List the inventories of a provider",
        rule="placement:resource_providers:inventories:list",
        sends_json=True,
        asks_text=False,
        answers={200: reference("Inventories")},
        foreseen=NO_PROVIDER,
        replies={
            model.ProviderNotFoundError: Reply(
                MISSING, "No resource provider with uuid {uuid} found : {error}"
            ),
        },
    ),
    Operation(
        "POST",
        "/resource_providers/{uuid}/inventories",
        create,
        summary="Add an inventory to a provider",
        rule="placement:resource_providers:inventories:create",
        body=schemas.INVENTORY_CREATE,
        provider_first=True,
        answers={201: reference("InventoryOfProvider")},
        foreseen=NO_PROVIDER
        + can_raise(
            model.ResourceClassNotFoundError,
            model.InvalidCapacityError,
            model.InventoryExistsError,
        ),
        replies={
            model.InventoryExistsError: Reply(CONFLICT, "Update conflict: {error}", CONCURRENT_UPDATE),
            model.StaleGenerationError: Reply(
                CONFLICT, "Update conflict: " + UPDATED_MEANWHILE, CONCURRENT_UPDATE
            ),
            model.InvalidCapacityError: _CANNOT_CREATE_INVENTORY,
            model.ResourceClassNotFoundError: _CANNOT_CREATE_INVENTORY,
        },
    ),
    Operation(
        "PUT",
        "/resource_providers/{uuid}/inventories",
        set_,
        summary="Set all inventories of a provider",
        rule="placement:resource_providers:inventories:update",
        body=schemas.INVENTORIES_SET,
        counts=((intake.INVENTORIES, intake.part_size("inventories")),),
        provider_first=True,
        answers={200: reference("Inventories")},
        foreseen=_CHANGED_INVENTORY + can_raise(model.InventoryInUseError),
        replies={
            model.ResourceClassNotFoundError: Reply(
                BAD, "Unknown resource class in inventory for resource provider {call[uuid]}: {error}"
            ),
            model.InventoryInUseError: Reply(CONFLICT, "update conflict: {error}", INVENTORY_IN_USE),
            model.InvalidCapacityError: _CANNOT_UPDATE_INVENTORY,
        },
    ),
    Operation(
        "DELETE",
        "/resource_providers/{uuid}/inventories",
        clear,
        summary="Delete all inventories of a provider",
        rule="placement:resource_providers:inventories:delete",
        since=versions.DELETE_INVENTORIES,
        status_before=405,
        answers=NO_CONTENT,
        foreseen=NO_PROVIDER + can_raise(model.InventoryInUseError),
        replies={
            model.StaleGenerationError: Reply(
                CONFLICT,
                "Unable to delete inventory for resource provider {call[uuid]} because the inventory "
                "was updated by another process. Please retry your request.",
                CONCURRENT_UPDATE,
            ),
        },
    ),
    Operation(
        "GET",
        "/resource_providers/{uuid}/inventories/{resource_class}",
        show,
        summary="Show an inventory",
        rule="placement:resource_providers:inventories:show",
        sends_json=True,
        asks_text=False,
        answers={200: reference("InventoryOfProvider")},
        foreseen=NO_PROVIDER + can_raise(model.InventoryNotFoundError),
        replies={
            model.ProviderNotFoundError: Reply(
                MISSING, "No resource provider with uuid {uuid} found : {error}"
            ),
            model.InventoryNotFoundError: Reply(
                MISSING, "No inventory of class {resource_class} for {provider}"
            ),
        },
    ),
    Operation(
        "PUT",
        "/resource_providers/{uuid}/inventories/{resource_class}",
        update,
        summary="Change an inventory",
        rule="placement:resource_providers:inventories:update",
        body=schemas.INVENTORY_UPDATE,
        provider_first=True,
        answers={200: reference("InventoryOfProvider")},
        foreseen=_CHANGED_INVENTORY + can_raise(model.InventoryNotFoundError),
        replies={
            model.InventoryNotFoundError: Reply(
                BAD,
                "No inventory record with resource class for resource provider {provider}: {error}",
            ),
            model.InvalidCapacityError: _CANNOT_UPDATE_INVENTORY,
        },
    ),
    Operation(
        "DELETE",
        "/resource_providers/{uuid}/inventories/{resource_class}",
        delete,
        summary="Delete an inventory",
        rule="placement:resource_providers:inventories:delete",
        answers=NO_CONTENT,
        foreseen=NO_PROVIDER
        + can_raise(
            model.ResourceClassNotFoundError,
            model.InventoryNotFoundError,
            model.InventoryInUseError,
        ),
        replies={
            # wire: in use is a concurrent update here.
            model.InventoryInUseError: Reply(
                CONFLICT,
                "Unable to delete inventory of class {call[resource_class]}: {error}",
                CONCURRENT_UPDATE,
            ),
            model.StaleGenerationError: Reply(
                CONFLICT,
                "Unable to delete inventory of class {call[resource_class]}: " + UPDATED_MEANWHILE,
                CONCURRENT_UPDATE,
            ),
            model.InventoryNotFoundError: Reply(
                MISSING,
                "No inventory of class {resource_class} found for delete: "
                "No inventory of class {resource_class} found for delete",
            ),
            model.ResourceClassNotFoundError: Reply(
                MISSING, "No inventory of class {name} found for delete: {error}"
            ),
        },
    ),
)
