"""Conditions on providers, evaluated for all entries of a block at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from moorage.model.requests import RequestGroup
from moorage.model.valueclass import valueclass
from moorage.search.index.block import Block, Trees
from moorage.search.index.columns import Labels, Mask, may_serve, serving
from moorage.search.index.index import Snapshot


class Filter(ABC):
    """A condition; ``step`` says it in words."""

    @property
    @abstractmethod
    def step(self) -> str:
        """The condition in words, for example ``VCPU:4``."""

    @abstractmethod
    def mask(self, block: Block) -> Mask:
        """Entries that meet the condition; the caller may change the array."""

    def may_hold(self, block: Block) -> bool:
        """Whether any entry may meet the condition, at a cost that does not depend on the block's size."""
        return True


@valueclass(frozen=True, slots=True)
class Room(Filter):
    """Can serve an amount of a class: room, min_unit, max_unit, step_size."""

    resource_class: str
    amount: int

    @property
    def step(self) -> str:
        return f"{self.resource_class}:{self.amount}"

    def mask(self, block: Block) -> Mask:
        return serving(block.columns, len(block), [(self.resource_class, self.amount)])[0]

    def may_hold(self, block: Block) -> bool:
        return may_serve(block.columns, [(self.resource_class, self.amount)])


@valueclass(frozen=True, slots=True)
class HasAny(Filter):
    """Has one of some traits."""

    names: frozenset[str]

    @property
    def step(self) -> str:
        return f"required {either(self.names)}"

    def mask(self, block: Block) -> Mask:
        return _with_any(block, block.traits, self.names)

    def may_hold(self, block: Block) -> bool:
        return not block.traits.names.isdisjoint(self.names)


@valueclass(frozen=True, slots=True)
class HasNone(Filter):
    """Has none of some traits."""

    names: frozenset[str]

    @property
    def step(self) -> str:
        return f"forbidden {joined(self.names)}"

    def mask(self, block: Block) -> Mask:
        return ~_with_any(block, block.traits, self.names)


@valueclass(frozen=True, slots=True)
class InAll(Filter):
    """Is in one aggregate of each set."""

    sets: tuple[frozenset[str], ...]

    @property
    def step(self) -> str:
        return f"member_of {' and '.join(either(names) for names in self.sets)}"

    def mask(self, block: Block) -> Mask:
        left = every_entry(block)
        for names in self.sets:
            left &= _with_any(block, block.aggregates, names)
        return left

    def may_hold(self, block: Block) -> bool:
        return not any(block.aggregates.names.isdisjoint(names) for names in self.sets)


@valueclass(frozen=True, slots=True)
class InNone(Filter):
    """Is in none of some aggregates."""

    names: frozenset[str]

    @property
    def step(self) -> str:
        return f"not member_of {joined(self.names)}"

    def mask(self, block: Block) -> Mask:
        return ~_with_any(block, block.aggregates, self.names)


@valueclass(frozen=True, slots=True)
class InTree(Filter):
    """Is in the tree of a named provider: ``tree`` of ``home``, None if there is no such provider.

    All blocks with the same entries have the same trees, whatever is in use in them.
    """

    uuid: str
    home: Trees | None
    tree: int

    @staticmethod
    def of(snapshot: Snapshot, uuid: str) -> InTree:
        """The filter for a provider of ``snapshot``."""
        place = snapshot.find_uuid(uuid)
        if place is None:
            return InTree(uuid, None, 0)
        home = snapshot.blocks[place[0]].trees
        return InTree(uuid, home, int(home.tree_of[place[1]]))

    @property
    def step(self) -> str:
        return f"in_tree {self.uuid}"

    def mask(self, block: Block) -> Mask:
        left = no_entry(block)
        if block.trees is self.home:
            left[slice(*block.trees.bounds(self.tree))] = True
        return left

    def may_hold(self, block: Block) -> bool:
        return block.trees is self.home


def filters_of(group: RequestGroup, trees: Mapping[str, InTree]) -> list[Filter]:
    """All conditions of ``group`` on a provider that serves all of it; ``trees`` are those it may name."""
    found: list[Filter] = [Room(name, amount) for name, amount in group.resources.items()]
    found += [HasAny(names) for names in group.required]
    if group.forbidden:
        found.append(HasNone(group.forbidden))
    if group.member_of:
        found.append(InAll(group.member_of))
    if group.forbidden_aggregates:
        found.append(InNone(group.forbidden_aggregates))
    if group.in_tree is not None:
        found.append(trees[group.in_tree])
    return found


LOOK_AFTER: Final = 16
"""Conditions after which it is checked whether an entry is left. Usual requests have fewer."""


def meeting_all(block: Block, filters: Sequence[Filter]) -> Mask:
    """Entries that meet all of ``filters``."""
    left = every_entry(block)
    for number, condition in enumerate(filters, 1):
        left &= condition.mask(block)
        # A request with thousands of conditions must not take longer than the few that leave no entry.
        if number % LOOK_AFTER == 0 and not left.any():
            break
    return left


def every_entry(block: Block) -> Mask:
    """A mask of all entries."""
    return np.ones(len(block), dtype=np.bool_)


def no_entry(block: Block) -> Mask:
    """A mask of no entry."""
    return np.zeros(len(block), dtype=np.bool_)


def joined(names: Iterable[str]) -> str:
    """``A, B``."""
    return ", ".join(sorted(names))


def either(names: Iterable[str]) -> str:
    """``A or B``."""
    return " or ".join(sorted(names))


def _with_any(block: Block, labels: Labels, names: frozenset[str]) -> Mask:
    found = labels.having_any(names)
    return no_entry(block) if found is None else found


Note = Callable[[str | None, str, Mask], None]
"""Records which entries (or trees, where the group is None) are left after a step."""


def noted(block: Block, suffix: str, filters: list[Filter], note: Note) -> Mask:
    """As ``meeting_all``; also records how many entries are left after each of ``filters``."""
    left = every_entry(block)
    for step in filters:
        left &= step.mask(block)
        note(suffix, step.step, left)
    return left
