"""The content of a file for ``moorage load``, as values. The format: docs/reference/load-format.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory


@valueclass(frozen=True, slots=True)
class ProviderEntry:
    """One provider of the file.

    ``uuid`` is None if the file gives none. ``inventories``, ``traits`` and ``aggregates`` (as uuids) are
    None where the file leaves the key out: then the present values stay. ``line`` counts from 1.
    """

    name: str
    line: int
    uuid: str | None = None
    inventories: Mapping[str, Inventory] | None = None
    traits: frozenset[str] | None = None
    aggregates: tuple[str, ...] | None = None
    children: tuple[ProviderEntry, ...] = ()

    def with_descendants(self) -> Iterator[tuple[ProviderEntry, ProviderEntry | None]]:
        """This entry and all its descendants with their parents, parents first."""
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
