"""How many providers are left after each step of a search: why there are no candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from moorage.model.requests import CandidateRequest, StepCount
from moorage.model.valueclass import valueclass
from moorage.search.index.columns import Mask
from moorage.search.index.index import Snapshot
from moorage.search.match.filters import joined
from moorage.search.match.plan import Plan


def count_stages(plan: Plan) -> list[StepCount]:
    """How many providers are left after each step, in all blocks; ends where no tree is left."""
    tally = Tally()
    for block in plan.snapshot.blocks:
        tally.begin()
        left = np.ones(block.trees.count, dtype=np.bool_)
        for word, steps in (("root_required", plan.root_required), ("root_forbidden", plan.root_forbidden)):
            for step in steps:
                left = left & block.trees.at_roots(step.mask(block))
                tally.note(None, f"{word} {joined(step.names)}", left)
        for group, asked in zip(plan.groups, plan.request.groups, strict=True):
            look = group.look(block, tally.note)
            left = left & look.trees
            tally.note(None, f"group {asked.suffix}" if asked.suffix else "unsuffixed group", left)
    return tally.stages()


class Tally:
    """Adds up, over all blocks, how many are left after each step."""

    def __init__(self) -> None:
        self._steps: list[tuple[str | None, str]] = []
        self._left: list[int] = []
        self._position = 0

    def begin(self) -> None:
        """Start again at the first step, for the next block."""
        self._position = 0

    def note(self, group: str | None, step: str, left: Mask) -> None:
        """Add the number left after the next step."""
        if self._position == len(self._steps):
            self._steps.append((group, step))
            self._left.append(0)
        self._left[self._position] += int(np.count_nonzero(left))
        self._position += 1

    def stages(self) -> list[StepCount]:
        """All steps up to the one that leaves no tree."""
        found: list[StepCount] = []
        for (group, step), left in zip(self._steps, self._left, strict=True):
            found.append(StepCount(group, step, left))
            if group is None and not left:
                break
        return found


@valueclass(frozen=True, slots=True, eq=False)
class Stages(Sequence[StepCount]):
    """Stages that are counted when first read: that is rare, and counting visits all providers.

    ``fruitful`` is how many trees gave a candidate. Keeps no plan: a plan refers to all sharing providers,
    and kept answers must stay small.
    """

    snapshot: Snapshot
    request: CandidateRequest
    fruitful: int

    @property
    def _all(self) -> tuple[StepCount, ...]:
        found = count_stages(Plan(self.snapshot, self.request))
        if found and found[-1].group is None and not found[-1].left:
            return tuple(found)
        return (*found, StepCount(None, "all groups together", self.fruitful))

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> StepCount: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[StepCount]: ...

    def __getitem__(self, index: int | slice) -> StepCount | Sequence[StepCount]:
        return self._all[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all == tuple(other)

    __hash__ = None  # type: ignore[assignment]
