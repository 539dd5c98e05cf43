"""The one table from errors of the model to answers on the wire.

Statuses, codes and texts were observed on the reference, because clients look for them. Some differ by
operation, so each operation may have replies of its own, beside its handler.

Texts are ``str.format`` templates: the fields of the error by their names, ``error`` for the error's text on
the wire, ``call[...]`` for facts of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Final

import os_resource_classes

from moorage.api.http.wire_error import WireError
from moorage.model import errors as model
from moorage.model.valueclass import valueclass

# Codes of errors (from 1.23 on). Source: API reference, "Errors".
UNDEFINED: Final = "placement.undefined_code"
INVENTORY_IN_USE: Final = "placement.inventory.inuse"
CONCURRENT_UPDATE: Final = "placement.concurrent_update"
DUPLICATE_NAME: Final = "placement.duplicate_name"
PROVIDER_IN_USE: Final = "placement.resource_provider.inuse"
CANNOT_DELETE_PARENT: Final = "placement.resource_provider.cannot_delete_parent"
PROVIDER_NOT_FOUND: Final = "placement.resource_provider.not_found"
DUPLICATE_KEY: Final = "placement.query.duplicate_key"
BAD_VALUE: Final = "placement.query.bad_value"
MISSING_VALUE: Final = "placement.query.missing_value"

RETRY_AFTER_SECONDS: Final = 5
"""``Retry-After`` of an answer that the service cannot give now. It is about the time of a database failover
or of draining a queue, and short enough not to stall a deployment."""


@valueclass(frozen=True, slots=True)
class Reply:
    """The answer to an error. ``text`` is a template (see above)."""

    status: int
    text: str = "{error}"
    code: str = UNDEFINED


ErrorType = type[model.MoorageError]

Replies = Mapping[ErrorType, Reply]

CONSUMER_BODIES: Final = "consumer_bodies"
PROVIDER_BODIES: Final = "provider_bodies"
"""Fact of requests whose errors quote a generation: the part of the body about each UUID."""

CONFLICT: Final = 409
BAD: Final = 400
MISSING: Final = 404

UPDATED_MEANWHILE: Final = (
    "Another thread concurrently updated the resource provider data. Please retry your update"
)

WORDS: Final[Mapping[ErrorType, str]] = {
    model.ProviderNotFoundError: "No resource provider with uuid {uuid} found",
    model.InventoryNotFoundError: "No inventory of class {resource_class} found.",
    model.AllocationsNotFoundError: "No allocations for consumer '{consumer}'",
    model.ReshapeProviderNotFoundError: (
        "Resource provider {uuid} in inventories not found: No resource provider with uuid {uuid} found"
    ),
    model.ParentNotFoundError: (
        # wire: it is "create" for an update as well.
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
    model.ResourceClassExistsError: "Conflicting resource class already exists: {name}",
}
"""Texts on the wire, where they are not the model's own."""


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

REPLIES: Final[Replies] = {
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

UNKNOWN_CLASS_ASKED: Final = Reply(BAD, "Invalid resource class in resources parameter: {error}")
GENERATION_CHANGED: Final = Reply(
    CONFLICT,
    "Resource provider's generation already changed. Please update the generation and try again.",
    CONCURRENT_UPDATE,
)
MISSING_PROVIDER_SAID_TWICE: Final = Reply(MISSING, "No resource provider with uuid {uuid} found: {error}")


def translate(error: model.MoorageError, own: Replies, facts: Mapping[str, object]) -> WireError | None:
    """The answer to ``error``; None for an unexpected error. ``own`` are the operation's own replies."""
    reply = next(
        (table[cls] for cls in type(error).__mro__ for table in (own, REPLIES) if cls in table),
        None,
    )
    if reply is None:
        return None
    error = _as_spelled(error, facts)
    values = {item.name: getattr(error, item.name) for item in fields(error)}
    message = reply.text.format(error=_words(error, values), call=facts, **values)
    unavailable = isinstance(error, model.UnavailableError)
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)} if unavailable else {}
    return WireError(reply.status, message, reply.code, headers)


def _as_spelled(error: model.MoorageError, facts: Mapping[str, object]) -> model.MoorageError:
    """``error`` with the generation as the body of the request spells it. wire: 5.0 stays 5.0."""
    spelled: Any
    if isinstance(error, model.ConsumerGenerationError):
        spelled = _part(facts, CONSUMER_BODIES, error.consumer).get("consumer_generation")
    elif isinstance(error, model.StaleGenerationError):
        spelled = _part(facts, PROVIDER_BODIES, error.provider).get("resource_provider_generation")
    else:
        return error
    return replace(error, given=spelled) if spelled == error.given else error


def _part(facts: Mapping[str, Any], bodies: str, uuid: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = facts[bodies].get(uuid, {}) if bodies in facts else {}
    return found


def _words(error: model.MoorageError, values: Mapping[str, object]) -> str:
    compose = _COMPOSED.get(type(error))
    if compose is not None:
        return compose(error)
    template = WORDS.get(type(error))
    return str(error) if template is None else template.format(**values)
