"""A plan: a whole request, prepared for searching one block after the other.

Each group of a request becomes variables: a suffixed one is one variable (one provider serves all of it), the
unsuffixed one is a variable per resource class. A variable says which providers can serve it, in their own
tree and, for providers that share, in which other trees. Conditions on several variables at once belong to
the search within one tree.

Sharing providers are few, and may serve trees of any block. So a plan looks them up once, before it goes
through the blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from moorage.model.cache import Cache
from moorage.model.errors import ResourceClassNotFoundError, TraitNotFoundError
from moorage.model.requests import ISOLATE, CandidateRequest, RequestGroup
from moorage.model.valueclass import valueclass
from moorage.model.values import SHARING_TRAIT
from moorage.search.index.block import Block
from moorage.search.index.columns import IntArray, Mask, may_serve, serving
from moorage.search.index.index import Snapshot
from moorage.search.match.division import Division
from moorage.search.match.filters import (
    HasAny,
    HasNone,
    InAll,
    InNone,
    InTree,
    Note,
    Room,
    filters_of,
    meeting_all,
    no_entry,
    noted,
)
from moorage.search.match.variables import (
    FILTER_STEPS,
    NAMES_PER_STEP,
    UNSUFFIXED,
    Shared,
    Sharing,
    Variable,
    contested_classes,
)

NO_BOUND: Final = 1 << 62
"""More steps than any search can take."""


class OutOfStepsError(Exception):
    """A search has used up its steps."""


@dataclass(slots=True)
class Work:
    """The steps that a search has ``done``, and the ``most`` that it may take.

    A step stands for a quarter of a microsecond. The other counters say what the steps were for. ``blocks``
    were searched, with ``asked`` variables in all. ``trees`` were looked into. ``steps`` are placements tried
    one by one, and ``placed`` are providers named in candidates.
    """

    most: int = NO_BOUND
    done: int = 0
    blocks: int = 0
    asked: int = 0
    trees: int = 0
    steps: int = 0
    placed: int = 0

    def spend(self, steps: int) -> None:
        """Count ``steps`` that are about to be taken. Raises OutOfStepsError if they are too many."""
        self.done += steps
        if self.done > self.most:
            raise OutOfStepsError


SHARES: Final = HasAny(frozenset([SHARING_TRAIT]))


@valueclass(frozen=True, slots=True)
class Look:
    """What a group finds in a block: trees that can serve it, and the entries that do.

    ``own`` are for each variable the entries that can serve it in their own tree. ``cover`` are the entries
    that have a trait of each OR of the unsuffixed group's required ones: the providers that serve the group
    must together be in all of these.
    """

    trees: Mask
    own: list[Mask]
    cover: list[Mask]


class Group(ABC):
    """A group of a request, prepared for searching blocks."""

    variables: list[Variable]

    @abstractmethod
    def may_be_served(self, block: Block) -> bool:
        """Whether a tree of the block may serve the group, at a cost independent of the block's size."""

    @abstractmethod
    def look(self, block: Block, note: Note | None = None) -> Look:
        """What the group finds in ``block``; ``note`` records every step."""

    @property
    @abstractmethod
    def cost(self) -> int:
        """Steps that a look at a block takes."""

    @abstractmethod
    def learn_sharing(self, sharing: Sharing) -> None:
        """Store which sharing providers can serve the group."""


class SuffixedGroup(Group):
    """Served by one provider."""

    def __init__(self, asked: RequestGroup, trees: Mapping[str, InTree]) -> None:
        self.variables = [Variable(asked.suffix, tuple(asked.resources.items()))]
        self._suffix = asked.suffix
        self._filters = filters_of(asked, trees)
        self._cost = _cost(len(self._filters), asked)

    def may_be_served(self, block: Block) -> bool:
        return bool(self.variables[0].shared) or all(step.may_hold(block) for step in self._filters)

    def look(self, block: Block, note: Note | None = None) -> Look:
        if note is None:
            own = meeting_all(block, self._filters)
        else:
            own = noted(block, self._suffix, self._filters, note)
        return Look(block.trees.with_any(with_reached(block, own, self.variables[0].shared)), [own], [])

    def learn_sharing(self, sharing: Sharing) -> None:
        steps = [SHARES, *self._filters]
        self.variables[0].shared = sharing.among([meeting_all(block, steps) for _, block in sharing.blocks])

    @property
    def cost(self) -> int:
        shared = self.variables[0].shared
        return self._cost + len(shared) // NAMES_PER_STEP if shared else self._cost


class UnsuffixedGroup(Group):
    """Each class is served by a provider of the tree, or by one that shares with the tree."""

    def __init__(self, asked: RequestGroup, trees: Mapping[str, InTree]) -> None:
        self._demands = list(asked.resources.items())
        self.variables = [Variable(asked.suffix, (demand,)) for demand in self._demands]
        self._suffix = asked.suffix
        self._required = [HasAny(names) for names in asked.required]
        self._in_tree = None if asked.in_tree is None else trees[asked.in_tree]
        self._forbidden = HasNone(asked.forbidden) if asked.forbidden else None
        self._member_of = InAll(asked.member_of) if asked.member_of else None
        self._banned = InNone(asked.forbidden_aggregates) if asked.forbidden_aggregates else None
        self._cover_shared: list[Shared] = [{} for _ in asked.required]
        others = [self._in_tree, self._forbidden, self._member_of, self._banned]
        filters = len(self._demands) + len(self._required) + sum([step is not None for step in others])
        self._cost = _cost(filters, asked)

    def may_be_served(self, block: Block) -> bool:
        unshared = [variable.demands[0] for variable in self.variables if not variable.shared]
        if not may_serve(block.columns, unshared):
            return False
        if len(unshared) < len(self.variables):
            return True
        needed = [*self._required, self._in_tree, self._member_of]
        return all(step is None or step.may_hold(block) for step in needed)

    def look(self, block: Block, note: Note | None = None) -> Look:
        trees, allowed = self.allowed(block, note)
        own = serving(block.columns, len(block.ids), self._demands)
        needed: list[Mask] = []
        for variable, mask in zip(self.variables, own, strict=True):
            if allowed is not None:
                mask &= allowed
            if note is not None:
                note(self._suffix, Room(*variable.demands[0]).step, mask)
            needed.append(with_reached(block, mask, variable.shared))
        cover = [required.mask(block) for required in self._required]
        if cover:
            any_own = no_entry(block)
            for mask in own:
                any_own |= mask
            for required, having, shared in zip(self._required, cover, self._cover_shared, strict=True):
                if note is not None:
                    note(self._suffix, required.step, any_own & having)
                needed.append(with_reached(block, any_own & having, shared))
        found = block.trees.with_each(needed)
        return Look(found if trees is None else found & trees, own, cover)

    def allowed(self, block: Block, note: Note | None) -> tuple[Mask | None, Mask | None]:
        """Trees that their root does not rule out, and entries that meet all conditions except room.

        None stands for all.
        """
        trees: Mask | None = None
        allowed: Mask | None = None
        for step in (self._in_tree, self._forbidden):
            if step is not None:
                allowed = _both(allowed, step.mask(block))
                if note is not None:
                    note(self._suffix, step.step, allowed)
        if self._member_of is not None:
            # Membership of a root counts for its whole tree, but not for providers that share with the tree.
            allowed = _both(allowed, _with_trees(block, self._member_of.mask(block)))
            if note is not None:
                note(self._suffix, self._member_of.step, allowed)
        if self._banned is not None:
            free = self._banned.mask(block)
            trees = block.trees.at_roots(free)
            allowed = _both(allowed, free & block.trees.entries_of(trees))
            if note is not None:
                note(self._suffix, self._banned.step, allowed)
        return trees, allowed

    def learn_sharing(self, sharing: Sharing) -> None:
        if self._in_tree is not None:
            return
        members = self.sharing_members(sharing)
        giving = [no_entry(block) for _, block in sharing.blocks]
        for variable in self.variables:
            room = Room(*variable.demands[0])
            found = [
                mask & room.mask(block) for mask, (_, block) in zip(members, sharing.blocks, strict=True)
            ]
            variable.shared = sharing.among(found)
            giving = [mask | more for mask, more in zip(giving, found, strict=True)]
        self._cover_shared = [
            sharing.among(
                [mask & required.mask(block) for mask, (_, block) in zip(giving, sharing.blocks, strict=True)]
            )
            for required in self._required
        ]

    def sharing_members(self, sharing: Sharing) -> list[Mask]:
        """Sharing providers that meet all conditions except room, where no tree is named."""
        steps = [SHARES, self._forbidden, self._member_of, self._banned]
        some = [step for step in steps if step is not None]
        return [meeting_all(block, some) for _, block in sharing.blocks]

    @property
    def cost(self) -> int:
        shared = sum([len(variable.shared) for variable in self.variables])
        return self._cost + (shared + sum(map(len, self._cover_shared))) // NAMES_PER_STEP


def group_of(asked: RequestGroup, trees: Mapping[str, InTree]) -> Group:
    """``asked``, prepared for searching blocks; ``trees`` are those that ``in_tree`` names."""
    if asked.suffix == UNSUFFIXED:
        return UnsuffixedGroup(asked, trees)
    return SuffixedGroup(asked, trees)


def with_reached(block: Block, own: Mask, shared: Mapping[str, object]) -> Mask:
    """``own``, and the entries in an aggregate of ``shared``."""
    reached = block.aggregates.having_any(shared) if shared else None
    return own if reached is None else own | reached


def _both(one: Mask | None, other: Mask) -> Mask:
    """The entries in both masks, where None stands for all entries."""
    return other if one is None else one & other


def _with_trees(block: Block, entries: Mask) -> Mask:
    """``entries`` and all entries of trees whose root is one of them."""
    return entries | block.trees.entries_of(block.trees.at_roots(entries))


def _cost(filters: int, asked: RequestGroup) -> int:
    """Steps of evaluating this number of filters of a group in a block."""
    return FILTER_STEPS * filters + asked.named // NAMES_PER_STEP


@valueclass(frozen=True, slots=True, eq=False)
class BlockFinding:
    """What a request finds in a block: the trees in which each variable has a provider to serve it.

    ``own`` marks for each variable the entries that can serve it. ``cover`` marks for each OR of required
    traits the entries that have one of them; see ``Look``.
    """

    trees: IntArray
    own: list[Mask]
    cover: list[Mask]


NOTHING_FOUND: Final = BlockFinding(np.zeros(0, dtype=np.int64), [], [])


class KeptFinding:
    """A finding as a block keeps it: a bit for each tree, and for each entry of a mask.

    The masks serve to divide the trees. With a ``division`` they are gone, and found again where a search
    needs them, which is seldom. ``count`` is the number of trees, and ``size`` is in bytes.
    """

    __slots__ = ("_masks", "_own", "_trees", "count", "division", "size")

    def __init__(self, finding: BlockFinding, trees: int, *, settled: bool) -> None:
        """``trees`` is how many the block has. ``settled`` says that no search needs the masks."""
        marked = np.zeros(trees, dtype=np.bool_)
        marked[finding.trees] = True
        self.count = len(finding.trees)
        self.division: Division | None = None
        self._trees = np.packbits(marked)
        self._own = len(finding.own)
        masks = [*finding.own, *finding.cover]
        self._masks = None if settled else np.packbits(np.array(masks), axis=1)
        packed = 0 if self._masks is None else self._masks.nbytes
        self.size = FINDING_BYTES + self._trees.nbytes + packed

    def trees(self, block: Block) -> IntArray:
        """The trees."""
        return np.flatnonzero(np.unpackbits(self._trees, count=block.trees.count))

    def masks(self, block: Block) -> tuple[list[Mask], list[Mask]] | None:
        """``own`` and ``cover``, None if they are gone."""
        if self._masks is None:
            return None
        masks = [*np.unpackbits(self._masks, axis=1, count=len(block)).view(np.bool_)]
        return masks[: self._own], masks[self._own :]

    def divided(self, division: Division) -> KeptFinding:
        """The same finding with a division."""
        found = copy(self)
        found.division = division
        found._masks = None
        found.size = FINDING_BYTES + self._trees.nbytes + division.size
        return found


FINDING_BYTES: Final = 450
"""Bytes of a finding besides its arrays' own."""

PASSED_OVER: Final = KeptFinding(NOTHING_FOUND, 0, settled=True)
FOUND_NOTHING: Final = KeptFinding(NOTHING_FOUND, 0, settled=True)
"""What a block keeps if it was not searched, and if it has no tree for the request."""


class Survey:
    """The trees of a block in which each variable has a provider to serve it, and these providers.

    ``settled`` says that each tree is one provider that serves the request in exactly one way. ``count`` is
    the number of trees. ``division`` divides them by their keys, if that is known.
    """

    def __init__(
        self, plan: Plan, number: int, finding: BlockFinding | None, kept: KeptFinding, owner: object
    ) -> None:
        """``kept`` is what the block keeps for ``owner``, unless that is None. Else ``finding`` is given."""
        self.number = number
        self.block = plan.snapshot.blocks[number]
        self.settled = self.block.trees.lone and plan.alone_suffices
        self.division = kept.division
        self._plan = plan
        self._kept = kept
        self._owner = owner
        self.count = kept.count
        if finding is not None:
            self.leave(finding.trees)
            self._masks = finding.own, finding.cover

    @cached_property
    def trees(self) -> IntArray:
        """The trees, in order."""
        return self._kept.trees(self.block)

    def leave(self, trees: IntArray) -> None:
        """Leave only ``trees``."""
        self.trees = trees
        self.count = len(trees)

    @property
    def own(self) -> list[Mask]:
        """For each variable of the plan the entries that can serve it in their own tree."""
        return self._masks[0]

    @property
    def cover(self) -> list[Mask]:
        """For each OR of required traits the entries that have one of them; see ``Look``."""
        return self._masks[1]

    @cached_property
    def _masks(self) -> tuple[list[Mask], list[Mask]]:
        kept = self._kept.masks(self.block)
        if kept is not None:
            return kept
        finding = self._plan.finding(self.block)
        return finding.own, finding.cover

    def divide(self, division: Division) -> None:
        """Use ``division`` from now on, in later searches too."""
        self.division = division
        if self._owner is not None:
            self.block.findings.put(self._owner, self._kept.divided(division))


GROUP_STEPS: Final = 40
"""Steps of preparing a group."""


class Plan:
    """The groups of a request, and its conditions on roots.

    Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        request: CandidateRequest,
        work: Work | None = None,
        prepare: Callable[[RequestGroup, Mapping[str, InTree]], Group] = group_of,
    ) -> None:
        """Raises OutOfStepsError too."""
        work = Work() if work is None else work
        check_classes(snapshot, request.spoken)
        check_names(snapshot, request.groups, request.root_required, request.root_forbidden)
        self.snapshot = snapshot
        self.request = request
        self.steps = sum([GROUP_STEPS + asked.named // NAMES_PER_STEP for asked in request.groups])
        work.spend(self.steps)
        trees: dict[str, InTree] = {}
        for asked in request.groups:
            if asked.in_tree is not None and asked.in_tree not in trees:
                work.spend(FILTER_STEPS * len(snapshot.blocks))
                trees[asked.in_tree] = InTree.of(snapshot, asked.in_tree)
        self.lasting = not (trees or snapshot.sharing_blocks)
        """Whether the plan holds no data of the snapshot, so that it can serve another one."""
        self.groups: Sequence[Group] = [prepare(asked, trees) for asked in request.groups]
        self.variables: list[Variable] = [variable for group in self.groups for variable in group.variables]
        self.root_required: list[HasAny | HasNone] = [
            HasAny(frozenset([name])) for name in sorted(request.root_required)
        ]
        self.root_forbidden: list[HasAny | HasNone] = [
            HasNone(frozenset([name])) for name in sorted(request.root_forbidden)
        ]
        if snapshot.sharing_blocks:
            sharing = Sharing(snapshot, work.spend)
            for group in self.groups:
                group.learn_sharing(sharing)
        self._pass_steps = 2 + len(self.groups)
        roots = FILTER_STEPS * (len(self.root_required) + len(self.root_forbidden))
        self._look_steps = roots + sum([group.cost for group in self.groups])
        self.sharing = any(variable.shared for variable in self.variables)
        """Whether a sharing provider can serve something in another tree."""
        self.sharing_alone = all(variable.shared for variable in self.variables)
        """Whether sharing providers may be able to serve everything, and so in several trees."""
        self.cover = [
            names for asked in request.groups if asked.suffix == UNSUFFIXED for names in asked.required
        ]
        """ORs of traits that the providers of the unsuffixed group must have together."""

    @cached_property
    def isolated(self) -> bool:
        """Whether no provider may serve two suffixed groups, of which there are several."""
        suffixed = sum([asked.suffix != UNSUFFIXED for asked in self.request.groups])
        return suffixed > 1 and self.request.group_policy == ISOLATE

    @cached_property
    def contested(self) -> dict[str, int]:
        """Classes that one provider may have to give to several variables: see ``contested_classes``."""
        alone = len(self.groups) == 1
        return {} if alone else contested_classes(self.variables, isolated=self.isolated)

    @cached_property
    def structure(self) -> Hashable:
        """What decides, with the key of a tree, in which ways the tree serves the request.

        Requests that differ in amounts, traits or aggregates only are of the same structure, unless several
        variables ask for the same class: then the amounts count as well.
        """
        amounts = bool(self.contested)
        variables = [
            (variable.suffix, variable.demands if amounts else bool(variable.demands))
            for variable in self.variables
        ]
        request = self.request
        conditions = self.isolated, request.same_subtree, request.one_provider_per_tree
        return "structure", tuple(variables), tuple(self.contested), len(self.cover), conditions

    @cached_property
    def alone_suffices(self) -> bool:
        """Whether every tree of one provider in a survey serves the request in exactly one way.

        Its traits and its room for each class were checked by the survey, and nothing else remains.
        """
        gives = any(variable.demands for variable in self.variables)
        return gives and not (self.sharing or self.isolated or self.contested)

    def survey(self, number: int, work: Work, owner: object = None) -> Survey | None:
        """The survey of block ``number``; None if the block has no tree for the request.

        The block keeps its finding under the key ``owner``, which stands for the request, if one is given.
        Raises OutOfStepsError when ``work`` is at its limit.
        """
        # Sharing providers may be in any block, so that one block alone cannot rule the request out.
        keeper = None if self.sharing else owner
        block = self.snapshot.blocks[number]
        findings: Cache[object, KeptFinding] | None = None if keeper is None else block.findings
        known = None if findings is None else findings.get(keeper)
        asked = self._may_be_served(block) if known is None else known is not PASSED_OVER
        found: BlockFinding | None = None
        work.done += self._pass_steps
        if asked:
            work.blocks += 1
            work.asked += len(self.variables)
            work.spend(self._look_steps + len(self.variables))
        if known is None:
            found = self.finding(block) if asked else NOTHING_FOUND
            known = FOUND_NOTHING if asked else PASSED_OVER
            if findings is not None:
                if len(found.trees):
                    settled = block.trees.lone and self.alone_suffices
                    known = KeptFinding(found, block.trees.count, settled=settled)
                findings.put(keeper, known)
        survey = Survey(self, number, found, known, keeper)
        return survey if survey.count else None

    def able(self, block: Block) -> IntArray:
        """The trees of any block in which each variable has a provider to serve it."""
        return (self.finding(block) if self._may_be_served(block) else NOTHING_FOUND).trees

    def surveys(self, work: Work, numbers: Collection[int] | None = None) -> Iterator[Survey]:
        """Surveys of the blocks that have trees for the request, in order; of blocks ``numbers`` if given.

        Raises OutOfStepsError when ``work`` is at its limit.
        """
        for number in sorted(range(len(self.snapshot.blocks)) if numbers is None else numbers):
            survey = self.survey(number, work)
            if survey is not None:
                yield survey

    def _may_be_served(self, block: Block) -> bool:
        return all(step.may_hold(block) for step in self.root_required) and all(
            group.may_be_served(block) for group in self.groups
        )

    def finding(self, block: Block) -> BlockFinding:
        """What the request finds in ``block``."""
        left = np.ones(block.trees.count, dtype=np.bool_)
        own: list[Mask] = []
        cover: list[Mask] = []
        for group in self.groups:
            look = group.look(block)
            left = left & look.trees
            own += look.own
            cover += look.cover
        for step in (*self.root_required, *self.root_forbidden):
            left = left & block.trees.at_roots(step.mask(block))
        trees = np.flatnonzero(left)
        return BlockFinding(trees, own, cover) if len(trees) else NOTHING_FOUND


def check_classes(snapshot: Snapshot, names: Iterable[str]) -> None:
    """Raises ResourceClassNotFoundError for the first unknown one."""
    for name in names:
        if name not in snapshot.resource_class_names:
            raise ResourceClassNotFoundError(name)


def check_names(
    snapshot: Snapshot,
    groups: Iterable[RequestGroup],
    root_required: frozenset[str] = frozenset(),
    root_forbidden: frozenset[str] = frozenset(),
) -> None:
    """Refuse names that do not exist, in any part of a request.

    Raises ResourceClassNotFoundError for the first unknown class, else TraitNotFoundError for
    all unknown traits.
    """
    traits = set(root_required | root_forbidden)
    for group in groups:
        check_classes(snapshot, group.resources)
        traits.update(group.forbidden, *group.required)
    unknown = traits - snapshot.trait_names
    if unknown:
        raise TraitNotFoundError(", ".join(sorted(unknown)))
