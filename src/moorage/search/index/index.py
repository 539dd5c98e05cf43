"""The index: every provider in blocks, kept up to date tree by tree, and snapshots of it."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise
from typing import Final

import numpy as np

from moorage.model.valueclass import valueclass
from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.index.block import Block
from moorage.search.index.columns import NONE, IntArray, PagedInts

Place = tuple[int, int]
"""Where a provider is in a snapshot: number of the block, offset in it."""


@dataclass(slots=True)
class Shelf:
    """Counts the bytes of texts that encoders keep with an index. ``blocks`` are its present blocks."""

    blocks: list[Block] = field(default_factory=list)
    size: int = 0


@valueclass(frozen=True)
class Snapshot:
    """All providers by (root id, id), and the names that exist. Immutable.

    Making one costs an index the same at any size. Later changes of the index do not affect it.
    """

    blocks: tuple[Block, ...]
    resource_class_names: frozenset[str]
    trait_names: frozenset[str]
    shelf: Shelf = field(default_factory=Shelf, compare=False)

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    def find_uuid(self, uuid: str) -> Place | None:
        """Where a provider is; None if it does not exist."""
        for number, block in enumerate(self.blocks):
            offset = block.find_uuid(uuid)
            if offset != NONE:
                return number, offset
        return None

    @cached_property
    def all_lone(self) -> bool:
        """Whether no provider has a child."""
        return all(block.trees.lone for block in self.blocks)

    @cached_property
    def sharing_blocks(self) -> tuple[int, ...]:
        """Numbers of the blocks that hold providers that share through their aggregates."""
        return tuple(
            number for number, block in enumerate(self.blocks) if SHARING_TRAIT in block.traits.names
        )

    def emptied(self, classes: Collection[str]) -> Snapshot:
        """The same providers with nothing of some classes in use."""
        blocks = tuple([block.emptied(classes) for block in self.blocks])
        return Snapshot(blocks, self.resource_class_names, self.trait_names)

    def with_more(
        self, more: Mapping[str, Mapping[str, int]], places: MutableMapping[str, Place | None]
    ) -> Snapshot:
        """The same providers with ``more`` in use, by uuid and class; less where the amount is below 0.

        A provider that is not there is left out. The cost is that of the blocks of these providers.
        ``places`` remembers where providers are, from one snapshot to the next that is made of it like this.
        """
        changed: dict[int, dict[int, Mapping[str, int]]] = defaultdict(dict)
        for uuid, amounts in more.items():
            if uuid not in places:
                places[uuid] = self.find_uuid(uuid)
            place = places[uuid]
            if place is not None:
                changed[place[0]][place[1]] = amounts
        blocks = list(self.blocks)
        for number, of_block in changed.items():
            blocks[number] = blocks[number].with_more(of_block)
        return Snapshot(tuple(blocks), self.resource_class_names, self.trait_names)

    def note_kept(self, size: int, most: int) -> None:
        """Count ``size`` more bytes kept with blocks. When there are more than ``most``, drop all of them.

        Texts that went with replaced blocks still count, so that this may happen early.
        """
        self.shelf.size += size
        if self.shelf.size > most:
            self.shelf.size = 0
            # The blocks that have replaced these since share their texts: clear both.
            for block in (*self.blocks, *self.shelf.blocks):
                block.kept = {}

    def records(self) -> Iterator[ProviderRecord]:
        """All records of the index, by id: equal for indexes of equal content."""
        places = [
            (number, offset) for number, block in enumerate(self.blocks) for offset in range(len(block))
        ]
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *(block.ids for block in self.blocks)])
        for position in np.argsort(ids).tolist():
            number, offset = places[position]
            yield self.blocks[number].record(offset)


USUAL_ENTRIES: Final = 4096
"""Entries of a new block. A pass over a block costs some microseconds per step, however small the block is. A
change copies the columns that it touches (32 KiB each). At this size both take about the same time."""

MOST_ENTRIES: Final = 2 * USUAL_ENTRIES
"""A block with more is divided, unless it is one tree."""

FEWEST_ENTRIES: Final = USUAL_ENTRIES // 8
"""A smaller block is merged with its neighbour, so that deleting does not leave many small blocks."""

EMPTY: Final = Block.of(())

NOWHERE: Final[IntArray] = np.zeros(0, dtype=np.int64)


class Index:
    """All providers, in the only object that changes them. One thread at a time may change it.

    Searches use a ``snapshot``. Taking one costs nothing, and later changes do not affect it. A provider
    whose root is missing counts as a root itself, so that records may come in any order.
    """

    __slots__ = ("_blocks", "_firsts", "_names", "_root_of", "_shelf", "_snapshot")

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._firsts: list[int] = []
        self._root_of = PagedInts()
        self._names: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._shelf = Shelf(self._blocks)
        self._snapshot: Snapshot | None = None

    def __len__(self) -> int:
        return len(self.snapshot())

    def set_names(self, resource_classes: Iterable[str], traits: Iterable[str]) -> None:
        """Set the names that exist, in use or not; a search that names another is refused."""
        self._names = frozenset(resource_classes), frozenset(traits)
        self._snapshot = None

    def snapshot(self) -> Snapshot:
        """All that is known now."""
        if self._snapshot is None:
            self._snapshot = Snapshot(tuple(self._blocks), *self._names, self._shelf)
        return self._snapshot

    def records(self) -> Iterator[ProviderRecord]:
        """All that the index holds, by id."""
        return self.snapshot().records()

    def append(self, block: Block) -> None:
        """Add whole trees, none of which the index has.

        They must be of higher root ids than all that it has. Raises ValueError, and changes nothing, if they
        are not.
        """
        if self._blocks and int(block.root_ids[0]) <= int(self._blocks[-1].root_ids[-1]):
            raise ValueError(f"tree {block.root_ids[0]} does not come last")
        self._root_of.set_many(block.ids, block.root_ids)
        self._put(len(self._blocks), len(self._blocks), block)
        self._snapshot = None

    def replace_trees(self, root_ids: Iterable[int], records: Iterable[ProviderRecord]) -> None:
        """Replace the trees with ``root_ids`` by ``records``.

        Providers of these trees that are not in ``records`` are removed. A record of a provider that is in
        another tree moves the provider. The cost depends on these trees and their blocks, not on the size of
        the index. Of two records with the same id the last one counts.
        """
        wanted = {record.id: record for record in records}
        ordered = sorted(wanted.values(), key=lambda record: (record.root_id, record.id))
        self.replace(root_ids, Block.of(ordered))

    def replace(self, root_ids: Iterable[int], fresh: Block) -> None:
        """As ``replace_trees``, by the entries of a block."""
        roots = np.array(sorted(set(root_ids)), dtype=np.int64)
        gone: dict[int, IntArray] = {}
        for number, (start, stop) in self._by_block(roots) if self._blocks else ():
            gone[number] = np.flatnonzero(np.isin(self._blocks[number].root_ids, roots[start:stop]))
        former = self._root_of.get_many(fresh.ids)
        elsewhere = np.flatnonzero((former != NONE) & ~np.isin(former, roots))
        for root_id, id_ in zip(former[elsewhere].tolist(), fresh.ids[elsewhere].tolist(), strict=True):
            number = self._number(root_id)
            place = self._blocks[number].find(root_id, id_)
            gone[number] = np.union1d(gone.get(number, NOWHERE), [place])
        added = {number: fresh.part(start, stop) for number, (start, stop) in self._by_block(fresh.root_ids)}
        for number in sorted(gone.keys() | added.keys(), reverse=True):
            self._apply(number, gone.get(number, NOWHERE), added.get(number, EMPTY))
        self._snapshot = None

    def _by_block(self, root_ids: IntArray) -> Iterator[tuple[int, tuple[int, int]]]:
        """Numbers of the blocks of trees, which ascend, and from where up to where the trees of each are.

        Without blocks, all of them are for the first one.
        """
        numbers = np.maximum(np.searchsorted(self._firsts, root_ids, side="right") - 1, 0)
        bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, stop in pairwise(bounds):
            if start < stop:
                yield int(numbers[start]), (start, stop)

    def set_used(self, root_ids: Iterable[int], used: Mapping[int, Mapping[str, int]]) -> None:
        """Replace the used amounts of the trees with these roots by ``used``, by id and class.

        An amount that is missing in ``used`` is 0. The cost grows as that of ``replace_trees``, and is far
        lower.
        """
        changes: dict[int, list[range]] = defaultdict(list)
        for root_id in root_ids if self._blocks else ():
            number = self._number(root_id)
            changes[number].append(range(*self._blocks[number].span(root_id)))
        for number, spans in changes.items():
            self._blocks[number] = self._blocks[number].with_used(chain.from_iterable(spans), used)
        self._snapshot = None

    def change_used(self, used: Mapping[int, Mapping[str, int]]) -> None:
        """Replace the used amounts of these providers by ``used``, by id and class.

        The cost depends on these providers only, not on their trees. Raises KeyError, and changes nothing, if
        one is missing.
        """
        root_ids: list[int] = self._root_of.get_many(np.fromiter(used, np.int64, len(used))).tolist()
        if NONE in root_ids:
            raise KeyError(list(used)[root_ids.index(NONE)])
        offsets: dict[int, list[int]] = defaultdict(list)
        for id_, root_id in zip(used, root_ids, strict=True):
            number = self._number(root_id)
            offsets[number].append(self._blocks[number].find(root_id, id_))
        for number, changed in offsets.items():
            self._blocks[number] = self._blocks[number].with_used(changed, used)
        self._snapshot = None

    def _number(self, root_id: int) -> int:
        """Number of the block that contains a tree, or would contain it."""
        return max(0, bisect_right(self._firsts, root_id) - 1)

    def _apply(self, number: int, gone: IntArray, added: Block) -> None:
        block = self._blocks[number] if self._blocks else EMPTY
        rewritten = block.rewritten(gone, added)
        if rewritten is not None:
            self._blocks[number] = rewritten
            return
        self._forget(block, gone)
        block = block.merged(gone, added)
        self._root_of.set_many(added.ids, added.root_ids)
        self._put(number, number + 1, block)
        if 0 < len(block) < FEWEST_ENTRIES and len(self._blocks) > 1:
            # The lower block keeps its offsets, so that a later change in this loop still fits it.
            start = max(0, number - 1)
            lower, upper = self._blocks[start : start + 2]
            if len(lower) + len(upper) <= MOST_ENTRIES:
                self._put(start, start + 2, lower.merged(NOWHERE, upper))

    def _forget(self, block: Block, gone: IntArray) -> None:
        """Remove the entries at ``gone`` from the table of trees, unless they have already moved."""
        ids = block.ids[gone]
        still = self._root_of.get_many(ids) == block.root_ids[gone]
        self._root_of.unset_many(ids[still])

    def _put(self, start: int, stop: int, block: Block) -> None:
        """Replace blocks by ``block``: divided if it is too large, by nothing if it is empty."""
        parts = [block] if len(block) <= MOST_ENTRIES else list(block.parts(USUAL_ENTRIES))
        if not len(block):
            parts = []
        self._blocks[start:stop] = parts
        self._firsts[start:stop] = [int(part.root_ids[0]) for part in parts]
