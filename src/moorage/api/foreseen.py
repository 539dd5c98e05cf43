"""Which refusals each operation can meet: the table behind the reference and the OpenAPI document.

The errors of the model are listed by operation; how each of them is told stands in ``errors``
alone, and what any request can be refused for follows from the row in the table of routes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from http import HTTPStatus
from typing import Any, Final

from moorage.api import errors, limits, versions
from moorage.api.routes import ROUTES, Operation
from moorage.api.wire_error import BAD_VALUE, DUPLICATE_KEY, MISSING_VALUE, UNDEFINED
from moorage.model import errors as model
from moorage.model.valueclass import valueclass

ErrorType = type[model.MoorageError]

NEVER: Final = versions.NEWEST + 1


@valueclass(frozen=True, slots=True)
class Foreseen:
    """An error of the model that an operation can meet at versions below ``before``."""

    error: ErrorType
    before: int = NEVER


@valueclass(frozen=True, slots=True)
class Refusal:
    """One way to be refused. ``reason`` is the name of the model's error, "" for one of the form.

    ``message`` has names in braces where the facts of a request go.
    """

    status: int
    code: str
    message: str
    reason: str = ""
    before: int = NEVER


def _any(*kinds: ErrorType) -> tuple[Foreseen, ...]:
    return tuple(map(Foreseen, kinds))


def _until(before: int, *kinds: ErrorType) -> tuple[Foreseen, ...]:
    return tuple(Foreseen(kind, before) for kind in kinds)


_NO_PROVIDER: Final = _any(model.ProviderNotFoundError)
_CLAIMS: Final = _any(
    model.ConsumerGenerationError,
    model.AllocationProviderNotFoundError,
    model.ResourceClassNotFoundError,
    model.NoInventoryError,
    model.UnitViolatedError,
    model.CapacityExceededError,
)
_UNKNOWN_NAMES: Final = _any(model.ResourceClassNotFoundError, model.TraitNotFoundError)
_CHANGED_INVENTORY: Final = _NO_PROVIDER + _any(
    model.StaleGenerationError, model.ResourceClassNotFoundError, model.InvalidCapacityError
)
_SERVICE_AWAY: Final = _any(model.UnavailableError, model.OutcomeUnknownError)

FORESEEN: Final[Mapping[str, tuple[Foreseen, ...]]] = {
    "GET /": (),
    "GET /resource_classes": (),
    "POST /resource_classes": _any(model.ResourceClassExistsError),
    "GET /resource_classes/{name}": _any(model.ResourceClassNotFoundError),
    "PUT /resource_classes/{name}": _until(
        versions.RESOURCE_CLASS_WITHOUT_BODY,
        model.ResourceClassNotFoundError,
        model.StandardResourceClassError,
        model.ResourceClassExistsError,
    ),
    "DELETE /resource_classes/{name}": _any(
        model.ResourceClassNotFoundError,
        model.StandardResourceClassError,
        model.ResourceClassInUseError,
    ),
    "GET /resource_providers": _UNKNOWN_NAMES,
    "POST /resource_providers": _any(
        model.NameMissingError,
        model.ParentIsSelfError,
        model.ParentNotFoundError,
        model.ProviderExistsError,
    ),
    "GET /resource_providers/{uuid}": _NO_PROVIDER,
    "DELETE /resource_providers/{uuid}": _NO_PROVIDER
    + _any(model.ProviderHasChildrenError, model.ProviderInUseError),
    "PUT /resource_providers/{uuid}": _NO_PROVIDER
    + _any(model.ParentNotFoundError, model.TreeLoopError, model.ProviderExistsError)
    + _until(versions.REPARENTING, model.ReparentRefusedError, model.UnparentRefusedError),
    "GET /resource_providers/{uuid}/inventories": _NO_PROVIDER,
    "POST /resource_providers/{uuid}/inventories": _NO_PROVIDER
    + _any(
        model.ResourceClassNotFoundError,
        model.InvalidCapacityError,
        model.InventoryExistsError,
    ),
    "PUT /resource_providers/{uuid}/inventories": _CHANGED_INVENTORY + _any(model.InventoryInUseError),
    "DELETE /resource_providers/{uuid}/inventories": _NO_PROVIDER + _any(model.InventoryInUseError),
    "GET /resource_providers/{uuid}/inventories/{resource_class}": _NO_PROVIDER
    + _any(model.InventoryNotFoundError),
    "PUT /resource_providers/{uuid}/inventories/{resource_class}": _CHANGED_INVENTORY
    + _any(model.InventoryNotFoundError),
    "DELETE /resource_providers/{uuid}/inventories/{resource_class}": _NO_PROVIDER
    + _any(
        model.ResourceClassNotFoundError,
        model.InventoryNotFoundError,
        model.InventoryInUseError,
    ),
    "GET /resource_providers/{uuid}/usages": _NO_PROVIDER,
    "GET /resource_providers/{uuid}/aggregates": _NO_PROVIDER,
    "PUT /resource_providers/{uuid}/aggregates": _NO_PROVIDER + _any(model.StaleGenerationError),
    "GET /resource_providers/{uuid}/allocations": _NO_PROVIDER,
    "POST /allocations": _CLAIMS,
    "GET /allocations/{consumer_uuid}": (),
    "PUT /allocations/{consumer_uuid}": _CLAIMS,
    "DELETE /allocations/{consumer_uuid}": _any(model.AllocationsNotFoundError),
    "GET /allocation_candidates": (*_UNKNOWN_NAMES, *_any(model.SearchLimitError)),
    "GET /traits": (),
    "GET /traits/{name}": _any(model.TraitNotFoundError),
    "PUT /traits/{name}": (),
    "DELETE /traits/{name}": _any(model.TraitNotFoundError, model.StandardTraitError, model.TraitInUseError),
    "GET /resource_providers/{uuid}/traits": _NO_PROVIDER,
    "PUT /resource_providers/{uuid}/traits": _NO_PROVIDER
    + _any(model.StaleGenerationError, model.TraitNotFoundError),
    "DELETE /resource_providers/{uuid}/traits": _NO_PROVIDER,
    "GET /usages": (),
    "POST /reshaper": _any(
        model.ReshapeProviderNotFoundError, model.StaleGenerationError, model.InventoryInUseError
    )
    + _CLAIMS,
}
"""Errors of the model by operation. Besides, whatever asks the service can find it away."""

_TOO_MANY: Final = Refusal(400, UNDEFINED, "The request names … …, and at most … are taken.")

_BAD_NAME: Final = (Refusal(400, UNDEFINED, "The name in the path is none that a client may create."),)

OF_GRAMMAR: Final[Mapping[str, tuple[Refusal, ...]]] = {
    "GET /allocation_candidates": (
        Refusal(400, DUPLICATE_KEY, "Query parameter 'root_required' may be specified only once."),
        Refusal(400, BAD_VALUE, "Conflicting required and forbidden traits found in …"),
        Refusal(400, BAD_VALUE, "… should be specified in `same_subtree` …"),
        Refusal(400, MISSING_VALUE, "There must be at least one resources or resources[$S] parameter."),
        _TOO_MANY,
    ),
    "GET /resource_providers": (_TOO_MANY,),
    **dict.fromkeys(limits.BODY_COUNTS, (_TOO_MANY,)),
    "PUT /traits/{name}": _BAD_NAME,
    "PUT /resource_classes/{name}": _BAD_NAME,
}
"""What an operation's own reading of a request refuses, beyond its schemas."""


class _Facts(dict[str, object]):
    """Any fact of a request, as its own name in braces."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def example(kind: ErrorType) -> model.MoorageError:
    """An error of ``kind`` whose fields have their names in braces as values."""
    values: dict[str, Any] = {item.name: f"{{{item.name}}}" for item in fields(kind)}
    return kind(**values)


def _told(foreseen: Foreseen, name: str) -> Refusal:
    told = errors.translate(example(foreseen.error), name, _Facts())
    assert told is not None, f"{foreseen.error.__name__} has no answer"
    return Refusal(told.status, told.code, told.message, foreseen.error.__name__, foreseen.before)


def _of_form(operation: Operation) -> Iterator[Refusal]:
    """What follows from a row of the table of routes, in the order in which it is checked."""
    yield Refusal(414, UNDEFINED, "Path and query string must not be longer than … bytes.")
    yield Refusal(431, UNDEFINED, "All headers together must not be longer than … bytes.")
    if operation.rule is not None:
        yield Refusal(401, UNDEFINED, "The token is missing or not valid.")
    yield Refusal(400, UNDEFINED, "Invalid microversion: …, or headers that contradict each other.")
    yield Refusal(406, UNDEFINED, "Invalid microversion: Unacceptable version header: …")
    if operation.sends_json:
        yield Refusal(406, UNDEFINED, "Only application/json is provided")
    if _takes_body(operation):
        yield Refusal(415, UNDEFINED, "The media type … is not supported, use application/json")
    if operation.rule is not None:
        yield Refusal(403, UNDEFINED, f"Policy does not allow {operation.rule} to be performed.")
    if operation.check_path is not None:
        yield Refusal(400, UNDEFINED, "A UUID in the path is none.")
    if _takes_body(operation):
        yield Refusal(413, UNDEFINED, "The request body must not be longer than … bytes.")
        yield Refusal(408, UNDEFINED, "The request body did not arrive in time.")
        yield Refusal(400, UNDEFINED, "Malformed JSON: …")
        yield Refusal(400, UNDEFINED, "JSON does not validate: …")
    if operation.query is not None:
        yield Refusal(400, UNDEFINED, "Invalid query string parameters: …")
    yield Refusal(500, UNDEFINED, "An unexpected error occurred. The log has more, by the request id.")


def _takes_body(operation: Operation) -> bool:
    return operation.body is not None and operation.body.at(versions.NEWEST) is not None


def operations() -> Iterator[tuple[str, str, str, Operation]]:
    """(Name, method, path, row) of every operation, in the order of the table of routes.

    The name is ``METHOD /path``, the key of the other tables.
    """
    for path, methods in ROUTES.items():
        for method, operation in methods.items():
            yield f"{method} {path}", method, path, operation


def of_model(name: str) -> list[Refusal]:
    """How the errors of the model are told by an operation, at any version."""
    away = _SERVICE_AWAY if name != "GET /" else ()
    return [_told(foreseen, name) for foreseen in (*FORESEEN[name], *away)]


def at_newest(name: str, operation: Operation) -> dict[HTTPStatus, list[Refusal]]:
    """All refusals of an operation at the newest version, by status."""
    found: dict[HTTPStatus, list[Refusal]] = {}
    for refusal in (*_of_form(operation), *OF_GRAMMAR.get(name, ()), *of_model(name)):
        if refusal.before == NEVER:
            found.setdefault(HTTPStatus(refusal.status), []).append(refusal)
    return dict(sorted(found.items()))
