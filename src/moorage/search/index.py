"""The index: every provider in columns, kept up to date tree by tree."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from moorage.model.values import SHARING_TRAIT, ProviderRecord
from moorage.search.columns import (
    FIRST_SIZE,
    NONE,
    IntArray,
    Interned,
    Mask,
    PagedInts,
    SlotArray,
    by_page,
    lengthened,
    room_for,
)
from moorage.search.inventories import ClassTable, Entry
from moorage.search.postings import Posting

UUID_LENGTH: Final = 36
"""Bytes of a provider's uuid: what the database keeps, so no record has a longer one."""

_INTEGERS: Final = ("ids", "parent_ids", "root_ids", "uuid_hashes")
_SLOTS: Final = ("root_slot", "trait_codes", "aggregate_codes", "class_codes")


class Index:
    """All providers as a search sees them. Not safe for a search while it changes.

    A provider lives in a slot, a small number that is used again once it is free; columns
    hold one entry per slot. A provider whose root is not there (yet) stands as a root itself,
    so that records may come in any order.
    """

    __slots__ = (
        "_aggregate_sets",
        "_aggregates",
        "_class_sets",
        "_free",
        "_resource_class_names",
        "_slot_of_id",
        "_tables",
        "_trait_names",
        "_trait_sets",
        "_traits",
        "_trees",
        "_uuids",
        "size",
        *_INTEGERS,
        *_SLOTS,
    )

    ids: IntArray
    parent_ids: IntArray
    root_ids: IntArray
    uuid_hashes: IntArray
    root_slot: SlotArray
    trait_codes: SlotArray
    aggregate_codes: SlotArray
    class_codes: SlotArray

    def __init__(self) -> None:
        self.size = 0
        for name in _INTEGERS:
            setattr(self, name, np.full(FIRST_SIZE, NONE, dtype=np.int64))
        for name in _SLOTS:
            setattr(self, name, np.full(FIRST_SIZE, NONE, dtype=np.int32))
        self._uuids: npt.NDArray[np.bytes_] = np.zeros(FIRST_SIZE, dtype=f"S{UUID_LENGTH}")
        self._free: list[int] = []
        self._slot_of_id = PagedInts()
        self._trees: dict[int, array[int]] = {}
        self._tables: dict[str, ClassTable] = {}
        self._traits: dict[str, Posting] = {}
        self._aggregates: dict[str, Posting] = {}
        self._trait_sets: Interned[tuple[str, ...]] = Interned()
        self._aggregate_sets: Interned[tuple[str, ...]] = Interned()
        self._class_sets: Interned[tuple[str, ...]] = Interned()
        self._resource_class_names: frozenset[str] = frozenset()
        self._trait_names: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return self.size - len(self._free)

    # Names

    def set_names(self, resource_classes: Iterable[str], traits: Iterable[str]) -> None:
        """Set the names that exist, in use or not; a search that names another is refused."""
        self._resource_class_names = frozenset(resource_classes)
        self._trait_names = frozenset(traits)

    @property
    def resource_class_names(self) -> frozenset[str]:
        """Resource classes that may be asked for."""
        return self._resource_class_names

    @property
    def trait_names(self) -> frozenset[str]:
        """Traits that may be asked for."""
        return self._trait_names

    # Sets of providers, as masks over the slots 0 to ``size`` - 1

    def no_provider(self) -> Mask:
        """A mask of no provider."""
        return np.zeros(self.size, dtype=np.bool_)

    def every_provider(self) -> Mask:
        """A mask of all providers."""
        return np.greater_equal(self.root_slot[: self.size], 0)

    def every_root(self) -> Mask:
        """A mask of all roots."""
        return np.equal(self.root_slot[: self.size], np.arange(self.size, dtype=np.int32))

    def every_lone_root(self) -> Mask:
        """A mask of the roots that have no provider below them."""
        roots = self.every_root()
        roots[self.root_slot[: self.size][self.every_provider() & ~roots]] = False
        return roots

    def with_room(self, resource_class: str, amount: int) -> Mask:
        """Providers that can serve ``amount`` of a class: room, min_unit, max_unit, step_size."""
        mask = self.no_provider()
        table = self._tables.get(resource_class)
        if table is not None:
            mask[table.slots_with(amount)] = True
        return mask

    def with_any_trait(self, names: Iterable[str]) -> Mask:
        """Providers that have at least one of the traits."""
        return self._marked(self._traits, names)

    def in_any_aggregate(self, uuids: Iterable[str]) -> Mask:
        """Providers that are in at least one of the aggregates."""
        return self._marked(self._aggregates, uuids)

    def in_tree_of(self, uuid: str) -> Mask:
        """Providers of the tree that the named provider is in; none if there is no such one."""
        mask = self.no_provider()
        slot = self.slot_of_uuid(uuid)
        if slot != NONE:
            mask[self.members(int(self.root_slot[slot]))] = True
        return mask

    def roots_of(self, providers: Mask) -> Mask:
        """Roots of the trees that ``providers`` are in."""
        if not self._trees:
            return providers
        mask = self.no_provider()
        mask[self.root_slot[: self.size][providers]] = True
        return mask

    def roots_reached_by(self, slots: IntArray) -> Mask:
        """Roots of the trees in which a provider shares an aggregate with one of ``slots``."""
        codes = np.unique(self.aggregate_codes[slots]).tolist()
        aggregates = {uuid for code in codes for uuid in self._aggregate_sets[code]}
        return self.roots_of(self.in_any_aggregate(aggregates))

    # One provider

    def slot_of_uuid(self, uuid: str) -> int:
        """Slot of a provider, ``NONE`` if there is no such one."""
        wanted = uuid.encode()
        for slot in np.flatnonzero(self.uuid_hashes[: self.size] == hash(uuid)).tolist():
            if self._uuids[slot] == wanted and self.root_slot[slot] != NONE:
                return int(slot)
        return NONE

    def uuid_at(self, slot: int) -> str:
        """Uuid of the provider at ``slot``."""
        return bytes(self._uuids[slot]).decode()

    def parent_slot(self, slot: int) -> int:
        """Slot of the parent of the provider at ``slot``, ``NONE`` for a root."""
        parent_id = int(self.parent_ids[slot])
        return NONE if parent_id == NONE else self._slot_of_id.get(parent_id)

    def members(self, root: int) -> list[int]:
        """Slots of the tree whose root is at ``root``, by id."""
        tree = self._trees.get(int(self.ids[root]))
        if tree is None:
            return [root]
        slots = np.array([root, *tree], dtype=np.int64)
        members: list[int] = slots[np.argsort(self.ids[slots], kind="stable")].tolist()
        return members

    def is_alone(self, root: int) -> bool:
        """Whether the root at ``root`` has no provider below it."""
        return int(self.ids[root]) not in self._trees

    def traits_at(self, slot: int) -> tuple[str, ...]:
        """Traits of the provider at ``slot``, in the order of its record."""
        return self._trait_sets[int(self.trait_codes[slot])]

    def aggregates_at(self, slot: int) -> tuple[str, ...]:
        """Aggregates of the provider at ``slot``, in the order of its record."""
        return self._aggregate_sets[int(self.aggregate_codes[slot])]

    def classes_at(self, slot: int) -> tuple[str, ...]:
        """Classes that the provider at ``slot`` has inventory of, in the order of its record."""
        return self._class_sets[int(self.class_codes[slot])]

    def is_sharing(self, slot: int) -> bool:
        """Whether the provider at ``slot`` shares through its aggregates."""
        sharing = self._traits.get(SHARING_TRAIT)
        return sharing is not None and slot in sharing

    def room_at(self, slot: int, resource_class: str) -> int:
        """What the provider at ``slot`` can give of a class at most; below 0 for nothing at all."""
        table = self._tables.get(resource_class)
        return NONE if table is None else table.room_at(slot)

    def amounts(self, slots: Sequence[int]) -> list[dict[str, tuple[int, int]]]:
        """For each of ``slots`` class to (capacity, used), in the order of its record."""
        by_class: dict[str, list[int]] = defaultdict(list)
        found: list[dict[str, tuple[int, int]]] = []
        for position, slot in enumerate(slots):
            classes = self.classes_at(slot)
            found.append(dict.fromkeys(classes, (0, 0)))
            for name in classes:
                by_class[name].append(position)
        for name, positions in by_class.items():
            held = np.array([slots[position] for position in positions], dtype=np.int64)
            for position, pair in zip(positions, self._tables[name].amounts(held), strict=True):
                found[position][name] = pair
        return found

    def records(self) -> Iterator[ProviderRecord]:
        """All that the index holds, by id: equal for indexes that mean the same."""
        slots = np.flatnonzero(self.every_provider())
        for slot in slots[np.argsort(self.ids[slots], kind="stable")].tolist():
            parent_id = int(self.parent_ids[slot])
            yield ProviderRecord(
                id=int(self.ids[slot]),
                uuid=self.uuid_at(slot),
                parent_id=None if parent_id == NONE else parent_id,
                root_id=int(self.root_ids[slot]),
                inventories=tuple((name, *self._tables[name].entry(slot)) for name in self.classes_at(slot)),
                traits=self.traits_at(slot),
                aggregates=self.aggregates_at(slot),
            )

    # Change

    def replace_trees(self, root_ids: Iterable[int], records: Iterable[ProviderRecord]) -> None:
        """Make ``records`` the whole state of the trees that have ``root_ids``.

        Whatever is in these trees now and is not in ``records`` is forgotten; a record whose
        provider is still in another tree moves it. Costs what these trees hold, whatever the
        index holds. Of two records with one id the last one counts.
        """
        wanted = {record.id: record for record in records}
        gone = {slot for root_id in root_ids for slot in self._slots_of_tree(root_id)}
        changed: list[tuple[int, ProviderRecord]] = []
        added: list[ProviderRecord] = []
        for record in wanted.values():
            slot = self._slot_of_id.get(record.id)
            if slot == NONE:
                added.append(record)
            elif self._differs_in_amounts_only(slot, record):
                gone.discard(slot)
                changed.append((slot, record))
            else:
                gone.add(slot)
                added.append(record)
        if gone:
            self._remove(np.fromiter(gone, dtype=np.int64))
        if changed:
            for name, (slots, entries) in _by_class(changed).items():
                self._tables[name].rewrite(slots, entries)
        if added:
            self._add(added)

    def _slots_of_tree(self, root_id: int) -> Iterator[int]:
        root = self._slot_of_id.get(root_id)
        if root != NONE and self.root_ids[root] == root_id:
            yield root
        yield from self._trees.get(root_id, ())

    def _differs_in_amounts_only(self, slot: int, record: ProviderRecord) -> bool:
        """Whether a record says the same as the index but for inventories' numbers.

        A claim changes nothing else, and claims are most of what changes.
        """
        parent_id = NONE if record.parent_id is None else record.parent_id
        return bool(
            self.parent_ids[slot] == parent_id
            and self.root_ids[slot] == record.root_id
            and self.traits_at(slot) == record.traits
            and self.aggregates_at(slot) == record.aggregates
            and self.classes_at(slot) == tuple(name for name, _, _ in record.inventories)
            and self.uuid_at(slot) == record.uuid
        )

    def _remove(self, slots: IntArray) -> None:
        listed: list[int] = slots.tolist()
        self._slot_of_id.unset_many(self.ids[slots])
        for name, held in self._grouped(self.class_codes, self._class_sets, slots).items():
            table = self._tables[name]
            table.remove(held.tolist())
            if not table.count:
                del self._tables[name]
        for postings, codes, sets in self._sets():
            for name, held in self._grouped(codes, sets, slots).items():
                posting = postings[name]
                posting.discard_many(held)
                if not posting:
                    del postings[name]
        for slot in listed:
            self._trait_sets.release(int(self.trait_codes[slot]))
            self._aggregate_sets.release(int(self.aggregate_codes[slot]))
            self._class_sets.release(int(self.class_codes[slot]))
            self._leave_tree(slot)
        self.root_slot[slots] = NONE
        self._free.extend(listed)

    def _leave_tree(self, slot: int) -> None:
        root_id = int(self.root_ids[slot])
        tree = self._trees.get(root_id)
        if tree is None:
            return
        if self.ids[slot] != root_id:
            tree.remove(slot)
            if not tree:
                del self._trees[root_id]
        else:
            orphans = np.array(tree, dtype=np.int64)
            self.root_slot[orphans] = orphans

    def _add(self, records: Collection[ProviderRecord]) -> None:
        slots = self._take_slots(len(records))
        listed: list[int] = slots.tolist()
        self.ids[slots] = [record.id for record in records]
        self.parent_ids[slots] = [
            NONE if record.parent_id is None else record.parent_id for record in records
        ]
        self.root_ids[slots] = [record.root_id for record in records]
        self.uuid_hashes[slots] = [hash(record.uuid) for record in records]
        self._uuids[slots] = [record.uuid.encode() for record in records]
        self.trait_codes[slots] = [self._trait_sets.take(record.traits) for record in records]
        self.aggregate_codes[slots] = [self._aggregate_sets.take(record.aggregates) for record in records]
        self.class_codes[slots] = [
            self._class_sets.take(tuple(name for name, _, _ in record.inventories)) for record in records
        ]
        self._slot_of_id.set_many(self.ids[slots], slots)
        for name, (held, entries) in _by_class(zip(listed, records, strict=True)).items():
            self._tables.setdefault(name, ClassTable()).add(held, entries)
        for postings, codes, sets in self._sets():
            for name, members in self._grouped(codes, sets, slots).items():
                postings.setdefault(name, Posting()).add_many(members)
        for slot, record in zip(listed, records, strict=True):
            self._join_tree(slot, record)

    def _join_tree(self, slot: int, record: ProviderRecord) -> None:
        if record.id == record.root_id:
            self.root_slot[slot] = slot
            tree = self._trees.get(record.id)
            if tree is not None:
                self.root_slot[np.array(tree, dtype=np.int64)] = slot
        else:
            self._trees.setdefault(record.root_id, array("i")).append(slot)
            root = self._slot_of_id.get(record.root_id)
            self.root_slot[slot] = slot if root == NONE else root

    def _take_slots(self, count: int) -> IntArray:
        used_again = min(count, len(self._free))
        slots = self._free[len(self._free) - used_again :]
        del self._free[len(self._free) - used_again :]
        start = self.size
        self.size += count - used_again
        if self.size > len(self.ids):
            length = room_for(self.size, len(self.ids))
            for name in (*_INTEGERS, *_SLOTS):
                setattr(self, name, lengthened(getattr(self, name), length, NONE))
            uuids = np.zeros(length, dtype=self._uuids.dtype)
            uuids[: len(self._uuids)] = self._uuids
            self._uuids = uuids
        return np.array([*sorted(slots), *range(start, self.size)], dtype=np.int64)

    def _sets(self) -> Iterator[tuple[dict[str, Posting], SlotArray, Interned[tuple[str, ...]]]]:
        yield self._traits, self.trait_codes, self._trait_sets
        yield self._aggregates, self.aggregate_codes, self._aggregate_sets

    @staticmethod
    def _grouped(codes: SlotArray, sets: Interned[tuple[str, ...]], slots: IntArray) -> dict[str, IntArray]:
        """Name to those of ``slots`` whose interned tuple has it."""
        parts: dict[str, list[IntArray]] = defaultdict(list)
        for code, positions in by_page(codes[slots].astype(np.int64), 0):
            for name in dict.fromkeys(sets[code]):
                parts[name].append(slots[positions])
        return {name: np.concatenate(groups) for name, groups in parts.items()}

    def _marked(self, postings: dict[str, Posting], names: Iterable[str]) -> Mask:
        mask = self.no_provider()
        for name in names:
            posting = postings.get(name)
            if posting is not None:
                posting.mark(mask)
        return mask


def _by_class(
    records: Iterable[tuple[int, ProviderRecord]],
) -> dict[str, tuple[list[int], list[Entry]]]:
    """Class to slots and entries, position by position."""
    found: dict[str, tuple[list[int], list[Entry]]] = defaultdict(lambda: ([], []))
    for slot, record in records:
        for name, inventory, used in record.inventories:
            slots, entries = found[name]
            slots.append(slot)
            entries.append((inventory, used))
    return found
