"""What an index holds, so that two can be compared."""

from __future__ import annotations

from moorage.search.index.index import Snapshot


def contents(index: Snapshot) -> tuple[object, ...]:
    """All that an index holds, in an order of its own choosing taken away."""
    records = {
        record.id: (
            record.uuid,
            record.name,
            record.parent_id,
            record.root_id,
            frozenset(record.inventories),
            record.traits,
            frozenset(record.aggregates),
        )
        for record in index.records()
    }
    return records, index.resource_class_names, index.trait_names
