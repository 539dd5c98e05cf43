"""All solutions within one tree: every variable of a plan gets a provider."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from random import Random
from typing import Final

from moorage.search.constraints import Constraint, Situation
from moorage.search.groups import UNSUFFIXED
from moorage.search.rules import Rules
from moorage.search.scene import View
from moorage.search.work import Work

Choice = tuple[int, ...]
"""A node for each variable of a plan, in the plan's order."""

MOST_DEAD_ENDS: Final = 20_000
"""Dead ends remembered in one tree, each up to some thousand bytes. Most trees have none, and who meets
more of them than this is about to run out of steps anyway."""


def choices(view: View, rules: Rules, random: Random | None, work: Work) -> Iterator[Choice]:
    """Every choice that serves the whole request in a tree, in random order if ``random`` is given."""
    domains = view.domains()
    if random is not None:
        for domain in domains:
            random.shuffle(domain)
    if not rules.makers:
        return _counted(itertools.product(*domains), work)
    if rules.isolation_only:
        suffixed = [number for number, variable in enumerate(view.variables) if variable.suffix != UNSUFFIXED]
        if all(set(domains[number]) == set(domains[suffixed[0]]) for number in suffixed):
            return _counted(_arrangements(domains, suffixed), work)
    return TreeSearch(view, rules, domains, work).solutions()


def _counted(found: Iterator[Choice], work: Work) -> Iterator[Choice]:
    for choice in found:
        work.steps += 1
        work.check()
        yield choice


def _arrangements(domains: Sequence[Sequence[int]], isolated: Sequence[int]) -> Iterator[Choice]:
    """Choices where only the variables ``isolated``, who have the same options, must differ.

    That is how equal devices are asked for, and there are very many: nothing has to be tried.
    """
    others = [number for number in range(len(domains)) if number not in isolated]
    order = [*others, *isolated]
    in_plan = itemgetter(*(order.index(number) for number in range(len(order))))
    for free in itertools.product(*(domains[number] for number in others)):
        for apart in itertools.permutations(domains[isolated[0]], len(isolated)):
            choice: Choice = in_plan(free + apart)
            yield choice


@dataclass(slots=True)
class TreeSearch:
    """Backtracking over the variables of one tree, those with the fewest options first.

    It walks without recursion: a request may have more groups than Python's stack is deep.
    A state from which no solution was found is remembered by what matters of it, providers
    that are interchangeable being counted and not named, so that equal failures are not
    explored twice.
    """

    view: View
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
            self.view, [self.view.variables[number] for number in self._order], self._ordered
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
            elif found == found_before[position] and len(self._dead) < MOST_DEAD_ENDS:
                self._dead.add(self._key())
            if not self._chosen:
                return
            self._take_back()

    def _advance(self, position: int, next_option: list[int]) -> bool:
        """Place the variable at ``position`` on the next option that nobody objects to."""
        options = self._ordered[position]
        while next_option[position] < len(options):
            node = options[next_option[position]]
            next_option[position] += 1
            self.work.steps += 1
            self.work.check()
            if self._place(position, node):
                self._chosen.append(node)
                return True
        return False

    def _place(self, position: int, node: int) -> bool:
        for number, constraint in enumerate(self._constraints):
            if not constraint.place(position, node):
                for earlier in reversed(self._constraints[:number]):
                    earlier.remove(position, node)
                return False
        return True

    def _take_back(self) -> None:
        node = self._chosen.pop()
        for constraint in reversed(self._constraints):
            constraint.remove(len(self._chosen), node)

    def _choice(self) -> Choice:
        choice = [0] * len(self._order)
        for number, node in zip(self._order, self._chosen, strict=True):
            choice[number] = node
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
                    (self._kind(node), *(constraint.mark(position, node) for constraint in self._constraints))
                    for node in touched
                ).items()
            ),
        )

    def _kind(self, node: int) -> Hashable:
        kind = self._kinds.get(node)
        if kind is None:
            kind = (
                tuple(number for number, domain in enumerate(self._ordered) if node in domain),
                *(constraint.kind(node) for constraint in self._constraints),
            )
            self._kinds[node] = kind
        return kind
