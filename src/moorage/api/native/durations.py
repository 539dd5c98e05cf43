"""Durations in bodies: a number and a unit, as ``"30s"``, ``"5m"``, ``"24h"``."""

from __future__ import annotations

import re
from typing import Final

from moorage.api.http.validation import Schema
from moorage.api.native.strict import fault

UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""Milliseconds of each unit."""

LONGEST_MS: Final = 3_660 * 86_400_000
"""Ten years."""

PATTERN: Final = r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)$"
SCHEMA: Final[Schema] = {"type": "string", "pattern": PATTERN}

_DURATION: Final = re.compile(r"([0-9.]{1,16})([a-z]{1,2})")


def milliseconds(text: str, *place: object, least: int = 0) -> int:
    """The milliseconds of a duration that is valid by ``SCHEMA``. Raises WireError (400)."""
    found = _DURATION.fullmatch(text)
    assert found is not None, "the schema admits no other text"
    number, unit = found.groups()
    amount = round(float(number) * UNITS[unit])
    if not least <= amount <= LONGEST_MS:
        raise fault(f"The duration must be {told(least)} to {told(LONGEST_MS)}.", *place)
    return amount


def told(amount: int) -> str:
    """A duration in the largest unit of which it is a whole number, seconds up to a minute."""
    for unit in ("h", "m"):
        if amount > UNITS[unit] and not amount % UNITS[unit]:
            return f"{amount // UNITS[unit]}{unit}"
    return seconds(amount)


def seconds(amount: int) -> str:
    """A duration in seconds."""
    whole, rest = divmod(amount, 1_000)
    return f"{whole}.{rest:03}".rstrip("0") + "s" if rest else f"{whole}s"
