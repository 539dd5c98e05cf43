"""How far one tree is from serving a request: the least over all ways to give groups to providers.

Each term that a way fails costs: a short amount its part of the need, all else 1. A rule that adds amounts up
costs what is short by the summed need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from moorage.model.explanations import (
    FORBIDDEN,
    IN_TREE,
    ISOLATED_RULE,
    LONE_RULE,
    MAX_UNIT,
    MEMBER_OF,
    MIN_UNIT,
    NOT_MEMBER_OF,
    REQUIRED,
    ROOM,
    ROOT_FORBIDDEN,
    ROOT_REQUIRED,
    STEP_SIZE,
    SUBTREE_RULE,
    SUM_RULE,
    TOGETHER,
    AskTerm,
)
from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory
from moorage.search.explain.facts import Giver, TreeFacts
from moorage.search.explain.terms import UNSUFFIXED, Terms
from moorage.search.index.index import Place
from moorage.search.match.plan import Work

NODE_STEPS: Final = 80
"""Steps of trying one provider for one part of a request."""

TREE_NODES: Final = 3_000
"""Most trials in one tree. A tree that needs more gets the best way found so far."""

LITTLE: Final = 1e-9
"""Distances that differ by less are equal."""

Costs = dict[AskTerm, float]
"""What each failed term costs; terms that are met are missing."""


@valueclass(frozen=True, slots=True)
class Slot:
    """A part of a request that one provider serves, and the terms that depend on this provider alone."""

    suffix: str
    rooms: tuple[AskTerm, ...]
    others: tuple[AskTerm, ...]


@valueclass(frozen=True, slots=True)
class Way:
    """A provider for each slot, and what it costs. ``least``: no other way costs less."""

    givers: tuple[Giver, ...]
    costs: Mapping[AskTerm, float]
    distance: float
    least: bool


class Distances:
    """Measures trees for one request. ``homes`` are the trees of the providers that its terms name."""

    def __init__(self, terms: Terms, homes: Mapping[str, Place | None], work: Work) -> None:
        self.terms = terms
        self.slots = tuple(_slots(terms))
        self._homes = homes
        self._work = work
        self._roots = [term for term in terms.all if term.kind in {ROOT_REQUIRED, ROOT_FORBIDDEN}]
        self._common = terms.common
        self._rules = [term for term in terms.all if term.kind == TOGETHER]

    def of(self, facts: TreeFacts) -> Way:
        """The least costly way in a tree. Raises OutOfStepsError."""
        self._work.spend(len(self.slots) * len(facts.givers))
        alone = [
            [sum(self._alone(slot, giver, facts.root).values()) for giver in facts.givers]
            for slot in self.slots
        ]
        search = _Cheapest(self, facts, alone, self._kinds(facts, alone), self._work)
        givers = [facts.givers[at] for at in search.found()]
        costs = self.costs(facts.root, givers)
        return Way(tuple(givers), costs, sum(costs.values()), search.nodes < TREE_NODES)

    def costs(self, root: Giver, givers: Sequence[Giver]) -> Costs:
        """What a way costs, by failed term, in the order of the request."""
        found = {
            term: 1.0
            for term in self._roots
            if (term.traits <= root.traits) is not (term.kind == ROOT_REQUIRED)
        }
        for slot, giver in zip(self.slots, givers, strict=True):
            found |= self._alone(slot, giver, root)
        found |= self.between(root, dict(enumerate(givers)))
        return {term: found[term] for term in self.terms.all if term in found}

    def _alone(self, slot: Slot, giver: Giver, root: Giver) -> Costs:
        found = {term: room_cost(term, giver) for term in slot.rooms}
        found |= {term: 1.0 for term in slot.others if self.fails(term, giver, root)}
        return {term: cost for term, cost in found.items() if cost}

    def fails(self, term: AskTerm, giver: Giver, root: Giver) -> bool:
        """Whether a provider by itself does not meet a term on traits, aggregates or its tree."""
        if term.kind == REQUIRED:
            return not term.traits & giver.traits
        if term.kind == FORBIDDEN:
            return bool(term.traits & giver.traits)
        if term.kind == MEMBER_OF:
            return not term.aggregates & giver.aggregates
        if term.kind == NOT_MEMBER_OF:
            counts = term.group == UNSUFFIXED
            return bool(term.aggregates & giver.aggregates or (counts and term.aggregates & root.aggregates))
        assert term.kind == IN_TREE
        return self._homes[term.in_tree] != giver.home or (term.group == UNSUFFIXED and not giver.own)

    def between(self, root: Giver, chosen: Mapping[int, Giver]) -> Costs:
        """What terms cost that depend on several slots, given the providers of some slots.

        More slots never cost less.
        """
        found: Costs = {}
        common = [giver for number, giver in chosen.items() if self.slots[number].suffix == UNSUFFIXED]
        whole = len(chosen) == len(self.slots)
        found |= dict.fromkeys(self.outsiders(root, common), 1.0)
        for term in self._common:
            if term.kind == MEMBER_OF:
                continue
            failing = [self.fails(term, giver, root) for giver in common]
            # The providers must have what is required together, and each must meet all else.
            if (whole and all(failing)) if term.kind == REQUIRED else any(failing):
                found[term] = 1.0
        for term in self._rules:
            cost = self._of_rule(term, chosen, whole=whole)
            if cost:
                found[term] = cost
        return found

    def outsiders(self, root: Giver, givers: Iterable[Giver]) -> dict[AskTerm, list[Giver]]:
        """Membership that the providers of the unsuffixed group lack: terms, with the providers that lack it.

        Each provider must be a member by itself. Or the root is, in all that is asked, and counts for all
        providers of its tree. Of the two ways it is the one that lacks less.
        """
        alone: dict[AskTerm, list[Giver]] = {}
        by_root: dict[AskTerm, list[Giver]] = {}
        for term in self._common:
            if term.kind == MEMBER_OF:
                lacking = [giver for giver in givers if self.fails(term, giver, root)]
                others = [giver for giver in lacking if not giver.own]
                if self.fails(term, root, root):
                    others.insert(0, root)
                alone |= {term: lacking} if lacking else {}
                by_root |= {term: others} if others else {}
        return by_root if len(by_root) < len(alone) else alone

    def _of_rule(self, term: AskTerm, chosen: Mapping[int, Giver], *, whole: bool) -> float:
        if term.rule == SUM_RULE:
            name = term.resource_class
            total = sum(
                [asked.amount for slot in self.slots for asked in slot.rooms if asked.resource_class == name]
            )
            return sum([need - giver.room(name) for giver, need in self.sums(name, chosen)]) / total
        if term.rule == LONE_RULE:
            giving = {giver.place: giver.home for number, giver in chosen.items() if self.slots[number].rooms}
            return float(len(giving) > len(set(giving.values())))
        places = [giver.path for number, giver in chosen.items() if self.slots[number].suffix in term.groups]
        if term.rule == ISOLATED_RULE:
            return float(len(set(places)) < len(places))
        assert term.rule == SUBTREE_RULE
        return float(whole and not any(all(path[: len(top)] == top for path in places) for top in places))

    def sums(self, name: str, chosen: Mapping[int, Giver]) -> list[tuple[Giver, int]]:
        """Providers that several slots take a class of, with the summed need, where it exceeds their room."""
        needs: defaultdict[Place, list[int]] = defaultdict(list)
        givers = {giver.place: giver for giver in chosen.values()}
        for number, giver in chosen.items():
            needs[giver.place] += [
                term.amount for term in self.slots[number].rooms if term.resource_class == name
            ]
        return [
            (givers[place], sum(amounts))
            for place, amounts in needs.items()
            if len(amounts) > 1 and sum(amounts) > givers[place].room(name)
        ]

    def _kinds(self, facts: TreeFacts, alone: Sequence[Sequence[float]]) -> list[Hashable]:
        """Equal for providers of which it does not matter which one is chosen first."""
        related = any(term.rule == SUBTREE_RULE for term in self._rules)
        summed = [term.resource_class for term in self._rules if term.rule == SUM_RULE]
        traits = frozenset().union(*[term.traits for term in self._common])
        aggregates = frozenset().union(*[term.aggregates for term in self._common])
        parents = {giver.path[-2] for giver in facts.givers if len(giver.path) > 1}
        return [
            (
                tuple([costs[at] for costs in alone]),
                tuple([giver.room(name) for name in summed]),
                giver.traits & traits,
                giver.aggregates & aggregates,
                giver.home,
                giver.own,
                (giver.path if giver.place in parents else giver.path[:-1]) if related else None,
            )
            for at, giver in enumerate(facts.givers)
        ]


@dataclass(slots=True)
class _Cheapest:
    """Tries providers slot by slot, the cheapest first, and leaves ways that cannot be the least costly.

    ``alone`` are the costs of each slot with each provider. The search does not recurse: a request may have
    more groups than Python's stack is deep.
    """

    distances: Distances
    facts: TreeFacts
    alone: Sequence[Sequence[float]]
    kinds: Sequence[Hashable]
    work: Work
    nodes: int = 0
    _chosen: list[int] = field(default_factory=list)
    _best: tuple[int, ...] = ()
    _least: float = float("inf")

    def found(self) -> tuple[int, ...]:
        """Position of the provider of each slot, in the least costly way found."""
        count = len(self.alone)
        floors = [0.0]
        for costs in reversed(self.alone):
            floors.append(floors[-1] + min(costs))
        floors.reverse()
        options = [self._options(0)]
        spent = [0.0]
        while options:
            depth = len(self._chosen)
            at = next(options[-1], None) if depth < count else None
            if at is None or self.nodes >= TREE_NODES:
                if depth == count and spent[-1] + self._between() < self._least - LITTLE:
                    self._least, self._best = spent[-1] + self._between(), tuple(self._chosen)
                if self._chosen:
                    self._chosen.pop()
                    spent.pop()
                options.pop()
                continue
            self.nodes += 1
            self.work.spend(NODE_STEPS)
            self._chosen.append(at)
            paid = spent[-1] + self.alone[depth][at]
            if paid + floors[depth + 1] + self._between() < self._least - LITTLE:
                spent.append(paid)
                options.append(self._options(depth + 1))
            else:
                self._chosen.pop()
        return self._best

    def _options(self, depth: int) -> Iterator[int]:
        """Providers for a slot, the cheapest first; of those alike that serve nothing yet only one."""
        taken, seen = set(self._chosen), set[Hashable]()
        costs = self.alone[depth]
        for at in sorted(range(len(costs)), key=lambda at: (costs[at], at)):
            if at not in taken:
                if self.kinds[at] in seen:
                    continue
                seen.add(self.kinds[at])
            yield at

    def _between(self) -> float:
        chosen = {number: self.facts.givers[at] for number, at in enumerate(self._chosen)}
        return sum(self.distances.between(self.facts.root, chosen).values())


def room_cost(term: AskTerm, giver: Giver) -> float:
    """What a room term costs with a provider: the part of the amount that is short, and 1 per unit not
    met."""
    short = max(0, term.amount - giver.free(term.resource_class))
    return short / term.amount + len(units_failed(term.amount, giver.inventories.get(term.resource_class)))


def units_failed(amount: int, held: tuple[Inventory, int] | None) -> tuple[str, ...]:
    """Units of an inventory that an amount does not meet."""
    if held is None:
        return ()
    inventory = held[0]
    failed = {
        MIN_UNIT: amount < inventory.min_unit,
        MAX_UNIT: amount > inventory.max_unit,
        STEP_SIZE: inventory.step_size == 0 or amount % inventory.step_size != 0,
    }
    return tuple([name for name, fails in failed.items() if fails])


def _slots(terms: Terms) -> Iterator[Slot]:
    for group in terms.request.groups:
        own = [term for term in terms.all if term.group == group.suffix and term.kind != TOGETHER]
        rooms = [term for term in own if term.kind == ROOM]
        others = [term for term in own if term.kind != ROOM]
        if group.suffix != UNSUFFIXED:
            yield Slot(group.suffix, tuple(rooms), tuple(others))
        elif rooms:
            yield from [Slot(UNSUFFIXED, (term,), ()) for term in rooms]
        else:
            # Each of several providers may have one of the required traits.
            for _ in range(max(1, len([term for term in others if term.kind == REQUIRED]))):
                yield Slot(UNSUFFIXED, (), ())
