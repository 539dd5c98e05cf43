"""What concerns several variables of one tree at once.

Each constraint is told of every placement (a variable gets a provider) and takes it back in
reverse order, so that it can refuse at once instead of after a whole combination. For the
memory of dead ends it also says what of its past still matters (``mark``, ``state``) and what
makes two providers interchangeable (``kind``).

Positions count variables in the order in which they are placed; ``Situation`` holds what all
constraints of a tree look at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache

from moorage.search.columns import NONE, Mask
from moorage.search.groups import UNSUFFIXED, Demand, Variable
from moorage.search.index import Index
from moorage.search.matching import Matching


@dataclass(frozen=True, slots=True)
class Situation:
    """The variables of one tree in the order of placement, with the slots each can choose from."""

    index: Index
    variables: Sequence[Variable]
    domains: Sequence[Sequence[int]]


class Constraint:
    """Base of all constraints: one that never objects."""

    __slots__ = ()

    def possible(self) -> bool:
        """Whether there may be a solution at all; asked once, before the first placement."""
        return True

    def place(self, position: int, slot: int) -> bool:
        """Take note of a placement; False, and nothing noted, if no solution can have it."""
        raise NotImplementedError

    def remove(self, position: int, slot: int) -> None:
        """Undo the last placement."""
        raise NotImplementedError

    def mark(self, position: int, slot: int) -> Hashable:
        """What matters of the past of ``slot`` for the variables from ``position`` on."""
        return None

    def state(self, position: int) -> Hashable:
        """What else matters of the past for the variables from ``position`` on."""
        return None

    def kind(self, slot: int) -> Hashable:
        """Equal for providers that differ in nothing this constraint looks at."""
        return None


class RoomForAll(Constraint):
    """Amounts that several variables take of one provider must fit together.

    Only classes that more than one variable asks for (``contested``) can be short here.
    """

    __slots__ = ("_contested", "_demands", "_open", "_room", "_situation", "_taken")

    def __init__(self, situation: Situation, contested: frozenset[str]) -> None:
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
        self._room: Callable[[int, str], int] = cache(situation.index.room_at)

    def possible(self) -> bool:
        """Add up: the amounts against all room, and how many fit where, for each class."""
        for name in self._contested:
            amounts: list[int] = []
            slots: set[int] = set()
            for demands, domain in zip(self._demands, self._situation.domains, strict=True):
                asked = [amount for demanded, amount in demands if demanded == name]
                if asked:
                    amounts += asked
                    slots.update(domain)
            rooms = [self._room(slot, name) for slot in slots]
            least = min(amounts)
            if sum(rooms) < sum(amounts) or sum(room // least for room in rooms) < len(amounts):
                return False
        return True

    def place(self, position: int, slot: int) -> bool:
        demands = self._demands[position]
        for name, amount in demands:
            if self._taken[slot, name] + amount > self._room(slot, name):
                return False
        for name, amount in demands:
            self._taken[slot, name] += amount
        return True

    def remove(self, position: int, slot: int) -> None:
        for name, amount in self._demands[position]:
            self._taken[slot, name] -= amount

    def mark(self, position: int, slot: int) -> Hashable:
        return tuple(self._taken.get((slot, name), 0) for name in self._open[position])

    def kind(self, slot: int) -> Hashable:
        return tuple(self._room(slot, name) for name in self._contested)


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

    def place(self, position: int, slot: int) -> bool:
        return not self._isolated[position] or self._matching.fix(position, slot)

    def remove(self, position: int, slot: int) -> None:
        if self._isolated[position]:
            self._matching.release(position, slot)

    def mark(self, position: int, slot: int) -> Hashable:
        return self._matching.is_fixed(slot)


class Cover(Constraint):
    """The providers of the unsuffixed group must together have a trait of each required set."""

    __slots__ = ("_all", "_bits", "_covered", "_potential", "_unsuffixed")

    def __init__(self, situation: Situation, sets: Sequence[Mask]) -> None:
        def bits(slot: int) -> int:
            return sum(1 << number for number, mask in enumerate(sets) if mask[slot])

        self._bits: Callable[[int], int] = cache(bits)
        self._all = (1 << len(sets)) - 1
        self._unsuffixed = [variable.suffix == UNSUFFIXED for variable in situation.variables]
        self._covered = [0]
        self._potential = [0]
        for position in reversed(range(len(situation.variables))):
            potential = self._potential[-1]
            if self._unsuffixed[position]:
                for slot in situation.domains[position]:
                    potential |= self._bits(slot)
            self._potential.append(potential)
        self._potential.reverse()

    def possible(self) -> bool:
        return self._potential[0] == self._all

    def place(self, position: int, slot: int) -> bool:
        covered = self._covered[-1]
        if self._unsuffixed[position]:
            covered |= self._bits(slot)
            if covered | self._potential[position + 1] != self._all:
                return False
        self._covered.append(covered)
        return True

    def remove(self, position: int, slot: int) -> None:
        self._covered.pop()

    def state(self, position: int) -> Hashable:
        return self._covered[-1]

    def kind(self, slot: int) -> Hashable:
        return self._bits(slot)


class SameSubtree(Constraint):
    """The providers of some suffixed groups: one of them is an ancestor, or itself, of all.

    Remembers the path from the root that all placed so far have in common, and how deep on it
    the uppermost one placed is: that one will do as the ancestor for as long as the common
    path reaches it.
    """

    __slots__ = ("_chain", "_common", "_concerned", "_domains", "_uppermost")

    def __init__(self, situation: Situation, suffixes: frozenset[str]) -> None:
        def chain(slot: int) -> tuple[int, ...]:
            path: list[int] = []
            while slot != NONE:
                path.append(slot)
                slot = situation.index.parent_slot(slot)
            return tuple(reversed(path))

        self._chain: Callable[[int], tuple[int, ...]] = cache(chain)
        self._concerned = [variable.suffix in suffixes for variable in situation.variables]
        self._domains = [frozenset(domain) for domain in situation.domains]
        self._common: list[tuple[int, ...] | None] = [None]
        self._uppermost: list[int] = [NONE]

    def place(self, position: int, slot: int) -> bool:
        common, uppermost = self._common[-1], self._uppermost[-1]
        if self._concerned[position]:
            path = self._chain(slot)
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

    def remove(self, position: int, slot: int) -> None:
        self._common.pop()
        self._uppermost.pop()

    def state(self, position: int) -> Hashable:
        return self._common[-1], self._uppermost[-1]

    def kind(self, slot: int) -> Hashable:
        return slot

    def _may_come(self, position: int, common: Sequence[int]) -> bool:
        """Whether a group still to be placed can take one of ``common``."""
        return any(
            concerned and not domain.isdisjoint(common)
            for concerned, domain in zip(self._concerned[position:], self._domains[position:], strict=True)
        )


class OneProviderPerTree(Constraint):
    """No two providers of one tree may give resources."""

    __slots__ = ("_gives", "_held", "_index")

    def __init__(self, situation: Situation) -> None:
        self._index = situation.index
        self._gives = [bool(variable.demands) for variable in situation.variables]
        self._held: dict[int, list[int]] = defaultdict(list)

    def place(self, position: int, slot: int) -> bool:
        if self._gives[position]:
            held = self._held[self._root(slot)]
            if held and held[-1] != slot:
                return False
            held.append(slot)
        return True

    def remove(self, position: int, slot: int) -> None:
        if self._gives[position]:
            self._held[self._root(slot)].pop()

    def state(self, position: int) -> Hashable:
        return frozenset(held[-1] for held in self._held.values() if held)

    def kind(self, slot: int) -> Hashable:
        return slot

    def _root(self, slot: int) -> int:
        return int(self._index.root_slot[slot])


def contested_classes(variables: Sequence[Variable]) -> frozenset[str]:
    """Classes that more than one of ``variables`` ask for."""
    times = Counter(name for variable in variables for name, _ in variable.demands)
    return frozenset(name for name, count in times.items() if count > 1)


def _shared_beginning(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return one[:length]
