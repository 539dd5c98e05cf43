"""How often a request can be placed, each time beside what was placed before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from moorage.model.explanations import ROOM
from moorage.model.valueclass import valueclass
from moorage.search.explain.counting import Ground, serving
from moorage.search.explain.distance import LITTLE, Distances, Way
from moorage.search.explain.facts import Giver, Sharers, TreeFacts, homes_of
from moorage.search.explain.terms import Terms
from moorage.search.index.block import Block
from moorage.search.index.columns import IntArray
from moorage.search.index.index import Place
from moorage.search.match.plan import Work


@valueclass(frozen=True, slots=True)
class Placed:
    """How often a request fits: ``least`` for certain, and ``most`` at best."""

    least: int
    most: int


def placed(ground: Ground, terms: Terms, count: int, work: Work) -> Placed:
    """How often a request fits, up to ``count`` times. Raises OutOfStepsError.

    Exact where a tree is one provider and none shares. Elsewhere each copy gets the first way that is left,
    so that another order may fit more; the free amounts of a tree bound how many.
    """
    copies = _Copies(ground, terms, work)
    least = most = 0
    for number, trees in serving(ground, terms.wanted(terms.all), work):
        block = ground.snapshot.blocks[number]
        if block.trees.lone and not ground.snapshot.sharing_blocks:
            found = int(np.minimum(copies.of_rows(block, trees), count).sum())
            least, most = least + found, most + found
        else:
            for tree in trees.tolist():
                low, high = copies.of_tree((number, tree), count - least, count)
                least, most = least + low, most + high
                if least >= count:
                    break
        if least >= count:
            return Placed(count, count)
    return Placed(least, min(most, count))


class _Copies:
    """Places copies tree by tree. What they take of providers that share is gone for the other trees."""

    def __init__(self, ground: Ground, terms: Terms, work: Work) -> None:
        self._work = work
        self._sharers = Sharers(ground.snapshot, work)
        self._distances = Distances(terms, homes_of(ground.snapshot, terms), work)
        self._needs = {
            term.resource_class: terms.summed(term.resource_class) for term in terms.all if term.kind == ROOM
        }
        self._shared: dict[Place, Giver] = {}

    def of_rows(self, block: Block, rows: IntArray) -> IntArray:
        """How often each of some trees of one provider serves the request: while all amounts are free."""
        found = np.full(len(rows), np.iinfo(np.int64).max)
        for name, need in self._needs.items():
            column = block.columns[name]
            free = np.zeros(len(block), dtype=np.int64)
            free[column.offsets] = column.kinds.top[column.codes] - column.used
            found = np.minimum(found, free[rows] // need)
        return found

    def of_tree(self, tree: Place, wanted: int, most: int) -> tuple[int, int]:
        """How many of ``wanted`` copies were placed in a tree, and how many of ``most`` may have a place."""
        facts = self._sharers.facts(tree)
        bound = min(
            [
                most,
                *[
                    sum([giver.free(name) for giver in facts.givers]) // need
                    for name, need in self._needs.items()
                ],
            ]
        )
        facts = _with(facts, self._shared)
        done = 0
        while done < wanted:
            way = self._distances.of(facts)
            if way.distance > LITTLE:
                break
            done += 1
            taken = self._taken(way)
            facts = _with(facts, taken)
            self._shared |= {place: giver for place, giver in taken.items() if not giver.own}
        return done, bound

    def _taken(self, way: Way) -> Mapping[Place, Giver]:
        """The providers of a way after it was placed."""
        found = {giver.place: giver for giver in way.givers}
        for slot, giver in zip(self._distances.slots, way.givers, strict=True):
            for term in slot.rooms:
                held = dict(found[giver.place].inventories)
                inventory, used = held[term.resource_class]
                held[term.resource_class] = inventory, used + term.amount
                found[giver.place] = replace(found[giver.place], inventories=held)
        return found


def _with(facts: TreeFacts, changed: Mapping[Place, Giver]) -> TreeFacts:
    return TreeFacts(facts.root, tuple([changed.get(giver.place, giver) for giver in facts.givers]))
