"""What a file for ``moorage load`` says, as values. The format: docs/reference/load-format.md."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Final

from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory

NAMESPACE: Final = uuid.UUID("6f0d1d26-6a3f-5d0c-9b39-0d6d4f3a7e11")
"""Namespace of the uuids made from names; it must never change, or a second load finds nothing."""


def provider_uuid(name: str) -> str:
    """Uuid of a provider whose file gives a name only."""
    return str(uuid.uuid5(NAMESPACE, f"provider:{name}"))


def aggregate_uuid(name: str) -> str:
    """Uuid of an aggregate that the file calls by a name."""
    return str(uuid.uuid5(NAMESPACE, f"aggregate:{name}"))


def consumer_uuid(name: str) -> str:
    """Uuid of a consumer whose file gives a name only."""
    return str(uuid.uuid5(NAMESPACE, f"consumer:{name}"))


@valueclass(frozen=True, slots=True)
class ProviderEntry:
    """One provider of the file.

    ``uuid`` is None if the file gives none. ``inventories``, ``traits`` and ``aggregates`` (as
    uuids) are None where the file leaves the key out: then what is there stays. ``line`` counts
    from 1.
    """

    name: str
    line: int
    uuid: str | None = None
    inventories: Mapping[str, Inventory] | None = None
    traits: frozenset[str] | None = None
    aggregates: tuple[str, ...] | None = None
    children: tuple[ProviderEntry, ...] = ()

    def with_descendants(self) -> Iterator[tuple[ProviderEntry, ProviderEntry | None]]:
        """This entry and all below it with their parents, parents first."""
        waiting: list[tuple[ProviderEntry, ProviderEntry | None]] = [(self, None)]
        while waiting:
            entry, parent = waiting.pop()
            yield entry, parent
            waiting.extend((child, entry) for child in reversed(entry.children))


@valueclass(frozen=True, slots=True)
class ConsumerEntry:
    """One consumer of the file: all that it holds, by provider name and resource class."""

    uuid: str
    label: str
    line: int
    project_id: str
    user_id: str
    consumer_type: str | None
    allocations: Mapping[str, Mapping[str, int]]


@valueclass(frozen=True, slots=True)
class Document:
    """The whole file."""

    providers: tuple[ProviderEntry, ...]
    consumers: tuple[ConsumerEntry, ...] = ()

    def entries(self) -> Iterator[tuple[ProviderEntry, ProviderEntry | None]]:
        """Every provider with its parent, tree by tree, parents first."""
        for root in self.providers:
            yield from root.with_descendants()
