"""Quotes of a client's input in texts of errors, at a bounded cost.

Refusals quote the client's input, as the reference does. Input of ordinary size is quoted in full. Of longer
input the beginning is quoted, because quoting the rest would delay all other requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

MAX_MESSAGE: Final = 16_384
"""Characters of the message of an error. The reference has no bound."""

MAX_QUOTED: Final = 1_024
"""Characters of a single word of the client's input in such a message: a method, a media type."""

ORDINARY_DEPTH: Final = 8
"""Levels of lists and objects in a body that may be quoted in full. The deepest valid body is a reshape, with
six levels. The time of formatting a body grows with its length and depth."""

ELLIPSIS: Final = "…"


def bounded(text: str, most: int = MAX_MESSAGE) -> str:
    """``text``, cut off after ``most`` characters."""
    if len(text) <= most:
        return text
    return f"{text[:most]}{ELLIPSIS} ({len(text) - most} more characters)"


def is_deep(value: object, most: int = ORDINARY_DEPTH) -> bool:
    """Whether lists and objects of JSON are nested in more than ``most`` levels."""
    level: list[Any] = [value]
    for depth in count():
        level = [item for item in level if isinstance(item, list | dict)]
        if not level:
            return False
        if depth == most:
            return True
        level = [part for item in level for part in (item.values() if isinstance(item, dict) else item)]
    raise AssertionError("unreachable")


def quoted(value: object, most: int = MAX_MESSAGE) -> str:
    """The ``repr`` of a JSON value, cut off after ``most`` characters and ``ORDINARY_DEPTH`` levels.

    ``repr`` itself would format the whole value and block all threads meanwhile; each level makes it slower.
    """
    parts: list[str] = []
    length = 0
    for part in _parts(value, most, ORDINARY_DEPTH):
        parts.append(part)
        length += len(part)
        if length > most:
            return f"{''.join(parts)[:most]}{ELLIPSIS}"
    return "".join(parts)


def _parts(value: object, most: int, depth: int) -> Iterator[str]:
    """The pieces of ``repr(value)``, one after the other; a text beyond ``most`` is cut off."""
    if isinstance(value, str):
        yield repr(value if len(value) <= most else value[: most + 1])
    elif not isinstance(value, list | dict):
        yield repr(value)
    else:
        opening, closing = "[]" if isinstance(value, list) else "{}"
        yield opening
        if value and not depth:
            yield ELLIPSIS
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from (", ",) if number else ()
                yield from _parts(item, most, depth - 1)
        else:
            for number, (key, item) in enumerate(value.items()):
                yield from (", ",) if number else ()
                yield from _parts(key, most, 0)
                yield ": "
                yield from _parts(item, most, depth - 1)
        yield closing
