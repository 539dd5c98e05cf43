"""How far one tree is from serving a request: the least over all ways to give groups to providers.

Each term that a way fails costs: a short amount its part of the need, all else 1. A rule that adds amounts up
costs what is short by the summed need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
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

NODE_STEPS: Final = 40
"""Steps of trying one provider for one part of a request."""

GIVER_STEPS: Final = 8
TERM_STEPS: Final = 4
"""Steps of looking at one provider, and at one term with it."""

RULE_STEPS: Final = 8
PAIRS_PER_STEP: Final = 4
"""Steps of looking at a term between several parts, and pairs of paths that one step compares."""

NAMES_PER_STEP: Final = 20
"""Traits or aggregates of a term that one step goes through."""

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
        self._by_suffix: defaultdict[str | None, list[int]] = defaultdict(list)
        for at, slot in enumerate(self.slots):
            self._by_suffix[slot.suffix].append(at)
        self._roots = [term for term in terms.all if term.kind in {ROOT_REQUIRED, ROOT_FORBIDDEN}]
        self._common = terms.common
        self._unsuffixed = frozenset(self.slots_of(UNSUFFIXED))
        rules = [term for term in terms.all if term.kind == TOGETHER]
        # A rule on subtrees is decided by all providers together, each other one by those that it has so far.
        self._subtrees = {
            term: sorted({at for suffix in term.groups for at in self.slots_of(suffix)})
            for term in rules
            if term.rule == SUBTREE_RULE
        }
        self._rules = [term for term in rules if term.rule != SUBTREE_RULE]
        self._totals = {term: terms.summed(term.resource_class) for term in rules if term.rule == SUM_RULE}

    def slots_of(self, suffix: str | None) -> Sequence[int]:
        """Numbers of the slots of a group."""
        return self._by_suffix.get(suffix, ())

    def of(self, facts: TreeFacts) -> Way:
        """The least costly way in a tree. Raises OutOfStepsError."""
        alone = [self._costs_alone(slot, facts) for slot in self.slots]
        search = _Cheapest(self, facts, alone, self._kinds(facts, alone), self._work)
        givers = [facts.givers[at] for at in search.found()]
        costs = self.costs(facts.root, givers)
        return Way(tuple(givers), costs, sum(costs.values()), not search.ended)

    def costs(self, root: Giver, givers: Sequence[Giver]) -> Costs:
        """What a way costs, by failed term, in the order of the request."""
        found = {
            term: 1.0
            for term in self._roots
            if (term.traits <= root.traits) is not (term.kind == ROOT_REQUIRED)
        }
        for slot, giver in zip(self.slots, givers, strict=True):
            found |= self._alone(slot, giver, root)
        found |= self.between(root, givers)
        return {term: found[term] for term in self.terms.all if term in found}

    def _costs_alone(self, slot: Slot, facts: TreeFacts) -> list[float]:
        """What a slot costs with each provider of a tree. Raises OutOfStepsError."""
        names = sum([len(term.traits) + len(term.aggregates) for term in slot.others])
        steps = GIVER_STEPS + TERM_STEPS * (len(slot.rooms) + len(slot.others)) + names // NAMES_PER_STEP
        self._work.spend(steps * len(facts.givers))
        return [sum(self._alone(slot, giver, facts.root).values()) for giver in facts.givers]

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

    def between(self, root: Giver, givers: Sequence[Giver]) -> Costs:
        """What terms cost that depend on several slots, given the providers of the first slots.

        More slots never cost less. Raises OutOfStepsError.
        """
        found: Costs = {}
        common = [giver for at, giver in enumerate(givers) if at in self._unsuffixed]
        whole = len(givers) == len(self.slots)
        found |= dict.fromkeys(self.outsiders(root, common), 1.0)
        for term in self._common:
            if term.kind == MEMBER_OF:
                continue
            self._spend(term, len(common))
            failing = [self.fails(term, giver, root) for giver in common]
            # The providers must have what is required together, and each must meet all else.
            if (whole and all(failing)) if term.kind == REQUIRED else any(failing):
                found[term] = 1.0
        for term in self._rules:
            self._spend(term, len(givers))
            cost = self._of_rule(term, givers)
            if cost:
                found[term] = cost
        if whole:
            for term, bound in self._subtrees.items():
                self._work.spend(RULE_STEPS + len(bound) ** 2 // PAIRS_PER_STEP)
                paths = [givers[at].path for at in bound]
                if not any(all(path[: len(top)] == top for path in paths) for top in paths):
                    found[term] = 1.0
        return found

    def _spend(self, term: AskTerm, givers: int) -> None:
        """Count the steps of looking at some providers for a term."""
        names = len(term.traits) + len(term.aggregates)
        self._work.spend(RULE_STEPS + givers * (1 + names // NAMES_PER_STEP))

    def outsiders(self, root: Giver, givers: Sequence[Giver]) -> dict[AskTerm, list[Giver]]:
        """Membership that the providers of the unsuffixed group lack: terms, with the providers that lack it.

        Each provider must be a member by itself. Or the root is, in all that is asked, and counts for all
        providers of its tree. Of the two ways it is the one that lacks less.
        """
        alone: dict[AskTerm, list[Giver]] = {}
        by_root: dict[AskTerm, list[Giver]] = {}
        for term in self._common:
            if term.kind == MEMBER_OF:
                self._spend(term, 2 * len(givers))
                lacking = [giver for giver in givers if self.fails(term, giver, root)]
                others = [giver for giver in lacking if not giver.own]
                if self.fails(term, root, root):
                    others.insert(0, root)
                alone |= {term: lacking} if lacking else {}
                by_root |= {term: others} if others else {}
        return by_root if len(by_root) < len(alone) else alone

    def _of_rule(self, term: AskTerm, givers: Sequence[Giver]) -> float:
        if term.rule == SUM_RULE:
            name = term.resource_class
            lacking = sum([need - giver.room(name) for giver, need in self.sums(name, givers)])
            return lacking / self._totals[term]
        if term.rule == LONE_RULE:
            giving = {giver.place: giver.home for at, giver in enumerate(givers) if self.slots[at].rooms}
            return float(len(giving) > len(set(giving.values())))
        assert term.rule == ISOLATED_RULE
        places = [giver.place for at, giver in enumerate(givers) if at not in self._unsuffixed]
        return float(len(set(places)) < len(places))

    def sums(self, name: str, chosen: Sequence[Giver]) -> list[tuple[Giver, int]]:
        """Providers that several slots take a class of, with the summed need, where it exceeds their room."""
        needs: defaultdict[Place, list[int]] = defaultdict(list)
        givers = {giver.place: giver for giver in chosen}
        for number, giver in enumerate(chosen):
            needs[giver.place] += [
                term.amount for term in self.slots[number].rooms if term.resource_class == name
            ]
        return [
            (givers[place], sum(amounts))
            for place, amounts in needs.items()
            if len(amounts) > 1 and sum(amounts) > givers[place].room(name)
        ]

    def _kinds(self, facts: TreeFacts, alone: Sequence[Sequence[float]]) -> list[int]:
        """Equal for providers of which it does not matter which one is chosen first."""
        related = bool(self._subtrees)
        summed = [term.resource_class for term in self._totals]
        traits = frozenset().union(*[term.traits for term in self._common])
        aggregates = frozenset().union(*[term.aggregates for term in self._common])
        names = (len(traits) + len(aggregates)) // NAMES_PER_STEP
        self._work.spend((GIVER_STEPS + len(alone) + len(summed) + names) * len(facts.givers))
        parents = {giver.path[-2] for giver in facts.givers if len(giver.path) > 1}
        numbers: dict[Hashable, int] = {}
        kinds = [
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
        return [numbers.setdefault(kind, len(numbers)) for kind in kinds]


@dataclass(slots=True)
class _Cheapest:
    """Tries providers slot by slot, the cheapest first, and leaves ways that cannot be the least costly.

    ``alone`` are the costs of each slot with each provider. The search does not recurse: a request may have
    more groups than Python's stack is deep.
    """

    distances: Distances
    facts: TreeFacts
    alone: Sequence[Sequence[float]]
    kinds: Sequence[int]
    work: Work
    nodes: int = 0
    _orders: Sequence[Sequence[int]] = ()
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
        self._orders = [sorted(range(len(costs)), key=costs.__getitem__) for costs in self.alone]
        options = [self._options(0)] if count else []
        spent = [0.0]
        while options:
            depth = len(self._chosen)
            at = next(options[-1], None)
            if at is None or self.ended:
                if self._chosen:
                    self._chosen.pop()
                    spent.pop()
                options.pop()
                continue
            self.nodes += 1
            self.work.spend(NODE_STEPS)
            self._chosen.append(at)
            paid = spent[-1] + self.alone[depth][at]
            floor = paid + floors[depth + 1]
            # What slots cost between them takes longest to find out, and most ways cost too much without it.
            if floor < self._least - LITTLE:
                floor += self._between()
            else:
                # The providers that follow cost as much at least.
                options[-1] = iter(())
            if floor >= self._least - LITTLE:
                self._chosen.pop()
            elif depth + 1 == count:
                self._least, self._best = floor, tuple(self._chosen)
                self._chosen.pop()
            else:
                spent.append(paid)
                options.append(self._options(depth + 1))
        return self._best

    @property
    def ended(self) -> bool:
        """Whether there were so many trials that the search ended early, but not before the first way."""
        return self.nodes >= max(TREE_NODES, len(self.alone))

    def _options(self, depth: int) -> Iterator[int]:
        """Providers for a slot, the cheapest first; of those alike that serve nothing yet only one."""
        taken, seen = set(self._chosen), set[int]()
        for at in self._orders[depth]:
            if at not in taken:
                if self.kinds[at] in seen:
                    self.work.done += 1
                    continue
                seen.add(self.kinds[at])
            yield at

    def _between(self) -> float:
        chosen = [self.facts.givers[at] for at in self._chosen]
        self.work.done += len(chosen) // PAIRS_PER_STEP
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
