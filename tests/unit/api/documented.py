"""Holds answers against what an OpenAPI document says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jsonschema
from oslo_utils import uuidutils

FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checks("uuid")(lambda value: value is None or uuidutils.is_uuid_like(value))


class Document:
    """An OpenAPI document, asked about answers of the service that it describes."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self._paths = {
            template: re.compile(re.sub(r"{\w+}", "[^/]+", template)) for template in content["paths"]
        }

    def operation(self, method: str, path: str) -> Mapping[str, Any]:
        """What is said of one method of a path, which may have a query string."""
        bare = path.partition("?")[0]
        found = [template for template, pattern in self._paths.items() if pattern.fullmatch(bare)]
        # A path without fields comes before one with fields (OpenAPI 3.1, "Path templating").
        found = [bare] if bare in found else found
        assert len(found) == 1, (path, found)
        operation: Mapping[str, Any] = self.content["paths"][found[0]][method.lower()]
        return operation

    def faults(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: object
    ) -> list[str]:
        """In what an answer is not what the document says. ``body`` is decoded, None if it is empty.

        Names of ``headers`` are in lower case.
        """
        responses = self.operation(method, path)["responses"]
        response = responses.get(str(status))
        if response is None:
            return [f"{method} {path}: {status} is not among {sorted(responses)}"]
        faults = [
            f"{method} {path} {status}: no {name}" for name in response["headers"] if name not in headers
        ]
        if "content" not in response:
            return faults if body is None else [*faults, f"{method} {path} {status}: {body} for nothing"]
        schema = response["content"]["application/json"]["schema"]
        errors = self.validator(schema).iter_errors(body)
        return [*faults, *(f"{method} {path} {status}: {error}" for error in errors)]

    def validator(self, schema: Mapping[str, Any]) -> jsonschema.Draft202012Validator:
        """Judges what ``schema``, a part of the document, says."""
        whole = {**schema, "components": self.content["components"]}
        return jsonschema.Draft202012Validator(whole, format_checker=FORMATS)
