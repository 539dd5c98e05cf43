"""What every operation answers at the newest version: the schemas of its bodies, by status.

Source: the API reference, and ``encode``, whose bodies the tests hold against these schemas. An
object has the properties that are listed and no others; ``#/components/schemas/…`` leads from
one schema to another, as the OpenAPI document wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moorage.api import schemas, versions, wire_error
from moorage.api.schemas import MAX_NAME, MAX_PROVIDER_NAME, MAX_RATIO, MAX_UUID
from moorage.model.values import MAX_INT

Schema = dict[str, Any]

AnswerSchemas = Mapping[int, Schema | None]
"""By status, the schema of the body; None where there is no body."""

COMPONENTS_PATH: Final = "#/components/schemas/"

CODES: Final[Mapping[str, str]] = {
    wire_error.UNDEFINED: "Nothing better is known: the status and the words have to do.",
    wire_error.INVENTORY_IN_USE: "Inventory that is to go is still allocated to consumers.",
    wire_error.CONCURRENT_UPDATE: (
        "The state has changed since the client last looked. Read it again, then decide again."
    ),
    wire_error.DUPLICATE_NAME: "The name, or the UUID, belongs to another resource provider.",
    wire_error.PROVIDER_IN_USE: "The resource provider still has allocations.",
    wire_error.CANNOT_DELETE_PARENT: "The resource provider still has children.",
    wire_error.PROVIDER_NOT_FOUND: "A resource provider that the body names does not exist.",
    wire_error.DUPLICATE_KEY: "A query parameter that may be given once was given again.",
    wire_error.BAD_VALUE: "The value of a query parameter contradicts the rest of the request.",
    wire_error.MISSING_VALUE: "A query parameter that is needed is missing.",
}
"""Every code of an error (since 1.23), with what it tells a client."""


def reference(name: str) -> Schema:
    """A schema that stands under ``name`` in ``COMPONENTS``."""
    return {"$ref": f"{COMPONENTS_PATH}{name}"}


def _record(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _map(keys: Schema, value: Schema) -> Schema:
    return {"type": "object", "propertyNames": keys, "additionalProperties": value}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _set(item: Schema) -> Schema:
    return _list(item) | {"uniqueItems": True}


def _amount(minimum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": MAX_INT}


_UUID: Final[Schema] = {"type": "string", "format": "uuid"}
_UUID_OR_NULL: Final[Schema] = {"type": ["string", "null"], "format": "uuid"}
_NAME: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_NAME,
    "pattern": schemas.NAME,
}
_OWNER: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
# A consumer's UUID is kept as it was given, and old databases have some that are none.
_CONSUMER: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_UUID}
_GENERATION: Final[Schema] = {"type": "integer", "minimum": 0}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
# The names of consumer types, and "unknown" and "all", which are groups of consumers.
_TYPE_SHOWN: Final[Schema] = {"type": "string", "pattern": f"{schemas.NAME}|^(unknown|all)$"}
_GROUP_SUFFIX: Final[Schema] = {"type": "string", "pattern": f"^({schemas.GROUP_NAME})?$"}
_REQUEST_ID: Final[Schema] = {"type": "string", "pattern": "^req-[0-9a-f-]{36}$"}


def _link(*relations: str) -> Schema:
    return _record({"rel": {"type": "string", "enum": list(relations)}, "href": {"type": "string"}})


_INVENTORY: Final[Schema] = {
    "total": _amount(1),
    "reserved": _amount(0),
    "min_unit": _amount(1),
    "max_unit": _amount(1),
    "step_size": _amount(1),
    "allocation_ratio": {"type": "number", "minimum": -MAX_RATIO, "maximum": MAX_RATIO},
}
_OWN_GENERATION: Final[Schema] = {"resource_provider_generation": _GENERATION}

_CONSUMER_HOLDS: Final = _record(
    {
        "allocations": _map(_UUID, _record({"resources": reference("Resources"), "generation": _GENERATION})),
        "project_id": _OWNER,
        "user_id": _OWNER,
        "consumer_generation": _GENERATION,
        "consumer_type": _TYPE_SHOWN,
    },
    optional=("project_id", "user_id", "consumer_generation", "consumer_type"),
) | {
    # wire: of a consumer that holds nothing nothing is shown, not even whose it is.
    "oneOf": [
        {"properties": {"allocations": {"maxProperties": 0}}, "maxProperties": 1},
        {
            "properties": {"allocations": {"minProperties": 1}},
            "required": ["project_id", "user_id", "consumer_generation", "consumer_type"],
        },
    ]
}

COMPONENTS: Final[Mapping[str, Schema]] = {
    "Versions": _record(
        {
            "versions": _list(
                _record(
                    {
                        "id": {"const": f"v{versions.spelled(versions.OLDEST)}"},
                        "min_version": {"const": versions.spelled(versions.OLDEST)},
                        "max_version": {"const": versions.spelled(versions.NEWEST)},
                        "status": {"const": "CURRENT"},
                        "links": _list(_link("self")),
                    }
                )
            )
        }
    ),
    "Provider": _record(
        {
            "uuid": _UUID,
            "name": {"type": "string", "maxLength": MAX_PROVIDER_NAME},
            "generation": _GENERATION,
            "parent_provider_uuid": _UUID_OR_NULL,
            "root_provider_uuid": _UUID,
            "links": _list(_link("self", "inventories", "usages", "aggregates", "traits", "allocations")),
        }
    ),
    "Providers": _record({"resource_providers": _list(reference("Provider"))}),
    "Inventory": _record(_INVENTORY),
    "InventoryOfProvider": _record(_INVENTORY | _OWN_GENERATION),
    "Inventories": _record(_OWN_GENERATION | {"inventories": _map(_NAME, reference("Inventory"))}),
    "Aggregates": _record(
        {"aggregates": _set({"type": "string", "minLength": 1, "maxLength": MAX_UUID})} | _OWN_GENERATION
    ),
    "TraitsOfProvider": _record({"traits": _set(_NAME)} | _OWN_GENERATION),
    "Traits": _record({"traits": _set(_NAME)}),
    "ResourceClass": _record({"name": _NAME, "links": _list(_link("self"))}),
    "ResourceClasses": _record({"resource_classes": _list(reference("ResourceClass"))}),
    "Resources": _map(_NAME, _amount(1)) | {"minProperties": 1},
    "UsagesOfProvider": _record(_OWN_GENERATION | {"usages": _map(_NAME, _COUNT)}),
    "UsagesOfProject": _record(
        {
            "usages": _map(
                _TYPE_SHOWN,
                {
                    "type": "object",
                    "properties": {"consumer_count": {"type": "integer", "minimum": 1}},
                    "required": ["consumer_count"],
                    "additionalProperties": _COUNT,
                },
            )
        }
    ),
    "AllocationsOfProvider": _record(
        {
            "allocations": _map(
                _CONSUMER,
                _record({"resources": reference("Resources"), "consumer_generation": _GENERATION}),
            )
        }
        | _OWN_GENERATION
    ),
    "AllocationsOfConsumer": _CONSUMER_HOLDS,
    "Candidates": _record(
        {
            "allocation_requests": _list(
                _record(
                    {
                        "allocations": _map(_UUID, _record({"resources": reference("Resources")}))
                        | {"minProperties": 1},
                        "mappings": _map(_GROUP_SUFFIX, _set(_UUID) | {"minItems": 1}),
                    }
                )
            ),
            "provider_summaries": _map(
                _UUID,
                _record(
                    {
                        "resources": _map(_NAME, _record({"capacity": {"type": "integer"}, "used": _COUNT})),
                        "traits": _set(_NAME),
                        "parent_provider_uuid": _UUID_OR_NULL,
                        "root_provider_uuid": _UUID,
                    }
                ),
            ),
        }
    ),
    "Errors": _record(
        {
            "errors": _list(
                _record(
                    {
                        "status": {"type": "integer", "minimum": 400, "maximum": 599},
                        "title": {"type": "string"},
                        "detail": {"type": "string"},
                        "code": {"type": "string", "enum": list(CODES)},
                        "request_id": _REQUEST_ID,
                        "max_version": {"type": "string"},
                        "min_version": {"type": "string"},
                    },
                    # The versions are told of if the version asked for is unknown; then, and if a
                    # version makes no sense, it is not known whether the client knows of codes.
                    optional=("code", "max_version", "min_version"),
                )
            )
            | {"minItems": 1, "maxItems": 1}
        }
    ),
    # wire: who asks has to be known before an error has the usual form.
    "Unauthorised": _record(
        {"message": {"type": "string"}, "code": {"type": "string"}, "title": {"type": "string"}}
    ),
}
"""Schemas by name. Those of answers are used in ``ANSWERS``, the last two for refusals."""

_SHOWN = reference
_NO_BODY: Final[AnswerSchemas] = {204: None}

ANSWERS: Final[Mapping[str, AnswerSchemas]] = {
    "GET /": {200: _SHOWN("Versions")},
    "GET /resource_classes": {200: _SHOWN("ResourceClasses")},
    "POST /resource_classes": {201: None},
    "GET /resource_classes/{name}": {200: _SHOWN("ResourceClass")},
    "PUT /resource_classes/{name}": {201: None, 204: None},
    "DELETE /resource_classes/{name}": _NO_BODY,
    "GET /resource_providers": {200: _SHOWN("Providers")},
    "POST /resource_providers": {200: _SHOWN("Provider")},
    "GET /resource_providers/{uuid}": {200: _SHOWN("Provider")},
    "PUT /resource_providers/{uuid}": {200: _SHOWN("Provider")},
    "DELETE /resource_providers/{uuid}": _NO_BODY,
    "GET /resource_providers/{uuid}/inventories": {200: _SHOWN("Inventories")},
    "POST /resource_providers/{uuid}/inventories": {201: _SHOWN("InventoryOfProvider")},
    "PUT /resource_providers/{uuid}/inventories": {200: _SHOWN("Inventories")},
    "DELETE /resource_providers/{uuid}/inventories": _NO_BODY,
    "GET /resource_providers/{uuid}/inventories/{resource_class}": {200: _SHOWN("InventoryOfProvider")},
    "PUT /resource_providers/{uuid}/inventories/{resource_class}": {200: _SHOWN("InventoryOfProvider")},
    "DELETE /resource_providers/{uuid}/inventories/{resource_class}": _NO_BODY,
    "GET /resource_providers/{uuid}/usages": {200: _SHOWN("UsagesOfProvider")},
    "GET /resource_providers/{uuid}/aggregates": {200: _SHOWN("Aggregates")},
    "PUT /resource_providers/{uuid}/aggregates": {200: _SHOWN("Aggregates")},
    "GET /resource_providers/{uuid}/allocations": {200: _SHOWN("AllocationsOfProvider")},
    "GET /resource_providers/{uuid}/traits": {200: _SHOWN("TraitsOfProvider")},
    "PUT /resource_providers/{uuid}/traits": {200: _SHOWN("TraitsOfProvider")},
    "DELETE /resource_providers/{uuid}/traits": _NO_BODY,
    "POST /allocations": _NO_BODY,
    "GET /allocations/{consumer_uuid}": {200: _SHOWN("AllocationsOfConsumer")},
    "PUT /allocations/{consumer_uuid}": _NO_BODY,
    "DELETE /allocations/{consumer_uuid}": _NO_BODY,
    "GET /allocation_candidates": {200: _SHOWN("Candidates")},
    "GET /traits": {200: _SHOWN("Traits")},
    "GET /traits/{name}": _NO_BODY,
    "PUT /traits/{name}": {201: None, 204: None},
    "DELETE /traits/{name}": _NO_BODY,
    "GET /usages": {200: _SHOWN("UsagesOfProject")},
    "POST /reshaper": _NO_BODY,
}
"""What comes back when all is well, by operation."""
