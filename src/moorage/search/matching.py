"""Bipartite matching: can each of these variables have a provider of its own?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence


class Matching:
    """A matching of variables to slots that stays complete while slots are fixed one by one.

    Source: augmenting paths (Berge), searched breadth first so that the depth of Python's
    stack does not depend on the request. ``fix`` and ``release`` must nest: the last one fixed
    is released first.
    """

    __slots__ = ("_domains", "_fixed", "_slot_of", "_variable_of")

    def __init__(self, domains: Mapping[int, Sequence[int]]) -> None:
        self._domains = domains
        self._slot_of: dict[int, int] = {}
        self._variable_of: dict[int, int] = {}
        self._fixed: set[int] = set()

    def complete(self) -> bool:
        """Match every variable; False if that cannot be."""
        return all(self._augment(variable) for variable in self._domains)

    def fix(self, variable: int, slot: int) -> bool:
        """Give ``slot`` to ``variable`` for good; False, and nothing done, if the rest cannot be then."""
        if slot in self._fixed:
            return False
        former = self._slot_of.pop(variable)
        del self._variable_of[former]
        self._fixed.add(slot)
        rival = self._variable_of.pop(slot, None)
        if rival is None:
            return True
        del self._slot_of[rival]
        if self._augment(rival):
            return True
        self._fixed.discard(slot)
        self._match(rival, slot)
        self._match(variable, former)
        return False

    def release(self, variable: int, slot: int) -> None:
        """Undo a ``fix``: the pair stays matched, but may change again."""
        self._fixed.discard(slot)
        self._match(variable, slot)

    def is_fixed(self, slot: int) -> bool:
        """Whether a variable has ``slot`` for good."""
        return slot in self._fixed

    def _match(self, variable: int, slot: int) -> None:
        self._slot_of[variable] = slot
        self._variable_of[slot] = variable

    def _augment(self, unmatched: int) -> bool:
        came_from: dict[int, int] = {}
        waiting = deque([unmatched])
        while waiting:
            variable = waiting.popleft()
            for slot in self._domains[variable]:
                if slot in came_from or slot in self._fixed:
                    continue
                came_from[slot] = variable
                holder = self._variable_of.get(slot)
                if holder is None:
                    self._flip(slot, came_from)
                    return True
                waiting.append(holder)
        return False

    def _flip(self, free: int, came_from: Mapping[int, int]) -> None:
        slot: int | None = free
        while slot is not None:
            variable = came_from[slot]
            former = self._slot_of.get(variable)
            self._match(variable, slot)
            slot = former
