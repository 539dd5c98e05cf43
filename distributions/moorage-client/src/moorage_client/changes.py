"""Changes of the account: one for each revision, with each value before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union

from moorage_client.answers import Json
from moorage_client.transport import Stream


@dataclass(frozen=True)
class AccountChange:
    """What one write changed. Each value is a pair: before and after; None: it was, or is, not there.

    ``providers`` and ``consumers`` have what changed of each, by UUID. ``renamed`` has new names of resource
    classes by old ones. ``at`` is a time in ISO 8601. ``by`` names the request, if the reader may see it.
    ``body`` is the whole change as JSON.
    """

    revision: int
    kind: str
    at: str
    path: str
    by: Json | None
    providers: Json
    consumers: Json
    renamed: Json
    body: Json

    @classmethod
    def of(cls, data: Json) -> AccountChange:
        """From JSON."""
        return cls(
            data["revision"],
            data["kind"],
            data["at"],
            data["path"],
            data.get("by"),
            data.get("providers") or {},
            data.get("consumers") or {},
            data.get("renamed") or {},
            data,
        )


@dataclass(frozen=True)
class ChangePage:
    """Changes in order. ``next_after`` is the ``after`` of the next page of the history ``epoch``.

    ``revision`` is the newest of the account. ``more``: there are further changes already. ``freed_at``: with
    the parameter ``frees``, the first revision that may have made room for these classes.
    """

    epoch: str
    revision: int
    next_after: int
    more: bool
    changes: tuple[AccountChange, ...]
    freed_at: int | None = None

    @classmethod
    def of(cls, data: Json) -> ChangePage:
        """From JSON."""
        return cls(
            data["epoch"],
            data["revision"],
            data["next_after"],
            data["more"],
            tuple(map(AccountChange.of, data["changes"])),
            data.get("freed_at"),
        )


@dataclass(frozen=True)
class Bookmark:
    """Every change up to ``revision`` that passes the filter has been sent."""

    revision: int
    epoch: str


@dataclass(frozen=True)
class End:
    """The service ends a stream: ``stopping``, ``again``, ``compacted``, ``different_history`` and so on."""

    reason: str


News = Union[AccountChange, Bookmark, End]
"""What a stream tells."""


class ChangeStream:
    """Changes, bookmarks, and in the end why there are no more. Another thread may close it.

    Iterating raises ``UnreachableError`` when the stream breaks off.
    """

    def __init__(self, lines: Stream) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[News]:
        for line in self._lines:
            yield _news(line)
            if "end" in line:
                self.close()
                return

    def close(self) -> None:
        """End it. A thread that waits for the next change stops waiting."""
        self._lines.close()


def _news(line: Any) -> News:
    if "end" in line:
        return End(line["end"])
    if "bookmark" in line:
        return Bookmark(line["bookmark"], line["epoch"])
    return AccountChange.of(line)
