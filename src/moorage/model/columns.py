"""Providers as columns: what a database has of many providers, without an object for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moorage.model.valueclass import valueclass

Integers = memoryview
"""Signed integers of 64 bits."""

Floats = memoryview
"""Floating-point numbers of 64 bits."""


@valueclass(frozen=True, slots=True, eq=False)
class DetailColumns:
    """One row for each provider. ``parent_ids`` has -1 for a root, ``names`` "" where there is none."""

    ids: Integers
    parent_ids: Integers
    uuids: Sequence[str]
    names: Sequence[str]


@valueclass(frozen=True, slots=True, eq=False)
class InventoryColumns:
    """One row for each inventory. ``fields`` are those of ``Inventory``, without the ratio."""

    provider_ids: Integers
    class_ids: Integers
    fields: Sequence[Integers]
    allocation_ratios: Floats


@valueclass(frozen=True, slots=True, eq=False)
class UsedColumns:
    """One row for each provider and class of which something is used."""

    provider_ids: Integers
    class_ids: Integers
    amounts: Integers


@valueclass(frozen=True, slots=True, eq=False)
class MemberColumns:
    """One row for each trait that a provider has, or for each aggregate that it is in.

    ``names`` has the names by their ids. A row whose name is missing there counts for nothing.
    """

    provider_ids: Integers
    member_ids: Integers
    names: Mapping[int, str]


@valueclass(frozen=True, slots=True, eq=False)
class ProviderColumns:
    """Whole trees. ``ids`` and ``root_ids`` are by (root id, id).

    The rows of all other columns come in any order, and may be of other providers as well. ``classes``
    has the names of resource classes by their ids. Rows of a class that is missing there count for nothing.
    """

    ids: Integers
    root_ids: Integers
    details: DetailColumns
    inventories: InventoryColumns
    used: UsedColumns
    traits: MemberColumns
    aggregates: MemberColumns
    classes: Mapping[int, str]
