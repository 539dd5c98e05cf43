"""Schemas of the answers of all operations at the newest version.

Source: the API reference, and ``encode``; tests validate its bodies by these schemas. An object has only the
properties that are listed; ``#/components/schemas/…`` refers from one schema to another, as in the OpenAPI
document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from moorage.api.http.validation import Schema
from moorage.api.placement import errors, schemas, versions
from moorage.api.placement.schemas import MAX_NAME, MAX_PROVIDER_NAME, MAX_RATIO, MAX_UUID
from moorage.model.values import MAX_INT

AnswerSchemas = Mapping[int, Schema | None]
"""By status, the schema of the body; None where there is no body."""

COMPONENTS_PATH: Final = "#/components/schemas/"

CODES: Final[Mapping[str, str]] = {
    errors.UNDEFINED: "No more specific code applies: see the status and the message.",
    errors.INVENTORY_IN_USE: "Inventory that the request removes is still allocated to consumers.",
    errors.CONCURRENT_UPDATE: (
        "The state has changed since the client last looked. Read it again, then decide again."
    ),
    errors.DUPLICATE_NAME: "The name, or the UUID, belongs to another resource provider.",
    errors.PROVIDER_IN_USE: "The resource provider still has allocations.",
    errors.CANNOT_DELETE_PARENT: "The resource provider still has children.",
    errors.PROVIDER_NOT_FOUND: "A resource provider that the body names does not exist.",
    errors.DUPLICATE_KEY: "A query parameter that may be given once was given again.",
    errors.BAD_VALUE: "The value of a query parameter contradicts the rest of the request.",
    errors.MISSING_VALUE: "A query parameter that is needed is missing.",
}
"""Every code of an error (since 1.23), with its meaning for a client."""


def reference(name: str) -> Schema:
    """A reference to the schema ``name`` in ``COMPONENTS``."""
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
# A consumer's UUID is kept as the client wrote it, and old databases contain malformed ones.
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
    # wire: a consumer that holds nothing is shown without any field, even without its project.
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
                    # The error names the supported versions if the requested version is not supported. After
                    # such a version, or a malformed one, the service does not know whether the client
                    # understands codes.
                    optional=("code", "max_version", "min_version"),
                )
            )
            | {"minItems": 1, "maxItems": 1}
        }
    ),
    # wire: errors have the usual form only after the request is authenticated.
    "Unauthorised": _record(
        {"message": {"type": "string"}, "code": {"type": "string"}, "title": {"type": "string"}}
    ),
}
"""Schemas by name. Operations refer to those of answers; refusals use the last two."""

NO_CONTENT: Final[AnswerSchemas] = {204: None}
"""The answers of an operation that shows nothing."""
