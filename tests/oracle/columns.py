"""Records as columns: rows in any order, with rows of other providers among them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from random import Random

from moorage.model.columns import (
    DetailColumns,
    Integers,
    InventoryColumns,
    MemberColumns,
    ProviderColumns,
    UsedColumns,
)
from moorage.model.values import Inventory, ProviderRecord

STRANGER = 1_000_000
"""Id of a provider, of a class, of a trait and of an aggregate that no record has."""

Row = tuple[int, ...]


def integers(values: Iterable[int]) -> Integers:
    return memoryview(array("q", values))


def columns_of(
    records: Sequence[ProviderRecord],
    random: Random,
    classes: Sequence[str] = (),
    traits: Sequence[str] = (),
    aggregates: Sequence[str] = (),
) -> ProviderColumns:
    """Columns of whole trees. Names have ids in the order of ``classes``, ``traits`` and ``aggregates``."""
    ordered = sorted(records, key=lambda record: (record.root_id, record.id))
    class_ids = {name: number for number, name in enumerate(classes, 1)}
    details = [(record.id, record.parent_id, record.uuid, record.name) for record in records]
    details.append((STRANGER, None, "stranger", ""))
    offered: list[tuple[int, int, Inventory]] = [
        (record.id, class_ids[name], inventory)
        for record in records
        for name, inventory, _ in record.inventories
    ]
    own = [(record.id, STRANGER, Inventory(7)) for record in records]
    offered += [*own, *((STRANGER, number, Inventory(9)) for number in class_ids.values())]
    used: list[Row] = [
        (record.id, class_ids[name], amount)
        for record in records
        for name, _, amount in record.inventories
        if amount
    ]
    for record in records:
        missing = class_ids.keys() - {name for name, _, _ in record.inventories}
        used += [(record.id, class_ids[name], 5) for name in missing]
    for rows in (details, offered, used):
        random.shuffle(rows)
    return ProviderColumns(
        integers(record.id for record in ordered),
        integers(record.root_id for record in ordered),
        DetailColumns(
            integers(row[0] for row in details),
            integers(-1 if row[1] is None else row[1] for row in details),
            [row[2] for row in details],
            [row[3] for row in details],
        ),
        InventoryColumns(
            integers(row[0] for row in offered),
            integers(row[1] for row in offered),
            [
                integers(getattr(inventory, name) for _, _, inventory in offered)
                for name in ("total", "reserved", "min_unit", "max_unit", "step_size")
            ],
            memoryview(array("d", [inventory.allocation_ratio for _, _, inventory in offered])),
        ),
        UsedColumns(*(integers(row[place] for row in used) for place in range(3))),
        _members(random, [(record.id, record.traits) for record in records], traits),
        _members(random, [(record.id, record.aggregates) for record in records], aggregates),
        {number: name for name, number in class_ids.items()},
    )


def _members(
    random: Random, having: Iterable[tuple[int, Sequence[str]]], names: Sequence[str]
) -> MemberColumns:
    ids = {name: number for number, name in enumerate(names, 1)}
    rows: list[Row] = [(STRANGER, number) for number in ids.values()]
    for id_, members in having:
        rows += [(id_, ids[name]) for name in members]
        if random.random() < 0.5:
            rows.append((id_, STRANGER))
    random.shuffle(rows)
    return MemberColumns(
        integers(row[0] for row in rows),
        integers(row[1] for row in rows),
        {number: name for name, number in ids.items()},
    )
