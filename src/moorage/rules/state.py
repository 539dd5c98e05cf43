"""The part of the account that a group of commands touches, and how it changes.

store/ reads a ``State`` before the rules decide, and then writes back the difference. Its mappings hold an
entry for everything that a ``Touch`` asks for. Asking a state for something that was not read is a fault of
the program and raises KeyError.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Generic, Self, TypeVar, cast

from moorage.model.commands import Keep
from moorage.model.errors import ProviderNotFoundError, ResourceClassNotFoundError, StaleGenerationError
from moorage.model.keys import RememberedAnswer
from moorage.model.leases import Lease
from moorage.model.placing import ClaimOrigin
from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory, Provider

ResultT = TypeVar("ResultT")
OtherT = TypeVar("OtherT")

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
        """The provider without the fields that only the database needs."""
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

    ``renamed_to``: the present name of a class that had this name (resource classes only).
    """

    exists: bool
    in_use: bool = False
    renamed_to: str | None = None


TICKS: Final = "ticks"
"""Service time in a state's ``clock``."""

MOST_LEFT: Final = 1_000
"""Claims that one write takes off a lease, at most. Its record names each of them."""


@valueclass(frozen=True, slots=True)
class Touch:
    """What must be read for a command: names and uuids.

    ``providers`` are locked. ``trees``: all providers in the trees of these providers are read too.
    ``consumers``: their rows, what they hold, and the providers that they hold it of, with their use.
    ``newcomers`` are the consumers that the client takes for new: a hint, which may be wrong.
    ``kept_classes`` must not go before the command's transaction ends. ``keys``: ids of idempotency keys.
    ``leases`` are locked. ``hanging``: those of them whose claims are read and locked as ``consumers`` are,
    if they are few enough. ``clock``: ``TICKS``, if service time decides.
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
    keys: frozenset[str] = frozenset()
    leases: frozenset[str] = frozenset()
    hanging: frozenset[str] = frozenset()
    clock: frozenset[str] = frozenset()

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


OF_PROVIDER: Final = MappingProxyType({"of_provider": True})
"""A part by the uuid of a provider, which a search sees otherwise when the part differs."""


@dataclass(slots=True)
class AccountParts:
    """All parts of the account that a command can change.

    A new part is one field here: ``State`` and ``Changes`` have it too.

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
    keys
        what is remembered under idempotency keys, by their ids; None: nothing.
    origins
        what native claims asked for, by consumer; None: no longer. As read: KEEP where there is one. A new
        consumer may find that of an earlier one.
    attached
        the lease that a claim hangs on, by consumer, where there is one; None: no longer. It is read, and
        kept, with the origin of the claim: without one there is no lease.
    leases
        by uuid; None: there is none.
    """

    providers: MutableMapping[str, ProviderRow | None] = field(default_factory=dict, metadata=OF_PROVIDER)
    provider_names: MutableMapping[str, str | None] = field(default_factory=dict)
    inventories: MutableMapping[str, Inventories] = field(default_factory=dict, metadata=OF_PROVIDER)
    used: MutableMapping[str, Used] = field(default_factory=dict, metadata=OF_PROVIDER)
    traits: MutableMapping[str, frozenset[str]] = field(default_factory=dict, metadata=OF_PROVIDER)
    aggregates: MutableMapping[str, tuple[str, ...]] = field(default_factory=dict, metadata=OF_PROVIDER)
    consumers: MutableMapping[str, ConsumerRow | None] = field(default_factory=dict)
    held: MutableMapping[str, Held] = field(default_factory=dict)
    resource_classes: MutableMapping[str, NameRow] = field(default_factory=dict)
    trait_names: MutableMapping[str, NameRow] = field(default_factory=dict)
    keys: MutableMapping[str, RememberedAnswer | None] = field(default_factory=dict)
    origins: MutableMapping[str, ClaimOrigin | Keep | None] = field(default_factory=dict)
    attached: MutableMapping[str, str | None] = field(default_factory=dict)
    leases: MutableMapping[str, Lease | None] = field(default_factory=dict)


_PARTS = tuple(item.name for item in fields(AccountParts))

_FACETS = tuple(item.name for item in fields(AccountParts) if item.metadata)


@dataclass(slots=True)
class State(AccountParts):
    """The account as far as it was read.

    equal_names, equal_consumers
        from the name of a missing provider, or the uuid of a missing consumer, to an existing one that
        this database holds equal. A collation may ignore case, accents or spaces at the end.
    clock
        ``TICKS``: service time.
    hanging
        how many claims hang on a lease, ``MOST_LEFT`` + 1 at most. If they are more than ``MOST_LEFT``, they
        were not read.

    No command changes these.
    """

    equal_names: MutableMapping[str, str] = field(default_factory=dict)
    equal_consumers: MutableMapping[str, str] = field(default_factory=dict)
    clock: MutableMapping[str, int] = field(default_factory=dict)
    hanging: MutableMapping[str, int] = field(default_factory=dict)

    def copy(self) -> State:
        """A state with mappings of its own (their values are immutable)."""
        return State(**{name: dict(getattr(self, name)) for name in _READ})

    def scratch(self) -> State:
        """A state that reads through to this one and keeps its changes to itself."""
        return State(**{name: ChainMap({}, getattr(self, name)) for name in _READ})

    def apply(self, changes: Changes[Any]) -> None:
        """Take over a command's changes."""
        for name in _PARTS:
            changed = getattr(changes, name)
            if changed:
                getattr(self, name).update(changed)

    def take_over(self, changes: Changes[Any]) -> frozenset[str] | None:
        """Apply a command's changes, and say which providers they touch. None: there is nothing to write."""
        if not changes:
            return None
        self.apply(changes)
        return frozenset(changes.touched_providers())

    def owner_of(self, name: str) -> str | None:
        """The provider that has a name, or one that the database holds equal."""
        owner = self.provider_names[name]
        return self.provider_names.get(self.equal_names.get(name, name)) if owner is None else owner

    def rows(self) -> Iterator[ProviderRow]:
        """The providers that exist."""
        return (row for row in self.providers.values() if row is not None)


_READ = tuple(item.name for item in fields(State))


@dataclass
class _Decided(Generic[ResultT]):
    result: ResultT
    kind: str
    changes_names: bool = False
    reason: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Changes(AccountParts, _Decided[ResultT]):
    """What a command changes, in the shape of an ``AccountParts``, and what it answers.

    ``consumers`` with None and ``providers`` with None are removals. ``changes_names``: traits or resource
    classes were added or removed. ``reason``: why the service did it of itself, for the journal.
    """

    def touched_providers(self) -> set[str]:
        """Providers whose state, as a search sees it, or whose row may differ now."""
        return set[str]().union(*[getattr(self, name) for name in _FACETS])

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.touched_providers()
            or self.consumers
            or self.held
            or self.changes_names
            or self.keys
            or self.leases
            or self.attached
        )

    def answering(self, result: OtherT) -> Changes[OtherT]:
        """The same changes with another answer. They are no longer those of this object."""
        found = cast("Changes[OtherT]", self)
        found.result = result
        return found

    @classmethod
    def of_scratch(cls, scratch: State, result: ResultT, kind: str, *, changes_names: bool) -> Self:
        """The changes that were applied to a ``State.scratch()``."""
        own = {name: dict(getattr(scratch, name).maps[0]) for name in _PARTS}
        return cls(result, kind, changes_names, **own)


def existing(state: State, uuid: str) -> ProviderRow:
    """The provider's row. Raises ProviderNotFoundError."""
    row = state.providers[uuid]
    if row is None:
        raise ProviderNotFoundError(uuid)
    return row


def bumped(row: ProviderRow) -> ProviderRow:
    """The row with the next generation."""
    # Every claim does this, and ``replace`` takes several times as long as the rest of its decision.
    return ProviderRow(
        uuid=row.uuid,
        name=row.name,
        generation=row.generation + 1,
        parent_uuid=row.parent_uuid,
        root_uuid=row.root_uuid,
        id=row.id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def all_bumped(state: State, uuids: Iterable[str]) -> dict[str, ProviderRow]:
    """The rows of several providers, with their next generations. Raises ProviderNotFoundError."""
    return {uuid: bumped(existing(state, uuid)) for uuid in uuids}


def check_generation(row: ProviderRow, given: int | None) -> None:
    """Raises StaleGenerationError unless the client's view is the present one (or not given)."""
    if given is not None and given != row.generation:
        raise StaleGenerationError(row.uuid, row.generation, given)


def check_classes_exist(state: State, resource_classes: Iterable[str]) -> None:
    """Raises ResourceClassNotFoundError for the first unknown one."""
    for resource_class in resource_classes:
        if not state.resource_classes[resource_class].exists:
            raise ResourceClassNotFoundError(resource_class)


def in_use(resource_classes: Iterable[str]) -> dict[str, NameRow]:
    """The classes as names that a provider now has an inventory of."""
    return {name: NameRow(exists=True, in_use=True) for name in resource_classes}
