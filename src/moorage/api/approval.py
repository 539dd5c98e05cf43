"""A quick look at a body: is it valid beyond doubt?

Nearly every body is valid, and python-jsonschema takes a tenth of a millisecond to say so, most of
what it costs to take a claim in. So a schema is also turned into plain functions once, which
only ever say "valid" or "in doubt". In doubt python-jsonschema judges, and its words are those that
clients see: what is refused, and how that is told, is its business alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from moorage.api import uuids

Approver = Callable[[Any], bool]
"""Whether an instance is valid beyond doubt."""

Schema = Mapping[str, Any]

"""One of the forms of a UUID, the one that clients send."""


def approver(schema: Schema) -> Approver:
    """The quick look for ``schema``; one that doubts everything if it has what is not known here."""
    if "anyOf" in schema:
        return _any_of(schema)
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    makers = [_MAKERS.get(kind) for kind in kinds]
    # Keywords of one type mean nothing for another, so that a list of types goes without any.
    if not makers or None in makers or (len(makers) > 1 and len(schema) > 1):
        return _doubt
    parts = [
        maker({key: value for key, value in schema.items() if key != "type"}) for maker in makers if maker
    ]
    if len(parts) == 1:
        return parts[0]
    return lambda instance: any(part(instance) for part in parts)


def _doubt(_instance: Any) -> bool:
    return False


def _knows(schema: Schema, *keywords: str) -> bool:
    return schema.keys() <= set(keywords)


def _any_of(schema: Schema) -> Approver:
    if not _knows(schema, "anyOf"):
        return _doubt
    parts = [approver(part) for part in schema["anyOf"]]
    return lambda instance: any(part(instance) for part in parts)


def _object(schema: Schema) -> Approver:
    if not _knows(
        schema, "properties", "required", "additionalProperties", "patternProperties", "minProperties"
    ):
        return _doubt
    known = {name: approver(part) for name, part in schema.get("properties", {}).items()}
    patterns = [
        (re.compile(pattern).search, approver(part))
        for pattern, part in schema.get("patternProperties", {}).items()
    ]
    required = tuple(schema.get("required", ()))
    least = schema.get("minProperties", 0)
    others = schema.get("additionalProperties", True)
    other: Approver = (lambda _value: others) if isinstance(others, bool) else approver(others)

    def approve(instance: Any) -> bool:
        if type(instance) is not dict or len(instance) < least:
            return False
        for name in required:
            if name not in instance:
                return False
        for key, value in instance.items():
            own = known.get(key)
            if own is not None and not own(value):
                return False
            taken = own is not None
            for matches, part in patterns:
                if matches(key):
                    if not part(value):
                        return False
                    taken = True
            if not taken and not other(value):
                return False
        return True

    return approve


def _array(schema: Schema) -> Approver:
    if not _knows(schema, "items", "minItems", "uniqueItems"):
        return _doubt
    item = approver(schema["items"]) if "items" in schema else (lambda _item: True)
    least, unique = schema.get("minItems", 0), schema.get("uniqueItems", False)

    def approve(instance: Any) -> bool:
        if type(instance) is not list or len(instance) < least or not all(map(item, instance)):
            return False
        # Equal things of other types than text are not told apart here.
        return not unique or (
            all(type(each) is str for each in instance) and len(set(instance)) == len(instance)
        )

    return approve


def _string(schema: Schema) -> Approver:
    if "enum" in schema:
        allowed = frozenset(each for each in schema["enum"] if isinstance(each, str))
        if not _knows(schema, "enum"):
            return _doubt
        return lambda instance: type(instance) is str and instance in allowed
    if not _knows(schema, "minLength", "maxLength", "pattern", "format"):
        return _doubt
    if schema.get("format", "uuid") != "uuid":
        return _doubt
    least, most = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
    matches = re.compile(schema.get("pattern", "")).search
    is_uuid = "format" in schema

    def approve(instance: Any) -> bool:
        return (
            type(instance) is str
            and least <= len(instance) <= most
            # A dollar in a pattern is the very end for the validator, and not for Python.
            and not instance.endswith("\n")
            and (not is_uuid or uuids.USUAL.fullmatch(instance) is not None)
            and matches(instance) is not None
        )

    return approve


def _number(*types: type) -> Callable[[Schema], Approver]:
    def make(schema: Schema) -> Approver:
        if not _knows(schema, "minimum", "maximum"):
            return _doubt
        least, most = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
        # Booleans are numbers for Python; 2.0 is an integer for the validator, and in doubt here.
        return lambda instance: type(instance) in types and least <= instance <= most

    return make


def _constant(*values: object) -> Callable[[Schema], Approver]:
    def make(schema: Schema) -> Approver:
        return _doubt if schema else lambda instance: any(instance is value for value in values)

    return make


_MAKERS: Final[Mapping[str, Callable[[Schema], Approver]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _number(int),
    "number": _number(int, float),
    "boolean": _constant(True, False),
    "null": _constant(None),
}
