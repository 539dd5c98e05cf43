"""One tree as a request sees it: who can serve what, by numbers that are the same in equal trees.

Providers of the tree are nodes 0, 1, ... by id; sharing providers of other trees are ``OUTSIDE``
and above. Most trees of a cloud look alike to a request: ``Views`` says by a key which do, so
that what was found in one of them holds for all.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.search.columns import NONE, ByteArray, IntArray
from moorage.search.groups import Variable
from moorage.search.plan import Plan, Survey
from moorage.search.snapshot import Place, Snapshot

OUTSIDE: Final = 1 << 40
"""Least node outside of a tree: no tree has so many providers."""

_BLOCK_BITS: Final = 32
"""Bits of a node outside that are its offset: no block has so many entries."""


FIRST_WINDOW: Final = 64
"""Entries whose keys are made at first, and eight times as many each time more are asked for."""

NUMBER_BYTES: Final = 8
"""Bytes of a number in a key."""


@valueclass(frozen=True, slots=True)
class Need:
    """What the rules of a request look at in a tree, beside who can serve what.

    ``contested`` maps classes that several variables ask for to the sum of what they ask;
    ``family`` says whether it matters who is whose parent.
    """

    contested: dict[str, int]
    family: bool


@valueclass(frozen=True, slots=True)
class Outside:
    """Sharing providers of other trees that can serve variables in one tree.

    ``by_variable`` are the nodes for each variable, ``nodes`` all of them in order of their place,
    with their ``uuids``; ``homes`` are the trees that they are in.
    """

    by_variable: tuple[tuple[int, ...], ...]
    nodes: tuple[int, ...]
    uuids: tuple[bytes, ...]
    homes: frozenset[Place]

    @staticmethod
    def of(snapshot: Snapshot, by_variable: tuple[tuple[int, ...], ...]) -> Outside:
        """The providers that some variable has."""
        nodes = tuple(sorted(set().union(*by_variable)))
        places = [place_of(node) for node in nodes]
        return Outside(
            by_variable,
            nodes,
            tuple([bytes(snapshot.blocks[number].uuids[offset]) for number, offset in places]),
            frozenset([root_of(snapshot, place) for place in places]),
        )


NOBODY_OUTSIDE: Final = Outside((), (), (), frozenset())


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
        # Keys of the entries from one offset up to another, one after the other.
        self._keys = b""
        self._from = self._to = 0
        self._window = FIRST_WINDOW

    def keys(self, trees: Sequence[int]) -> list[bytes]:
        """Equal for trees, given in order, in which the same can be done by their own providers alone."""
        bounds = self.survey.block.trees.bounds
        spans = [bounds(tree) for tree in trees]
        self._write_keys(spans[0][0], spans[-1][1])
        keys, width, first = self._keys, self._width, self._from
        return [keys[(start - first) * width : (stop - first) * width] for start, stop in spans]

    def key(self, start: int, stop: int) -> bytes:
        """The key of the tree from ``start`` up to ``stop``."""
        if start < self._from or stop > self._to:
            # Whoever asks for one mostly asks for the next as well.
            self._write_keys(start, max(stop, min(start + self._window, len(self.survey.block))))
            self._window *= 8
        width, first = self._width, self._from
        return self._keys[(start - first) * width : (stop - first) * width]

    @cached_property
    def _width(self) -> int:
        """Bytes of an entry's part of a key."""
        bits = len(self.survey.own) + len(self.survey.cover)
        numbers = len(self.need.contested) + self.need.family
        # At least one, so that trees of different sizes have different keys.
        return max(1, (bits + 7) // 8 + numbers * NUMBER_BYTES)

    def _write_keys(self, start: int, stop: int) -> None:
        """For each entry all that decides what can be done with it in its own tree."""
        masks = [*self.survey.own, *self.survey.cover]
        written = np.zeros((stop - start, self._width), dtype=np.uint8)
        bits = np.empty((stop - start, len(masks)), dtype=np.bool_)
        for number, mask in enumerate(masks):
            bits[:, number] = mask[start:stop]
        packed = np.packbits(bits, axis=1, bitorder="little")
        written[:, : packed.shape[1]] = packed
        numbers = [rooms[start:stop] for rooms in self.rooms.values()]
        if self.need.family:
            # Relative to the entry itself, so that equal trees have equal keys.
            parents = self.survey.block.trees.parents[start:stop]
            numbers.append(np.where(parents == NONE, 0, parents - np.arange(start, stop)))
        for position, values in enumerate(numbers):
            at = packed.shape[1] + position * NUMBER_BYTES
            written[:, at : at + NUMBER_BYTES] = _as_bytes(values)
        self._keys, self._from, self._to = written.tobytes(), start, stop

    @cached_property
    def rooms(self) -> dict[str, IntArray]:
        """Room of each entry for each contested class, as far as all variables together need it."""
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
        """Equal for trees in which the same can be done by the same nodes."""
        return (
            self.views.key(self.start, self.stop),
            self.outside.by_variable,
        )

    @property
    def uuids(self) -> list[bytes]:
        """Uuids of the tree's providers by id, then of those outside."""
        found: list[bytes] = self.views.survey.block.uuids[self.start : self.stop].tolist()
        found += self.outside.uuids
        return found

    def position_of(self, node: int) -> int:
        """Position of a node's uuid in ``uuids``."""
        return node if node < OUTSIDE else self.stop - self.start + self.outside.nodes.index(node)

    def serves_nothing(self) -> bool:
        """Whether the tree's first provider can serve no variable in its own tree."""
        return not any(own[self.start] for own in self.views.survey.own)

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
        """What a node can give of a contested class at most, as far as it is needed."""
        if node < OUTSIDE:
            return int(self.views.rooms[resource_class][self.start + node])
        number, offset = place_of(node)
        room = self.views.plan.snapshot.blocks[number].room_at(offset, resource_class)
        return min(room, self.views.need.contested[resource_class])

    def covered(self, node: int) -> int:
        """Bits of the ORs of required traits that a node has a trait of."""
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

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[tuple[str, ...], Outside] = {}

    def of(self, survey: Survey, tree: int) -> Outside:
        """Providers outside that can serve something in a tree."""
        if not self._plan.sharing:
            return NOBODY_OUTSIDE
        block = survey.block
        start, stop = block.trees.bounds(tree)
        if stop - start == 1:
            names = block.aggregates[start]
        else:
            names = tuple(
                sorted({name for offset in range(start, stop) for name in block.aggregates[offset]})
            )
        found = self._known.get(names)
        if found is None:
            found = self._known[names] = self._among(names)
        if (survey.number, tree) in found.homes:
            # Whoever shares from within the tree can serve as one of its own, too.
            own = range(node_of((survey.number, start)), node_of((survey.number, stop)))
            return Outside.of(
                self._plan.snapshot,
                tuple(tuple([node for node in nodes if node not in own]) for nodes in found.by_variable),
            )
        return found

    def _among(self, aggregates: tuple[str, ...]) -> Outside:
        by_variable = tuple(
            tuple(sorted({node_of(place) for name in aggregates for place in variable.shared.get(name, ())}))
            for variable in self._plan.variables
        )
        return Outside.of(self._plan.snapshot, by_variable)


def _as_bytes(values: IntArray) -> ByteArray:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), NUMBER_BYTES)
