"""All solutions within one tree: every variable of a plan gets a provider at one anchor."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from moorage.model.requests import ISOLATE, CandidateRequest
from moorage.search.constraints import (
    Constraint,
    Cover,
    Isolation,
    OneProviderPerTree,
    RoomForAll,
    SameSubtree,
    Situation,
    contested_classes,
)
from moorage.search.groups import UNSUFFIXED, Plan
from moorage.search.index import Index

Choice = tuple[int, ...]
"""A slot for each variable of a plan, in the plan's order."""


@dataclass(slots=True)
class Work:
    """What a search has done: trees looked into and placements tried. For tests and measurements."""

    trees: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """The constraints that a request needs, each made anew for every tree.

    ``bind_one`` says whether they can object where a single provider serves everything.
    """

    makers: tuple[Callable[[Situation], Constraint], ...]
    bind_one: bool

    @staticmethod
    def of(request: CandidateRequest, plan: Plan) -> Rules:
        """Constraints of ``request``: none that cannot object."""
        makers: list[Callable[[Situation], Constraint]] = []
        contested = contested_classes(plan.variables)
        suffixes = [variable.suffix for variable in plan.variables if variable.suffix != UNSUFFIXED]
        isolated = request.group_policy == ISOLATE and len(suffixes) > 1
        if plan.cover:
            makers.append(partial(Cover, sets=plan.cover))
        if contested:
            makers.append(partial(RoomForAll, contested=contested))
        if isolated:
            makers.append(Isolation)
        makers.extend(partial(SameSubtree, suffixes=subtree) for subtree in request.same_subtree)
        if request.one_provider_per_tree:
            makers.append(OneProviderPerTree)
        return Rules(tuple(makers), bool(contested) or isolated)


def domains_at(index: Index, plan: Plan, anchor: int) -> list[list[int]]:
    """For each variable the slots that can serve it at ``anchor``: its own tree's by id, then shared."""
    members = index.members(anchor)
    aggregates = [uuid for member in members for uuid in index.aggregates_at(member)]
    domains: list[list[int]] = []
    for variable in plan.variables:
        domain = [member for member in members if variable.own[member]]
        if variable.shared:
            shared = {slot: None for uuid in aggregates for slot in variable.shared.get(uuid, ())}
            domain += sorted(shared.keys() - set(domain), key=index.ids.__getitem__)
        domains.append(domain)
    return domains


def solutions(
    index: Index, plan: Plan, rules: Rules, anchor: int, random: Random | None, work: Work
) -> Iterator[Choice]:
    """Every choice that serves the whole request at ``anchor``, in random order if ``random`` is given."""
    work.trees += 1
    if not rules.bind_one and plan.variables and not plan.sharing and index.is_alone(anchor):
        # Most clouds are flat: a tree of one provider serves everything itself, and its traits
        # have been looked at with the anchors.
        work.steps += 1
        yield (anchor,) * len(plan.variables)
        return
    domains = domains_at(index, plan, anchor)
    if random is not None:
        for domain in domains:
            random.shuffle(domain)
    if rules.makers:
        yield from TreeSearch(index, plan, rules, domains, work).solutions()
    else:
        for choice in itertools.product(*domains):
            work.steps += 1
            yield choice


@dataclass(slots=True)
class TreeSearch:
    """Backtracking over the variables of one tree, those with the fewest options first.

    It walks without recursion: a request may have more groups than Python's stack is deep.
    A state from which no solution was found is remembered by what matters of it, providers
    that are interchangeable being counted and not named, so that equal failures are not
    explored twice.
    """

    index: Index
    plan: Plan
    rules: Rules
    domains: Sequence[Sequence[int]]
    work: Work
    _order: list[int] = field(init=False)
    _ordered: list[Sequence[int]] = field(init=False)
    _constraints: list[Constraint] = field(init=False)
    _chosen: list[int] = field(init=False)
    _dead: set[Hashable] = field(init=False)
    _kinds: dict[int, Hashable] = field(init=False)
    _wanted_from: list[frozenset[int]] = field(init=False)

    def __post_init__(self) -> None:
        self._order = sorted(range(len(self.domains)), key=lambda number: len(self.domains[number]))
        self._ordered = [self.domains[number] for number in self._order]
        situation = Situation(
            self.index, [self.plan.variables[number] for number in self._order], self._ordered
        )
        self._constraints = [make(situation) for make in self.rules.makers]
        self._chosen = []
        self._dead = set()
        self._kinds = {}
        self._wanted_from = []

    def solutions(self) -> Iterator[Choice]:
        """Every choice that no constraint objects to, each once."""
        if not all(constraint.possible() for constraint in self._constraints):
            return
        count = len(self._order)
        next_option = [0] * (count + 1)
        found_before = [0] * (count + 1)
        found = 0
        while True:
            position = len(self._chosen)
            if position == count:
                found += 1
                yield self._choice()
            elif self._advance(position, next_option):
                next_option[position + 1] = 0
                found_before[position + 1] = found
                if not (self._dead and self._key() in self._dead):
                    continue
            elif found == found_before[position]:
                self._dead.add(self._key())
            if not self._chosen:
                return
            self._take_back()

    def _advance(self, position: int, next_option: list[int]) -> bool:
        """Place the variable at ``position`` on the next option that nobody objects to."""
        options = self._ordered[position]
        while next_option[position] < len(options):
            slot = options[next_option[position]]
            next_option[position] += 1
            self.work.steps += 1
            if self._place(position, slot):
                self._chosen.append(slot)
                return True
        return False

    def _place(self, position: int, slot: int) -> bool:
        for number, constraint in enumerate(self._constraints):
            if not constraint.place(position, slot):
                for earlier in reversed(self._constraints[:number]):
                    earlier.remove(position, slot)
                return False
        return True

    def _take_back(self) -> None:
        slot = self._chosen.pop()
        for constraint in reversed(self._constraints):
            constraint.remove(len(self._chosen), slot)

    def _choice(self) -> Choice:
        choice = [0] * len(self._order)
        for number, slot in zip(self._order, self._chosen, strict=True):
            choice[number] = slot
        return tuple(choice)

    def _key(self) -> Hashable:
        """What decides whether the variables still to be placed can be."""
        if not self._wanted_from:
            self._wanted_from = [
                frozenset().union(*self._ordered[position:]) for position in range(len(self._order) + 1)
            ]
        position = len(self._chosen)
        touched = self._wanted_from[position].intersection(self._chosen)
        return (
            position,
            tuple(constraint.state(position) for constraint in self._constraints),
            frozenset(
                Counter(
                    (self._kind(slot), *(constraint.mark(position, slot) for constraint in self._constraints))
                    for slot in touched
                ).items()
            ),
        )

    def _kind(self, slot: int) -> Hashable:
        kind = self._kinds.get(slot)
        if kind is None:
            kind = (
                tuple(number for number, domain in enumerate(self._ordered) if slot in domain),
                *(constraint.kind(slot) for constraint in self._constraints),
            )
            self._kinds[slot] = kind
        return kind
