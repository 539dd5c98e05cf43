"""Make blocks of columns, without an object for each provider."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from moorage.model.columns import (
    Integers,
    InventoryColumns,
    MemberColumns,
    ProviderColumns,
    UsedColumns,
)
from moorage.model.values import Inventory
from moorage.search.index.block import UUID_LENGTH, Block
from moorage.search.index.columns import NO_KINDS, ClassColumn, IntArray, Labels

WORD: Final = 8
"""Bytes of an integer."""


def block_of(columns: ProviderColumns) -> Block:
    """A block of all these providers, of which there is at least one.

    Traits, aggregates and resource classes of a provider come in the order of their ids.
    """
    ids, root_ids = _integers(columns.ids), _integers(columns.root_ids)
    places = _Places(ids)
    details = columns.details
    rows, _ = places.rows(details.ids)
    chosen: list[int] = rows.tolist()
    offered = _Offered(places, columns.inventories, columns.classes)
    return Block(
        ids.copy(),
        _integers(details.parent_ids)[rows],
        root_ids.copy(),
        np.array([details.uuids[row].encode() for row in chosen], dtype=f"S{UUID_LENGTH}"),
        np.array([details.names[row].encode() for row in chosen], dtype=np.bytes_),
        _members(places, columns.traits),
        _members(places, columns.aggregates),
        _labels(len(ids), offered.offsets, offered.class_ids, columns.classes),
        offered.columns(_Used(places, columns.used)),
    )


def _integers(column: Integers) -> IntArray:
    return np.asarray(column, dtype=np.int64)


class _Places:
    """Where the rows of a column belong."""

    def __init__(self, ids: IntArray) -> None:
        self._order = np.argsort(ids)
        self._ids = ids[self._order]
        self.size = len(ids)

    def rows(self, provider_ids: Integers, then_by: Integers | None = None) -> tuple[IntArray, IntArray]:
        """The rows of these providers by offset of the provider, and these offsets.

        ``then_by``: the order of the rows of a provider.
        """
        owners = _integers(provider_ids)
        found = np.minimum(self._ids.searchsorted(owners), self.size - 1)
        rows = np.flatnonzero(self._ids[found] == owners)
        offsets: IntArray = self._order[found[rows]]
        order = np.lexsort((offsets,) if then_by is None else (_integers(then_by)[rows], offsets))
        return rows[order], offsets[order]


def _members(places: _Places, members: MemberColumns) -> Labels:
    rows, offsets = places.rows(members.provider_ids, members.member_ids)
    return _labels(places.size, offsets, _integers(members.member_ids)[rows], members.names)


def _labels(size: int, offsets: IntArray, members: IntArray, names: Mapping[int, str]) -> Labels:
    """Labels of ``size`` entries that have ``members`` at ``offsets``, which ascend."""
    bounds: list[int] = (offsets.searchsorted(np.arange(size + 1)) * WORD).tolist()
    raw = members.tobytes()
    numbers: dict[bytes, int] = {}
    codes = [numbers.setdefault(raw[start:stop], len(numbers)) for start, stop in pairwise(bounds)]
    sets = Labels.of(
        tuple([names[member] for member in np.frombuffer(key, dtype=np.int64).tolist() if member in names])
        for key in numbers
    )
    return Labels(sets.codes[codes], sets.sets)


class _Used:
    """What is used, by class."""

    def __init__(self, places: _Places, used: UsedColumns) -> None:
        rows, self._offsets = places.rows(used.provider_ids)
        self._class_ids = _integers(used.class_ids)[rows]
        self._amounts = _integers(used.amounts)[rows]

    def of(self, class_id: int, offsets: IntArray) -> IntArray:
        """What is used of a class at ``offsets``, which ascend."""
        amounts = np.zeros(len(offsets), dtype=np.int64)
        rows = np.flatnonzero(self._class_ids == class_id)
        wanted = self._offsets[rows]
        found = np.minimum(offsets.searchsorted(wanted), len(offsets) - 1)
        known = offsets[found] == wanted
        amounts[found[known]] = self._amounts[rows[known]]
        return amounts


class _Offered:
    """All inventories, by (offset, class id)."""

    def __init__(self, places: _Places, inventories: InventoryColumns, classes: Mapping[int, str]) -> None:
        rows, offsets = places.rows(inventories.provider_ids, inventories.class_ids)
        class_ids = _integers(inventories.class_ids)[rows]
        known = np.isin(class_ids, list(classes))
        self.offsets, self.class_ids = offsets[known], class_ids[known]
        self._size = places.size
        self._names = classes
        ratios = np.asarray(inventories.allocation_ratios, dtype=np.float64)
        fields = [_integers(column) for column in inventories.fields]
        self._words = np.column_stack([*fields, ratios.view(np.int64)])[rows[known]]

    def columns(self, used: _Used) -> dict[str, ClassColumn]:
        """A column for each class that a provider has inventory of."""
        columns: dict[str, ClassColumn] = {}
        for class_id in np.unique(self.class_ids).tolist():
            of_class = np.flatnonzero(self.class_ids == class_id)
            offsets = self.offsets[of_class]
            inventories, codes = _kinds(self._words[of_class])
            kinds, table = NO_KINDS.coded(inventories)
            columns[self._names[class_id]] = ClassColumn(
                self._size, offsets.astype(np.int32), kinds, table[codes], used.of(class_id, offsets)
            )
        return columns


def _kinds(words: IntArray) -> tuple[list[Inventory], list[int]]:
    """The different inventories, and the place of each row's among them."""
    raw, width = words.tobytes(), WORD * words.shape[1]
    numbers: dict[bytes, int] = {}
    codes = [
        numbers.setdefault(raw[start : start + width], len(numbers)) for start in range(0, len(raw), width)
    ]
    different = np.frombuffer(b"".join(numbers), dtype=np.int64).reshape(len(numbers), -1)
    ratios = different[:, -1].copy().view(np.float64)
    fields = different[:, :-1].T.tolist()
    return list(map(Inventory, *fields, ratios.tolist())), codes
