"""How much a search may do, and how much it has done."""

from __future__ import annotations

from dataclasses import dataclass


class OutOfStepsError(Exception):
    """A search has done all that it may."""


@dataclass(slots=True)
class Work:
    """What a search has done; ``limit`` bounds the sum of it, None for no bound.

    ``blocks`` are those looked at closely, and ``asked`` what was asked of them: one per variable.
    ``trees`` are those looked into, ``steps`` placements tried one by one, ``placed`` providers
    named in candidates.
    """

    limit: int | None = None
    blocks: int = 0
    asked: int = 0
    trees: int = 0
    steps: int = 0
    placed: int = 0

    @property
    def left(self) -> int | None:
        """What may still be done, None for anything."""
        if self.limit is None:
            return None
        return self.limit - (self.asked + self.trees + self.steps + self.placed)

    def check(self) -> None:
        """Raises OutOfStepsError if more than the limit has been done."""
        if self.limit is not None and self.asked + self.trees + self.steps + self.placed > self.limit:
            raise OutOfStepsError
