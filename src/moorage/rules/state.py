"""The part of the account that a group of commands touches, and how it changes.

A ``State`` is read by store/ before the rules decide, and written back by it as the difference
to what was read. Its mappings hold an entry for everything that was asked for in a ``Touch``:
asking a state for what was not read is a fault of the program and raises KeyError.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory, Provider

ResultT = TypeVar("ResultT")

Inventories = Mapping[str, Inventory]
"""Inventory by resource class."""

Used = Mapping[str, int]
"""Amount used by resource class; a class that is not used may be missing."""

Held = Mapping[tuple[str, str], int]
"""Amount by (provider uuid, resource class)."""


@valueclass(frozen=True, slots=True)
class ProviderRow:
    """A provider as the database has it; ``id`` None until it is written."""

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    root_uuid: str
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def value(self) -> Provider:
        """The provider without what only the database cares for."""
        return Provider(
            uuid=self.uuid,
            name=self.name,
            generation=self.generation,
            parent_uuid=self.parent_uuid,
            root_uuid=self.root_uuid,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@valueclass(frozen=True, slots=True)
class ConsumerRow:
    """A consumer as the database has it; ``id`` None until it is written."""

    uuid: str
    project_id: str
    user_id: str
    consumer_type: str | None
    generation: int
    id: int | None = None


@valueclass(frozen=True, slots=True)
class NameRow:
    """Whether a trait or a resource class exists, and whether a provider has it.

    ``renamed_to``: it is gone because it is called so now (resource classes only).
    """

    exists: bool
    in_use: bool = False
    renamed_to: str | None = None


@valueclass(frozen=True, slots=True)
class Touch:
    """What a command needs to be read: names and uuids.

    ``providers`` are locked. ``trees``: all providers of the trees of these providers are read
    too. ``consumers``: their rows, what they hold, and the providers that they hold it of, with
    their use. ``newcomers`` are those of them that the client takes for new: a hint, which need not
    be true. ``kept_classes`` must not go before the command's transaction ends.
    """

    providers: frozenset[str] = frozenset()
    provider_names: frozenset[str] = frozenset()
    inventories: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()
    trees: frozenset[str] = frozenset()
    consumers: frozenset[str] = frozenset()
    newcomers: frozenset[str] = frozenset()
    resource_classes: frozenset[str] = frozenset()
    kept_classes: frozenset[str] = frozenset()
    resource_class_use: frozenset[str] = frozenset()
    trait_names: frozenset[str] = frozenset()
    trait_use: frozenset[str] = frozenset()

    def __or__(self, other: Touch) -> Touch:
        return Touch.union((self, other))

    @staticmethod
    def union(touches: Iterable[Touch]) -> Touch:
        """What several commands need together."""
        touches = tuple(touches)
        return Touch(
            **{
                name: frozenset().union(*(found for each in touches if (found := getattr(each, name))))
                for name in _TOUCHED
            }
        )


_TOUCHED = tuple(item.name for item in fields(Touch))


def _empty() -> MutableMapping[str, Any]:
    return {}


@dataclass(slots=True)
class State:
    """The account as far as it was read.

    providers
        by uuid; None: there is none.
    provider_names
        name to the uuid of the provider that has it, or None.
    inventories, used, traits, aggregates
        by provider uuid; only for providers that exist.
    consumers
        by uuid; None: there is none.
    held
        by consumer uuid; empty for one that holds nothing.
    resource_classes, trait_names
        by name.
    """

    providers: MutableMapping[str, ProviderRow | None] = field(default_factory=_empty)
    provider_names: MutableMapping[str, str | None] = field(default_factory=_empty)
    inventories: MutableMapping[str, Inventories] = field(default_factory=_empty)
    used: MutableMapping[str, Used] = field(default_factory=_empty)
    traits: MutableMapping[str, frozenset[str]] = field(default_factory=_empty)
    aggregates: MutableMapping[str, tuple[str, ...]] = field(default_factory=_empty)
    consumers: MutableMapping[str, ConsumerRow | None] = field(default_factory=_empty)
    held: MutableMapping[str, Held] = field(default_factory=_empty)
    resource_classes: MutableMapping[str, NameRow] = field(default_factory=_empty)
    trait_names: MutableMapping[str, NameRow] = field(default_factory=_empty)

    def copy(self) -> State:
        """A state with mappings of its own (their values are immutable)."""
        return State(**{item.name: dict(getattr(self, item.name)) for item in fields(self)})

    def scratch(self) -> State:
        """A state that reads through to this one and keeps its changes to itself."""
        return State(**{item.name: ChainMap({}, getattr(self, item.name)) for item in fields(self)})

    def apply(self, changes: Changes[Any]) -> None:
        """Take over what was decided."""
        for name in _PARTS:
            changed = getattr(changes, name)
            if changed:
                getattr(self, name).update(changed)

    def rows(self) -> Iterator[ProviderRow]:
        """The providers that exist."""
        return (row for row in self.providers.values() if row is not None)


_PARTS = tuple(item.name for item in fields(State))


@dataclass(slots=True)
class Changes(Generic[ResultT]):
    """What a command changes, in the shape of a ``State``, and what it answers.

    ``consumers`` with None and ``providers`` with None are removals. ``changes_names``: traits or
    resource classes came or went.
    """

    result: ResultT
    kind: str
    changes_names: bool = False
    providers: dict[str, ProviderRow | None] = field(default_factory=dict)
    provider_names: dict[str, str | None] = field(default_factory=dict)
    inventories: dict[str, Inventories] = field(default_factory=dict)
    used: dict[str, Used] = field(default_factory=dict)
    traits: dict[str, frozenset[str]] = field(default_factory=dict)
    aggregates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    consumers: dict[str, ConsumerRow | None] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    resource_classes: dict[str, NameRow] = field(default_factory=dict)
    trait_names: dict[str, NameRow] = field(default_factory=dict)

    def touched_providers(self) -> set[str]:
        """Providers whose state, as a search sees it, or whose row may differ now."""
        return set(self.providers).union(self.inventories, self.used, self.traits, self.aggregates)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.touched_providers() or self.consumers or self.held or self.changes_names)

    @classmethod
    def of_scratch(cls, scratch: State, result: ResultT, kind: str, *, changes_names: bool) -> Self:
        """What was applied to a ``State.scratch()``."""
        own = {item.name: dict(getattr(scratch, item.name).maps[0]) for item in fields(scratch)}
        return cls(result, kind, changes_names, **own)
