"""When a worker that has died is replaced."""

from __future__ import annotations

from typing import Final

STEADY_SECONDS: Final = 10.0
"""A worker that lives as long has begun well: the one after it begins at once."""

LONGEST_PAUSE_SECONDS: Final = 30.0


class Comebacks:
    """Which workers are dead, and when each is replaced, by a steady clock.

    The first one that dies is replaced at once. If its successor dies soon as well, the next one waits a
    second, and each after that twice as long. So workers that cannot live leave the processor to others.
    """

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._failures: dict[int, int] = {}

    @property
    def has_failed(self) -> bool:
        """Whether a worker is dead that lived for moments only, in place of one that had died."""
        return any(self._failures.get(index) for index in self._due)

    def is_there(self, index: int) -> None:
        """A worker lives, whatever has brought it back."""
        self._due.pop(index, None)

    def has_died(self, index: int, began: float | None, now: float) -> float:
        """A worker is dead. Seconds until the next one begins if that is news, else 0.

        ``began``: when it was started in place of another one; None for a first worker.
        """
        if index in self._due:
            return 0.0
        quick = began is not None and now - began < STEADY_SECONDS
        self._failures[index] = failures = self._failures.get(index, 0) + 1 if quick else 0
        pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** (failures - 1)) if failures else 0.0
        self._due[index] = now + pause
        return pause

    def dead(self) -> list[int]:
        """All that are dead."""
        return sorted(self._due)

    def due(self, now: float) -> list[int]:
        """Those whose pause is over. What happens to them from now on is news again."""
        found = [index for index in self.dead() if self._due[index] <= now]
        for index in found:
            del self._due[index]
        return found

    def seconds_left(self, most: float, now: float) -> float:
        """Until the next one is due, at most ``most``."""
        return max(0.0, min([most, *(moment - now for moment in self._due.values())]))
