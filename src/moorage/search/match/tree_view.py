"""A view: one tree as a request sees it, with providers numbered in the same way in equal trees.

Providers of the tree are nodes 0, 1, ... by id; sharing providers of other trees are ``OUTSIDE`` and above.
Most trees of a cloud are equal for a request. ``Views`` gives equal trees equal keys, so that the candidates
found in one tree hold for all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.search.index.columns import NONE, ByteArray, CodeArray, IntArray
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.plan import Plan, Survey, Work
from moorage.search.match.variables import Variable

OUTSIDE: Final = 1 << 40
"""Smallest number of a node outside of the tree; no tree has so many providers."""

_BLOCK_BITS: Final = 32
"""Bits for the offset in the number of a node outside: no block has so many entries."""


FIRST_WINDOW: Final = 64
"""Entries whose keys are made at first. Each further time it is eight times as many."""

NODES_PER_STEP: Final = 8
"""Nodes or names that a loop without further work goes through in one step."""

OUTSIDE_STEPS: Final = 10
"""Steps of looking up a provider outside."""

NUMBER_BYTES: Final = 8
PARENT_BYTES: Final = 4
"""Bytes of a number in a key, and of where an entry's parent is: no block has as many entries as these can
count."""


@valueclass(frozen=True, slots=True)
class Need:
    """What the rules of a request look at in a tree, besides the providers of each variable.

    ``contested`` maps classes that several variables ask for to the sum of the amounts. ``family`` says
    whether parents matter.
    """

    contested: dict[str, int]
    family: bool


@valueclass(frozen=True, slots=True)
class Outside:
    """Sharing providers of other trees that can serve variables in one tree.

    ``by_variable`` are the nodes for each variable. ``nodes`` maps all of them, in order of place, to their
    position in ``uuids``, their place and their tree. ``homes`` are all these trees. Equal objects have the
    same ``number``.
    """

    number: int
    by_variable: tuple[tuple[int, ...], ...]
    nodes: dict[int, tuple[int, Place, Place]]
    uuids: tuple[bytes, ...]
    homes: frozenset[Place]


NONE_OUTSIDE: Final = Outside(0, (), {}, (), frozenset())


class Lone(NamedTuple):
    """What a tree of one provider can serve.

    ``serves``: it can serve a variable itself. ``has_more``: it can serve more than what is shared in its
    aggregates. ``has_all``: it can serve all of that.
    """

    serves: bool
    has_more: bool
    has_all: bool


def node_of(place: Place) -> int:
    """Node of a provider outside."""
    return OUTSIDE + (place[0] << _BLOCK_BITS) + place[1]


def place_of(node: int) -> Place:
    """Where the provider of a node outside is."""
    number, offset = divmod(node - OUTSIDE, 1 << _BLOCK_BITS)
    return number, offset


class Views:
    """The trees of a survey, one at a time."""

    def __init__(self, plan: Plan, survey: Survey, need: Need) -> None:
        self.plan = plan
        self.survey = survey
        self.need = need
        # Keys of the entries between two offsets, one after the other.
        self._keys = b""
        self._from = self._to = 0
        self._window = FIRST_WINDOW

    def keys(self, trees: Sequence[int]) -> list[bytes]:
        """Keys of ``trees``, given in order. Equal keys mean that the own providers can serve the same."""
        numbers = np.array(trees)
        starts, stops = self.survey.block.trees.starts[numbers], self.survey.block.trees.starts[numbers + 1]
        first = int(starts[0])
        self._write_keys(first, int(stops[-1]))
        keys, width = self._keys, self._width
        begins: list[int] = ((starts - first) * width).tolist()
        ends: list[int] = ((stops - first) * width).tolist()
        return [keys[begin:end] for begin, end in zip(begins, ends, strict=True)]

    def key(self, start: int, stop: int) -> bytes:
        """The key of the tree from ``start`` up to ``stop``."""
        if start < self._from or stop > self._to:
            # Most callers ask for the next key as well.
            self._write_keys(start, max(stop, min(start + self._window, len(self.survey.block))))
            self._window *= 8
        width, first = self._width, self._from
        return self._keys[(start - first) * width : (stop - first) * width]

    @cached_property
    def _width(self) -> int:
        """Bytes of a key for each entry."""
        bits = len(self.survey.own) + len(self.survey.cover)
        numbers = NUMBER_BYTES * len(self.need.contested) + PARENT_BYTES * self.need.family
        # At least one, so that trees of different sizes have different keys.
        return max(1, (bits + 7) // 8 + numbers)

    def _write_keys(self, start: int, stop: int) -> None:
        """Write for each entry all data that decides what it can serve in its own tree."""
        masks = [*self.survey.own, *self.survey.cover]
        written = np.zeros((stop - start, self._width), dtype=np.uint8)
        packed = (len(masks) + 7) // 8
        for byte in range(packed):
            bits = np.zeros(stop - start, dtype=np.uint8)
            for bit, mask in enumerate(masks[8 * byte : 8 * byte + 8]):
                bits |= mask[start:stop].view(np.uint8) << np.uint8(bit)
            written[:, byte] = bits
        at = packed
        for rooms in self.rooms.values():
            written[:, at : at + NUMBER_BYTES] = _as_bytes(rooms[start:stop])
            at += NUMBER_BYTES
        if self.need.family:
            written[:, at:] = _as_bytes(self.survey.block.trees.steps_to_parents[start:stop])
        self._keys, self._from, self._to = written.tobytes(), start, stop

    @cached_property
    def rooms(self) -> dict[str, IntArray]:
        """Room of each entry for each contested class, capped at what all variables together need."""
        block = self.survey.block
        return {name: np.minimum(block.rooms(name), most) for name, most in self.need.contested.items()}

    def at(self, tree: int, outside: Outside) -> View:
        """One tree."""
        start, stop = self.survey.block.trees.bounds(tree)
        return View(self, tree, start, stop, outside)


@dataclass(slots=True)
class View:
    """One tree of a survey: entries from ``start`` up to ``stop``."""

    views: Views
    tree: int
    start: int
    stop: int
    outside: Outside

    @property
    def key(self) -> Hashable:
        """Equal for trees in which the same nodes can serve the same variables."""
        return self.views.key(self.start, self.stop), self.outside.number

    @property
    def uuids(self) -> list[bytes]:
        """Uuids of the tree's providers by id, then of those outside."""
        found: list[bytes] = self.views.survey.block.uuids[self.start : self.stop].tolist()
        found += self.outside.uuids
        return found

    def position_of(self, node: int) -> int:
        """Position of a node's uuid in ``uuids``."""
        return node if node < OUTSIDE else self.stop - self.start + self.outside.nodes[node][0]

    def domains(self) -> list[list[int]]:
        """For each variable the nodes that can serve it: the tree's own by id, then those outside."""
        found: list[list[int]] = []
        for number, own in enumerate(self.views.survey.own):
            domain: list[int] = np.flatnonzero(own[self.start : self.stop]).tolist()
            if self.outside.nodes:
                domain += self.outside.by_variable[number]
            found.append(domain)
        return found

    @property
    def variables(self) -> Sequence[Variable]:
        """The variables to be served."""
        return self.views.plan.variables

    def room(self, node: int, resource_class: str) -> int:
        """The most that a node can give of a contested class, capped at what is needed."""
        if node < OUTSIDE:
            return int(self.views.rooms[resource_class][self.start + node])
        number, offset = place_of(node)
        room = self.views.plan.snapshot.blocks[number].room_at(offset, resource_class)
        return min(room, self.views.need.contested[resource_class])

    def covered(self, node: int) -> int:
        """One bit for each OR of required traits: whether the node has one of its traits."""
        if node < OUTSIDE:
            masks = self.views.survey.cover
            return sum(1 << bit for bit, mask in enumerate(masks) if mask[self.start + node])
        number, offset = place_of(node)
        traits = self.views.plan.snapshot.blocks[number].traits[offset]
        return sum(
            1 << bit for bit, names in enumerate(self.views.plan.cover) if not names.isdisjoint(traits)
        )

    def path(self, node: int) -> tuple[int, ...]:
        """Nodes from a root down to ``node``."""
        if node < OUTSIDE:
            parents = self.views.survey.block.trees.parents
            offset, path = self.start + node, [node]
            while (offset := int(parents[offset])) != NONE:
                path.append(offset - self.start)
        else:
            number, offset = place_of(node)
            parents, path = self.views.plan.snapshot.blocks[number].trees.parents, [node]
            while (offset := int(parents[offset])) != NONE:
                path.append(node_of((number, offset)))
        return tuple(reversed(path))

    def root(self, node: int) -> Hashable:
        """Equal for nodes of one tree."""
        return None if node < OUTSIDE else root_of(self.views.plan.snapshot, place_of(node))


def root_of(snapshot: Snapshot, place: Place) -> Place:
    """(number of the block, tree) that a provider is in."""
    number, offset = place
    return number, int(snapshot.blocks[number].trees.tree_of[offset])


class Neighbours:
    """Which providers share with which trees."""

    def __init__(self, plan: Plan, work: Work) -> None:
        self._plan = plan
        self._work = work
        self._known: dict[tuple[str, ...], Outside] = {}
        self._numbers: dict[tuple[int, ...], int] = {}
        self._numbers_of_nodes: dict[tuple[int, ...], int] = {}

    def of(self, survey: Survey, tree: int) -> Outside:
        """Providers outside that can serve a variable in a tree. Raises OutOfStepsError."""
        if not self._plan.sharing:
            return NONE_OUTSIDE
        block = survey.block
        start, stop = block.trees.bounds(tree)
        if stop - start == 1:
            names = block.aggregates[start]
        else:
            some = {block.aggregates[offset] for offset in range(start, stop)}
            names = tuple(sorted(set().union(*some)))
            self._work.spend((stop - start + sum(map(len, some))) // NODES_PER_STEP)
        found = self._known.get(names) or self._of_names(names)
        if (survey.number, tree) in found.homes:
            # A sharing provider within the tree can also serve as one of the tree's own.
            own = range(node_of((survey.number, start)), node_of((survey.number, stop)))
            return self._outside([[node for node in nodes if node not in own] for nodes in found.by_variable])
        return found

    def _of_names(self, names: tuple[str, ...]) -> Outside:
        found = self._known.get(names)
        if found is None:
            found = self._known[names] = self._among(names)
        return found

    def lone(self, survey: Survey, offset: int) -> Lone:
        """What a tree of one provider can serve, compared with what is shared in its aggregates."""
        node = node_of((survey.number, offset))
        found = self._of_names(survey.block.aggregates[offset])
        self._work.spend(1 + len(survey.own) // NODES_PER_STEP)
        own = [bool(mask[offset]) for mask in survey.own]
        if node not in found.nodes:
            return Lone(any(own), any(own), has_all=True)
        shared = [bisect_left(nodes, node) < bisect_right(nodes, node) for nodes in found.by_variable]
        more = any(serves and not shares for serves, shares in zip(own, shared, strict=True))
        return Lone(
            any(own),
            more,
            has_all=all(serves or not shares for serves, shares in zip(own, shared, strict=True)),
        )

    def _among(self, aggregates: tuple[str, ...]) -> Outside:
        known: dict[int, list[int]] = {}
        by_variable: list[list[int]] = []
        for variable in self._plan.variables:
            nodes = known.get(id(variable.shared))
            if nodes is None:
                some = [variable.shared[name] for name in aggregates if name in variable.shared]
                self._work.spend((len(aggregates) + sum(map(len, some))) // NODES_PER_STEP)
                nodes = known[id(variable.shared)] = sorted(map(node_of, set().union(*some)))
            by_variable.append(nodes)
        return self._outside(by_variable)

    def _outside(self, by_variable: Sequence[Sequence[int]]) -> Outside:
        self._work.spend(sum(map(len, by_variable)) // NODES_PER_STEP)
        fixed = tuple([tuple(nodes) for nodes in by_variable])
        numbers = self._numbers_of_nodes
        kinds = tuple([numbers.setdefault(nodes, len(numbers)) for nodes in fixed])
        nodes = sorted(set().union(*fixed))
        places = [place_of(node) for node in nodes]
        self._work.spend(OUTSIDE_STEPS * len(nodes))
        snapshot = self._plan.snapshot
        homes = [root_of(snapshot, place) for place in places]
        return Outside(
            self._numbers.setdefault(kinds, 1 + len(self._numbers)),
            fixed,
            {node: (at, places[at], homes[at]) for at, node in enumerate(nodes)},
            tuple([bytes(snapshot.blocks[number].uuids[offset]) for number, offset in places]),
            frozenset(homes),
        )


def _as_bytes(values: IntArray | CodeArray) -> ByteArray:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.itemsize)
