"""D27: how a refusal quotes a body that is nested deeper than any that means something.

What Moorage must say is made of what the reference says, so that nothing else about the text may differ.
"""

from __future__ import annotations

from typing import Any

from tests.peer.exchange import Answer

LEVELS = 8
"""Lists and objects inside each other that are quoted."""

CHARACTERS = 1024
"""What is quoted in all; the rest is counted."""

_REFUSED = "JSON does not validate: "
_MORE = "Failed validating "
_END = "  "


def expected(body: Any, theirs: Answer) -> str | None:
    """What Moorage must say where the reference says this of ``body``; None if it must say the same."""
    begins, refused, told = theirs.detail.partition(_REFUSED)
    words, more, _ = told.partition(_END + _MORE)
    if theirs.status != 400 or not refused or not more or not _is_deep(body, LEVELS):
        return None
    quoted = [value for value in _holders(body) if repr(value) in words]
    if quoted:
        longest = max(map(repr, quoted), key=len)
        words = words.replace(longest, _cut(next(value for value in quoted if repr(value) == longest)))
    if len(words) > CHARACTERS:
        words = f"{words[:CHARACTERS]}… ({len(words) - CHARACTERS} more characters)"
    return f"{begins}{refused}{words}{_END}"


def _parts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _is_deep(value: Any, levels: int) -> bool:
    if not isinstance(value, list | dict):
        return False
    return levels == 0 or any(_is_deep(part, levels - 1) for part in _parts(value))


def _holders(value: Any) -> list[Any]:
    """All lists and objects within ``value`` that are nested too deeply to be quoted."""
    found = [value] if _is_deep(value, LEVELS) else []
    return found + [holder for part in _parts(value) for holder in _holders(part)]


class _More:
    """What stands for all that is nested deeper."""

    def __repr__(self) -> str:
        return "…"


def _shallow(value: Any, levels: int) -> Any:
    if not isinstance(value, list | dict) or not value:
        return value
    if isinstance(value, list):
        return [_shallow(part, levels - 1) for part in value] if levels else [_More()]
    return {key: _shallow(part, levels - 1) for key, part in value.items()} if levels else {_More()}


def _cut(value: Any) -> str:
    """``repr`` of it, of as many levels as are quoted."""
    return repr(_shallow(value, LEVELS))
