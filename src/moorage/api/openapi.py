"""The OpenAPI 3.1 document of the newest version, made from the tables that the service runs on.

Source: OpenAPI Specification 3.1.0. Schemas there are JSON Schema 2020-12, as ours are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from moorage.api import foreseen, versions
from moorage.api.accept import JSON
from moorage.api.answers import ANSWERS, COMPONENTS, Schema, reference
from moorage.api.exchange import Answer, Call
from moorage.api.foreseen import Refusal
from moorage.api.render import title
from moorage.api.routes import Operation

PATH: Final = "/openapi.json"

SPECIFICATION: Final = "3.1.0"
TOKEN: Final = "token"  # noqa: S105 - the name of a scheme
VERSION_PARAMETER: Final = "Version"

SUMMARIES: Final[Mapping[str, str]] = {
    "GET /": "Show which versions there are",
    "GET /resource_classes": "List resource classes",
    "POST /resource_classes": "Create a resource class",
    "GET /resource_classes/{name}": "Show a resource class",
    "PUT /resource_classes/{name}": "Create a resource class unless it is there",
    "DELETE /resource_classes/{name}": "Delete a resource class",
    "GET /resource_providers": "List resource providers",
    "POST /resource_providers": "Create a resource provider",
    "GET /resource_providers/{uuid}": "Show a resource provider",
    "PUT /resource_providers/{uuid}": "Rename a resource provider or give it another parent",
    "DELETE /resource_providers/{uuid}": "Delete a resource provider and all that hangs on it",
    "GET /resource_providers/{uuid}/inventories": "List the inventories of a provider",
    "POST /resource_providers/{uuid}/inventories": "Add an inventory to a provider",
    "PUT /resource_providers/{uuid}/inventories": "Set all inventories of a provider",
    "DELETE /resource_providers/{uuid}/inventories": "Delete all inventories of a provider",
    "GET /resource_providers/{uuid}/inventories/{resource_class}": "Show an inventory",
    "PUT /resource_providers/{uuid}/inventories/{resource_class}": "Change an inventory",
    "DELETE /resource_providers/{uuid}/inventories/{resource_class}": "Delete an inventory",
    "GET /resource_providers/{uuid}/usages": "Show how much of a provider is used",
    "GET /resource_providers/{uuid}/aggregates": "List the aggregates of a provider",
    "PUT /resource_providers/{uuid}/aggregates": "Set the aggregates of a provider",
    "GET /resource_providers/{uuid}/allocations": "List what consumers hold of a provider",
    "GET /resource_providers/{uuid}/traits": "List the traits of a provider",
    "PUT /resource_providers/{uuid}/traits": "Set the traits of a provider",
    "DELETE /resource_providers/{uuid}/traits": "Take all traits from a provider",
    "POST /allocations": "Set what several consumers hold, all or nothing",
    "GET /allocations/{consumer_uuid}": "Show what a consumer holds",
    "PUT /allocations/{consumer_uuid}": "Set what a consumer holds",
    "DELETE /allocations/{consumer_uuid}": "Release all that a consumer holds",
    "GET /allocation_candidates": "Find providers that can serve a request",
    "GET /traits": "List traits",
    "GET /traits/{name}": "See whether there is a trait",
    "PUT /traits/{name}": "Create a trait unless it is there",
    "DELETE /traits/{name}": "Delete a trait",
    "GET /usages": "Show what a project uses, by type of consumer",
    "POST /reshaper": "Change inventories and move allocations at once",
}

FIELDS: Final[Mapping[str, str]] = {
    "uuid": "UUID of a resource provider.",
    "resource_class": "Name of a resource class.",
    "name": "Name of a resource class or trait.",
    "consumer_uuid": "UUID of a consumer.",
}
"""Fields of paths."""

PARAMETERS: Final[Mapping[str, str]] = {
    "name": "The provider of this name; for traits `in:NAME,NAME` or `startswith:PREFIX`.",
    "uuid": "The provider with this UUID.",
    "in_tree": "Providers of the tree that the provider with this UUID is in.",
    "resources": "Amounts that have to be free: `CLASS:AMOUNT,CLASS:AMOUNT`.",
    "required": "Traits that have to be there (`TRAIT`, or `in:TRAIT,TRAIT` for one of several) or must not "
    "(`!TRAIT`), separated by commas. Repeated ones all have to hold.",
    "member_of": "Aggregates to be in, `UUID` or `in:UUID,UUID` for one of several, or with `!` before it "
    "not to be in. Repeated ones all have to hold.",
    "root_required": "Traits that the root of the tree must have, or with `!` must not have.",
    "same_subtree": "Suffixes of groups whose providers have to be in one subtree, separated by commas.",
    "group_policy": "Whether suffixed groups may share a provider; needed if there are several.",
    "limit": "How many candidates to answer at most.",
    "associated": "`true`: traits that some provider has; `false`: traits that none has.",
    "project_id": "Project whose consumers count.",
    "user_id": "User whose consumers count.",
    "consumer_type": "Type of the consumers that count; `all` puts all of them in one group, `unknown` "
    "asks for those without a type.",
}
"""Parameters of query strings."""

REPEATED: Final = frozenset({"member_of", "required", "same_subtree"})
"""Parameters that may be given several times, each with a meaning of its own."""

GROUPS: Final = (
    "Parameters of request groups, by name. Without a suffix they describe the unsuffixed group, whose "
    "classes may come from several providers of a tree; those with the same suffix describe a group that "
    "one provider has to serve."
)

_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openstack-api-version": {
        "description": "The version that the answer keeps to.",
        "schema": {"type": "string", "pattern": "^placement 1\\.[0-9]+$"},
    },
    "x-openstack-request-id": {
        "description": "Names the request in the log of the service.",
        "schema": {"type": "string", "pattern": "^req-[0-9a-f-]{36}$"},
    },
    "location": {
        "description": "Where the new thing is.",
        "schema": {"type": "string", "format": "uri"},
    },
    "retry-after": {
        "description": "Seconds to wait before another try.",
        "schema": {"type": "integer", "minimum": 0},
    },
}

_FIELD: Final = re.compile(r"{(\w+)}")


def show(call: Call) -> Answer:
    """The document, with the path that the service is mounted under."""
    return Answer(body={**document(), "servers": [{"url": call.prefix or "/"}]})


METHODS: Final[Mapping[str, Operation]] = {"GET": Operation(show, None)}
"""Open to all, like ``/``: the document says nothing about what the service holds."""


@cache
def document() -> Mapping[str, Any]:
    """The whole document but for ``servers``."""
    paths: dict[str, dict[str, Any]] = {}
    for name, method, path, operation in foreseen.operations():
        item = paths.setdefault(path, _path_item(path))
        item[method.lower()] = _operation(name, path, operation)
    return {
        "openapi": SPECIFICATION,
        "info": {
            "title": "Moorage",
            "description": (
                "The OpenStack Placement API. Older versions differ; a client asks for one by a header."
            ),
            "version": versions.spelled(versions.NEWEST),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "security": [{TOKEN: []}],
        "paths": paths,
        "components": {
            "schemas": dict(COMPONENTS),
            "headers": dict(_HEADERS),
            "parameters": {VERSION_PARAMETER: _version_parameter()},
            "securitySchemes": {TOKEN: {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _version_parameter() -> Schema:
    newest = versions.spelled(versions.NEWEST)
    return {
        "name": "OpenStack-API-Version",
        "in": "header",
        "description": (
            f"The version to speak. What is said here holds for {newest}; without this header the service "
            f"speaks {versions.spelled(versions.OLDEST)}."
        ),
        "required": True,
        "schema": {"type": "string", "const": f"{versions.SERVICE_TYPE} {newest}"},
    }


def _path_item(path: str) -> dict[str, Any]:
    fields: list[Schema] = [
        {
            "name": field,
            "in": "path",
            "required": True,
            "description": FIELDS[field],
            "schema": {"type": "string", "minLength": 1},
        }
        for field in _FIELD.findall(path)
    ]
    return {"parameters": fields} if fields else {}


def _operation(name: str, path: str, operation: Operation) -> Schema:
    handler = operation.handler
    shown: Schema = {
        "operationId": f"{handler.__module__.rpartition('.')[2]}_{handler.__name__.strip('_')}",
        "summary": SUMMARIES[name],
        "tags": [path.split("/")[1] or "versions"],
        "parameters": [*_parameters(operation)],
    }
    if operation.rule is None:
        shown["security"] = []
    else:
        shown["parameters"].append({"$ref": f"#/components/parameters/{VERSION_PARAMETER}"})
        shown["x-policy-rule"] = operation.rule
    body = None if operation.body is None else operation.body.at(versions.NEWEST)
    if body is not None:
        shown["requestBody"] = {"required": True, "content": {JSON: {"schema": body.schema}}}
    shown["responses"] = _responses(name, operation)
    return shown


def _parameters(operation: Operation) -> Iterable[Schema]:
    """A query string's parameters.

    Those whose names are patterns become one object, of which each property is a parameter.
    """
    if operation.query is None:
        return
    schema = operation.query.at(versions.NEWEST).schema
    for name, value in schema["properties"].items():
        yield {
            "name": name,
            "in": "query",
            "description": PARAMETERS[name],
            "required": name in schema.get("required", ()),
            "schema": _values(name, value),
        }
    patterns: Mapping[str, Schema] = schema.get("patternProperties", {})
    if patterns:
        kinds = {pattern: pattern.lstrip("^").partition("(")[0] for pattern in patterns}
        yield {
            "name": "groups",
            "in": "query",
            "description": GROUPS,
            "required": True,
            "style": "form",
            "explode": True,
            "schema": {
                "type": "object",
                "minProperties": 1,
                "patternProperties": {
                    pattern: _values(kinds[pattern], value) | {"description": PARAMETERS[kinds[pattern]]}
                    for pattern, value in patterns.items()
                },
            },
        }


def _values(name: str, value: Schema) -> Schema:
    return {"type": "array", "items": value, "minItems": 1} if name in REPEATED else value


def _responses(name: str, operation: Operation) -> Schema:
    responses: Schema = {}
    for status, schema in ANSWERS[name].items():
        headers = _header_references("openstack-api-version", "x-openstack-request-id")
        if status == HTTPStatus.CREATED or name == "POST /resource_providers":
            headers |= _header_references("location")
        responses[str(status)] = {"description": title(status), "headers": headers}
        if schema is not None:
            responses[str(status)]["content"] = {JSON: {"schema": schema}}
    for refused, refusals in foreseen.at_newest(name, operation).items():
        responses[str(refused.value)] = _refused(refused, refusals)
    return responses


def _header_references(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refused(status: HTTPStatus, refusals: list[Refusal]) -> Schema:
    headers = _header_references("x-openstack-request-id")
    if status == HTTPStatus.UNAUTHORIZED:
        schema = reference("Unauthorised")
    else:
        codes = sorted({refusal.code for refusal in refusals})
        narrowed = {"properties": {"errors": {"items": {"properties": {"code": {"enum": codes}}}}}}
        schema = {"allOf": [reference("Errors"), narrowed]}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers |= _header_references("retry-after")
    lines = dict.fromkeys(_line(status, refusal) for refusal in refusals)
    return {
        "description": "\n".join([f"{title(status)}:", "", *lines]),
        "headers": headers,
        "content": {JSON: {"schema": schema}},
    }


def _line(status: HTTPStatus, refusal: Refusal) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return f"- {refusal.message}"
    return f"- `{refusal.code}`: {refusal.message}"
