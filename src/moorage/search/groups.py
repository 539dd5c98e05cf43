"""What each group of a request leaves: filters over all providers of a block at once.

A group becomes variables: a suffixed one is one variable (one provider serves all of it), the
unsuffixed one is a variable per resource class. A variable says which providers can serve it,
in their own tree and, for providers that share, in which other trees. Whatever concerns several
variables at once is left to the search within one tree.

Providers that share are few and reach everywhere, so they are looked for once, before the
blocks are gone through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from moorage.model.requests import RequestGroup
from moorage.model.valueclass import valueclass
from moorage.model.values import SHARING_TRAIT
from moorage.search.block import Block
from moorage.search.columns import Mask
from moorage.search.filters import (
    Filter,
    HasAny,
    HasNone,
    InAll,
    InNone,
    InTree,
    Room,
    everybody,
    filters_of,
    meeting_all,
    nobody,
)
from moorage.search.snapshot import Place, Snapshot

UNSUFFIXED: Final = ""

SHARES: Final = HasAny(frozenset([SHARING_TRAIT]))

Demand = tuple[str, int]
"""A resource class and the amount of it that is asked for, in its unit."""

Note = Callable[[str | None, str, Mask], None]
"""Takes down which entries (or trees, where the group is None) are left after a step."""


@dataclass(slots=True)
class Variable:
    """Something that one provider has to serve.

    ``shared`` maps an aggregate to the sharing providers that can serve it in every tree that
    has a provider in that aggregate.
    """

    suffix: str
    demands: tuple[Demand, ...]
    shared: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))


@valueclass(frozen=True, slots=True)
class Look:
    """What a group finds in a block: trees that it can be served in, and by whom.

    ``own`` are for each variable the entries that can serve it in their own tree. ``cover``
    are the entries that have a trait of each OR of the unsuffixed group's required ones: those
    that serve it must together be in all of these.
    """

    trees: Mask
    own: list[Mask]
    cover: list[Mask]


class Group(ABC):
    """A group of a request, ready to be asked of blocks."""

    variables: list[Variable]

    @abstractmethod
    def may_be_served(self, block: Block) -> bool:
        """Whether the block may have a tree for it, at a cost that does not depend on its size."""

    @abstractmethod
    def look(self, block: Block, note: Note | None = None) -> Look:
        """What it finds in ``block``; ``note`` takes down every step."""

    @abstractmethod
    def learn_sharing(self, number: int, block: Block) -> None:
        """Note the sharing providers of ``block`` that can serve it."""


class SuffixedGroup(Group):
    """Served by one provider."""

    def __init__(self, snapshot: Snapshot, asked: RequestGroup) -> None:
        self.variables = [Variable(asked.suffix, tuple(asked.resources.items()))]
        self._suffix = asked.suffix
        self._filters = filters_of(snapshot, asked)

    def may_be_served(self, block: Block) -> bool:
        return bool(self.variables[0].shared) or all(step.may_hold(block) for step in self._filters)

    def look(self, block: Block, note: Note | None = None) -> Look:
        if note is None:
            own = meeting_all(block, self._filters)
        else:
            own = noted(block, self._suffix, self._filters, note)
        return Look(_served(block, own, self.variables[0].shared), [own], [])

    def learn_sharing(self, number: int, block: Block) -> None:
        _share(self.variables[0].shared, number, block, meeting_all(block, [SHARES, *self._filters]))


class UnsuffixedGroup(Group):
    """Each class served by some provider of the tree, or one that shares with it."""

    def __init__(self, snapshot: Snapshot, asked: RequestGroup) -> None:
        demands = list(asked.resources.items())
        self.variables = [Variable(asked.suffix, (demand,)) for demand in demands]
        self._suffix = asked.suffix
        self._rooms = [Room(*demand) for demand in demands]
        self._required = [HasAny(names) for names in asked.required]
        self._in_tree = None if asked.in_tree is None else InTree.of(snapshot, asked.in_tree)
        self._forbidden = HasNone(asked.forbidden) if asked.forbidden else None
        self._member_of = InAll(asked.member_of) if asked.member_of else None
        self._banned = InNone(asked.forbidden_aggregates) if asked.forbidden_aggregates else None
        self._cover_shared: list[dict[str, list[Place]]] = [defaultdict(list) for _ in asked.required]

    def may_be_served(self, block: Block) -> bool:
        anyone_shares = False
        for variable, room in zip(self.variables, self._rooms, strict=True):
            if variable.shared:
                anyone_shares = True
            elif not room.may_hold(block):
                return False
        if anyone_shares:
            return True
        needed = [*self._required, self._in_tree, self._member_of]
        return all(step is None or step.may_hold(block) for step in needed)

    def look(self, block: Block, note: Note | None = None) -> Look:
        trees, allowed = self._allowed(block, note)
        anyone = nobody(block)
        looks: list[Mask] = []
        for variable, room in zip(self.variables, self._rooms, strict=True):
            own = room.mask(block) & allowed
            if note is not None:
                note(self._suffix, room.step, own)
            trees &= _served(block, own, variable.shared)
            anyone |= own
            looks.append(own)
        cover: list[Mask] = []
        for required, shared in zip(self._required, self._cover_shared, strict=True):
            having = required.mask(block)
            trees &= _served(block, anyone & having, shared)
            cover.append(having)
            if note is not None:
                note(self._suffix, required.step, anyone & having)
        return Look(trees, looks, cover)

    def _allowed(self, block: Block, note: Note | None) -> tuple[Mask, Mask]:
        """Trees whose root does not forbid them, and entries that nothing but room keeps from serving."""
        trees = np.ones(block.trees.count, dtype=np.bool_)
        allowed = everybody(block)
        for step in (self._in_tree, self._forbidden):
            if step is not None:
                allowed &= step.mask(block)
                if note is not None:
                    note(self._suffix, step.step, allowed)
        if self._member_of is not None:
            # Membership of a root counts for its whole tree, but not for what is shared with it.
            allowed &= _with_trees(block, self._member_of.mask(block))
            if note is not None:
                note(self._suffix, self._member_of.step, allowed)
        if self._banned is not None:
            free = self._banned.mask(block)
            trees &= block.trees.at_roots(free)
            allowed &= free & block.trees.entries_of(trees)
            if note is not None:
                note(self._suffix, self._banned.step, allowed)
        return trees, allowed

    def learn_sharing(self, number: int, block: Block) -> None:
        if self._in_tree is not None:
            return
        steps = [SHARES, self._forbidden, self._member_of, self._banned]
        members = meeting_all(block, [step for step in steps if step is not None])
        sharing = nobody(block)
        for variable, room in zip(self.variables, self._rooms, strict=True):
            found = members & room.mask(block)
            _share(variable.shared, number, block, found)
            sharing |= found
        for required, shared in zip(self._required, self._cover_shared, strict=True):
            _share(shared, number, block, sharing & required.mask(block))


def group_of(snapshot: Snapshot, asked: RequestGroup) -> Group:
    """``asked``, ready to be asked of the blocks of ``snapshot``."""
    if asked.suffix == UNSUFFIXED:
        return UnsuffixedGroup(snapshot, asked)
    return SuffixedGroup(snapshot, asked)


def noted(block: Block, suffix: str, filters: list[Filter], note: Note) -> Mask:
    """As ``meeting_all``, and takes down how many are left after each of ``filters``."""
    left = everybody(block)
    for step in filters:
        left &= step.mask(block)
        note(suffix, step.step, left)
    return left


def _served(block: Block, own: Mask, shared: dict[str, list[Place]]) -> Mask:
    """Trees that one of ``own`` is in, or that have a provider in an aggregate of ``shared``."""
    trees = block.trees.with_any(own)
    if shared:
        reached = block.aggregates.having_any(shared)
        if reached is not None:
            trees = trees | block.trees.with_any(reached)
    return trees


def _with_trees(block: Block, entries: Mask) -> Mask:
    """``entries`` and all entries of trees whose root is one of them."""
    return entries | block.trees.entries_of(block.trees.at_roots(entries))


def _share(shared: dict[str, list[Place]], number: int, block: Block, providers: Mask) -> None:
    for offset in np.flatnonzero(providers).tolist():
        for uuid in dict.fromkeys(block.aggregates[offset]):
            shared[uuid].append((number, offset))
