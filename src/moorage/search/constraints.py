"""What concerns several variables of one tree at once.

Each constraint is told of every placement (a variable gets a provider) and takes it back in
reverse order, so that it can refuse at once instead of after a whole combination. For the
memory of dead ends it also says what of its past still matters (``mark``, ``state``) and what
makes two providers interchangeable (``kind``).

Positions count variables in the order in which they are placed; ``Situation`` holds what all
constraints of a tree look at. Providers are nodes of a ``View``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from functools import cache

from moorage.model.valueclass import valueclass
from moorage.search.columns import NONE
from moorage.search.groups import UNSUFFIXED, Demand, Variable
from moorage.search.matching import Matching
from moorage.search.scene import View


@valueclass(frozen=True, slots=True)
class Situation:
    """The variables of one tree in the order of placement, with the nodes each can choose from."""

    view: View
    variables: Sequence[Variable]
    domains: Sequence[Sequence[int]]


class Constraint:
    """Base of all constraints: one that never objects."""

    __slots__ = ()

    def possible(self) -> bool:
        """Whether there may be a solution at all; asked once, before the first placement."""
        return True

    def place(self, position: int, node: int) -> bool:
        """Take note of a placement; False, and nothing noted, if no solution can have it."""
        raise NotImplementedError

    def remove(self, position: int, node: int) -> None:
        """Undo the last placement."""
        raise NotImplementedError

    def mark(self, position: int, node: int) -> Hashable:
        """What matters of the past of ``node`` for the variables from ``position`` on."""
        return None

    def state(self, position: int) -> Hashable:
        """What else matters of the past for the variables from ``position`` on."""
        return None

    def kind(self, node: int) -> Hashable:
        """Equal for providers that differ in nothing this constraint looks at."""
        return None


class RoomForAll(Constraint):
    """Amounts that several variables take of one provider must fit together.

    Only classes that more than one variable asks for (``contested``) can be short here.
    """

    __slots__ = ("_contested", "_demands", "_open", "_room", "_situation", "_taken")

    def __init__(self, situation: Situation, contested: Collection[str]) -> None:
        self._situation = situation
        self._contested = sorted(contested)
        self._demands: list[tuple[Demand, ...]] = [
            tuple(demand for demand in variable.demands if demand[0] in contested)
            for variable in situation.variables
        ]
        self._open = [
            sorted({name for demands in self._demands[position:] for name, _ in demands})
            for position in range(len(self._demands) + 1)
        ]
        self._taken: defaultdict[tuple[int, str], int] = defaultdict(int)
        self._room: Callable[[int, str], int] = cache(situation.view.room)

    def possible(self) -> bool:
        """Add up: the amounts against all room, and how many fit where, for each class."""
        for name in self._contested:
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
            }
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
    """The providers of some suffixed groups: one of them is an ancestor, or itself, of all.

    Remembers the path from the root that all placed so far have in common, and how deep on it
    the uppermost one placed is: that one will do as the ancestor for as long as the common
    path reaches it.
    """

    __slots__ = ("_common", "_concerned", "_domains", "_path", "_uppermost")

    def __init__(self, situation: Situation, suffixes: frozenset[str]) -> None:
        self._path: Callable[[int], tuple[int, ...]] = cache(situation.view.path)
        self._concerned = [variable.suffix in suffixes for variable in situation.variables]
        self._domains = [frozenset(domain) for domain in situation.domains]
        self._common: list[tuple[int, ...] | None] = [None]
        self._uppermost: list[int] = [NONE]

    def place(self, position: int, node: int) -> bool:
        common, uppermost = self._common[-1], self._uppermost[-1]
        if self._concerned[position]:
            path = self._path(node)
            common = path if common is None else _shared_beginning(common, path)
            own_depth = len(path) - 1
            if uppermost >= len(common):
                uppermost = NONE
            if own_depth < len(common) and (uppermost == NONE or own_depth < uppermost):
                uppermost = own_depth
            if uppermost == NONE and not self._may_come(position + 1, common):
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

    def _may_come(self, position: int, common: Sequence[int]) -> bool:
        """Whether a group still to be placed can take one of ``common``."""
        return any(
            concerned and not domain.isdisjoint(common)
            for concerned, domain in zip(self._concerned[position:], self._domains[position:], strict=True)
        )


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
        return frozenset(held[-1] for held in self._held.values() if held)

    def kind(self, node: int) -> Hashable:
        return node


def contested_classes(variables: Sequence[Variable], *, isolated: bool) -> dict[str, int]:
    """Classes that one provider may have to give to more than one of ``variables``.

    Each with the sum of what is asked of it. ``isolated`` says that no two suffixed groups are
    on one provider.
    """
    asked: dict[str, list[int]] = defaultdict(list)
    unsuffixed: set[str] = set()
    for variable in variables:
        for name, amount in variable.demands:
            asked[name].append(amount)
            if variable.suffix == UNSUFFIXED:
                unsuffixed.add(name)
    return {
        name: sum(amounts)
        for name, amounts in asked.items()
        if len(amounts) > 1 and (name in unsuffixed or not isolated)
    }


def _shared_beginning(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return one[:length]
