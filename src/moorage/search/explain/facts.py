"""One tree as an explanation sees it: all providers that may serve something in it, and what they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory
from moorage.rules.capacity import capacity
from moorage.search.explain.terms import Terms
from moorage.search.index.columns import NONE
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.plan import SHARES, Work

FACTS_STEPS: Final = 40
"""Steps of reading one provider."""

SHARERS_PER_STEP: Final = 2
"""Sharing providers that one step goes through to find those of a tree."""


@valueclass(frozen=True, slots=True)
class Giver:
    """A provider that may serve a part of a request in a tree.

    ``own``: it belongs to the tree, and does not only share with it. ``inventories`` has inventory and use by
    class. ``path`` leads from its root down to it, ``home`` is its tree.
    """

    place: Place
    uuid: str
    own: bool
    home: Place
    traits: frozenset[str]
    aggregates: frozenset[str]
    inventories: Mapping[str, tuple[Inventory, int]] = field(hash=False)
    path: tuple[Place, ...] = ()

    def free(self, name: str) -> int:
        """What is free of a class, at least 0."""
        held = self.inventories.get(name)
        return 0 if held is None else max(0, capacity(held[0]) - held[1])

    def room(self, name: str) -> int:
        """What it can give of a class to one consumer at most."""
        held = self.inventories.get(name)
        return 0 if held is None else min(self.free(name), held[0].max_unit)


@valueclass(frozen=True, slots=True)
class TreeFacts:
    """The providers of a tree, then those of other trees that share with it; ``root`` is its root."""

    root: Giver
    givers: tuple[Giver, ...]


class Sharers:
    """The sharing providers of a snapshot, for looking into its trees. Raises OutOfStepsError."""

    def __init__(self, snapshot: Snapshot, work: Work) -> None:
        self._snapshot = snapshot
        self._work = work
        self._all: list[Giver] = []
        for number in snapshot.sharing_blocks:
            for offset in np.flatnonzero(SHARES.mask(snapshot.blocks[number])).tolist():
                self._all.append(self._giver((number, offset), own=False))

    def facts(self, tree: Place) -> TreeFacts:
        """The facts of a tree. Raises OutOfStepsError."""
        block = self._snapshot.blocks[tree[0]]
        start, stop = block.trees.bounds(tree[1])
        own = [self._giver((tree[0], offset), own=True) for offset in range(start, stop)]
        aggregates = frozenset().union(*[giver.aggregates for giver in own])
        self._work.spend(len(self._all) // SHARERS_PER_STEP)
        beside = [giver for giver in self._all if giver.home != tree and giver.aggregates & aggregates]
        return TreeFacts(own[int(block.trees.roots[tree[1]]) - start], (*own, *beside))

    def _giver(self, place: Place, *, own: bool) -> Giver:
        number, offset = place
        block = self._snapshot.blocks[number]
        record = block.record(offset)
        path, above = [place], offset
        while (above := int(block.trees.parents[above])) != NONE:
            path.append((number, above))
        self._work.spend(FACTS_STEPS + len(path))
        return Giver(
            place,
            record.uuid,
            own,
            (number, int(block.trees.tree_of[offset])),
            frozenset(record.traits),
            frozenset(record.aggregates),
            {name: (inventory, used) for name, inventory, used in record.inventories},
            tuple(reversed(path)),
        )


def home_of(snapshot: Snapshot, uuid: str) -> Place | None:
    """(number of the block, tree) of a provider; None if there is no such provider."""
    place = snapshot.find_uuid(uuid)
    return None if place is None else (place[0], int(snapshot.blocks[place[0]].trees.tree_of[place[1]]))


def homes_of(snapshot: Snapshot, terms: Terms) -> dict[str, Place | None]:
    """The trees of the providers that terms name."""
    return {term.in_tree: home_of(snapshot, term.in_tree) for term in terms.all if term.in_tree}
