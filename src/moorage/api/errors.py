"""The one table from errors of the model to answers on the wire.

Statuses, codes and words are the reference's, observed: clients look for them. Some differ by
operation, so each operation (``"PUT /resource_providers/{uuid}"``) may have its own row.

Texts are ``str.format`` templates: the fields of the error by their names, ``error`` for the
error in the wire's words, ``call[...]`` for facts of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Final

import os_resource_classes

from moorage.api.wire_error import (
    CANNOT_DELETE_PARENT,
    CONCURRENT_UPDATE,
    DUPLICATE_NAME,
    INVENTORY_IN_USE,
    PROVIDER_IN_USE,
    PROVIDER_NOT_FOUND,
    UNDEFINED,
    WireError,
)
from moorage.model import errors as model
from moorage.model.valueclass import valueclass

RETRY_AFTER_SECONDS: Final = 5
"""How long a client is asked to wait when the service cannot answer: about what a database
needs to fail over or a queue to drain, and short enough not to stall a deployment."""


@valueclass(frozen=True, slots=True)
class Reply:
    """How an error is answered. ``text`` is a template (see above)."""

    status: int
    text: str = "{error}"
    code: str = UNDEFINED


ErrorType = type[model.MoorageError]

CONFLICT: Final = 409
BAD: Final = 400
MISSING: Final = 404

UPDATED_MEANWHILE: Final = (
    "Another thread concurrently updated the resource provider data. Please retry your update"
)
GENERATION_CHANGED: Final = (
    "Resource provider's generation already changed. Please update the generation and try again."
)

WORDS: Final[Mapping[ErrorType, str]] = {
    model.ProviderNotFoundError: "No resource provider with uuid {uuid} found",
    model.ResourceClassNotFoundError: "No such resource class {name}.",
    model.TraitNotFoundError: "No such trait(s): {names}.",
    model.InventoryNotFoundError: "No inventory of class {resource_class} found.",
    model.AllocationsNotFoundError: "No allocations for consumer '{consumer}'",
    model.AllocationProviderNotFoundError: ("Allocation for resource provider '{uuid}' that does not exist."),
    model.ReshapeProviderNotFoundError: (
        "Resource provider {uuid} in inventories not found: No resource provider with uuid {uuid} found"
    ),
    model.ParentNotFoundError: (
        # wire: it is "create" for an update, too.
        "Object action create failed because: parent provider UUID does not exist."
    ),
    model.ParentIsSelfError: (
        "Object action create failed because: parent provider UUID cannot be same as UUID. "
        "Please set parent provider UUID to None if there is no parent."
    ),
    model.NameMissingError: "Object action create failed because: name is required",
    model.TreeLoopError: (
        "Object action update failed because: creating loop in the provider tree is not allowed."
    ),
    model.ReparentRefusedError: (
        "Object action update failed because: re-parenting a provider is not currently allowed."
    ),
    model.UnparentRefusedError: (
        "Object action update failed because: un-parenting a provider is not currently allowed."
    ),
    model.StandardResourceClassError: "Cannot {action} standard resource class {name}.",
    model.StandardTraitError: "Cannot delete standard trait {name}.",
    model.StaleGenerationError: "resource provider generation conflict",
    model.ProviderHasChildrenError: (
        "Unable to delete parent resource provider {uuid}: It has child resource providers."
    ),
    model.ProviderInUseError: (
        "Unable to delete resource provider {uuid}: Resource provider has allocations."
    ),
    model.InventoryExistsError: (
        "Inventory of class {resource_class} for resource provider {provider} already exists."
    ),
    model.NoInventoryError: ("Inventory for '{resource_class}' on resource provider '{provider}' invalid."),
    model.CapacityExceededError: (
        "Unable to create allocation for '{resource_class}' on resource provider '{provider}'. "
        "The requested amount would exceed the capacity."
    ),
    model.UnitViolatedError: (
        "Unable to create allocation for '{resource_class}' on resource provider '{provider}'. "
        "The requested amount would violate inventory constraints."
    ),
    model.ResourceClassExistsError: "Conflicting resource class already exists: {name}",
    model.ResourceClassInUseError: ("Cannot delete resource class {name}. Class is in use in inventory."),
    model.TraitInUseError: "The trait {name} is in use by a resource provider.",
    model.EqualNameError: "A name differs only in case from one that is there already.",
}


def _capacity(error: model.InvalidCapacityError) -> str:
    relation = "greater than" if error.may_reserve_all else "greater than or equal to"
    return (
        f"Invalid inventory for '{error.resource_class}' on resource provider "
        f"'{error.provider}'. The reserved value is {relation} total."
    )


def _consumer_generation(error: model.ConsumerGenerationError) -> str:
    # wire: "null" for what the server has, "None" for what the client sent.
    expected = "null" if error.actual is None else error.actual
    return f"consumer generation conflict - expected {expected} but got {error.given}"


def _provider_exists(error: model.ProviderExistsError) -> str:
    taken = [
        f"{kind}: {value}"
        for kind, value in (("uuid", error.uuid), ("name", error.name))
        if value is not None
    ]
    return f"Conflicting resource provider {', '.join(taken)} already exists."


def _inventory_in_use(error: model.InventoryInUseError) -> str:
    # wire: classes come in the order of their ids: standard ones first, in their own order.
    names = sorted(error.resource_classes.split(", "), key=_place_of_class)
    return f"Inventory for '{', '.join(names)}' on resource provider '{error.provider}' in use."


def _place_of_class(name: str) -> tuple[int, str]:
    return _STANDARD_PLACES.get(name, len(_STANDARD_PLACES)), name


_STANDARD_PLACES: Final = {name: place for place, name in enumerate(os_resource_classes.STANDARDS)}

_COMPOSED: Final[Mapping[ErrorType, Callable[..., str]]] = {
    model.InvalidCapacityError: _capacity,
    model.ConsumerGenerationError: _consumer_generation,
    model.ProviderExistsError: _provider_exists,
    model.InventoryInUseError: _inventory_in_use,
}

REPLIES: Final[Mapping[ErrorType, Reply]] = {
    model.NotFoundError: Reply(MISSING),
    model.InvalidError: Reply(BAD),
    model.ConflictError: Reply(CONFLICT),
    model.ReshapeProviderNotFoundError: Reply(BAD, code=PROVIDER_NOT_FOUND),
    model.StaleGenerationError: Reply(CONFLICT, code=CONCURRENT_UPDATE),
    model.ConsumerGenerationError: Reply(CONFLICT, code=CONCURRENT_UPDATE),
    model.ProviderExistsError: Reply(CONFLICT, code=DUPLICATE_NAME),
    model.ProviderHasChildrenError: Reply(CONFLICT, code=CANNOT_DELETE_PARENT),
    model.ProviderInUseError: Reply(CONFLICT, code=PROVIDER_IN_USE),
    model.InventoryExistsError: Reply(CONFLICT, code=CONCURRENT_UPDATE),
    model.InventoryInUseError: Reply(CONFLICT, code=INVENTORY_IN_USE),
    model.NoInventoryError: Reply(CONFLICT, "Unable to allocate inventory: {error}"),
    model.CapacityExceededError: Reply(CONFLICT, "Unable to allocate inventory: {error}"),
    model.UnitViolatedError: Reply(CONFLICT, "Unable to allocate inventory: {error}"),
    model.UnavailableError: Reply(503, "The service cannot answer now. Please try again later."),
    model.OutcomeUnknownError: Reply(
        503, "The connection to the database was lost: whether the request took effect is not known."
    ),
}

_UNKNOWN_CLASS_ASKED: Final = Reply(BAD, "Invalid resource class in resources parameter: {error}")
_CANNOT_CREATE_PROVIDER: Final = Reply(
    BAD, 'Unable to create resource provider "{call[name]}", {call[uuid]}: {error}'
)
_CANNOT_SAVE_PROVIDER: Final = Reply(BAD, "Unable to save resource provider {call[uuid]}: {error}")
_CANNOT_CREATE_INVENTORY: Final = Reply(
    BAD, "Unable to create inventory for resource provider {call[uuid]}: {error}"
)
_CANNOT_UPDATE_INVENTORY: Final = Reply(
    BAD, "Unable to update inventory for resource provider {call[uuid]}: {error}"
)
_GENERATION_CHANGED: Final = Reply(CONFLICT, GENERATION_CHANGED, CONCURRENT_UPDATE)
_UPDATED_WHILE_ALLOCATING: Final = Reply(
    CONFLICT,
    "Inventory and/or allocations changed while attempting to allocate: " + UPDATED_MEANWHILE,
    CONCURRENT_UPDATE,
)
_MISSING_PROVIDER_SAID_TWICE: Final = Reply(MISSING, "No resource provider with uuid {uuid} found: {error}")

BY_OPERATION: Final[Mapping[str, Mapping[ErrorType, Reply]]] = {
    "GET /resource_providers": {
        model.ResourceClassNotFoundError: _UNKNOWN_CLASS_ASKED,
        model.TraitNotFoundError: Reply(BAD, 'Invalid trait(s) in "required" parameter: {error}'),
    },
    "POST /resource_providers": {
        model.ParentNotFoundError: _CANNOT_CREATE_PROVIDER,
        model.ParentIsSelfError: _CANNOT_CREATE_PROVIDER,
        model.NameMissingError: _CANNOT_CREATE_PROVIDER,
    },
    "PUT /resource_providers/{uuid}": {
        model.ProviderExistsError: Reply(
            CONFLICT,
            "Conflicting resource provider {call[name]} already exists.",
            DUPLICATE_NAME,
        ),
        model.ParentNotFoundError: _CANNOT_SAVE_PROVIDER,
        model.ParentIsSelfError: _CANNOT_SAVE_PROVIDER,
        model.TreeLoopError: _CANNOT_SAVE_PROVIDER,
        model.ReparentRefusedError: _CANNOT_SAVE_PROVIDER,
        model.UnparentRefusedError: _CANNOT_SAVE_PROVIDER,
    },
    "DELETE /resource_providers/{uuid}": {
        model.ProviderNotFoundError: Reply(MISSING, "No resource provider with uuid {uuid} found for delete"),
    },
    "GET /resource_providers/{uuid}/inventories": {
        model.ProviderNotFoundError: Reply(MISSING, "No resource provider with uuid {uuid} found : {error}"),
    },
    "POST /resource_providers/{uuid}/inventories": {
        model.InventoryExistsError: Reply(CONFLICT, "Update conflict: {error}", CONCURRENT_UPDATE),
        model.StaleGenerationError: Reply(
            CONFLICT, "Update conflict: " + UPDATED_MEANWHILE, CONCURRENT_UPDATE
        ),
        model.InvalidCapacityError: _CANNOT_CREATE_INVENTORY,
        model.ResourceClassNotFoundError: _CANNOT_CREATE_INVENTORY,
    },
    "PUT /resource_providers/{uuid}/inventories": {
        model.ResourceClassNotFoundError: Reply(
            BAD, "Unknown resource class in inventory for resource provider {call[uuid]}: {error}"
        ),
        model.InventoryInUseError: Reply(CONFLICT, "update conflict: {error}", INVENTORY_IN_USE),
        model.InvalidCapacityError: _CANNOT_UPDATE_INVENTORY,
    },
    "DELETE /resource_providers/{uuid}/inventories": {
        model.StaleGenerationError: Reply(
            CONFLICT,
            "Unable to delete inventory for resource provider {call[uuid]} because the inventory "
            "was updated by another process. Please retry your request.",
            CONCURRENT_UPDATE,
        ),
    },
    "GET /resource_providers/{uuid}/inventories/{resource_class}": {
        model.ProviderNotFoundError: Reply(MISSING, "No resource provider with uuid {uuid} found : {error}"),
        model.InventoryNotFoundError: Reply(MISSING, "No inventory of class {resource_class} for {provider}"),
    },
    "PUT /resource_providers/{uuid}/inventories/{resource_class}": {
        model.InventoryNotFoundError: Reply(
            BAD,
            "No inventory record with resource class for resource provider {provider}: {error}",
        ),
        model.InvalidCapacityError: _CANNOT_UPDATE_INVENTORY,
    },
    "DELETE /resource_providers/{uuid}/inventories/{resource_class}": {
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
    "GET /resource_providers/{uuid}/usages": {
        model.ProviderNotFoundError: _MISSING_PROVIDER_SAID_TWICE,
    },
    "PUT /resource_providers/{uuid}/aggregates": {
        model.StaleGenerationError: _GENERATION_CHANGED,
    },
    "GET /resource_providers/{uuid}/allocations": {
        model.ProviderNotFoundError: Reply(MISSING, "Resource provider '{uuid}' not found: {error}"),
    },
    "GET /resource_providers/{uuid}/traits": {
        model.ProviderNotFoundError: _MISSING_PROVIDER_SAID_TWICE,
    },
    "PUT /resource_providers/{uuid}/traits": {
        model.StaleGenerationError: _GENERATION_CHANGED,
        model.TraitNotFoundError: Reply(BAD, "No such trait {names}"),
    },
    "DELETE /resource_providers/{uuid}/traits": {
        model.StaleGenerationError: Reply(CONFLICT, UPDATED_MEANWHILE, CONCURRENT_UPDATE),
    },
    "PUT /resource_classes/{name}": {
        model.ResourceClassExistsError: Reply(CONFLICT, "Resource class already exists: {name}"),
        model.StandardResourceClassError: Reply(BAD, "Cannot update standard resource class {name}"),
    },
    "DELETE /resource_classes/{name}": {
        model.StandardResourceClassError: Reply(BAD, "Error in delete resource class: {error}"),
        model.ResourceClassInUseError: Reply(CONFLICT, "Error in delete resource class: {error}"),
    },
    "PUT /allocations/{consumer_uuid}": {
        model.ResourceClassNotFoundError: Reply(
            BAD, "Unable to allocate inventory for consumer {call[consumer_uuid]}: {error}"
        ),
        model.StaleGenerationError: _UPDATED_WHILE_ALLOCATING,
    },
    "POST /allocations": {
        # wire: without a colon.
        model.ResourceClassNotFoundError: Reply(BAD, "Unable to allocate inventory {error}"),
        model.StaleGenerationError: _UPDATED_WHILE_ALLOCATING,
    },
    "GET /allocation_candidates": {
        model.ResourceClassNotFoundError: _UNKNOWN_CLASS_ASKED,
        model.TraitNotFoundError: Reply(BAD),
    },
    "POST /reshaper": {
        model.StaleGenerationError: Reply(
            CONFLICT,
            "resource provider generation conflict for provider {provider}: actual: {actual}, given: {given}",
            CONCURRENT_UPDATE,
        ),
        model.ResourceClassNotFoundError: Reply(BAD, "malformed reshaper data: {error}"),
        model.InventoryInUseError: Reply(CONFLICT, "update conflict: {error}", INVENTORY_IN_USE),
    },
}


def translate(error: model.MoorageError, operation: str, facts: Mapping[str, object]) -> WireError | None:
    """The answer to ``error`` raised by ``operation``; None for one that nobody foresaw."""
    own = BY_OPERATION.get(operation, {})
    reply = next(
        (table[cls] for cls in type(error).__mro__ for table in (own, REPLIES) if cls in table),
        None,
    )
    if reply is None:
        return None
    values = {item.name: getattr(error, item.name) for item in fields(error)}
    message = reply.text.format(error=_words(error, values), call=facts, **values)
    unavailable = isinstance(error, model.UnavailableError)
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)} if unavailable else {}
    return WireError(reply.status, message, reply.code, headers)


def _words(error: model.MoorageError, values: Mapping[str, object]) -> str:
    compose = _COMPOSED.get(type(error))
    if compose is not None:
        return compose(error)
    template = WORDS.get(type(error))
    return str(error) if template is None else template.format(**values)
