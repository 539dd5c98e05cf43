"""Read providers with all that they have, in columns, for an index: all of them, or many trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from moorage.model.columns import (
    DetailColumns,
    InventoryColumns,
    MemberColumns,
    ProviderColumns,
    UsedColumns,
)
from moorage.store.nouns.inventories import FIELDS
from moorage.store.sql.columns import Column, ColumnsAfter, ColumnsAmong, ColumnsBetween
from moorage.store.sql.literals import number
from moorage.store.sql.statements import batches
from moorage.store.tables import (
    aggregates,
    allocations,
    inventories,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    traits,
)

Ids = npt.NDArray[np.int64]

CHUNK_PROVIDERS = 4_096
"""Providers of a chunk: about a block of the index, so that building needs the memory of one block beside the
index. (MariaDB's arrays of this length are below what its settings allow.)"""

SKELETON_PROVIDERS = 40_000
"""Providers whose ids and roots are read at a time."""

DENSE: Final = 4
"""Reading a range of ids is cheaper than naming ids, as long as not more than so many times as many rows
come."""

NO_ID: Final = -1


class _Part:
    """Rows that belong to providers, for a chunk of them."""

    def __init__(
        self, owner: sa.ColumnElement[int], *columns: sa.ColumnElement[Any], grouped: bool = False
    ) -> None:
        query = sa.select(owner, *columns)
        if grouped:
            query = query.group_by(owner, columns[0])
        self._between = ColumnsBetween(query, owner)
        self._among = ColumnsAmong(query, owner)

    def read(self, connection: sa.Connection, ids: Ids) -> list[Column]:
        """The columns for these providers at least. ``ids`` ascend."""
        first, last = int(ids[0]), int(ids[-1])
        if last - first < DENSE * len(ids):
            return self._between.between(connection, first, last)
        return self._among.among(connection, ids.tolist())


_SKELETON = ColumnsAfter(
    sa.select(
        resource_providers.c.id,
        sa.func.coalesce(resource_providers.c.root_provider_id, number(NO_ID)).label("root"),
    ),
    resource_providers.c.id,
)
_root = resource_providers.alias("root")
_OF_ROOTS = ColumnsAmong(
    sa.select(resource_providers.c.id, resource_providers.c.root_provider_id).join_from(
        resource_providers, _root, resource_providers.c.root_provider_id == _root.c.id
    ),
    resource_providers.c.root_provider_id,
)
_DETAILS = _Part(
    resource_providers.c.id,
    sa.func.coalesce(resource_providers.c.parent_provider_id, number(NO_ID)),
    resource_providers.c.uuid,
    sa.func.coalesce(resource_providers.c.name, sa.literal_column("''", sa.String)),
)
_INVENTORIES = _Part(
    inventories.c.resource_provider_id,
    inventories.c.resource_class_id,
    *(inventories.c[name] for name in FIELDS),
)
_USED = _Part(
    allocations.c.resource_provider_id,
    allocations.c.resource_class_id,
    sa.cast(sa.func.sum(allocations.c.used), sa.BigInteger),
    grouped=True,
)
_TRAITS = _Part(provider_traits.c.resource_provider_id, provider_traits.c.trait_id)
_AGGREGATES = _Part(provider_aggregates.c.resource_provider_id, provider_aggregates.c.aggregate_id)


def read_everything(connection: sa.Connection) -> Iterator[ProviderColumns]:
    """All trees by the id of their root, in chunks of whole trees.

    A provider whose root does not exist is left out: the GETs do not show it either.
    """
    return _in_chunks(connection, *_skeleton(connection))


def read_many_trees(connection: sa.Connection, root_ids: Iterable[int]) -> Iterator[ProviderColumns]:
    """Those of the trees with these roots that exist, as ``read_everything``."""
    parts = [_OF_ROOTS.among(connection, roots) for roots in batches(sorted(root_ids))]
    return _in_chunks(
        connection, *_by_tree(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    )


def _in_chunks(connection: sa.Connection, ids: Ids, root_ids: Ids) -> Iterator[ProviderColumns]:
    classes = _names(connection, resource_classes.c.id, resource_classes.c.name)
    trait_names = _names(connection, traits.c.id, traits.c.name)
    aggregate_uuids = _names(connection, aggregates.c.id, aggregates.c.uuid)
    for start, stop in _chunks(root_ids):
        chunk = ids[start:stop]
        by_id = np.sort(chunk)
        provider_ids, class_ids, *fields, ratios = _INVENTORIES.read(connection, by_id)
        with_traits, trait_ids = _TRAITS.read(connection, by_id)
        members, aggregate_ids = _AGGREGATES.read(connection, by_id)
        yield ProviderColumns(
            chunk.data,
            root_ids[start:stop].data,
            DetailColumns(*_DETAILS.read(connection, by_id)),
            InventoryColumns(provider_ids, class_ids, fields, ratios),
            UsedColumns(*_USED.read(connection, by_id)),
            MemberColumns(with_traits, trait_ids, trait_names),
            MemberColumns(members, aggregate_ids, aggregate_uuids),
            classes,
        )


def _names(connection: sa.Connection, id_: sa.Column[int], name: sa.Column[Any]) -> Mapping[int, str]:
    return dict[int, str](connection.execute(sa.select(id_, name)).all())


def _skeleton(connection: sa.Connection) -> tuple[Ids, Ids]:
    """Ids and root ids of all providers that have a root, by (root id, id)."""
    parts: list[tuple[Ids, Ids]] = []
    last, found = NO_ID, SKELETON_PROVIDERS
    while found == SKELETON_PROVIDERS:
        part, roots_of_part = map(np.asarray, _SKELETON.after(connection, last, SKELETON_PROVIDERS))
        parts.append((part, roots_of_part))
        found = len(part)
        last = int(part.max(initial=last))
    ids, root_ids = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    rooted = np.isin(root_ids, ids)
    return _by_tree(ids[rooted], root_ids[rooted])


def _by_tree(ids: Ids, root_ids: Ids) -> tuple[Ids, Ids]:
    order = np.lexsort((ids, root_ids))
    return ids[order], root_ids[order]


def _chunks(root_ids: Ids) -> Iterator[tuple[int, int]]:
    """Ranges of some ``CHUNK_PROVIDERS`` providers; trees stay whole."""
    start, count = 0, len(root_ids)
    while start < count:
        stop = min(start + CHUNK_PROVIDERS, count)
        if stop < count:
            root_id = root_ids[stop]
            stop = int(root_ids.searchsorted(root_id))
            if stop <= start:
                stop = int(root_ids.searchsorted(root_id, side="right"))
        yield start, stop
        start = stop
