"""The index: every provider in blocks, kept up to date tree by tree."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import numpy as np

from moorage.model.values import ProviderRecord
from moorage.search.block import Block
from moorage.search.columns import NONE, PagedInts
from moorage.search.snapshot import Shelf, Snapshot

USUAL_ENTRIES: Final = 4096
"""Entries that blocks are made with. A pass over a block costs some microseconds per step however
short it is, and a change copies the columns that it touches (32 KiB each): at this size both take
about as long."""

MOST_ENTRIES: Final = 2 * USUAL_ENTRIES
"""A block with more is divided, unless it is one tree."""

FEWEST_ENTRIES: Final = USUAL_ENTRIES // 8
"""A block that has shrunk below joins its neighbour, so that deleting leaves no trail of blocks."""

EMPTY: Final = Block.of(())


@dataclass(slots=True)
class _Change:
    """What becomes of one block."""

    gone: set[int] = field(default_factory=set)
    rewritten: list[tuple[int, ProviderRecord]] = field(default_factory=list)
    added: list[ProviderRecord] = field(default_factory=list)


class Index:
    """All providers, and the one who may change them. To be changed by one thread at a time.

    Searches look at a ``snapshot``, which costs nothing to take and is not disturbed by changes.
    A provider whose root is not there (yet) stands as a root itself, so that records may come
    in any order.
    """

    __slots__ = ("_blocks", "_firsts", "_names", "_root_of", "_shelf", "_snapshot")

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._firsts: list[int] = []
        self._root_of = PagedInts()
        self._names: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._shelf = Shelf()
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

    def replace_trees(self, root_ids: Iterable[int], records: Iterable[ProviderRecord]) -> None:
        """Make ``records`` the whole state of the trees that have ``root_ids``.

        Whatever is in these trees now and is not in ``records`` is forgotten; a record whose
        provider is still in another tree moves it. Costs what these trees hold and the blocks
        that they are in, whatever the index holds. Of two records with one id the last one counts.
        """
        wanted = {record.id: record for record in records}
        changes: dict[int, _Change] = defaultdict(_Change)
        for root_id in set(root_ids) if self._blocks else ():
            number = self._number(root_id)
            changes[number].gone.update(range(*self._blocks[number].span(root_id)))
        ids = np.fromiter(wanted, dtype=np.int64, count=len(wanted))
        former_roots: list[int] = self._root_of.get_many(ids).tolist()
        for former, record in zip(former_roots, wanted.values(), strict=True):
            if former != NONE:
                number = self._number(former)
                offset = self._blocks[number].find(former, record.id)
                if self._blocks[number].differs_in_amounts_only(offset, record):
                    changes[number].gone.discard(offset)
                    changes[number].rewritten.append((offset, record))
                    continue
                changes[number].gone.add(offset)
            changes[self._number(record.root_id)].added.append(record)
        for number in sorted(changes, reverse=True):
            self._apply(number, changes[number])
        self._snapshot = None

    def set_used(self, root_ids: Iterable[int], used: Mapping[int, Mapping[str, int]]) -> None:
        """Trees with these roots are as they were, but for what is used: ``used``, by id and class.

        What is not there is not used. Costs what ``replace_trees`` does, and far less of it.
        """
        changes: dict[int, list[range]] = defaultdict(list)
        for root_id in root_ids if self._blocks else ():
            number = self._number(root_id)
            changes[number].append(range(*self._blocks[number].span(root_id)))
        for number, spans in changes.items():
            self._blocks[number] = self._blocks[number].with_used(chain.from_iterable(spans), used)
        self._snapshot = None

    def change_used(self, used: Mapping[int, Mapping[str, int]]) -> None:
        """These providers use something else now, by id and class; all others are as they were.

        Costs what these providers are, whatever the trees that they are in hold. Raises KeyError, and nothing
        has changed, if one is not there.
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
        """Number of the block in which a tree is, or would be."""
        return max(0, bisect_right(self._firsts, root_id) - 1)

    def _apply(self, number: int, change: _Change) -> None:
        block = self._blocks[number] if self._blocks else EMPTY
        if change.rewritten:
            block = block.rewritten(change.rewritten)
        if not (change.gone or change.added):
            self._blocks[number] = block
            return
        gone = sorted(change.gone)
        self._forget(block, gone)
        added = Block.of(sorted(change.added, key=lambda record: (record.root_id, record.id)))
        block = block.merged(gone, added)
        self._root_of.set_many(added.ids, added.root_ids)
        self._put(number, number + 1, block)
        if 0 < len(block) < FEWEST_ENTRIES and len(self._blocks) > 1:
            # The lower one keeps its offsets, so that a change of it that is still to come fits.
            start = max(0, number - 1)
            lower, upper = self._blocks[start : start + 2]
            if len(lower) + len(upper) <= MOST_ENTRIES:
                self._put(start, start + 2, lower.merged((), upper))

    def _forget(self, block: Block, gone: Sequence[int]) -> None:
        """Forget in which trees the entries at ``gone`` were, unless they have moved already."""
        ids = block.ids[gone]
        still = self._root_of.get_many(ids) == block.root_ids[gone]
        self._root_of.unset_many(ids[still])

    def _put(self, start: int, stop: int, block: Block) -> None:
        """Put ``block`` in the place of some, divided if it is too large, or not at all if empty."""
        parts = [block] if len(block) <= MOST_ENTRIES else list(block.parts(USUAL_ENTRIES))
        if not len(block):
            parts = []
        self._blocks[start:stop] = parts
        self._firsts[start:stop] = [int(part.root_ids[0]) for part in parts]
