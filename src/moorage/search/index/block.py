"""A block: some thousand providers in columns, whole trees of them. A block never changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from moorage.model.cache import Cache, own_size
from moorage.model.requests import ProviderSummary
from moorage.model.values import ProviderRecord
from moorage.search.index.columns import NONE, ClassColumn, CodeArray, Entry, IntArray, Labels, Mask

UUID_LENGTH: Final = 36
"""Most bytes of a provider's uuid: the width of the database's column."""

SUMMARY_STEPS: Final = 4
AMOUNTS_PER_CLASS: Final = 2
WORDS_PER_STEP: Final = 2
"""Steps of writing out a provider: a fixed part, amounts per class, and words (traits and amounts) per
step."""

FINDINGS_BYTES: Final = 48_000
FINDINGS_BYTES_PER_ENTRY: Final = 96
"""Bytes of the findings kept with a block: besides, and for each entry. A usual finding takes half of one."""

UuidArray = npt.NDArray[np.bytes_]

NameArray = npt.NDArray[np.bytes_]
"""Names of providers in UTF-8, as wide as the longest of a block."""


def _without_loops(parents: IntArray) -> IntArray:
    """``parents``, but ``NONE`` where they lead to no root, as another program may have written them."""
    above = parents
    for _ in range(len(parents).bit_length()):
        on_the_way = above != NONE
        if not on_the_way.any():
            return parents
        # Twice as far up as before.
        above = np.where(on_the_way, above[above], NONE)
    return np.where(above == NONE, parents, NONE)


class Trees:
    """Which entries of a block belong together.

    Tree ``t`` is the entries from ``starts[t]`` up to ``starts[t + 1]``, by id, with the root at
    ``roots[t]``. An entry whose root is missing counts as a tree of its own (the root may follow later).
    ``lone`` says that every tree has one entry, so that tree numbers are offsets of entries.
    """

    __slots__ = (
        "_ids",
        "_listed",
        "_parent_ids",
        "_parents",
        "_steps_to_parents",
        "count",
        "lone",
        "roots",
        "starts",
        "tree_of",
    )

    def __init__(self, ids: IntArray, parent_ids: IntArray, root_ids: IntArray) -> None:
        is_root = ids == root_ids
        first = np.ones(len(ids), dtype=np.bool_)
        if not is_root.all():
            first[1:] = root_ids[1:] != root_ids[:-1]
            group = np.cumsum(first) - 1
            rooted = np.zeros(int(group[-1]) + 1, dtype=np.bool_)
            rooted[group[is_root]] = True
            first |= ~rooted[group]
        self.tree_of: IntArray = np.cumsum(first) - 1
        self.starts: IntArray = np.append(np.flatnonzero(first), len(ids))
        self.roots: IntArray = self.starts[:-1].copy()
        self.roots[self.tree_of[is_root]] = np.flatnonzero(is_root)
        self.count = len(self.roots)
        self.lone = self.count == len(ids)
        self._ids = ids
        self._parent_ids = parent_ids
        self._parents: IntArray | None = None
        self._steps_to_parents: CodeArray | None = None
        self._listed: list[int] | None = None

    @property
    def parents(self) -> IntArray:
        """Offset of each entry's parent, ``NONE`` for a root."""
        if self._parents is None:
            order = np.argsort(self._ids)
            ids = self._ids[order]
            places = np.minimum(np.searchsorted(ids, self._parent_ids), len(ids) - 1)
            found = order[places]
            known = (ids[places] == self._parent_ids) & (self.tree_of[found] == self.tree_of)
            self._parents = _without_loops(np.where(known, found, NONE))
        return self._parents

    @property
    def steps_to_parents(self) -> CodeArray:
        """From each entry to its parent, 0 for a root: the same in trees of one form."""
        if self._steps_to_parents is None:
            steps = self.parents - np.arange(len(self._ids))
            self._steps_to_parents = np.where(self.parents == NONE, 0, steps).astype(np.int32)
        return self._steps_to_parents

    def bounds(self, tree: int) -> tuple[int, int]:
        """First offset of the entries of ``tree``, and the offset after the last."""
        if self._listed is None:
            # A caller asks for many trees, and reading single numbers from a list is faster than from an
            # array.
            self._listed = self.starts.tolist()
        return self._listed[tree], self._listed[tree + 1]

    def with_any(self, entries: Mask) -> Mask:
        """Trees that have at least one of ``entries``."""
        return entries if self.lone else np.logical_or.reduceat(entries, self.starts[:-1])

    def with_each(self, masks: Sequence[Mask]) -> Mask:
        """Trees that have at least one entry of each of ``masks``."""
        left = self.with_any(masks[0]) if masks else np.ones(self.count, dtype=np.bool_)
        for mask in masks[1:]:
            left = left & self.with_any(mask)
        return left

    def at_roots(self, entries: Mask) -> Mask:
        """Trees whose root is one of ``entries``."""
        return entries if self.lone else entries[self.roots]

    def entries_of(self, trees: Mask) -> Mask:
        """All entries of ``trees``."""
        return trees if self.lone else trees[self.tree_of]


class Block:
    """Entries by (root id, id), each a provider; ``columns`` has inventories by class.

    A change makes a new block, which shares the unchanged columns. A search in progress is not affected,
    because it goes on with the old blocks. ``kept`` holds texts that encoders have made of trees: by form,
    then by tree. A new block takes over the texts of unchanged trees. ``findings`` holds what requests
    have found in the block (see ``plan``). ``standings`` holds what orders have found
    (see ``standing``); a new block has none of either. ``facts`` depend on no amount (see ``facts``): blocks
    that differ in amounts only share them.
    """

    __slots__ = (
        "_full_uuids",
        "_show_ends",
        "_show_steps",
        "aggregates",
        "classes",
        "columns",
        "facts",
        "findings",
        "ids",
        "kept",
        "names",
        "parent_ids",
        "root_ids",
        "standings",
        "traits",
        "trees",
        "uuids",
    )

    def __init__(
        self,
        ids: IntArray,
        parent_ids: IntArray,
        root_ids: IntArray,
        uuids: UuidArray,
        names: NameArray,
        traits: Labels,
        aggregates: Labels,
        classes: Labels,
        columns: dict[str, ClassColumn],
        trees: Trees | None = None,
    ) -> None:
        """``trees`` may be given where they are known."""
        self.ids = ids
        self.parent_ids = parent_ids
        self.root_ids = root_ids
        self.uuids = uuids
        self.names = names
        self.traits = traits
        self.aggregates = aggregates
        self.classes = classes
        self.columns = columns
        self.trees = Trees(ids, parent_ids, root_ids) if trees is None else trees
        self.kept: dict[str, list[bytes | None]] = {}
        self._full_uuids: bool | None = None
        self._show_steps: IntArray | None = None
        self._show_ends: list[int] | None = None
        most = FINDINGS_BYTES + FINDINGS_BYTES_PER_ENTRY * len(ids)
        self.findings: Cache[object, Any] = Cache(most, own_size)
        self.standings: dict[Hashable, Any] = {}
        self.facts: dict[Hashable, Any] = {}

    @staticmethod
    def of(records: Sequence[ProviderRecord]) -> Block:
        """A block of ``records``, which are by (root id, id)."""
        entries: dict[str, list[Entry]] = defaultdict(list)
        for offset, record in enumerate(records):
            for name, inventory, used in record.inventories:
                entries[name].append((offset, inventory, used))
        size = len(records)
        return Block(
            np.array([record.id for record in records], dtype=np.int64),
            np.array(
                [NONE if record.parent_id is None else record.parent_id for record in records], dtype=np.int64
            ),
            np.array([record.root_id for record in records], dtype=np.int64),
            np.array([record.uuid.encode() for record in records], dtype=f"S{UUID_LENGTH}"),
            np.array([record.name.encode() for record in records], dtype=np.bytes_),
            Labels.of(record.traits for record in records),
            Labels.of(record.aggregates for record in records),
            Labels.of(tuple([name for name, _, _ in record.inventories]) for record in records),
            {name: ClassColumn.of(size, rows) for name, rows in entries.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_full_uuids(self) -> bool:
        """Whether all uuids have the usual length (a database may also hold uuids without dashes)."""
        if self._full_uuids is None:
            self._full_uuids = bool(self.uuids.view(np.uint8)[UUID_LENGTH - 1 :: UUID_LENGTH].all())
        return self._full_uuids

    @property
    def show_steps(self) -> IntArray:
        """Steps to write out each tree."""
        if self._show_steps is None:
            words = self.traits.lengths + AMOUNTS_PER_CLASS * self.classes.lengths
            each = SUMMARY_STEPS + words // WORDS_PER_STEP
            self._show_steps = each if self.trees.lone else np.add.reduceat(each, self.trees.starts[:-1])
        return self._show_steps

    @property
    def show_ends(self) -> list[int]:
        """Steps to write out all trees before each tree; the last number is for all trees."""
        if self._show_ends is None:
            self._show_ends = [0, *np.cumsum(self.show_steps).tolist()]
        return self._show_ends

    def steps_to_show(self, trees: Sequence[int] | IntArray) -> int:
        """Steps to write out ``trees``, which are in ascending order."""
        first, last = int(trees[0]), int(trees[-1])
        if last - first < len(trees):
            return self.show_ends[last + 1] - self.show_ends[first]
        return int(self.show_steps[trees].sum())

    # What is where

    def span(self, root_id: int) -> tuple[int, int]:
        """First offset of the entries with this root id, and the offset after the last."""
        start, stop = self.root_ids.searchsorted([root_id, root_id + 1])
        return int(start), int(stop)

    def find(self, root_id: int, id_: int) -> int:
        """Offset of the entry with these ids, which must exist."""
        start, stop = self.span(root_id)
        if stop == start + 1:
            return start
        return start + int(self.ids[start:stop].searchsorted(id_))

    def find_uuid(self, uuid: str) -> int:
        """Offset of a provider, ``NONE`` if it is not in this block."""
        wanted = uuid.encode().ljust(UUID_LENGTH, b"\0")
        if len(wanted) > UUID_LENGTH:
            return NONE
        # Comparing strings costs ten times as much as comparing numbers: compare both ends as numbers first.
        found = (self._words(0) == np.frombuffer(wanted[:4], dtype=np.uint32)) & (
            self._words(UUID_LENGTH - 4) == np.frombuffer(wanted[-4:], dtype=np.uint32)
        )
        for offset in np.flatnonzero(found).tolist():
            if bytes(self.uuids[offset]) == wanted.rstrip(b"\0"):
                return int(offset)
        return NONE

    def _words(self, position: int) -> npt.NDArray[np.uint32]:
        """Four bytes of every uuid."""
        return np.ndarray(
            (len(self),), np.uint32, self.uuids.data.cast("B"), offset=position, strides=(UUID_LENGTH,)
        )

    def rooms(self, resource_class: str) -> IntArray:
        """The most that each entry can give of a class; ``NONE`` where it has no inventory of the class."""
        column = self.columns.get(resource_class)
        return np.full(len(self), NONE, dtype=np.int64) if column is None else column.rooms(len(self))

    def room_at(self, offset: int, resource_class: str) -> int:
        """The most that an entry can give of a class; ``NONE`` where it has no inventory of the class."""
        column = self.columns.get(resource_class)
        return NONE if column is None else column.room_at(offset)

    def record(self, offset: int) -> ProviderRecord:
        """The record of an entry."""
        parent_id = int(self.parent_ids[offset])
        return ProviderRecord(
            id=int(self.ids[offset]),
            uuid=bytes(self.uuids[offset]).decode(),
            parent_id=None if parent_id == NONE else parent_id,
            root_id=int(self.root_ids[offset]),
            inventories=tuple((name, *self.columns[name].at(offset)) for name in self.classes[offset]),
            traits=self.traits[offset],
            aggregates=self.aggregates[offset],
            name=bytes(self.names[offset]).decode(),
        )

    def summary(self, offset: int) -> ProviderSummary:
        """An entry as an answer shows it."""
        parent = int(self.trees.parents[offset])
        return ProviderSummary(
            uuid=bytes(self.uuids[offset]).decode(),
            parent_uuid=None if parent == NONE else bytes(self.uuids[parent]).decode(),
            root_uuid=bytes(self.uuids[self.trees.roots[self.trees.tree_of[offset]]]).decode(),
            resources={name: self.columns[name].amounts_at(offset) for name in self.classes[offset]},
            traits=self.traits[offset],
        )

    def summaries(self, start: int, stop: int) -> Iterator[ProviderSummary]:
        """Summaries of all entries from ``start`` up to ``stop``, at a third of the cost of single ones."""
        uuids: list[str] = [uuid.decode() for uuid in self.uuids[start:stop].tolist()]
        parents: list[int] = self.trees.parents[start:stop].tolist()
        roots: list[int] = self.trees.roots[self.trees.tree_of[start:stop]].tolist()
        amounts = {name: column.amounts(start, stop) for name, column in self.columns.items()}
        classes = [self.classes.sets[code] for code in self.classes.codes[start:stop].tolist()]
        traits = [self.traits.sets[code] for code in self.traits.codes[start:stop].tolist()]

        def uuid_at(offset: int) -> str:
            if start <= offset < stop:
                return uuids[offset - start]
            return bytes(self.uuids[offset]).decode()

        for uuid, parent, root, names, has in zip(uuids, parents, roots, classes, traits, strict=True):
            yield ProviderSummary(
                uuid,
                None if parent == NONE else uuid_at(parent),
                uuid_at(root),
                {name: next(amounts[name]) for name in names},
                has,
            )

    # Change

    def rewritten(self, offsets: IntArray, other: Block) -> Block | None:
        """A block with the amounts of ``other`` at ``offsets``; None if more than amounts differs.

        A claim changes nothing else, and most changes are claims.
        """
        if not self._differs_in_amounts_only(offsets, other):
            return None
        columns: dict[str, ClassColumn] = {}
        changed = [offsets[:0]]
        for name, column in other.columns.items():
            columns[name], differs = self.columns[name].rewritten(len(self), offsets[column.offsets], column)
            changed.append(differs)
        places: list[int] = np.unique(np.concatenate(changed)).tolist()
        return self._with_columns(columns, places) if places else self

    def _differs_in_amounts_only(self, offsets: IntArray, other: Block) -> bool:
        own = (self.ids, self.root_ids, self.parent_ids, self.uuids, self.names)
        others = (other.ids, other.root_ids, other.parent_ids, other.uuids, other.names)
        return (
            len(offsets) == len(other)
            and all(np.array_equal(mine[offsets], its) for mine, its in zip(own, others, strict=True))
            and self.traits.are_those_of(other.traits, offsets)
            and self.aggregates.are_those_of(other.aggregates, offsets)
            and self.classes.are_those_of(other.classes, offsets)
        )

    def with_used(self, offsets: Iterable[int], used: Mapping[int, Mapping[str, int]]) -> Block:
        """A block with the same entries, and with the amounts ``used`` (by id and class) at ``offsets``."""
        entries: dict[str, list[tuple[int, int]]] = defaultdict(list)
        changed: set[int] = set()
        for offset in offsets:
            amounts = used.get(int(self.ids[offset]), {})
            for name in self.classes[offset]:
                amount = amounts.get(name, 0)
                if self.columns[name].used_at(offset) != amount:
                    entries[name].append((offset, amount))
                    changed.add(offset)
        if not changed:
            return self
        return self._with_columns(
            {name: self.columns[name].with_used(len(self), rows) for name, rows in entries.items()}, changed
        )

    def with_more(self, more: Mapping[int, Mapping[str, int]]) -> Block:
        """A block with ``more`` in use, by offset and class; less where the amount is below 0.

        A class that the entry has no inventory of is left out. The block keeps no texts.
        """
        entries: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for offset, amounts in more.items():
            has = self.classes[offset]
            for name, amount in amounts.items():
                if name in has:
                    entries[name].append((offset, self.columns[name].used_at(offset) + amount))
        columns = {name: self.columns[name].with_used(len(self), rows) for name, rows in entries.items()}
        block = self._of_columns({**self.columns, **columns})
        # What does not depend on use is found once for all blocks that come of this one.
        block._full_uuids = self.has_full_uuids
        block._show_steps = self.show_steps
        block._show_ends = self.show_ends
        return block

    def emptied(self, classes: Collection[str]) -> Block:
        """The block with nothing of some classes in use."""
        return self._of_columns(
            {
                name: column.emptied(len(self)) if name in classes else column
                for name, column in self.columns.items()
            }
        )

    def _of_columns(self, columns: dict[str, ClassColumn]) -> Block:
        """A block with the same entries and these columns."""
        block = Block(
            self.ids,
            self.parent_ids,
            self.root_ids,
            self.uuids,
            self.names,
            self.traits,
            self.aggregates,
            self.classes,
            columns,
            self.trees,
        )
        block.facts = self.facts
        return block

    def _with_columns(self, columns: Mapping[str, ClassColumn], changed: Collection[int]) -> Block:
        """A block with the same entries and new ``columns``, which differ only at the offsets ``changed``."""
        block = self._of_columns({**self.columns, **columns})
        block._full_uuids = self._full_uuids
        block._show_steps = self._show_steps
        block._show_ends = self._show_ends
        trees: list[int] = self.trees.tree_of[[*changed]].tolist() if self.kept else []
        for form, made in self.kept.items():
            copy = made.copy()
            for tree in trees:
                copy[tree] = None
            block.kept[form] = copy
        return block

    def merged(self, gone: IntArray, added: Block) -> Block:
        """A block without the entries at ``gone``, and with all entries of ``added``."""
        stays = np.ones(len(self), dtype=np.bool_)
        stays[gone] = False
        kept = np.flatnonzero(stays)
        ids = np.concatenate([self.ids[kept], added.ids])
        root_ids = np.concatenate([self.root_ids[kept], added.root_ids])
        order = np.lexsort((ids, root_ids))
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        own_places = np.full(len(self), NONE, dtype=np.int64)
        own_places[kept] = places[: len(kept)]
        columns = _moved(self.columns, len(order), own_places)
        for name, column in _moved(added.columns, len(order), places[len(kept) :]).items():
            present = columns.get(name)
            columns[name] = column if present is None else present.joined(len(order), column)
        block = Block(
            ids[order],
            np.concatenate([self.parent_ids[kept], added.parent_ids])[order],
            root_ids[order],
            np.concatenate([self.uuids[kept], added.uuids])[order],
            np.concatenate([self.names[kept], added.names])[order],
            self.traits.merged(kept, added.traits, order),
            self.aggregates.merged(kept, added.aggregates, order),
            self.classes.merged(kept, added.classes, order),
            columns,
        )
        # The text of a tree has all of its entries, each with its parent and its root.
        changed = np.isin(self.root_ids, np.concatenate([self.root_ids[~stays], added.root_ids]))
        firsts = self.trees.starts[:-1]
        known = np.flatnonzero(~changed[firsts])
        new_trees: list[int] = block.trees.tree_of[own_places[firsts[known]]].tolist()
        for form, made in self.kept.items():
            taken: list[bytes | None] = [None] * block.trees.count
            for tree, new_tree in zip(known.tolist(), new_trees, strict=True):
                taken[new_tree] = made[tree]
            block.kept[form] = taken
        return block

    def parts(self, size: int) -> Iterator[Block]:
        """The block in pieces of about ``size`` entries; trees stay whole."""
        count = len(self)
        start = 0
        while start < count:
            stop = count
            if count - start > size * 3 // 2:
                stop = self.span(int(self.root_ids[start + size]))[0]
                if stop <= start:
                    stop = self.span(int(self.root_ids[start]))[1]
            yield self.part(start, stop)
            start = stop

    def part(self, start: int, stop: int) -> Block:
        """The entries from ``start`` up to ``stop``, which are whole trees."""
        places = np.full(len(self), NONE, dtype=np.int64)
        places[start:stop] = np.arange(stop - start)
        return Block(
            self.ids[start:stop].copy(),
            self.parent_ids[start:stop].copy(),
            self.root_ids[start:stop].copy(),
            self.uuids[start:stop].copy(),
            self.names[start:stop].copy(),
            self.traits.part(start, stop),
            self.aggregates.part(start, stop),
            self.classes.part(start, stop),
            _moved(self.columns, stop - start, places),
        )


def _moved(columns: dict[str, ClassColumn], size: int, places: IntArray) -> dict[str, ClassColumn]:
    moved = {name: column.moved(size, places) for name, column in columns.items()}
    return {name: column for name, column in moved.items() if column is not None}
