"""Query strings of the native API: each parameter once, of a stated type; unknown ones are refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import parse_qsl

from moorage.api.http import quoting
from moorage.api.http.validation import QUERY_FORMATS, Schema, Validator
from moorage.api.native.names import nearest
from moorage.api.native.problems import INVALID_REQUEST, refusal

MOST_DIGITS: Final = 12
"""Digits of a number. Python takes long for very long ones."""

MAX_QUOTE: Final = 256
"""Characters of a value that an answer quotes."""

LARGE: Final = 1024
"""Characters. For a longer value the answer is the first error: comparing those of thousands of items takes
seconds."""


class Parameter:
    """One parameter. ``schema`` is of a string, an integer, or a list whose items commas separate."""

    __slots__ = ("_validator", "about", "name", "required", "schema")

    def __init__(self, name: str, about: str, schema: Schema, *, required: bool = False) -> None:
        self.name = name
        self.about = about
        self.schema = schema
        self.required = required
        self._validator = Validator(schema, QUERY_FORMATS)

    def value(self, text: str) -> Any:
        """The value of ``text``. Raises WireError (400)."""
        found: object = text
        if self.schema["type"] == "integer":
            is_number = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
            found = int(text) if is_number else text
        elif self.schema["type"] == "array":
            found = text.split(",")
        error = self._validator.error(found, is_large=len(text) > LARGE)
        if error is None:
            return found
        near = nearest(str(error.instance), error.schema.get("enum", ()))
        raise refusal(
            INVALID_REQUEST,
            f"{self.name}: {quoting.bounded(error.message, MAX_QUOTE)}",
            parameter=self.name,
            **({"nearest": near} if near else {}),
        )


def read(parameters: Iterable[Parameter], query_string: str) -> dict[str, Any]:
    """The values of a query string, by name. Raises WireError (400)."""
    known = {parameter.name: parameter for parameter in parameters}
    try:
        text = query_string.encode("latin-1").decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeError as error:
        raise refusal(INVALID_REQUEST, f"The query string is not UTF-8: {error}") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in known:
            raise refusal(
                INVALID_REQUEST,
                f"There is no parameter {quoting.quoted(name, MAX_QUOTE)} here.",
                parameter=quoting.bounded(name, MAX_QUOTE),
                nearest=nearest(name, known),
            )
        if name in found:
            raise refusal(INVALID_REQUEST, f"{name} is there more than once.", parameter=name)
        if "\0" in value:
            raise refusal(INVALID_REQUEST, f"{name}: NUL characters are not allowed.", parameter=name)
        found[name] = known[name].value(value)
    missing = next((each.name for each in known.values() if each.required and each.name not in found), None)
    if missing is not None:
        raise refusal(INVALID_REQUEST, f"The parameter {missing} is missing.", parameter=missing)
    return found
