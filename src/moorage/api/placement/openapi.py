"""The OpenAPI 3.1 document of the newest version, made from the tables that the service itself uses.

Source: OpenAPI Specification 3.1.0. Its schemas are JSON Schema 2020-12, as those of the service are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from moorage.api.http.exchange import JSON, Answer
from moorage.api.http.render import title
from moorage.api.http.validation import Schema
from moorage.api.placement import refusals, versions
from moorage.api.placement.answers import COMPONENTS, reference
from moorage.api.placement.call import Call
from moorage.api.placement.operation import Operation, Refusal
from moorage.api.placement.routes import OPERATIONS

PATH: Final = "/openapi.json"

SPECIFICATION: Final = "3.1.0"
TOKEN: Final = "token"  # noqa: S105 - the name of a scheme
VERSION_PARAMETER: Final = "Version"

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
    "resources": "Amounts that must be free: `CLASS:AMOUNT,CLASS:AMOUNT`.",
    "required": "Traits that are required (`TRAIT`, or `in:TRAIT,TRAIT` for one of several) or forbidden "
    "(`!TRAIT`), separated by commas. All repeated parameters must hold.",
    "member_of": "Required aggregates: `UUID`, or `in:UUID,UUID` for one of several. A `!` before it forbids "
    "them. All repeated parameters must hold.",
    "root_required": "Traits that the root of the tree must have, or with `!` must not have.",
    "same_subtree": "Suffixes of groups whose providers must be in one subtree, separated by commas.",
    "group_policy": "Whether suffixed groups may share a provider; needed if there are several.",
    "limit": "Largest number of candidates in the answer.",
    "associated": "`true`: traits of at least one provider; `false`: traits of no provider.",
    "project_id": "Project whose consumers count.",
    "user_id": "User whose consumers count.",
    "consumer_type": "Type of the consumers that count; `all` puts all of them in one group, `unknown` "
    "selects consumers without a type.",
}
"""Parameters of query strings."""

REPEATED: Final = frozenset({"member_of", "required", "same_subtree"})
"""Parameters that may be given several times, each with a meaning of its own."""

GROUPS: Final = (
    "Parameters of request groups, by name. Without a suffix they describe the unsuffixed group, whose "
    "classes may come from several providers of a tree; those with the same suffix describe a group that "
    "one provider must serve."
)

_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openstack-api-version": {
        "description": "The microversion of the answer.",
        "schema": {"type": "string", "pattern": "^placement 1\\.[0-9]+$"},
    },
    "x-openstack-request-id": {
        "description": "The id of the request in the service's log.",
        "schema": {"type": "string", "pattern": "^req-[0-9a-f-]{36}$"},
    },
    "location": {
        "description": "The address of the new resource.",
        "schema": {"type": "string", "format": "uri"},
    },
    "retry-after": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 0},
    },
}

_FIELD: Final = re.compile(r"{(\w+)}")


def show(call: Call) -> Answer:
    """The document, with the path that the service is mounted under."""
    return Answer(body={**document(), "servers": [{"url": call.prefix or "/"}]})


OPERATION: Final = Operation(
    "GET", PATH, show, summary="Show this document", rule=None, answers={200: {"type": "object"}}
)
"""Needs no token, like ``/``: the document shows no data of the service."""


@cache
def document() -> Mapping[str, Any]:
    """The whole document without ``servers``."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        item = paths.setdefault(operation.path, _path_item(operation.path))
        item[operation.method.lower()] = _operation(operation)
    return {
        "openapi": SPECIFICATION,
        "info": {
            "title": "Moorage",
            "description": (
                "The OpenStack Placement API. Older microversions differ; a client selects one by a header."
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
            f"The requested microversion. This document describes {newest}; without this header the service "
            f"uses {versions.spelled(versions.OLDEST)}."
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


def _operation(operation: Operation) -> Schema:
    handler = operation.handler
    shown: Schema = {
        "operationId": f"{handler.__module__.rpartition('.')[2]}_{handler.__name__.strip('_')}",
        "summary": operation.summary,
        "tags": [operation.path.split("/")[1] or "versions"],
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
    shown["responses"] = _responses(operation)
    return shown


def _parameters(operation: Operation) -> Iterable[Schema]:
    """A query string's parameters.

    Parameters whose names are patterns become one object; each of its properties is a parameter.
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


def _responses(operation: Operation) -> Schema:
    responses: Schema = {}
    for status, schema in operation.answers.items():
        headers = _header_references("openstack-api-version", "x-openstack-request-id")
        if status == HTTPStatus.CREATED or operation.locates:
            headers |= _header_references("location")
        responses[str(status)] = {"description": title(status), "headers": headers}
        if schema is not None:
            responses[str(status)]["content"] = {JSON: {"schema": schema}}
    for refused, listed in refusals.at_newest(operation).items():
        responses[str(refused.value)] = _refused(refused, listed)
    return responses


def _header_references(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refused(status: HTTPStatus, listed: list[Refusal]) -> Schema:
    headers = _header_references("x-openstack-request-id")
    if status == HTTPStatus.UNAUTHORIZED:
        schema = reference("Unauthorised")
    else:
        codes = sorted({refusal.code for refusal in listed})
        narrowed = {"properties": {"errors": {"items": {"properties": {"code": {"enum": codes}}}}}}
        schema = {"allOf": [reference("Errors"), narrowed]}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers |= _header_references("retry-after")
    lines = dict.fromkeys(_line(status, refusal) for refusal in listed)
    return {
        "description": "\n".join([f"{title(status)}:", "", *lines]),
        "headers": headers,
        "content": {JSON: {"schema": schema}},
    }


def _line(status: HTTPStatus, refusal: Refusal) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return f"- {refusal.message}"
    return f"- `{refusal.code}`: {refusal.message}"
