"""Known names that look like an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import nlargest
from typing import Final

MOST: Final = 3
"""Names that are offered for an unknown one."""

MOST_COMPARED: Final = 5_000
"""Known names that are looked at: one takes some ten microseconds."""

MOST_MEASURED: Final = 20
"""Known names that are compared letter by letter. Two of a hundred letters may take a millisecond: the time
grows with the product of their lengths."""

LONGEST: Final = 100
"""Characters of a name that gets, or is, a nearest one."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The ``known`` names that look like ``name``, the nearest first; case does not matter."""
    if len(name) > LONGEST:
        return []
    by_letters: dict[str, str] = {}
    for each in sorted(known)[:MOST_COMPARED]:
        if len(each) <= LONGEST:
            by_letters.setdefault(each.casefold(), each)
    asked = name.casefold()
    measured: Iterable[str] = by_letters
    if len(by_letters) > MOST_MEASURED:
        own = _pairs(asked)
        measured = nlargest(MOST_MEASURED, by_letters, key=lambda each: _likeness(own, _pairs(each)))
    return [by_letters[found] for found in get_close_matches(asked, measured, MOST)]


def _pairs(text: str) -> set[tuple[str, str]]:
    """Letters that follow each other; the first and the last one also stand beside a space."""
    return set(zip(f" {text}", f"{text} ", strict=True))


def _likeness(one: set[tuple[str, str]], other: set[tuple[str, str]]) -> float:
    """The part of their pairs that two names have in common (Dice's coefficient)."""
    return len(one & other) / (len(one) + len(other))
