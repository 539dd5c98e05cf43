"""``/moorage/v1/openapi.json``: the OpenAPI 3.1 document of the native API, made from its own tables.

Source: OpenAPI Specification 3.1.0. Its schemas are JSON Schema 2020-12, as those of the service are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from moorage.api.http.exchange import JSON, Answer
from moorage.api.http.render import title
from moorage.api.http.validation import Schema
from moorage.api.native.endpoint import REVISION_HEADER, Endpoint, NativeCall
from moorage.api.native.endpoints import ENDPOINTS
from moorage.api.native.problems import BY_CODE, PROBLEM_TYPE, VERSION, ProblemType
from moorage.api.native.shapes import COMPONENTS, reference

PATH: Final = f"{VERSION}/openapi.json"

SPECIFICATION: Final = "3.1.0"
TOKEN: Final = "token"  # noqa: S105 - the name of a scheme

PATH_FIELDS: Final[Mapping[str, str]] = {
    "uuid": "UUID of a provider.",
    "consumer": "UUID of a consumer.",
    "lease": "UUID of a lease.",
    "code": "Code of a problem, with hyphens or underscores.",
    "source": "Name of a source of reports.",
    "id": "Id of a finding.",
    "request_id": "Id of a request, as the service or as its client has given it.",
}
"""Fields of paths."""

_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "x-openstack-request-id": {
        "description": "The id of the request in the service's log.",
        "schema": {"type": "string", "pattern": "^req-[0-9a-f-]{36}$"},
    },
    REVISION_HEADER: {
        "description": "The revision of the account that the answer is true at.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "retry-after": {
        "description": "Seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 0},
    },
}

KEY_PARAMETER: Final[Schema] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A key for this request. Repeated with it, a request that succeeded gets its answer.",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
}
"""The header that every write takes."""

_FIELD: Final = re.compile(r"{(\w+)}")


def show(call: NativeCall) -> Answer:
    """The document, with the path that the service is mounted under."""
    return Answer(body={**document(), "servers": [{"url": call.prefix or "/"}]})


ENDPOINT: Final = Endpoint(
    "GET",
    PATH,
    show,
    summary="Show this document",
    rule=None,
    answer={"type": "object"},
)

EVERYTHING: Final = (*ENDPOINTS, ENDPOINT)
"""All endpoints, this one among them."""


@cache
def document() -> Mapping[str, Any]:
    """The whole document without ``servers``."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in EVERYTHING:
        item = paths.setdefault(endpoint.path, _path_item(endpoint.path))
        item[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": SPECIFICATION,
        "info": {
            "title": "Moorage",
            "description": "The native API of Moorage. Further fields may appear in answers: ignore them.",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "security": [{TOKEN: []}],
        "paths": paths,
        "components": {
            "schemas": dict(COMPONENTS),
            "headers": dict(_HEADERS),
            "securitySchemes": {TOKEN: {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _path_item(path: str) -> dict[str, Any]:
    fields: list[Schema] = [
        {
            "name": field,
            "in": "path",
            "required": True,
            "description": PATH_FIELDS[field],
            "schema": {"type": "string", "minLength": 1},
        }
        for field in _FIELD.findall(path)
    ]
    return {"parameters": fields} if fields else {}


def _operation(endpoint: Endpoint) -> Schema:
    handler = endpoint.handler
    shown: Schema = {
        "operationId": f"{handler.__module__.rpartition('.')[2]}_{handler.__name__.strip('_')}",
        "summary": endpoint.summary,
        "description": endpoint.about,
        "tags": [handler.__module__.rpartition(".")[2]],
        "parameters": [
            {
                "name": parameter.name,
                "in": "query",
                "description": parameter.about,
                "required": parameter.required,
                "schema": parameter.schema,
                **({"style": "form", "explode": False} if parameter.schema["type"] == "array" else {}),
            }
            for parameter in endpoint.parameters
        ],
    }
    if endpoint.writes:
        shown["parameters"].append(KEY_PARAMETER)
    if endpoint.rule is None:
        shown["security"] = []
    else:
        shown["x-policy-rule"] = endpoint.rule
    if endpoint.body is not None:
        examples = {f"example {number}": {"value": each} for number, each in enumerate(endpoint.examples, 1)}
        content = {"schema": endpoint.body.schema, "examples": examples}
        shown["requestBody"] = {"required": True, "content": {JSON: content}}
    elif endpoint.examples:
        shown["x-examples"] = list(endpoint.examples)
    shown["responses"] = _responses(endpoint)
    return shown


def _responses(endpoint: Endpoint) -> Schema:
    names = ["x-openstack-request-id", *([REVISION_HEADER] if endpoint.rule is not None else [])]
    text: Schema = {"type": "string"}
    responses: Schema = {
        str(endpoint.status): {
            "description": title(endpoint.status),
            "headers": _references(*names),
            "content": {kind: {"schema": endpoint.answer or text} for kind in endpoint.media_types},
        }
    }
    by_status: dict[int, list[ProblemType]] = {}
    for problem in problems_of(endpoint):
        by_status.setdefault(problem.status, []).append(problem)
    for status, listed in sorted(by_status.items()):
        responses[str(status)] = _refused(status, listed)
    return responses


def problems_of(endpoint: Endpoint) -> Iterator[ProblemType]:
    """All problems that an endpoint can answer with."""
    codes = ["invalid_request", "url_too_long", "headers_too_large", "internal_error"]
    if endpoint.rule is not None:
        codes += ["unauthenticated", "forbidden", "unavailable"]
    if endpoint.sends_json:
        codes += ["not_acceptable"]
    if endpoint.body is not None:
        codes += ["unsupported_media_type", "body_too_large", "body_timeout"]
    yield from (BY_CODE[code] for code in codes)
    yield from endpoint.problems


def _references(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refused(status: int, listed: list[ProblemType]) -> Schema:
    headers = _references("x-openstack-request-id")
    if any(problem.after_seconds is not None for problem in listed):
        headers |= _references("retry-after")
    narrowed = {"properties": {"code": {"enum": sorted({problem.code for problem in listed})}}}
    lines = [f"- `{problem.code}`: {problem.means}" for problem in listed]
    return {
        "description": "\n".join([f"{title(status)}:", "", *lines]),
        "headers": headers,
        "content": {PROBLEM_TYPE: {"schema": {"allOf": [reference("Problem"), narrowed]}}},
    }
