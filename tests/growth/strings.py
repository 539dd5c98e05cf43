"""Strings that an expression looks through in vain again and again, if any are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

PROBES: Final = "aA0_- \t\n.:/@<>\"'=,;&#!\\\x00\u00e9"
"""One of these is in any class of characters, and one is not."""

WORD: Final = "word"
"""Letters that follow each other, as one part."""

LONGEST_PART: Final = 4
"""Neighbours of an expression that are repeated together."""


def adversaries(pattern: str | bytes, flags: int) -> Iterator[Callable[[int], Any]]:
    """Makers of strings of any length: what begins a match, what goes on with it, and what ends it or not."""
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    parsed = _words(parser.parse(text, flags & ~re.UNICODE if isinstance(pattern, bytes) else flags))
    slices = [
        _sample(parsed[start : start + length])
        for start in range(len(parsed))
        for length in range(1, min(LONGEST_PART, len(parsed) - start) + 1)
    ]
    beginnings = dict.fromkeys(["", *(_sample(parsed[:length]) for length in range(1, len(parsed)))])
    units = dict.fromkeys(unit for unit in (*slices, *_parts(parsed), "<", " ", "a") if unit)
    endings = dict.fromkeys(["", "\x00", "\n", _sample(parsed[-1:])])
    for beginning in beginnings:
        for unit in units:
            for ending in endings:
                yield _maker(beginning, unit, ending, is_bytes=isinstance(pattern, bytes))


def _words(parsed: Any) -> list[Any]:
    """The parts of an expression, letters that follow each other as one."""
    found: list[Any] = []
    for code, value in parsed:
        if code is codes.LITERAL and found and found[-1][0] == WORD:
            found[-1] = (WORD, found[-1][1] + chr(value))
        else:
            found.append((WORD, chr(value)) if code is codes.LITERAL else (code, value))
    return found


def _maker(beginning: str, unit: str, ending: str, *, is_bytes: bool) -> Callable[[int], Any]:
    def make(length: int) -> Any:
        made = beginning + unit * (length // len(unit)) + ending
        return made.encode("latin-1", "replace") if is_bytes else made

    return make


def _parts(parsed: list[Any]) -> Iterator[str]:
    """What each part of the expression, and of its parts, matches."""
    for item in parsed:
        yield _sample([item])
        for inner in _inside(item):
            yield from _parts(_words(inner))


def _inside(item: Any) -> Iterator[list[Any]]:
    code, value = item
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        yield list(value[2])
    elif code is codes.SUBPATTERN:
        yield list(value[3])
    elif code is codes.ATOMIC_GROUP:
        yield list(value)
    elif code is codes.BRANCH:
        yield from map(list, value[1])


def _sample(parsed: list[Any]) -> str:
    """A short text that an expression matches, or nearly so."""
    return "".join(map(_one, parsed))


def _one(item: Any) -> str:
    code, value = item
    if code == WORD:
        return str(value)
    if code is codes.LITERAL:
        return chr(value)
    if code is codes.NOT_LITERAL:
        return next(probe for probe in PROBES if ord(probe) != value)
    if code is codes.ANY:
        return "a"
    if code is codes.IN:
        return next(probe for probe in PROBES if _is_in(probe, value))
    if code is codes.GROUPREF:
        return "a"
    inside = next(_inside(item), None)
    if inside is None:
        return ""  # an anchor, or what looks ahead
    least = value[0] if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT) else 1
    return _sample(inside) * max(1, least)


def _is_in(probe: str, members: list[Any]) -> bool:
    negated: bool = members[0][0] is codes.NEGATE
    return any(_is_member(probe, member) for member in members) != negated


def _is_member(probe: str, member: Any) -> bool:
    code, value = member
    if code is codes.LITERAL:
        return bool(ord(probe) == value)
    if code is codes.RANGE:
        return bool(value[0] <= ord(probe) <= value[1])
    if code is codes.CATEGORY:
        return {
            codes.CATEGORY_DIGIT: probe.isdigit(),
            codes.CATEGORY_SPACE: probe.isspace(),
            codes.CATEGORY_WORD: probe.isalnum() or probe == "_",
            codes.CATEGORY_NOT_DIGIT: not probe.isdigit(),
            codes.CATEGORY_NOT_SPACE: not probe.isspace(),
            codes.CATEGORY_NOT_WORD: not (probe.isalnum() or probe == "_"),
        }[value]
    return False
