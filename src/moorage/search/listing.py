"""What a snapshot holds, without any search: providers page by page, and the whole cloud at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from moorage.model.values import CloudOverview, ListedProvider, ProviderPage, ProviderSelection
from moorage.search.index.block import UUID_LENGTH, Block, UuidArray
from moorage.search.index.columns import NONE, IntArray
from moorage.search.index.index import Snapshot

MOST_SHOWN: Final = (1 << 53) - 1
"""The largest amount of an overview: programs that read JSON numbers as floats see it exactly."""

_WORD: Final = 4
"""Bytes of a uuid that are compared as one number."""


def page_of(snapshot: Snapshot, wanted: ProviderSelection) -> ProviderPage:
    """The first providers of a selection, by uuid."""
    chosen = [(number, offsets) for number, offsets in _chosen(snapshot, wanted) if len(offsets)]
    if not chosen:
        return ProviderPage((), has_more=False)
    uuids = np.concatenate([snapshot.blocks[number].uuids[offsets] for number, offsets in chosen])
    numbers = np.repeat([number for number, _ in chosen], [len(offsets) for _, offsets in chosen])
    places = np.concatenate([offsets for _, offsets in chosen])
    first = _first(uuids, wanted.limit + 1)
    shown = first[: wanted.limit]
    items = [
        _listed(snapshot.blocks[number], offset)
        for number, offset in zip(numbers[shown].tolist(), places[shown].tolist(), strict=True)
    ]
    return ProviderPage(tuple(items), has_more=len(first) > wanted.limit)


def _chosen(snapshot: Snapshot, wanted: ProviderSelection) -> Iterator[tuple[int, IntArray]]:
    """Offsets of the chosen providers, by number of the block."""
    for number, offsets in _within(snapshot, wanted):
        block = snapshot.blocks[number]
        mask = block.uuids[offsets] > wanted.after.encode()
        if wanted.name is not None:
            mask &= block.names[offsets] == wanted.name.encode()
        yield number, offsets[mask]


def _within(snapshot: Snapshot, wanted: ProviderSelection) -> Iterator[tuple[int, IntArray]]:
    if wanted.in_tree is not None:
        place = snapshot.find_uuid(wanted.in_tree)
        if place is not None:
            trees = snapshot.blocks[place[0]].trees
            start, stop = trees.bounds(int(trees.tree_of[place[1]]))
            uuids = snapshot.blocks[place[0]].uuids[start:stop]
            offsets = np.arange(start, stop)
            if wanted.uuids is not None:
                offsets = offsets[np.isin(uuids, [uuid.encode() for uuid in wanted.uuids])]
            yield place[0], offsets
    elif wanted.uuids is not None:
        for uuid in wanted.uuids:
            place = snapshot.find_uuid(uuid)
            if place is not None:
                yield place[0], np.array([place[1]])
    else:
        for number, block in enumerate(snapshot.blocks):
            yield number, np.arange(len(block))


def _first(uuids: UuidArray, count: int) -> IntArray:
    """Positions of the ``count`` smallest, in their order."""
    near = np.arange(len(uuids))
    if len(uuids) > count:
        # Sorting all uuids would take most of the time. Their first eight bytes rule nearly all others out.
        words = np.ascontiguousarray(uuids).view(">u4").reshape(len(uuids), UUID_LENGTH // _WORD)
        beginnings = (words[:, 0].astype(np.uint64) << np.uint64(32)) | words[:, 1]
        near = np.flatnonzero(beginnings <= np.partition(beginnings, count - 1)[count - 1])
    return near[np.argsort(uuids[near])][:count]


def _listed(block: Block, offset: int) -> ListedProvider:
    record = block.record(offset)
    parent = int(block.trees.parents[offset])
    root = int(block.trees.roots[block.trees.tree_of[offset]])
    return ListedProvider(
        id=record.id,
        uuid=record.uuid,
        name=record.name,
        parent_uuid=None if parent == NONE else bytes(block.uuids[parent]).decode(),
        root_uuid=bytes(block.uuids[root]).decode(),
        inventories={name: inventory for name, inventory, _ in record.inventories},
        used={name: used for name, _, used in record.inventories},
        traits=record.traits,
        aggregates=record.aggregates,
    )


def names_of(snapshot: Snapshot, uuids: Iterable[str]) -> dict[str, str]:
    """Names of providers, by uuid; unknown ones are left out."""
    places = {uuid: snapshot.find_uuid(uuid) for uuid in uuids}
    return {
        uuid: bytes(snapshot.blocks[place[0]].names[place[1]]).decode()
        for uuid, place in places.items()
        if place is not None
    }


def called(snapshot: Snapshot, uuid_or_name: str) -> str:
    """The uuid of a provider with this uuid or this name; what was given if there is none."""
    if snapshot.find_uuid(uuid_or_name) is None:
        for block in snapshot.blocks:
            for offset in np.flatnonzero(block.names == uuid_or_name.encode()).tolist():
                return bytes(block.uuids[offset]).decode()
    return uuid_or_name


def overview_of(snapshot: Snapshot) -> CloudOverview:
    """All trees in columns, and per class what each tree has."""
    roots: list[str] = []
    names: list[str] = []
    providers: list[int] = []
    numbers: dict[tuple[str, ...], int] = {}
    sets: list[int] = []
    classes: dict[str, tuple[list[int], list[int]]] = {}
    for block in snapshot.blocks:
        trees = block.trees
        before = len(roots)
        roots += [uuid.decode() for uuid in block.uuids[trees.roots].tolist()]
        names += [name.decode() for name in block.names[trees.roots].tolist()]
        providers += np.diff(trees.starts).tolist()
        sets += [numbers.setdefault(each, len(numbers)) for each in _aggregates(block)]
        for resource_class, column in block.columns.items():
            shown = classes.setdefault(resource_class, ([], []))
            top = np.clip(column.kinds.top, 0, MOST_SHOWN)[column.codes]
            for target, amounts in zip(shown, (top, column.used), strict=True):
                target += [0] * (before - len(target))
                whole = np.zeros(len(block), dtype=np.int64)
                whole[column.offsets] = amounts
                summed = whole if trees.lone else np.add.reduceat(whole, trees.starts[:-1])
                target += np.minimum(summed, MOST_SHOWN).tolist()
    for shown in classes.values():
        for target in shown:
            target += [0] * (len(roots) - len(target))
    return CloudOverview(roots, names, providers, tuple(numbers), sets, dict(sorted(classes.items())))


def _aggregates(block: Block) -> Iterator[tuple[str, ...]]:
    """The aggregates of each tree: those of all its providers."""
    labels, trees = block.aggregates, block.trees
    if trees.lone:
        sets = [tuple(sorted(names)) for names in labels.sets]
        yield from (sets[code] for code in labels.codes.tolist())
        return
    codes = labels.codes.tolist()
    for tree in range(trees.count):
        start, stop = trees.bounds(tree)
        together = {code for code in codes[start:stop] if labels.sets[code]}
        yield tuple(sorted({name for code in together for name in labels.sets[code]}))
