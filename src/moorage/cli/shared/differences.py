"""Old and new values, a line for each that differs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from moorage.model.values import MAX_INT

DEFAULTS: Final[Mapping[str, object]] = {
    "reserved": 0,
    "min_unit": 1,
    "max_unit": MAX_INT,
    "step_size": 1,
    "allocation_ratio": 1.0,
}
"""Fields of an inventory that are not shown if they have these values."""


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A line for each part that differs."""
    for key in sorted(before.keys() | after.keys()):
        name, old, new = f"{prefix}{key}", before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{name} ")
        elif isinstance(old or new, list):
            yield f"{name}: {_members(old or [], new or [])}"
        elif old is None:
            yield f"{name}: {shown(new)} (new)"
        elif new is None:
            yield f"{name}: none (was {shown(old)})"
        else:
            yield f"{name}: {shown(old)} -> {shown(new)}"


def _members(old: Collection[str], new: Collection[str]) -> str:
    added = [f"+{each}" for each in sorted(set(new) - set(old))]
    removed = [f"-{each}" for each in sorted(set(old) - set(new))]
    return " ".join([*added, *removed])


def shown(value: object) -> str:
    """A value as text in a line; inventories without their default fields."""
    if not isinstance(value, Mapping):
        return "any" if value == MAX_INT else str(value)
    told = {key: each for key, each in value.items() if key not in DEFAULTS or each != DEFAULTS[key]}
    return ", ".join(f"{key} {shown(each)}" for key, each in told.items())
