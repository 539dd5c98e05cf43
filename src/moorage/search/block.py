"""A block: some thousand providers in columns, whole trees of them. A block never changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from moorage.model.requests import ProviderSummary
from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory, ProviderRecord
from moorage.search.columns import NONE, IntArray, Mask
from moorage.search.inventories import ClassColumn, Entry
from moorage.search.labels import Labels

UUID_LENGTH: Final = 36
"""Bytes of a provider's uuid: what the database keeps, so no record has a longer one."""

UuidArray = npt.NDArray[np.bytes_]


class Trees:
    """Which entries of a block belong together.

    Tree ``t`` is the entries from ``starts[t]`` up to ``starts[t + 1]``, by id, with the root
    at ``roots[t]``. An entry whose root is not there (yet) stands as a tree of its own.
    ``lone`` says that every tree is one entry, so that trees are entries.
    """

    __slots__ = ("_ids", "_listed", "_parent_ids", "_parents", "count", "lone", "roots", "starts", "tree_of")

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
            self._parents = np.where(known, found, NONE)
        return self._parents

    def bounds(self, tree: int) -> tuple[int, int]:
        """Offsets from and up to which the entries of ``tree`` are."""
        if self._listed is None:
            # Who asks for one asks for many, and single numbers are had faster from a list.
            self._listed = self.starts.tolist()
        return self._listed[tree], self._listed[tree + 1]

    def with_any(self, entries: Mask) -> Mask:
        """Trees that have at least one of ``entries``."""
        return entries if self.lone else np.logical_or.reduceat(entries, self.starts[:-1])

    def at_roots(self, entries: Mask) -> Mask:
        """Trees whose root is one of ``entries``."""
        return entries if self.lone else entries[self.roots]

    def entries_of(self, trees: Mask) -> Mask:
        """All entries of ``trees``."""
        return trees if self.lone else trees[self.tree_of]


@valueclass(frozen=True, slots=True, eq=False)
class Finding:
    """What a request finds in a block: the trees in which each variable has somebody to serve it.

    ``own`` are for each variable those who can, ``cover`` for each OR of required traits those who
    have one; see ``groups.Look``.
    """

    trees: IntArray
    own: list[Mask]
    cover: list[Mask]


MOST_FINDINGS: Final = 8
"""Requests whose findings stay with a block: those asked last. Each is some ten bytes per entry, and all
together are less than the block itself and what is kept of it."""


class Block:
    """Entries by (root id, id), each a provider; ``columns`` has inventories by class.

    What a change leaves of a block is a new block, which shares the columns that are the same:
    so a search goes on undisturbed in the blocks that it has. ``kept`` is for readers who make
    something of an entry: by form, then offset; it is taken over as long as the entry is the same.
    """

    __slots__ = (
        "_findings",
        "_full_uuids",
        "_trees",
        "aggregates",
        "classes",
        "columns",
        "ids",
        "kept",
        "parent_ids",
        "root_ids",
        "traits",
        "uuids",
    )

    def __init__(
        self,
        ids: IntArray,
        parent_ids: IntArray,
        root_ids: IntArray,
        uuids: UuidArray,
        traits: Labels,
        aggregates: Labels,
        classes: Labels,
        columns: dict[str, ClassColumn],
    ) -> None:
        self.ids = ids
        self.parent_ids = parent_ids
        self.root_ids = root_ids
        self.uuids = uuids
        self.traits = traits
        self.aggregates = aggregates
        self.classes = classes
        self.columns = columns
        self.kept: dict[str, list[bytes | None]] = {}
        self._trees: Trees | None = None
        self._full_uuids: bool | None = None
        self._findings: tuple[tuple[object, Finding], ...] = ()

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
            Labels.of(record.traits for record in records),
            Labels.of(record.aggregates for record in records),
            Labels.of(tuple([name for name, _, _ in record.inventories]) for record in records),
            {name: ClassColumn.of(size, rows) for name, rows in entries.items()},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trees(self) -> Trees:
        """Which entries belong together."""
        if self._trees is None:
            self._trees = Trees(self.ids, self.parent_ids, self.root_ids)
        return self._trees

    @property
    def has_full_uuids(self) -> bool:
        """Whether all uuids have the usual length (a database may also hold some without dashes)."""
        if self._full_uuids is None:
            self._full_uuids = bool(self.uuids.view(np.uint8)[UUID_LENGTH - 1 :: UUID_LENGTH].all())
        return self._full_uuids

    # What requests have found

    def finding_of(self, owner: object) -> Finding | None:
        """What was left for ``owner``, if it is still there."""
        for known, finding in self._findings:
            if known is owner:
                return finding
        return None

    def keep_finding(self, owner: object, finding: Finding) -> None:
        """Leave ``finding`` for ``owner``: it holds for as long as there is this block."""
        self._findings = ((owner, finding), *self._findings[: MOST_FINDINGS - 1])

    # What is where

    def span(self, root_id: int) -> tuple[int, int]:
        """Offsets from and up to which the entries with this root id are."""
        start, stop = self.root_ids.searchsorted([root_id, root_id + 1])
        return int(start), int(stop)

    def find(self, root_id: int, id_: int) -> int:
        """Offset of the entry with these ids, which is there."""
        start, stop = self.span(root_id)
        return start + int(self.ids[start:stop].searchsorted(id_))

    def find_uuid(self, uuid: str) -> int:
        """Offset of a provider, ``NONE`` if it is not in this block."""
        wanted = uuid.encode().ljust(UUID_LENGTH, b"\0")
        if len(wanted) > UUID_LENGTH:
            return NONE
        # Comparing strings costs ten times what comparing numbers does: look at both ends first.
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
        """What each entry can give of a class at most; ``NONE`` where it has none of it."""
        column = self.columns.get(resource_class)
        return np.full(len(self), NONE, dtype=np.int64) if column is None else column.rooms(len(self))

    def room_at(self, offset: int, resource_class: str) -> int:
        """What an entry can give of a class at most; ``NONE`` where it has none of it."""
        column = self.columns.get(resource_class)
        return NONE if column is None else column.room_at(offset)

    def record(self, offset: int) -> ProviderRecord:
        """All that is known of an entry."""
        parent_id = int(self.parent_ids[offset])
        return ProviderRecord(
            id=int(self.ids[offset]),
            uuid=bytes(self.uuids[offset]).decode(),
            parent_id=None if parent_id == NONE else parent_id,
            root_id=int(self.root_ids[offset]),
            inventories=tuple((name, *self.columns[name].at(offset)) for name in self.classes[offset]),
            traits=self.traits[offset],
            aggregates=self.aggregates[offset],
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

    # Change

    def differs_in_amounts_only(self, offset: int, record: ProviderRecord) -> bool:
        """Whether ``record`` says the same as an entry but for inventories' numbers.

        A claim changes nothing else, and claims are most of what changes.
        """
        parent_id = NONE if record.parent_id is None else record.parent_id
        return bool(
            self.parent_ids[offset] == parent_id
            and self.root_ids[offset] == record.root_id
            and self.traits[offset] == record.traits
            and self.aggregates[offset] == record.aggregates
            and self.classes[offset] == tuple([name for name, _, _ in record.inventories])
            and bytes(self.uuids[offset]) == record.uuid.encode()
        )

    def rewritten(self, changes: Sequence[tuple[int, ProviderRecord]]) -> Block:
        """The same entries, but other amounts at the offsets of ``changes``."""
        entries: dict[str, list[tuple[int, Inventory, int]]] = defaultdict(list)
        changed: set[int] = set()
        for offset, record in changes:
            for name, inventory, used in record.inventories:
                if self.columns[name].at(offset) != (inventory, used):
                    entries[name].append((offset, inventory, used))
                    changed.add(offset)
        if not changed:
            return self
        return self._with_columns(
            {name: self.columns[name].rewritten(len(self), rows) for name, rows in entries.items()}, changed
        )

    def with_used(self, offsets: Iterable[int], used: Mapping[int, Mapping[str, int]]) -> Block:
        """The same entries, but those at ``offsets`` use what ``used`` says by id and class."""
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

    def _with_columns(self, columns: Mapping[str, ClassColumn], changed: Iterable[int]) -> Block:
        """The same entries with other amounts in some columns, which the entries at ``changed`` show."""
        block = Block(
            self.ids,
            self.parent_ids,
            self.root_ids,
            self.uuids,
            self.traits,
            self.aggregates,
            self.classes,
            {**self.columns, **columns},
        )
        block._trees = self._trees
        block._full_uuids = self._full_uuids
        for form, made in self.kept.items():
            copy = made.copy()
            for offset in changed:
                copy[offset] = None
            block.kept[form] = copy
        return block

    def merged(self, gone: Sequence[int], added: Block) -> Block:
        """Without the entries at ``gone``, but with all of ``added``."""
        stays = np.ones(len(self), dtype=np.bool_)
        stays[list(gone)] = False
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
            self.traits.merged(kept, added.traits, order),
            self.aggregates.merged(kept, added.aggregates, order),
            self.classes.merged(kept, added.classes, order),
            columns,
        )
        # An entry is shown with its parent and its root: in a tree that has changed, all go.
        changed = np.isin(self.root_ids, np.concatenate([self.root_ids[~stays], added.root_ids]))
        known = np.flatnonzero(~changed).tolist()
        new_places = own_places.tolist()
        for form, made in self.kept.items():
            taken: list[bytes | None] = [None] * len(block)
            for offset in known:
                taken[new_places[offset]] = made[offset]
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
            yield self._part(start, stop)
            start = stop

    def _part(self, start: int, stop: int) -> Block:
        places = np.full(len(self), NONE, dtype=np.int64)
        places[start:stop] = np.arange(stop - start)
        return Block(
            self.ids[start:stop].copy(),
            self.parent_ids[start:stop].copy(),
            self.root_ids[start:stop].copy(),
            self.uuids[start:stop].copy(),
            self.traits.part(start, stop),
            self.aggregates.part(start, stop),
            self.classes.part(start, stop),
            _moved(self.columns, stop - start, places),
        )


def _moved(columns: dict[str, ClassColumn], size: int, places: IntArray) -> dict[str, ClassColumn]:
    moved = {name: column.moved(size, places) for name, column in columns.items()}
    return {name: column for name, column in moved.items() if column is not None}
