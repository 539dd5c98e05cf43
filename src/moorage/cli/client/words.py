"""Readable texts for a service's refusals.

Other clients parse the API's texts, so those stay as they are. This module only changes how they are shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_REFUSED: Final = "JSON does not validate:"
_BY_SCHEMA: Final = "Failed validating "
_IN_BODY: Final = "On instance"
"""Prefixes of the parts of python-jsonschema's texts: the reason, the schema, and the place in the body."""

_PLACE: Final = re.compile(r"(?:\[[^\[\]\n]*\])*")
_KEYS: Final = re.compile(r"\['([^']*)'\]|\[(\d+)\]")

_CONTAINERS: Final = frozenset({"inventories", "allocations", "resources", "resource_providers"})
"""Keys of a body that mean nothing to the user of a command."""

_ACTION: Final = re.compile(r"\AUnable to .*?: Object action \w+ failed because: (?P<reason>.*)\Z", re.DOTALL)
_INVENTORY: Final = re.compile(r"\AUnable to update inventory for resource provider \S+: ")
_ALLOCATION: Final = re.compile(r"\AUnable to allocate inventory: ")
_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")

_BY_PATTERN: Final = " does not match '^CUSTOM_"

_NO_NAME: Final = "is not a custom name, which begins with CUSTOM_ and has only A to Z, 0 to 9 and _"

_MOST_LOOKED_UP: Final = 5
"""Most UUIDs of a text whose names are looked up."""


def plain(detail: str, name_of: Callable[[str], str]) -> str:
    """``detail`` without schemas and UUIDs; ``name_of`` returns a provider's name, or else the UUID."""
    text = _without_schema(detail)
    for pattern in (_ACTION, _INVENTORY, _ALLOCATION):
        found = pattern.match(text)
        if found:
            text = found["reason"] if "reason" in found.groupdict() else text[found.end() :]
            text = f"{text[:1].upper()}{text[1:]}"
    uuids = dict.fromkeys(_UUID.findall(text))
    names = {uuid: name_of(uuid) for uuid in list(uuids)[:_MOST_LOOKED_UP]}
    return _UUID.sub(lambda found: names.get(found[0], found[0]), text)


def _without_schema(detail: str) -> str:
    beginning, _, text = detail.strip().partition(_REFUSED)
    reason, by_schema, rest = text.partition(_BY_SCHEMA)
    if beginning or not by_schema:
        return detail
    name, by_pattern, pattern = reason.strip().partition(_BY_PATTERN)
    _, _, after = pattern.partition("'")
    reason = f"{name} {_NO_NAME}{after}" if by_pattern else name
    keys = [key or index for key, index in _KEYS.findall(_place(rest))]
    place = " ".join(key for key in keys if key not in _CONTAINERS)
    return f"{place}: {reason}." if place else f"{reason}."


def _place(text: str) -> str:
    """The keys and indexes of a fault's place in a body, which the text has after the schema."""
    at = 0
    while (at := text.find(_IN_BODY, at)) >= 0:
        found = _PLACE.match(text, at + len(_IN_BODY))
        if found is not None and text.startswith(":", found.end()):
            return found[0]
        at += len(_IN_BODY)
    return ""
