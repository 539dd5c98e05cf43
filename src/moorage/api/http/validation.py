"""Validation: the forms of a UUID, and instances of JSON by their schemas.

python-jsonschema validates: it alone refuses, and clients see its messages. Nearly every body is valid, and
python-jsonschema takes a tenth of a millisecond to find that out, which is most of the cost of decoding a
claim. So each schema is also compiled once into plain functions, which answer only "valid" or "in doubt". In
doubt, python-jsonschema decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

import jsonschema
from oslo_utils import uuidutils

from moorage.api.http.quoting import quoted
from moorage.api.http.wire_error import bad_request

USUAL: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The usual form. Everything that matches is a UUID, but there are other forms."""


CANONICAL: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The form that Python's ``UUID`` writes."""


def canonical(text: str) -> str:
    """A UUID (see ``is_uuid_like``) in canonical form."""
    if CANONICAL.fullmatch(text) is not None:
        return text
    return str(UUID(text))


def is_uuid_like(text: object) -> bool:
    """Whether oslo.utils accepts ``text`` as a UUID: with or without hyphens, braces and the like."""
    if isinstance(text, str) and USUAL.fullmatch(text) is not None:
        # The library takes several times as long for the usual form.
        return True
    return bool(uuidutils.is_uuid_like(text))


def uuid_check(name: str) -> Callable[[Mapping[str, str]], None]:
    """A check that the part ``name`` of a path is a UUID. It raises WireError (400)."""

    def check(path: Mapping[str, str]) -> None:
        if not is_uuid_like(path[name]):
            raise bad_request(f"Malformed {name}: {path[name]}")

    return check


Approver = Callable[[Any], bool]
"""Whether an instance is certainly valid."""

Schema = dict[str, Any]


def approver(schema: Schema) -> Approver:
    """The fast check for ``schema``; it is always in doubt if the schema has keywords unknown here."""
    # It says nothing of what is valid.
    schema = {key: value for key, value in schema.items() if key != "description"}
    if "anyOf" in schema:
        return _any_approves(schema)
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    makers = [_MAKERS.get(kind) for kind in kinds]
    # Keywords of one type do not apply to another, so a list of types may have no keywords.
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


def _any_approves(schema: Schema) -> Approver:
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
        # Uniqueness is checked here for text only.
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
            # ``$`` in a pattern means the very end for the validator; Python also admits a newline after it.
            and not instance.endswith("\n")
            and (not is_uuid or USUAL.fullmatch(instance) is not None)
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


def _pattern(
    validator: Any, pattern: str, instance: object, schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    """As jsonschema's own, but ``$`` matches only the very end, not before a final newline.

    A name with a newline could not be used in a path, nor sent back in a header.
    """
    if not isinstance(instance, str):
        return
    ends_early = pattern.endswith("$") and instance.endswith("\n")
    if ends_early or not re.search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique_items(
    validator: Any, unique: bool, instance: object, schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    """As jsonschema's own for lists of strings (there are no others here), but in linear time.

    If a list has other items, ``items`` refuses it. jsonschema's own check would compare each pair of a
    million items.
    """
    if not unique or not isinstance(instance, list):
        return
    texts = [item for item in instance if isinstance(item, str)]
    if len(set(texts)) != len(texts):
        yield jsonschema.ValidationError(f"{quoted(instance)} has non-unique elements")


def _type(
    validator: Any, types: str | list[str], instance: object, schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    """As jsonschema's own, but of what is long only the beginning is quoted."""
    wanted = [types] if isinstance(types, str) else types
    if not any(validator.is_type(instance, each) for each in wanted):
        named = ", ".join(map(repr, wanted))
        yield jsonschema.ValidationError(f"{quoted(instance)} is not of type {named}")


def _any_of(
    validator: Any, parts: list[Schema], instance: object, schema: Schema
) -> Iterator[jsonschema.ValidationError]:
    """As jsonschema's own, but of what is long only the beginning is quoted."""
    refusals: list[jsonschema.ValidationError] = []
    for number, part in enumerate(parts):
        found = list(validator.descend(instance, part, schema_path=number))
        if not found:
            return
        refusals += found
    words = "is not valid under any of the given schemas"
    yield jsonschema.ValidationError(f"{quoted(instance)} {words}", context=refusals)


_VALIDATOR_CLASS = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"pattern": _pattern, "uniqueItems": _unique_items, "type": _type, "anyOf": _any_of},
)

# wire: UUIDs in bodies may lack their dashes; those in query strings may not.
BODY_FORMATS = jsonschema.FormatChecker()
BODY_FORMATS.checks("uuid")(is_uuid_like)
QUERY_FORMATS = jsonschema.FormatChecker()


class Validator:
    """Validates instances by a schema. (Tests check that the schema itself is valid.)"""

    __slots__ = ("_approve", "_validator", "schema")

    def __init__(self, schema: Schema, formats: jsonschema.FormatChecker) -> None:
        self.schema = schema
        self._validator = _VALIDATOR_CLASS(schema, format_checker=formats)
        self._approve = approver(schema)

    def error(self, instance: object, is_large: bool = False) -> jsonschema.ValidationError | None:
        """The most relevant error of ``instance``, None if it is valid.

        For an instance that ``is_large`` it is the first error found: comparing millions of errors takes
        minutes.
        """
        if self._approve(instance):
            return None
        errors = self._validator.iter_errors(instance)
        found: jsonschema.ValidationError | None
        found = next(errors, None) if is_large else jsonschema.exceptions.best_match(errors)
        return found
