"""Bodies of the native API: the first fault of a body, with its place and the nearest known name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import jsonschema

from moorage.api.http import quoting
from moorage.api.http.validation import BODY_FORMATS, Validator
from moorage.api.http.wire_error import WireError
from moorage.api.native.names import nearest
from moorage.api.native.problems import INVALID_REQUEST, refusal

ANYTHING: Final = Validator({}, BODY_FORMATS)
"""Admits every body, so that JSON can be decoded first and judged here."""

MAX_QUOTE: Final = 256
"""Characters of a body that an answer quotes."""


def pointer_of(parts: Iterable[object]) -> str:
    """A place in a body (RFC 6901); "" is the whole body. Of a long name it has the beginning."""
    names = [quoting.bounded(str(part), MAX_QUOTE) for part in parts]
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def fault(detail: str, *parts: object, **facts: object) -> WireError:
    """A refusal of what is at a place in the body."""
    return refusal(INVALID_REQUEST, detail, pointer=pointer_of(parts), **facts)


def check(body: object, validator: Validator, *, is_large: bool = False) -> None:
    """Raises WireError (400) with ``pointer``, and ``nearest`` for an unknown field."""
    error = validator.error(body, is_large)
    if error is not None:
        raise _of(error)


def _of(error: jsonschema.ValidationError) -> WireError:
    place = tuple(error.absolute_path)
    if error.validator in ("additionalProperties", "required"):
        # A misspelt field is also a missing one; the first of the two says more.
        unknown = next(_unknown(error), None)
        if unknown is not None:
            near = nearest(unknown, error.schema.get("properties", {}))
            hint = f" Did you mean {near[0]!r}?" if near else ""
            said = quoting.quoted(unknown, MAX_QUOTE)
            return fault(f"There is no field {said} here.{hint}", *place, unknown, nearest=near)
        missing = next(name for name in error.validator_value if name not in error.instance)
        return fault(f"The field {missing!r} is missing.", *place, missing)
    detail = quoting.bounded(error.message, MAX_QUOTE)
    if error.validator == "enum":
        return fault(
            detail, *place, nearest=nearest(str(error.instance), filter(None, error.validator_value))
        )
    return fault(detail, *place)


def _unknown(error: jsonschema.ValidationError) -> Iterator[str]:
    """The fields of an object that its schema does not have."""
    if error.schema.get("additionalProperties") is not False:
        return
    known, patterns = error.schema.get("properties", {}), error.schema.get("patternProperties", {})
    for name in error.instance:
        if name not in known and not any(re.search(pattern, name) for pattern in patterns):
            yield name
