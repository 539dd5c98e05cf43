"""Constraints: conditions on several variables of one tree at once.

The search reports each placement (a variable gets a provider) to each constraint, and takes placements back
in reverse order. So a constraint can refuse a placement early, before a whole combination is built. For the
memory of dead ends, a constraint also says which earlier placements still matter (``mark``, ``state``). Its
``kind`` says which providers are interchangeable.

Positions count variables in the order in which they are placed; ``Situation`` holds what all
constraints of a tree look at. Providers are nodes of a ``View``.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import field
from functools import cache, partial
from typing import Final

from moorage.model.valueclass import valueclass
from moorage.search.index.columns import NONE
from moorage.search.match.plan import Plan, Work
from moorage.search.match.tree_view import Need, View
from moorage.search.match.variables import UNSUFFIXED, Demand, Variable

OPTIONS_PER_STEP: Final = 6
"""Options of a variable that are looked at in one step."""


class Matching:
    """A matching of variables to nodes that stays complete while nodes are fixed one by one.

    Source: augmenting paths (Berge), searched breadth first so that the depth of Python's
    stack does not depend on the request. ``fix`` and ``release`` must nest: the last one fixed
    is released first.
    """

    __slots__ = ("_domains", "_fixed", "_node_of", "_variable_of", "_work")

    def __init__(self, domains: Mapping[int, Sequence[int]], work: Work) -> None:
        """``work`` counts the options looked at. All methods that search may raise OutOfStepsError."""
        self._domains = domains
        self._work = work
        self._node_of: dict[int, int] = {}
        self._variable_of: dict[int, int] = {}
        self._fixed: set[int] = set()

    def complete(self) -> bool:
        """Match every variable; returns False if that is impossible."""
        return all(self._augment(variable) for variable in self._domains)

    def fix(self, variable: int, node: int) -> bool:
        """Fix ``node`` to ``variable``; False, and nothing changed, if the others then have no match."""
        if node in self._fixed:
            return False
        former = self._node_of.pop(variable)
        del self._variable_of[former]
        self._fixed.add(node)
        rival = self._variable_of.pop(node, None)
        if rival is None:
            return True
        del self._node_of[rival]
        if self._augment(rival):
            return True
        self._fixed.discard(node)
        self._match(rival, node)
        self._match(variable, former)
        return False

    def release(self, variable: int, node: int) -> None:
        """Undo a ``fix``: the pair stays matched, but may change again."""
        self._fixed.discard(node)
        self._match(variable, node)

    def is_fixed(self, node: int) -> bool:
        """Whether ``node`` is fixed to a variable."""
        return node in self._fixed

    def _match(self, variable: int, node: int) -> None:
        self._node_of[variable] = node
        self._variable_of[node] = variable

    def _augment(self, unmatched: int) -> bool:
        came_from: dict[int, int] = {}
        waiting = deque([unmatched])
        while waiting:
            variable = waiting.popleft()
            self._work.spend(2 + len(self._domains[variable]) // OPTIONS_PER_STEP)
            for node in self._domains[variable]:
                if node in came_from or node in self._fixed:
                    continue
                came_from[node] = variable
                holder = self._variable_of.get(node)
                if holder is None:
                    self._flip(node, came_from)
                    return True
                waiting.append(holder)
        return False

    def _flip(self, free: int, came_from: Mapping[int, int]) -> None:
        node: int | None = free
        while node is not None:
            variable = came_from[node]
            former = self._node_of.get(variable)
            self._match(variable, node)
            node = former


PATH_NODES_PER_STEP: Final = 4
"""Nodes that a constraint goes through in one step."""


@valueclass(frozen=True, slots=True)
class Situation:
    """The variables of one tree in the order of placement, with the nodes each can choose from.

    Constraints count in ``work`` what they do besides one step per placement.
    """

    view: View
    variables: Sequence[Variable]
    domains: Sequence[Sequence[int]]
    work: Work
    paths: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def path(self, node: int) -> tuple[int, ...]:
        """Nodes from a root down to ``node``. Raises OutOfStepsError."""
        known = self.paths.get(node)
        if known is None:
            known = self.paths[node] = self.view.path(node)
            self.work.spend(1 + len(known) // PATH_NODES_PER_STEP)
        return known

    def spend_on_domains(self) -> None:
        """Count the steps of going through the nodes of each variable. Raises OutOfStepsError."""
        self.work.spend(sum(map(len, self.domains)) // PATH_NODES_PER_STEP)


class Constraint:
    """Base of all constraints: it admits every placement."""

    __slots__ = ()

    def possible(self) -> bool:
        """Whether a solution can exist; called once, before the first placement."""
        return True

    def place(self, position: int, node: int) -> bool:
        """Record a placement; returns False, and records nothing, if no solution contains it."""
        raise NotImplementedError

    def remove(self, position: int, node: int) -> None:
        """Undo the last placement."""
        raise NotImplementedError

    def mark(self, position: int, node: int) -> Hashable:
        """What the earlier placements on ``node`` mean for the variables from ``position`` on."""
        return None

    def state(self, position: int) -> Hashable:
        """What the other earlier placements mean for the variables from ``position`` on."""
        return None

    def kind(self, node: int) -> Hashable:
        """Equal for providers that are interchangeable for this constraint."""
        return None


class RoomForAll(Constraint):
    """Amounts that several variables take of one provider must fit together.

    Only classes that several variables ask for (``contested``) can run short here.
    """

    __slots__ = ("_contested", "_demands", "_open", "_room", "_situation", "_taken")

    def __init__(self, situation: Situation, contested: Collection[str]) -> None:
        self._situation = situation
        self._contested = sorted(contested)
        self._demands: list[tuple[Demand, ...]] = [
            tuple(demand for demand in variable.demands if demand[0] in contested)
            for variable in situation.variables
        ]
        self._open = [list[str]()]
        for demands in reversed(self._demands):
            names = {*self._open[-1], *[name for name, _ in demands]}
            self._open.append(self._open[-1] if len(names) == len(self._open[-1]) else sorted(names))
        self._open.reverse()
        self._taken: defaultdict[tuple[int, str], int] = defaultdict(int)
        self._room: Callable[[int, str], int] = cache(situation.view.room)

    def possible(self) -> bool:
        """Compare, for each class, the amounts with all room, and the number of variables with what fits."""
        for name in self._contested:
            self._situation.spend_on_domains()
            amounts: list[int] = []
            nodes: set[int] = set()
            for demands, domain in zip(self._demands, self._situation.domains, strict=True):
                asked = [amount for demanded, amount in demands if demanded == name]
                if asked:
                    amounts += asked
                    nodes.update(domain)
            rooms = [self._room(node, name) for node in nodes]
            least = min(amounts)
            if sum(rooms) < sum(amounts) or sum(room // least for room in rooms) < len(amounts):
                return False
        return True

    def place(self, position: int, node: int) -> bool:
        demands = self._demands[position]
        for name, amount in demands:
            if self._taken[node, name] + amount > self._room(node, name):
                return False
        for name, amount in demands:
            self._taken[node, name] += amount
        return True

    def remove(self, position: int, node: int) -> None:
        for name, amount in self._demands[position]:
            self._taken[node, name] -= amount

    def mark(self, position: int, node: int) -> Hashable:
        return tuple(self._taken.get((node, name), 0) for name in self._open[position])

    def kind(self, node: int) -> Hashable:
        return tuple(self._room(node, name) for name in self._contested)


class Isolation(Constraint):
    """No two suffixed groups on one provider.

    Keeps a complete matching of the groups that are still to be placed, so that isolation
    alone never leads into a dead end.
    """

    __slots__ = ("_isolated", "_matching")

    def __init__(self, situation: Situation) -> None:
        self._isolated = [variable.suffix != UNSUFFIXED for variable in situation.variables]
        self._matching = Matching(
            {
                position: domain
                for position, domain in enumerate(situation.domains)
                if self._isolated[position]
            },
            situation.work,
        )

    def possible(self) -> bool:
        return self._matching.complete()

    def place(self, position: int, node: int) -> bool:
        return not self._isolated[position] or self._matching.fix(position, node)

    def remove(self, position: int, node: int) -> None:
        if self._isolated[position]:
            self._matching.release(position, node)

    def mark(self, position: int, node: int) -> Hashable:
        return self._matching.is_fixed(node)


class Cover(Constraint):
    """The providers of the unsuffixed group must together have a trait of each required set."""

    __slots__ = ("_all", "_bits", "_covered", "_potential", "_unsuffixed")

    def __init__(self, situation: Situation, sets: int) -> None:
        """``sets`` is the number of required sets."""
        self._bits: Callable[[int], int] = cache(situation.view.covered)
        self._all = (1 << sets) - 1
        self._unsuffixed = [variable.suffix == UNSUFFIXED for variable in situation.variables]
        self._covered = [0]
        self._potential = [0]
        situation.spend_on_domains()
        situation.work.spend(sets * len(set().union(*situation.domains)) // PATH_NODES_PER_STEP)
        for position in reversed(range(len(situation.variables))):
            potential = self._potential[-1]
            if self._unsuffixed[position]:
                for node in situation.domains[position]:
                    potential |= self._bits(node)
            self._potential.append(potential)
        self._potential.reverse()

    def possible(self) -> bool:
        return self._potential[0] == self._all

    def place(self, position: int, node: int) -> bool:
        covered = self._covered[-1]
        if self._unsuffixed[position]:
            covered |= self._bits(node)
            if covered | self._potential[position + 1] != self._all:
                return False
        self._covered.append(covered)
        return True

    def remove(self, position: int, node: int) -> None:
        self._covered.pop()

    def state(self, position: int) -> Hashable:
        return self._covered[-1]

    def kind(self, node: int) -> Hashable:
        return self._bits(node)


class SameSubtree(Constraint):
    """Among the providers of some suffixed groups, one is the ancestor of all others.

    Keeps the path from the root that all providers placed so far have in common, and the depth of the
    uppermost one. That provider can be the ancestor as long as the common path reaches it.
    """

    __slots__ = ("_common", "_concerned", "_later", "_path", "_uppermost", "_work")

    def __init__(self, situation: Situation, suffixes: frozenset[str]) -> None:
        self._path = situation.path
        self._work = situation.work
        self._concerned = [variable.suffix in suffixes for variable in situation.variables]
        # A request may have hundreds of groups and of subtrees, and each tree gets this anew.
        self._work.spend(len(self._concerned))
        # For each position: the nodes that the groups from there on can use, all together.
        self._later = [frozenset[int]()]
        for concerned, domain in zip(reversed(self._concerned), reversed(situation.domains), strict=True):
            later = self._later[-1]
            if concerned and not later.issuperset(domain):
                later = later.union(domain)
                self._work.spend(len(later) // PATH_NODES_PER_STEP)
            self._later.append(later)
        self._later.reverse()
        self._common: list[tuple[int, ...] | None] = [None]
        self._uppermost: list[int] = [NONE]

    def place(self, position: int, node: int) -> bool:
        common, uppermost = self._common[-1], self._uppermost[-1]
        if self._concerned[position]:
            path = self._path(node)
            self._work.done += len(path) // PATH_NODES_PER_STEP
            common = path if common is None else _shared_beginning(common, path)
            own_depth = len(path) - 1
            if uppermost >= len(common):
                uppermost = NONE
            if own_depth < len(common) and (uppermost == NONE or own_depth < uppermost):
                uppermost = own_depth
            if uppermost == NONE and self._later[position + 1].isdisjoint(common):
                return False
        self._common.append(common)
        self._uppermost.append(uppermost)
        return True

    def remove(self, position: int, node: int) -> None:
        self._common.pop()
        self._uppermost.pop()

    def state(self, position: int) -> Hashable:
        return self._common[-1], self._uppermost[-1]

    def kind(self, node: int) -> Hashable:
        return node


class OneProviderPerTree(Constraint):
    """No two providers of one tree may give resources."""

    __slots__ = ("_gives", "_held", "_root")

    def __init__(self, situation: Situation) -> None:
        self._root: Callable[[int], Hashable] = cache(situation.view.root)
        self._gives = [bool(variable.demands) for variable in situation.variables]
        self._held: dict[Hashable, list[int]] = defaultdict(list)

    def place(self, position: int, node: int) -> bool:
        if self._gives[position]:
            held = self._held[self._root(node)]
            if held and held[-1] != node:
                return False
            held.append(node)
        return True

    def remove(self, position: int, node: int) -> None:
        if self._gives[position]:
            self._held[self._root(node)].pop()

    def state(self, position: int) -> Hashable:
        return frozenset([held[-1] for held in self._held.values() if held])

    def kind(self, node: int) -> Hashable:
        return node


def _shared_beginning(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return one[:length]


@valueclass(frozen=True, slots=True)
class Rules:
    """Constraints of a request, made anew for every tree; only those that can refuse something.

    ``isolation_only`` says that ``Isolation`` is the only one. ``need`` is the data that they use.
    """

    makers: tuple[Callable[[Situation], Constraint], ...]
    isolation_only: bool
    need: Need

    @staticmethod
    def of(plan: Plan) -> Rules:
        """Constraints of the request of ``plan``."""
        request = plan.request
        makers: list[Callable[[Situation], Constraint]] = []
        if plan.cover:
            makers.append(partial(Cover, sets=len(plan.cover)))
        if plan.contested:
            makers.append(partial(RoomForAll, contested=plan.contested))
        if plan.isolated:
            makers.append(Isolation)
        makers.extend(partial(SameSubtree, suffixes=subtree) for subtree in request.same_subtree)
        if request.one_provider_per_tree:
            makers.append(OneProviderPerTree)
        return Rules(
            tuple(makers),
            isolation_only=plan.isolated and len(makers) == 1,
            need=Need(plan.contested, family=bool(request.same_subtree)),
        )
