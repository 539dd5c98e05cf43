"""Bipartite matching: can each of these variables have a provider of its own?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence


class Matching:
    """A matching of variables to nodes that stays complete while nodes are fixed one by one.

    Source: augmenting paths (Berge), searched breadth first so that the depth of Python's
    stack does not depend on the request. ``fix`` and ``release`` must nest: the last one fixed
    is released first.
    """

    __slots__ = ("_domains", "_fixed", "_node_of", "_variable_of")

    def __init__(self, domains: Mapping[int, Sequence[int]]) -> None:
        self._domains = domains
        self._node_of: dict[int, int] = {}
        self._variable_of: dict[int, int] = {}
        self._fixed: set[int] = set()

    def complete(self) -> bool:
        """Match every variable; False if that cannot be."""
        return all(self._augment(variable) for variable in self._domains)

    def fix(self, variable: int, node: int) -> bool:
        """Give ``node`` to ``variable`` for good; False, and nothing done, if the rest cannot be then."""
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
        """Whether a variable has ``node`` for good."""
        return node in self._fixed

    def _match(self, variable: int, node: int) -> None:
        self._node_of[variable] = node
        self._variable_of[node] = variable

    def _augment(self, unmatched: int) -> bool:
        came_from: dict[int, int] = {}
        waiting = deque([unmatched])
        while waiting:
            variable = waiting.popleft()
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
