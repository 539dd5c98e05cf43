"""The table of routes: all operations, by path and method.

Source: API reference; policies and the order of checks were observed on the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from moorage.api.placement import (
    aggregates,
    allocation_candidates,
    allocations,
    inventories,
    reshaper,
    resource_classes,
    resource_providers,
    root,
    traits,
    usages,
)
from moorage.api.placement.operation import Operation

Methods = Mapping[str, Operation]

OPERATIONS: Final = (
    *root.OPERATIONS,
    *resource_classes.OPERATIONS,
    *resource_providers.OPERATIONS,
    *inventories.OPERATIONS,
    *usages.OF_PROVIDER,
    *aggregates.OPERATIONS,
    *allocations.OPERATIONS,
    *allocation_candidates.OPERATIONS,
    *traits.OPERATIONS,
    *usages.OF_PROJECT,
    *reshaper.OPERATIONS,
)
"""All operations, in the order of the reference."""

BY_NAME: Final[Mapping[str, Operation]] = {operation.name: operation for operation in OPERATIONS}
"""All operations by ``METHOD /path``."""


def by_path(operations: tuple[Operation, ...]) -> dict[str, dict[str, Operation]]:
    """Operations by path and method."""
    found: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        found.setdefault(operation.path, {})[operation.method] = operation
    return found


ROUTES: Final[Mapping[str, Methods]] = by_path(OPERATIONS)
