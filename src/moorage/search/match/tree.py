"""All solutions within one tree: every variable of a plan gets a provider."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from random import Random
from typing import Final

from moorage.search.match.constraints import Constraint, Rules, Situation
from moorage.search.match.plan import Work
from moorage.search.match.tree_view import NODES_PER_STEP, View
from moorage.search.match.variables import UNSUFFIXED

SETUP_STEPS: Final = 10
"""Steps per variable before the first placement."""

PLACING_STEPS: Final = 8
KEYING_STEPS: Final = 6
"""Steps of a placement, and of recording a dead end per provider in it. Each constraint adds one step."""

Choice = tuple[int, ...]
"""A node for each variable of a plan, in the plan's order."""

MOST_DEAD_ENDS: Final = 20_000
"""Dead ends remembered in one tree, each up to some thousand bytes. Most trees have none. A search that meets
more is about to run out of steps."""


def choices(view: View, rules: Rules, random: Random | None, work: Work) -> Iterator[Choice]:
    """Every choice that serves the whole request in a tree, in random order if ``random`` is given."""
    domains = view.domains()
    work.spend(sum(map(len, domains)) // NODES_PER_STEP)
    if random is not None:
        for domain in domains:
            work.spend(len(domain))
            random.shuffle(domain)
    if not rules.makers:
        return _counted(itertools.product(*domains), work)
    apart = _apart(view, rules, domains)
    if apart:
        return _counted(_arrangements(domains, apart), work)
    return TreeSearch(view, rules, domains, work).solutions()


def numbered(view: View, rules: Rules) -> NumberedChoices | None:
    """The choices that serve the whole request in a tree, if their number follows without a search."""
    if rules.makers and not rules.isolation_only:
        return None
    domains = view.domains()
    apart = _apart(view, rules, domains)
    return None if rules.makers and not apart else NumberedChoices(domains, apart)


def _apart(view: View, rules: Rules, domains: Sequence[Sequence[int]]) -> Sequence[int]:
    """The variables that must differ, if nothing else is asked and all of them have the same options."""
    if not rules.isolation_only:
        return ()
    suffixed = [number for number, variable in enumerate(view.variables) if variable.suffix != UNSUFFIXED]
    options = set(domains[suffixed[0]])
    alike = all(
        len(domains[number]) == len(options) and options.issuperset(domains[number]) for number in suffixed
    )
    return suffixed if alike else ()


class NumberedChoices:
    """``count`` choices of a tree, each made from its number in the order of ``choices``."""

    def __init__(self, domains: Sequence[Sequence[int]], apart: Sequence[int]) -> None:
        """The variables ``apart`` have the same options, and must differ. All others are free."""
        self.nodes = sum(map(len, domains))
        self._domains = domains
        self._apart = apart
        self._free = sorted(set(range(len(domains))).difference(apart))
        self._arrangements = math.perm(len(domains[apart[0]]), len(apart)) if apart else 1
        self.count = math.prod([len(domains[number]) for number in self._free]) * self._arrangements

    def choice(self, number: int) -> Choice:
        """The choice with a number from 0 up to ``count``."""
        chosen = [0] * len(self._domains)
        number, place = divmod(number, self._arrangements)
        for variable in reversed(self._free):
            number, option = divmod(number, len(self._domains[variable]))
            chosen[variable] = self._domains[variable][option]
        left = list(self._domains[self._apart[0]]) if self._apart else []
        each = self._arrangements
        for variable in self._apart:
            each //= len(left)
            option, place = divmod(place, each)
            chosen[variable] = left.pop(option)
        return tuple(chosen)


def _counted(found: Iterator[Choice], work: Work) -> Iterator[Choice]:
    for choice in found:
        work.steps += 1
        yield choice


def _arrangements(domains: Sequence[Sequence[int]], isolated: Sequence[int]) -> Iterator[Choice]:
    """Choices in which only the variables ``isolated``, all with the same options, must differ.

    Requests for equal devices have very many such choices, and enumerating them needs no search.
    """
    apart = set(isolated)
    others = [number for number in range(len(domains)) if number not in apart]
    order = [*others, *isolated]
    in_plan = itemgetter(*sorted(range(len(order)), key=order.__getitem__))
    for free in itertools.product(*(domains[number] for number in others)):
        for placed in itertools.permutations(domains[isolated[0]], len(isolated)):
            choice: Choice = in_plan(free + placed)
            yield choice


@dataclass(slots=True)
class TreeSearch:
    """Backtracking over the variables of one tree, those with the fewest options first.

    The search does not recurse: a request may have more groups than Python's stack is deep. The search
    remembers states from which it found no solution, so that it does not explore equal failures twice. A
    remembered state has only what matters: interchangeable providers are counted, not named.
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
    _member_of: list[frozenset[int]] = field(init=False)
    _placing: int = field(init=False)
    _keying: int = field(init=False)

    def __post_init__(self) -> None:
        self._order = sorted(range(len(self.domains)), key=lambda number: len(self.domains[number]))
        self._ordered = [self.domains[number] for number in self._order]
        situation = Situation(
            self.view, [self.view.variables[number] for number in self._order], self._ordered, self.work
        )
        self.work.spend(SETUP_STEPS * len(self._order))
        self._constraints = [make(situation) for make in self.rules.makers]
        self._chosen = []
        self._dead = set()
        self._kinds = {}
        self._wanted_from = []
        self._member_of = []
        self._placing = 1 + PLACING_STEPS + 3 * len(self._constraints)
        self._keying = KEYING_STEPS + 2 * len(self._constraints)

    def solutions(self) -> Iterator[Choice]:
        """Every choice that all constraints admit, each once."""
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
        """Place the variable at ``position`` on the next option that all constraints admit."""
        options = self._ordered[position]
        while next_option[position] < len(options):
            node = options[next_option[position]]
            next_option[position] += 1
            self.work.steps += 1
            self.work.spend(self._placing)
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
        """The state that decides whether the remaining variables can be placed."""
        if not self._wanted_from:
            self._look_ahead()
        position = len(self._chosen)
        touched = self._wanted_from[position].intersection(self._chosen)
        self.work.spend(self._keying * (1 + len(touched)) + position // NODES_PER_STEP)
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

    def _look_ahead(self) -> None:
        """Note the options of the variables from each position on."""
        domains = [frozenset(domain) for domain in self._ordered]
        wanted = [frozenset[int]()]
        for domain in reversed(domains):
            ahead = wanted[-1] if domain <= wanted[-1] else wanted[-1] | domain
            self.work.spend(1 + (len(domain) + len(ahead)) // NODES_PER_STEP)
            wanted.append(ahead)
        self._wanted_from = wanted[::-1]
        self._member_of = domains

    def _kind(self, node: int) -> Hashable:
        kind = self._kinds.get(node)
        if kind is None:
            self.work.spend(self._keying + len(self._member_of) // NODES_PER_STEP)
            kind = (
                tuple([number for number, domain in enumerate(self._member_of) if node in domain]),
                *(constraint.kind(node) for constraint in self._constraints),
            )
            self._kinds[node] = kind
        return kind
