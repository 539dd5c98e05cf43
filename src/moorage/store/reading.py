"""Read and lock what a group of commands touches.

Locks are taken in one order: providers by id, then consumers by id, then names. Statements are
counted by kinds of things, not by things: their number does not grow with the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from moorage.model.values import CUSTOM_PREFIX, Inventory
from moorage.rules.state import ConsumerRow, NameRow, ProviderRow, State, Touch, Used
from moorage.store.bulk import Part, Selection, Selections
from moorage.store.changelog import THE_ROW
from moorage.store.errors import WriteConflictError
from moorage.store.inventory_rows import FIELDS
from moorage.store.literals import number
from moorage.store.registry import ClassRegistry, Registry
from moorage.store.tables import (
    aggregates,
    allocations,
    consumer_types,
    consumers,
    inventories,
    projects,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    revisions,
    traits,
    users,
)
from moorage.store.usage_memory import Facts, UsageMemory


class Registries:
    """What a process remembers of names that stay."""

    def __init__(self) -> None:
        self.projects = Registry(projects, "external_id")
        self.users = Registry(users, "external_id")
        self.consumer_types = Registry(consumer_types, "name")
        self.aggregates = Registry(aggregates, "uuid")
        self.resource_classes = ClassRegistry()


_provider_columns = (
    resource_providers.c.id,
    resource_providers.c.uuid,
    resource_providers.c.name,
    resource_providers.c.generation,
    resource_providers.c.parent_provider_id,
    resource_providers.c.root_provider_id,
)
_undated_providers = sa.select(*_provider_columns).order_by(resource_providers.c.id)
_providers = sa.select(
    *_provider_columns, resource_providers.c.created_at, resource_providers.c.updated_at
).order_by(resource_providers.c.id)
_consumers = sa.select(
    consumers.c.id,
    consumers.c.uuid,
    consumers.c.project_id,
    consumers.c.user_id,
    consumers.c.consumer_type_id,
    consumers.c.generation,
).order_by(consumers.c.id)

PROVIDERS = Selection(_providers, resource_providers.c.uuid)
LOCKED_PROVIDERS = Selection(_providers.with_for_update(), resource_providers.c.uuid)
UNDATED_PROVIDERS = Selection(_undated_providers, resource_providers.c.uuid)
LOCKED_UNDATED_PROVIDERS = Selection(_undated_providers.with_for_update(), resource_providers.c.uuid)
OF_TREES = Selection(_providers, resource_providers.c.root_provider_id)
LOCKED_OF_TREES = Selection(_providers.with_for_update(), resource_providers.c.root_provider_id)
UUIDS = Selection(sa.select(resource_providers.c.id, resource_providers.c.uuid), resource_providers.c.id)
NAMESAKES = Selection(
    sa.select(resource_providers.c.name, resource_providers.c.uuid), resource_providers.c.name
)
LOCKED_CONSUMERS = Selection(_consumers.with_for_update(), consumers.c.uuid)
HELD = Selection(
    sa.select(
        allocations.c.consumer_id,
        resource_providers.c.uuid,
        allocations.c.resource_class_id,
        allocations.c.used,
    ).join_from(
        allocations, resource_providers, allocations.c.resource_provider_id == resource_providers.c.id
    ),
    allocations.c.consumer_id,
)
_INVENTORY, _CONSUMER, _HELD, _USED, _REVISION = range(5)
_UUID = 1
"""Place of a consumer's uuid in a row."""


# Without a type, so that a ratio keeps its own in the union: another number would make it a longer one.
_no_ratio: sa.ColumnElement[Any] = sa.null()
_no_text = sa.literal_column("''", sa.String)


def _row(sort: int, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """A query for rows of one sort: seven numbers, a ratio and a text."""
    *numbers, ratio, text = columns
    return sa.select(number(sort), *numbers, *[number(0)] * (7 - len(numbers)), ratio, text)


_inventories = _row(
    _INVENTORY,
    inventories.c.resource_provider_id,
    inventories.c.resource_class_id,
    *(inventories.c[name] for name in FIELDS),
    _no_text,
)
_others = _row(
    _CONSUMER,
    consumers.c.id,
    consumers.c.project_id,
    consumers.c.user_id,
    consumers.c.consumer_type_id,
    consumers.c.generation,
    _no_ratio,
    consumers.c.uuid,
)
_held = _row(
    _HELD,
    allocations.c.resource_provider_id,
    allocations.c.resource_class_id,
    allocations.c.used,
    _no_ratio,
    allocations.c.consumer_id,
)
# The bare sum is a decimal number on MariaDB.
_sum = sa.cast(sa.func.sum(allocations.c.used), sa.BigInteger)
_used = _row(
    _USED, allocations.c.resource_provider_id, allocations.c.resource_class_id, _sum, _no_ratio, _no_text
).group_by(allocations.c.resource_provider_id, allocations.c.resource_class_id)

_revision = _row(_REVISION, revisions.c.revision, number(0), _no_ratio, _no_text)

FACTS = Selections(
    # The first one has the ratio, from which the others take its type.
    Part(_inventories, inventories.c.resource_provider_id, "inventories", 0),
    Part(_others, consumers.c.uuid, "consumers", ""),
    Part(_held, allocations.c.consumer_id, "holders", ""),
    Part(_used, allocations.c.resource_provider_id, "used", 0),
    Part(_revision, revisions.c.id, "revision", 0),
)
"""What claims are decided by, in one statement: inventories, consumers that are not locked, what consumers
hold, how much of inventories is used, and at which revision all that is so."""

PROVIDER_TRAITS = Selection(
    sa.select(provider_traits.c.resource_provider_id, traits.c.id, traits.c.name).join_from(
        provider_traits, traits
    ),
    provider_traits.c.resource_provider_id,
)
PROVIDER_AGGREGATES = Selection(
    sa.select(provider_aggregates.c.resource_provider_id, aggregates.c.uuid).join_from(
        provider_aggregates, aggregates, provider_aggregates.c.aggregate_id == aggregates.c.id
    ),
    provider_aggregates.c.resource_provider_id,
)


def _used_names(table: sa.Table, reference: sa.Column[Any]) -> Selection:
    return Selection(sa.select(table.c.name).where(sa.exists().where(reference == table.c.id)), table.c.name)


def _locked_classes(*, shared: bool) -> Selection:
    table = resource_classes
    return Selection(sa.select(table.c.id).order_by(table.c.id).with_for_update(read=shared), table.c.name)


TRAITS = Selection(sa.select(traits.c.id, traits.c.name), traits.c.name)
USED_CLASSES = _used_names(resource_classes, inventories.c.resource_class_id)
USED_TRAITS = _used_names(traits, provider_traits.c.trait_id)
KEPT_CLASSES = _locked_classes(shared=True)
LEAVING_CLASSES = _locked_classes(shared=False)


@dataclass(slots=True)
class Known:
    """Database ids met while reading: providers by uuid, classes and traits by name."""

    providers: dict[str, int] = field(default_factory=dict)
    resource_classes: dict[str, int] = field(default_factory=dict)
    traits: dict[str, int] = field(default_factory=dict)


class _Provider(NamedTuple):
    id: int
    uuid: str
    name: str
    generation: int
    parent_id: int | None
    root_id: int
    created_at: datetime | None = None
    updated_at: datetime | None = None


class NotNewError(Exception):
    """A consumer that a client takes for new is there already, so that other locks come before its own."""


class Reader:
    """Reads one group's ``Touch`` into a ``State``."""

    def __init__(self, connection: sa.Connection, registries: Registries, *, locks: bool) -> None:
        self._connection = connection
        self._registries = registries
        self._locks = locks
        self._names: dict[int, str] = {}
        self._classes: dict[int, str] = {}
        self.known = Known()
        self._memory = UsageMemory.of(connection, registries)
        self._revision: int | None = None

    def read(self, touch: Touch) -> State:
        """Raises NotNewError, and WriteConflictError if what is to be locked changed meanwhile."""
        state = State()
        known = touch.consumers - touch.newcomers
        holders = {provider for items in self._held(known).values() for provider, _ in items}
        self._read_providers(state, touch, touch.providers | holders)
        self._read_provider_names(state, touch)
        self._read_claims(state, touch, holders)
        self._read_traits(state, touch.traits)
        self._read_aggregates(state, touch.aggregates)
        self._read_resource_classes(state, touch)
        self._read_trait_names(state, touch)
        return state

    def _read_claims(self, state: State, touch: Touch, holders: set[str]) -> None:
        """Consumers, what they hold, inventories and their use. Providers have been read."""
        lockable = touch.consumers - touch.newcomers if self._locks else frozenset[str]()
        locked = LOCKED_CONSUMERS.tuples(self._connection, sorted(lockable))
        inventory_ids = self._existing(state, touch.inventories)
        used_ids = self._existing(state, touch.used | holders)
        recalled = self._memory.recall({id_: _generation(state, uuid) for id_, uuid in used_ids.items()})
        had = {id_: facts.inventories for id_, facts in recalled.items() if facts.inventories is not None}
        sorts = self._facts(
            inventories=sorted(inventory_ids.keys() - had.keys()),
            consumers=sorted(touch.consumers.difference(row[_UUID] for row in locked)),
            holders=sorted(touch.consumers),
            used=sorted(used_ids.keys() - recalled.keys()),
            revision=[THE_ROW] if used_ids else [],
        )
        if sorts[_REVISION]:
            self._revision = revision = sorts[_REVISION][0][0]
            if recalled and not self._memory.holds(revision):
                again = self._facts(
                    inventories=sorted(inventory_ids.keys() & had.keys()), used=sorted(recalled)
                )
                sorts[_INVENTORY] += again[_INVENTORY]
                sorts[_USED] += again[_USED]
                recalled, had = {}, {}
        of_classes = sorts[_INVENTORY] + sorts[_HELD] + sorts[_USED]
        names = self._class_names({class_id for _, class_id, *_ in of_classes})
        self._take_held(state, touch, sorts[_HELD], used_ids, names)
        self._take_consumers(state, touch, locked, sorts[_CONSUMER])
        inventory: dict[int, dict[str, Inventory]] = {id_: dict(had.get(id_, {})) for id_ in inventory_ids}
        for provider_id, class_id, *values, _ in sorts[_INVENTORY]:
            inventory[provider_id][names[class_id]] = Inventory(*values)
        state.inventories.update({inventory_ids[id_]: items for id_, items in inventory.items()})
        used = {id_: dict(recalled[id_].used) if id_ in recalled else {} for id_ in used_ids}
        for provider_id, class_id, amount, *_ in sorts[_USED]:
            used[provider_id][names[class_id]] = amount
        state.used.update({used_ids[id_]: items for id_, items in used.items()})

    def _facts(self, **values: Sequence[object]) -> list[list[Any]]:
        """What ``FACTS`` finds, by sort."""
        names = ("inventories", "consumers", "holders", "used", "revision")
        sorts: list[list[Any]] = [[] for _ in names]
        for sort, *fact in FACTS.rows(self._connection, **{name: values.get(name, ()) for name in names}):
            sorts[sort].append(fact)
        return sorts

    @property
    def revision(self) -> int | None:
        """The one that was read; None if none was."""
        return self._revision

    def revision_after(self, writes: int) -> int | None:
        """What so many writes make of the revision that was read, if one was, where nobody else can write."""
        return None if self._revision is None else self._revision + writes

    def changed_use(self, before: State, after: State) -> dict[int, Used]:
        """What those providers use now that used something else before, by id and class."""
        return {
            id_: after.used[uuid]
            for id_, uuid in self._existing(after, after.used).items()
            if after.used[uuid] is not before.used[uuid]
        }

    def remember(self, after: State, writes: int) -> None:
        """Once claims that led to ``after`` are committed, as so many writes: know what is in use."""
        if self._revision is not None:
            left = {
                id_: (_generation(after, uuid), Facts(after.used[uuid], after.inventories.get(uuid)))
                for id_, uuid in self._existing(after, after.used).items()
            }
            self._memory.learn(self._revision, self._revision + writes, left)

    def forget(self) -> None:
        """Know no more what is in use."""
        self._memory.forget()

    def _take_held(
        self,
        state: State,
        touch: Touch,
        facts: Iterable[Sequence[Any]],
        counted: Mapping[int, str],
        names: Mapping[int, str],
    ) -> None:
        """``counted``: the providers whose use has been read, by id."""
        held: dict[str, dict[tuple[str, str], int]] = {uuid: {} for uuid in touch.consumers}
        for provider_id, class_id, amount, *_, consumer in facts:
            if consumer in touch.newcomers:
                raise NotNewError
            # Only a collation could give a consumer that was not asked for.
            if consumer in held:
                provider = counted.get(provider_id)
                if provider is None:
                    # It was given to the consumer after that had been asked what it holds.
                    raise WriteConflictError
                held[consumer][provider, names[class_id]] = amount
        state.held.update(held)

    def _take_consumers(
        self, state: State, touch: Touch, locked: Iterable[Any], facts: Iterable[Sequence[Any]]
    ) -> None:
        rows = [(uuid, id_, *rest) for id_, uuid, *rest in locked if uuid in touch.consumers]
        for *numbers, _, _, _, uuid in facts:
            if uuid in touch.newcomers:
                raise NotNewError
            if uuid in touch.consumers:
                if self._locks:
                    # It came in after the others had been locked.
                    raise WriteConflictError
                rows.append((uuid, *numbers))
        state.consumers.update(dict.fromkeys(touch.consumers))
        known = self._registries
        projects = known.projects.names(self._connection, (row[2] for row in rows))
        users = known.users.names(self._connection, (row[3] for row in rows))
        types = known.consumer_types.names(self._connection, {row[4] for row in rows} - {None})
        for uuid, id_, project_id, user_id, type_id, generation in rows:
            state.consumers[uuid] = ConsumerRow(
                uuid, projects[project_id], users[user_id], types.get(type_id), generation, id_
            )

    def _class_names(self, ids: set[int]) -> Mapping[int, str]:
        """Names of these classes, and of all met before, by id."""
        unknown = ids - self._classes.keys()
        if unknown:
            found = self._registries.resource_classes.names(self._connection, unknown)
            self._classes |= found
            self.known.resource_classes |= {name: id_ for id_, name in found.items()}
        return self._classes

    def _held(self, wanted: Iterable[str]) -> dict[str, dict[tuple[str, str], int]]:
        held: dict[str, dict[tuple[str, str], int]] = {consumer: {} for consumer in wanted}
        rows = HELD.tuples(self._connection, held)
        names = self._class_names({class_id for _, _, class_id, _ in rows})
        for consumer, provider, class_id, used in rows:
            # Only a collation could give a consumer that was not asked for.
            if consumer in held:
                held[consumer][provider, names[class_id]] = used
        return held

    def _read_providers(self, state: State, touch: Touch, uuids: frozenset[str] | set[str]) -> None:
        rows = self._provider_rows(touch, uuids)
        if touch.trees:
            roots = {row.root_id for row in rows.values() if row.uuid in touch.trees}
            selection = LOCKED_OF_TREES if self._locks else OF_TREES
            tree = [_Provider(*row) for row in selection.rows(self._connection, sorted(roots))]
            rows |= {row.id: row for row in tree}
            if self._locks:
                # A child may have come in between the statement's snapshot and its locks.
                again = OF_TREES.rows(self._connection, sorted(roots))
                if {row.id for row in again} != {row.id for row in tree}:
                    raise WriteConflictError
        self._names |= {row.id: row.uuid for row in rows.values()}
        self._read_relatives(rows.values())
        state.providers.update(dict.fromkeys(uuids))
        state.providers.update({row.uuid: self._provider(row) for row in rows.values()})
        self.known.providers |= {uuid: id_ for id_, uuid in self._names.items()}

    def _provider_rows(self, touch: Touch, uuids: Iterable[str]) -> dict[int, _Provider]:
        """By id; with their dates only where the wire may tell of them."""
        wanted = sorted(uuids)
        if touch.trees or touch.provider_names:
            selection = LOCKED_PROVIDERS if self._locks else PROVIDERS
            rows = selection.rows(self._connection, wanted)
        else:
            selection = LOCKED_UNDATED_PROVIDERS if self._locks else UNDATED_PROVIDERS
            rows = selection.tuples(self._connection, wanted)
        return {row[0]: _Provider(*row) for row in rows}

    def _read_relatives(self, rows: Iterable[_Provider]) -> None:
        """The uuids of parents and roots that are not among the rows themselves."""
        wanted = {
            id_
            for row in rows
            for id_ in (row.parent_id, row.root_id)
            if id_ is not None and id_ not in self._names
        }
        for id_, uuid in UUIDS.rows(self._connection, sorted(wanted)):
            self._names[id_] = uuid

    def _provider(self, row: _Provider) -> ProviderRow:
        return ProviderRow(
            uuid=row.uuid,
            name=row.name,
            generation=row.generation,
            parent_uuid=None if row.parent_id is None else self._names[row.parent_id],
            root_uuid=self._names[row.root_id],
            id=row.id,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def _read_provider_names(self, state: State, touch: Touch) -> None:
        state.provider_names.update(dict.fromkeys(touch.provider_names))
        for name, uuid in NAMESAKES.rows(self._connection, touch.provider_names):
            if name in touch.provider_names:
                state.provider_names[name] = uuid

    def _existing(self, state: State, uuids: Iterable[str]) -> dict[int, str]:
        """Those of the providers that exist: uuid by id."""
        return {
            row.id: uuid
            for uuid in uuids
            if (row := state.providers.get(uuid)) is not None and row.id is not None
        }

    def _read_traits(self, state: State, uuids: Iterable[str]) -> None:
        ids = self._existing(state, uuids)
        found: dict[int, set[str]] = defaultdict(set)
        for provider_id, trait_id, name in PROVIDER_TRAITS.rows(self._connection, sorted(ids)):
            found[provider_id].add(name)
            self.known.traits[name] = trait_id
        state.traits.update({uuid: frozenset(found[id_]) for id_, uuid in ids.items()})

    def _read_aggregates(self, state: State, uuids: Iterable[str]) -> None:
        ids = self._existing(state, uuids)
        found: dict[int, list[str]] = defaultdict(list)
        for provider_id, aggregate in PROVIDER_AGGREGATES.rows(self._connection, sorted(ids)):
            found[provider_id].append(aggregate)
        state.aggregates.update({uuid: tuple(found[id_]) for id_, uuid in ids.items()})

    def _read_resource_classes(self, state: State, touch: Touch) -> None:
        # Nothing in the schema holds an inventory to its class: whoever adds one keeps a custom
        # class from being deleted, and whoever deletes one waits for those.
        if self._locks:
            kept = {name for name in touch.kept_classes if name.startswith(CUSTOM_PREFIX)}
            KEPT_CLASSES.execute(self._connection, sorted(kept - touch.resource_class_use))
            LEAVING_CLASSES.execute(self._connection, sorted(touch.resource_class_use))
        used = {name for (name,) in USED_CLASSES.rows(self._connection, touch.resource_class_use)}
        state.resource_classes.update(dict.fromkeys(touch.resource_classes, NameRow(exists=False)))
        found = self._registries.resource_classes.ids(self._connection, touch.resource_classes)
        self.known.resource_classes |= found
        state.resource_classes.update({name: NameRow(exists=True, in_use=name in used) for name in found})

    def _read_trait_names(self, state: State, touch: Touch) -> None:
        used = {name for (name,) in USED_TRAITS.rows(self._connection, touch.trait_use)}
        state.trait_names.update(dict.fromkeys(touch.trait_names, NameRow(exists=False)))
        for id_, name in TRAITS.rows(self._connection, touch.trait_names):
            if name in touch.trait_names:
                self.known.traits[name] = id_
                state.trait_names[name] = NameRow(exists=True, in_use=name in used)


def _generation(state: State, uuid: str) -> int:
    row = state.providers[uuid]
    assert row is not None, "only providers that exist have been read"
    return row.generation
