"""A whole request, ready to be asked of one block after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, overload

import numpy as np

from moorage.model.errors import ResourceClassNotFoundError, TraitNotFoundError
from moorage.model.requests import CandidateRequest, RequestGroup, Stage
from moorage.search.block import Block, Finding
from moorage.search.columns import IntArray, Mask
from moorage.search.filters import HasAny, HasNone, filters_of, joined, meeting_all
from moorage.search.groups import UNSUFFIXED, Variable, group_of
from moorage.search.snapshot import Snapshot
from moorage.search.work import Work


@dataclass(slots=True)
class Survey:
    """The trees of a block in which each variable has somebody to serve it, and who that may be.

    ``own`` and ``cover`` are as in ``Look``, for all variables of the plan.
    """

    number: int
    block: Block
    trees: IntArray
    own: list[Mask]
    cover: list[Mask]


PASSED_OVER: Final = Finding(np.zeros(0, dtype=np.int64), [], [])
"""Of a block that need not be looked at."""

NOTHING_FOUND: Final = Finding(np.zeros(0, dtype=np.int64), [], [])


class Plan:
    """The groups of a request and what they ask of roots.

    Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names.
    """

    def __init__(self, snapshot: Snapshot, request: CandidateRequest) -> None:
        check_names(snapshot, request.groups, request.root_required, request.root_forbidden)
        self.snapshot = snapshot
        self.request = request
        self.groups = [group_of(snapshot, asked) for asked in request.groups]
        self.variables: list[Variable] = [variable for group in self.groups for variable in group.variables]
        self._root_required: list[HasAny | HasNone] = [
            HasAny(frozenset([name])) for name in sorted(request.root_required)
        ]
        self._root_forbidden: list[HasAny | HasNone] = [
            HasNone(frozenset([name])) for name in sorted(request.root_forbidden)
        ]
        for number in snapshot.sharing_blocks:
            for group in self.groups:
                group.learn_sharing(number, snapshot.blocks[number])
        self.sharing = any(variable.shared for variable in self.variables)
        """Whether a sharing provider can serve something in another tree."""
        self.sharing_alone = all(variable.shared for variable in self.variables)
        """Whether sharing providers may be able to serve everything, and so in several trees."""
        self.cover = [
            names for asked in request.groups if asked.suffix == UNSUFFIXED for names in asked.required
        ]
        """ORs of traits that the providers of the unsuffixed group must have together."""

    def surveys(self, work: Work, owner: object = None) -> Iterator[Survey]:
        """Surveys of the blocks that have trees for the request, in order.

        What was found in a block is left with it for ``owner``, who stands for the request, if one is
        given. Raises OutOfStepsError when ``work`` is at its limit.
        """
        # Providers that share may be anywhere: what they serve is not a matter of one block.
        keeps = owner is not None and not self.sharing
        for number, block in enumerate(self.snapshot.blocks):
            known = block.finding_of(owner) if keeps else None
            asked = self._may_be_served(block) if known is None else known is not PASSED_OVER
            finding = PASSED_OVER
            if asked:
                work.blocks += 1
                work.asked += len(self.variables)
                work.check()
                finding = known or self._finding(block)
            if keeps and known is None:
                block.keep_finding(owner, finding)
            if len(finding.trees):
                yield Survey(number, block, finding.trees, finding.own, finding.cover)

    def _may_be_served(self, block: Block) -> bool:
        return all(step.may_hold(block) for step in self._root_required) and all(
            group.may_be_served(block) for group in self.groups
        )

    def _finding(self, block: Block) -> Finding:
        left = np.ones(block.trees.count, dtype=np.bool_)
        own: list[Mask] = []
        cover: list[Mask] = []
        for group in self.groups:
            look = group.look(block)
            left = left & look.trees
            own += look.own
            cover += look.cover
        for step in (*self._root_required, *self._root_forbidden):
            left = left & block.trees.at_roots(step.mask(block))
        trees = np.flatnonzero(left)
        return Finding(trees, own, cover) if len(trees) else NOTHING_FOUND

    def stages(self) -> list[Stage]:
        """How many are left after each step, in all blocks; ends where no tree is left."""
        tally = Tally()
        for block in self.snapshot.blocks:
            tally.begin()
            left = np.ones(block.trees.count, dtype=np.bool_)
            for word, steps in (
                ("root_required", self._root_required),
                ("root_forbidden", self._root_forbidden),
            ):
                for step in steps:
                    left = left & block.trees.at_roots(step.mask(block))
                    tally.note(None, f"{word} {joined(step.names)}", left)
            for group, asked in zip(self.groups, self.request.groups, strict=True):
                look = group.look(block, tally.note)
                left = left & look.trees
                tally.note(None, f"group {asked.suffix}" if asked.suffix else "unsuffixed group", left)
        return tally.stages()


class Tally:
    """Adds up, over blocks, what is left after each step."""

    def __init__(self) -> None:
        self._steps: list[tuple[str | None, str]] = []
        self._left: list[int] = []
        self._position = 0

    def begin(self) -> None:
        """The steps come again from the first one, for another block."""
        self._position = 0

    def note(self, group: str | None, step: str, left: Mask) -> None:
        """Add what is left after the next step."""
        if self._position == len(self._steps):
            self._steps.append((group, step))
            self._left.append(0)
        self._left[self._position] += int(np.count_nonzero(left))
        self._position += 1

    def stages(self) -> list[Stage]:
        """All steps up to the one that leaves no tree."""
        found: list[Stage] = []
        for (group, step), left in zip(self._steps, self._left, strict=True):
            found.append(Stage(group, step, left))
            if group is None and not left:
                break
        return found


class Stages(Sequence[Stage]):
    """Stages that are counted when somebody looks at them: few ever do, and it takes a pass over
    all providers."""

    def __init__(self, plan: Plan, fruitful: int) -> None:
        """``fruitful`` is how many trees gave a candidate."""
        self._plan = plan
        self._fruitful = fruitful

    @cached_property
    def _all(self) -> tuple[Stage, ...]:
        found = self._plan.stages()
        if found and found[-1].group is None and not found[-1].left:
            return tuple(found)
        return (*found, Stage(None, "all groups together", self._fruitful))

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> Stage: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Stage]: ...

    def __getitem__(self, index: int | slice) -> Stage | Sequence[Stage]:
        return self._all[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all == tuple(other)

    __hash__ = None  # type: ignore[assignment]


def check_names(
    snapshot: Snapshot,
    groups: Iterable[RequestGroup],
    root_required: frozenset[str] = frozenset(),
    root_forbidden: frozenset[str] = frozenset(),
) -> None:
    """Refuse names that do not exist, wherever in a request they are.

    Raises ResourceClassNotFoundError for the first unknown class, else TraitNotFoundError for
    all unknown traits.
    """
    traits = set(root_required | root_forbidden)
    for group in groups:
        for resource_class in group.resources:
            if resource_class not in snapshot.resource_class_names:
                raise ResourceClassNotFoundError(resource_class)
        traits.update(group.forbidden, *group.required)
    unknown = traits - snapshot.trait_names
    if unknown:
        raise TraitNotFoundError(", ".join(sorted(unknown)))


def providers_matching(snapshot: Snapshot, group: RequestGroup) -> list[int]:
    """Ids, ascending, of the providers that satisfy everything in ``group`` by themselves.

    Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names; an unknown
    ``in_tree`` or aggregate is satisfied by nobody, an unknown forbidden aggregate by all.
    """
    check_names(snapshot, [group])
    filters = filters_of(snapshot, group)
    found: list[int] = []
    for block in snapshot.blocks:
        if all(step.may_hold(block) for step in filters):
            found += block.ids[meeting_all(block, filters)].tolist()
    return sorted(found)
