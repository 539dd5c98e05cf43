"""Reads the small files by which a kernel describes its machine. What cannot be read is noted, not raised."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_NUMBER: Final = re.compile("[0-9]{1,18}")
_RANGE: Final = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?")

MOST_PROCESSORS: Final = 1_000_000
"""A list with higher numbers is no list of processors."""


class Files:
    """The files below ``root``: ``/`` for this machine, another folder for a recorded one.

    Paths are those on the machine. ``unseen`` has a line for each source that was missing or unreadable, with
    what the document lacks for it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unseen: list[str] = []

    @property
    def are_of_this_machine(self) -> bool:
        """Whether the files describe the machine that this process runs on."""
        return self.root.resolve() == Path("/")

    def path(self, path: str) -> Path:
        """Where a file of the machine is."""
        return self.root / path.lstrip("/")

    def exists(self, path: str) -> bool:
        """Whether there is a file, and this process may see it."""
        try:
            return self.path(path).exists()
        except OSError:
            return False

    def content(self, path: str, lacking: str = "") -> str | None:
        """The content, without blanks at both ends; None if it cannot be read.

        ``lacking`` says what the document then lacks. Without it nothing is noted.
        """
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace").replace("\0", "").strip()
        except OSError as error:
            self._note(path, error, lacking)
            return None

    def names(self, path: str, lacking: str = "") -> list[str]:
        """What is in a folder, sorted; empty if it cannot be read. ``lacking`` is as in ``content``."""
        try:
            return sorted(each.name for each in self.path(path).iterdir())
        except OSError as error:
            self._note(path, error, lacking)
            return []

    def number(self, path: str) -> int | None:
        """A whole number in decimal from 0; None if the file has none."""
        text = self.content(path) or ""
        return int(text) if _NUMBER.fullmatch(text) else None

    def note(self, text: str) -> None:
        """Remember what was not seen, once."""
        if text not in self.unseen:
            self.unseen.append(text)

    def _note(self, path: str, error: OSError, lacking: str) -> None:
        if not lacking:
            return
        if isinstance(error, FileNotFoundError):
            self.note(f"there is no {path}: {lacking}")
        else:
            self.note(f"{path} cannot be read ({error.strerror}): {lacking}")


def numbers_in(text: str) -> frozenset[int]:
    """``0-3,8`` as numbers: the form of the kernel's lists of processors. Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, (each.strip() for each in text.split(","))):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not a number or FIRST-LAST")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < MOST_PROCESSORS:
            raise ValueError(f"{part!r} is no range of processors")
        found.update(range(first, last + 1))
    return frozenset(found)


def as_list(numbers: frozenset[int]) -> str:
    """Numbers as ``numbers_in`` reads them: ``0-3,8``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def fields(text: str) -> dict[str, str]:
    """Lines ``name : value`` as a mapping; a repeated name keeps its first value."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found
