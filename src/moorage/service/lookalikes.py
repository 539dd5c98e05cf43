"""Names that a database may hold equal, kept apart before they meet in one group of writes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def folded(name: str) -> str:
    """A key without case, accents and spaces at the end, which most collations ignore."""
    if not name.isascii():
        decomposed = unicodedata.normalize("NFKD", name)
        name = "".join(character for character in decomposed if not unicodedata.combining(character))
    return name.casefold().rstrip(" ")


class Lookalikes:
    """Names of which no two look alike, unless they are the same."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def take(self, names: Iterable[str]) -> bool:
        """Add all of ``names``, or none if one of them looks like another name. False: none."""
        added: dict[str, str] = {}
        for name in names:
            key = folded(name)
            if self._names.get(key, name) != name:
                return False
            added[key] = name
        self._names.update(added)
        return True
