"""The trees that come nearest to a request, what they lack, and the events after which they lack nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from moorage.model.explanations import (
    AGGREGATE_JOINED,
    AGGREGATE_LEFT,
    CAPACITY_RAISED,
    FORBIDDEN,
    FREED,
    IN_TREE,
    MEMBER_OF,
    NOT_MEMBER_OF,
    REQUIRED,
    ROOM,
    ROOT_FORBIDDEN,
    ROOT_REQUIRED,
    SUM_RULE,
    TOGETHER,
    TRAIT_ADDED,
    TRAIT_REMOVED,
    UNITS_CHANGED,
    AskTerm,
    Miss,
    Missing,
    UnlockingEvent,
)
from moorage.model.values import SHARING_TRAIT
from moorage.rules.capacity import capacity
from moorage.search.explain.counting import Ground
from moorage.search.explain.distance import LITTLE, Distances, Way, units_failed
from moorage.search.explain.facts import Giver, Sharers, TreeFacts, homes_of
from moorage.search.explain.floors import Floors
from moorage.search.explain.terms import UNSUFFIXED, Terms
from moorage.search.index.index import Place
from moorage.search.match.plan import OutOfStepsError, Work

TREES_LOOKED_INTO: Final = 300
"""Most trees whose distance is measured exactly. Usually few more than those to show."""

Found = tuple[float, int, Miss]
"""Distance of a tree, its place in the order of all trees, and what it misses."""


class Misses:
    """Looks for the nearest of all trees."""

    def __init__(self, ground: Ground, terms: Terms, work: Work) -> None:
        self._ground = ground
        self._work = work
        self._sharers = Sharers(ground.snapshot, work)
        self._distances = Distances(terms, homes_of(ground.snapshot, terms), work)
        self._floors = Floors(ground.snapshot, terms, self._distances.slots, work)
        self.proven = True
        """Whether no other tree is nearer than those found."""

    def nearest(self, most: int) -> list[Miss]:
        """The ``most`` nearest trees, by distance and place, of those that the steps suffice for."""
        found: list[Found] = []
        try:
            self._look(found, most)
        except OutOfStepsError:
            self.proven = False
        return [miss for _, _, miss in found]

    def _look(self, found: list[Found], most: int) -> None:
        """Make ``found`` the ``most`` nearest trees: until no other one can be nearer than these."""
        for looked, (floor, order, tree) in enumerate(self._in_order(), 1):
            if len(found) == most and found[-1][0] <= floor + LITTLE:
                break
            if looked > TREES_LOOKED_INTO:
                self.proven = False
                break
            facts = self._sharers.facts(tree)
            way = self._distances.of(facts)
            self.proven &= way.least
            if len(found) < most or (way.distance, order) < found[-1][:2]:
                found.append((way.distance, order, self._miss(facts, way)))
                found.sort(key=lambda one: one[:2])
                del found[most:]

    def _in_order(self) -> Iterator[tuple[float, int, Place]]:
        """Trees by the least distance that they may have: (that distance, place in the order of all,
        tree)."""
        if self._ground.at is not None:
            yield 0.0, 0, self._ground.at
            return
        floors = [self._floors.of(number) for number in range(len(self._ground.snapshot.blocks))]
        if not floors:
            return
        ends = np.cumsum([len(part) for part in floors])
        joined = np.concatenate(floors)
        # A few trees suffice, and sorting all of them takes longer than anything else here.
        most = min(len(joined), TREES_LOOKED_INTO + 1)
        near = np.flatnonzero(joined <= np.partition(joined, most - 1)[most - 1])
        for at in near[np.argsort(joined[near], kind="stable")][:most].tolist():
            number = int(np.searchsorted(ends, at, side="right"))
            yield float(joined[at]), at, (number, at - int(ends[number] - len(floors[number])))

    def _miss(self, facts: TreeFacts, way: Way) -> Miss:
        terms = self._distances.terms.all
        return Miss(
            facts.root.uuid,
            way.distance,
            satisfies=tuple([term.id for term in terms if term not in way.costs]),
            fails=tuple([term.id for term in terms if term in way.costs]),
            missing=tuple(
                [each for term in terms if term in way.costs for each in self._missing(term, facts, way)]
            ),
            events=tuple(self._events(facts, way)),
        )

    def _missing(self, term: AskTerm, facts: TreeFacts, way: Way) -> Iterator[Missing]:
        """What a failed term lacks, provider by provider; nothing for a rule that no amount meets."""
        if term.kind == ROOM:
            for giver in self._serving(term, way):
                yield _short(term, giver, term.amount, giver.free(term.resource_class))
        elif term.rule == SUM_RULE:
            name = term.resource_class
            for giver, need in self._distances.sums(name, way.givers):
                yield _short(term, giver, need, giver.room(name))
        elif term.kind != TOGETHER:
            for giver in self._lacking(term, facts, way):
                yield Missing(term.id, giver.uuid, traits=term.traits, aggregates=term.aggregates)

    def _serving(self, term: AskTerm, way: Way) -> list[Giver]:
        """Providers that a way gives the group of a term, each once; for a room term the one of its class."""
        slots = self._distances.slots
        found = [
            way.givers[at]
            for at in self._distances.slots_of(term.group)
            if term.kind != ROOM or term in slots[at].rooms
        ]
        return list({giver.place: giver for giver in found}.values())

    def _lacking(self, term: AskTerm, facts: TreeFacts, way: Way) -> list[Giver]:
        """Providers that must change for a failed term on traits, aggregates or trees."""
        root = facts.root
        if term.group is None:
            return [root]
        serving = self._serving(term, way)
        if term.kind == REQUIRED:
            return serving[:1]
        if term.kind == MEMBER_OF and term.group == UNSUFFIXED:
            return self._distances.outsiders(root, serving)[term]
        failing = [giver for giver in serving if self._distances.fails(term, giver, root)]
        if term.kind == NOT_MEMBER_OF and term.group == UNSUFFIXED and term.aggregates & root.aggregates:
            failing = [giver for giver in failing if term.aggregates & giver.aggregates]
            failing = [root, *[giver for giver in failing if giver.place != root.place]]
        return failing

    def _events(self, facts: TreeFacts, way: Way) -> list[UnlockingEvent]:
        """Events that together make a way serve the request; none if there are no such events."""
        failed = [term for term in way.costs if term.kind != ROOM and term.rule != SUM_RULE]
        if any(term.kind in {TOGETHER, IN_TREE} for term in failed):
            return []
        events = self._of_amounts(way)
        changes: dict[Place, Giver] = {giver.place: giver for giver in (facts.root, *way.givers)}
        for term in failed:
            for lacking in self._lacking(term, facts, way):
                giver = changes[lacking.place]
                event, changes[lacking.place] = _mended(term, giver)
                events.append(event)
        if not self._serves(changes, facts, way):
            return []
        return list(dict.fromkeys(events))

    def _serves(self, changes: dict[Place, Giver], facts: TreeFacts, way: Way) -> bool:
        """Whether a way meets all but amounts with changed providers, and shares as before."""
        beside = any(not giver.own for giver in way.givers)
        former = {giver.place: giver for giver in (facts.root, *way.givers)}
        for place, giver in changes.items():
            # A tree and what shares with it may lose each other.
            if beside and not (former[place].aggregates <= giver.aggregates):
                return False
            if not giver.own and SHARING_TRAIT not in giver.traits:
                return False
        costs = self._distances.costs(
            changes[facts.root.place], [changes[giver.place] for giver in way.givers]
        )
        return all(term.kind == ROOM or term.rule == SUM_RULE for term in costs)

    def _of_amounts(self, way: Way) -> list[UnlockingEvent]:
        """Events after which every provider can give what a way takes of it."""
        needs: defaultdict[tuple[Place, str], list[int]] = defaultdict(list)
        givers = {giver.place: giver for giver in way.givers}
        for slot, giver in zip(self._distances.slots, way.givers, strict=True):
            for term in slot.rooms:
                needs[giver.place, term.resource_class].append(term.amount)
        found: list[UnlockingEvent] = []
        for (place, name), amounts in needs.items():
            giver, need = givers[place], sum(amounts)
            held = giver.inventories.get(name)
            if held is None:
                found.append(UnlockingEvent(CAPACITY_RAISED, giver.uuid, name, need))
                continue
            inventory, used = held
            short = used + need - capacity(inventory)
            if short > 0 and need <= capacity(inventory):
                found.append(UnlockingEvent(FREED, giver.uuid, name, short))
            elif short > 0:
                found.append(UnlockingEvent(CAPACITY_RAISED, giver.uuid, name, used + need))
            if need > inventory.max_unit or any(units_failed(amount, held) for amount in amounts):
                found.append(UnlockingEvent(UNITS_CHANGED, giver.uuid, name, need))
        return found


def _short(term: AskTerm, giver: Giver, need: int, room: int) -> Missing:
    held = giver.inventories.get(term.resource_class)
    return Missing(
        term.id,
        giver.uuid,
        term.resource_class,
        need,
        room,
        max(0, need - room),
        units_failed(need, held),
    )


def _mended(term: AskTerm, giver: Giver) -> tuple[UnlockingEvent, Giver]:
    """An event after which a provider meets a term on traits or aggregates, and the provider after it."""
    if term.kind in {REQUIRED, ROOT_REQUIRED}:
        trait = min(term.traits)
        return UnlockingEvent(TRAIT_ADDED, giver.uuid, trait=trait), replace(
            giver, traits=giver.traits | {trait}
        )
    if term.kind in {FORBIDDEN, ROOT_FORBIDDEN}:
        [trait] = term.traits
        return UnlockingEvent(TRAIT_REMOVED, giver.uuid, trait=trait), replace(
            giver, traits=giver.traits - {trait}
        )
    if term.kind == MEMBER_OF:
        aggregate = min(term.aggregates)
        return UnlockingEvent(AGGREGATE_JOINED, giver.uuid, aggregate=aggregate), replace(
            giver, aggregates=giver.aggregates | {aggregate}
        )
    [aggregate] = term.aggregates
    return UnlockingEvent(AGGREGATE_LEFT, giver.uuid, aggregate=aggregate), replace(
        giver, aggregates=giver.aggregates - {aggregate}
    )
