"""Read and lock what a group of commands touches.

Locks are taken in one order: providers by id, then consumers by id, then names. Statements are
counted by kinds of things, not by things: their number does not grow with the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from moorage.model.values import CUSTOM_PREFIX, Inventory
from moorage.rules.state import ConsumerRow, NameRow, ProviderRow, State, Touch
from moorage.store.bulk import Selection
from moorage.store.errors import WriteConflictError
from moorage.store.inventory_rows import FIELDS
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
    traits,
    users,
)


class Registries:
    """What a process remembers of names that stay."""

    def __init__(self) -> None:
        self.projects = Registry(projects, "external_id")
        self.users = Registry(users, "external_id")
        self.consumer_types = Registry(consumer_types, "name")
        self.aggregates = Registry(aggregates, "uuid")
        self.resource_classes = ClassRegistry()


_providers = sa.select(
    resource_providers.c.id,
    resource_providers.c.uuid,
    resource_providers.c.name,
    resource_providers.c.generation,
    resource_providers.c.parent_provider_id,
    resource_providers.c.root_provider_id,
    resource_providers.c.created_at,
    resource_providers.c.updated_at,
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
OF_TREES = Selection(_providers, resource_providers.c.root_provider_id)
LOCKED_OF_TREES = Selection(_providers.with_for_update(), resource_providers.c.root_provider_id)
UUIDS = Selection(sa.select(resource_providers.c.id, resource_providers.c.uuid), resource_providers.c.id)
NAMESAKES = Selection(
    sa.select(resource_providers.c.name, resource_providers.c.uuid), resource_providers.c.name
)
CONSUMERS = Selection(_consumers, consumers.c.uuid)
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
INVENTORIES = Selection(
    sa.select(
        inventories.c.resource_provider_id,
        inventories.c.resource_class_id,
        *(inventories.c[name] for name in FIELDS),
    ),
    inventories.c.resource_provider_id,
)
USED = Selection(
    sa.select(
        allocations.c.resource_provider_id,
        allocations.c.resource_class_id,
        # The bare sum is a decimal number on MariaDB.
        sa.cast(sa.func.sum(allocations.c.used), sa.BigInteger).label("used"),
    ).group_by(allocations.c.resource_provider_id, allocations.c.resource_class_id),
    allocations.c.resource_provider_id,
)
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


class Reader:
    """Reads one group's ``Touch`` into a ``State``."""

    def __init__(self, connection: sa.Connection, registries: Registries, *, locks: bool) -> None:
        self._connection = connection
        self._registries = registries
        self._locks = locks
        self._names: dict[int, str] = {}
        self._classes: dict[int, str] = {}
        self.known = Known()

    def read(self, touch: Touch) -> State:
        """Raises WriteConflictError if what is to be locked changed meanwhile."""
        state = State()
        held = self._held(touch.consumers)
        holders = {provider for items in held.values() for provider, _ in items}
        self._read_providers(state, touch, touch.providers | holders)
        self._read_provider_names(state, touch)
        if touch.consumers:
            self._read_consumers(state, touch.consumers)
            # One that held something when it was asked may be gone by now, and its lock with it.
            if self._locks and (any(state.consumers.values()) or any(held.values())):
                held = self._held(touch.consumers)
                holders = {provider for items in held.values() for provider, _ in items}
                if not holders <= state.providers.keys():
                    raise WriteConflictError
            state.held.update(held)
        self._read_inventories(state, touch.inventories)
        self._read_used(state, touch.used | holders)
        self._read_traits(state, touch.traits)
        self._read_aggregates(state, touch.aggregates)
        self._read_resource_classes(state, touch)
        self._read_trait_names(state, touch)
        return state

    def _named(self, rows: Iterable[Any]) -> dict[int, str]:
        """Names of the classes in these rows, and of all met before, by id."""
        unknown = {row.resource_class_id for row in rows} - self._classes.keys()
        if unknown:
            found = self._registries.resource_classes.names(self._connection, unknown)
            self._classes |= found
            self.known.resource_classes |= {name: id_ for id_, name in found.items()}
        return self._classes

    def _held(self, wanted: Iterable[str]) -> dict[str, dict[tuple[str, str], int]]:
        held: dict[str, dict[tuple[str, str], int]] = {consumer: {} for consumer in wanted}
        rows = HELD.rows(self._connection, held)
        names = self._named(rows)
        for consumer, provider, class_id, used in rows:
            # Only a collation could give a consumer that was not asked for.
            if consumer in held:
                held[consumer][provider, names[class_id]] = used
        return held

    def _read_providers(self, state: State, touch: Touch, uuids: frozenset[str] | set[str]) -> None:
        selection = LOCKED_PROVIDERS if self._locks else PROVIDERS
        rows = {row.id: row for row in selection.rows(self._connection, sorted(uuids))}
        if touch.trees:
            roots = {row.root_provider_id for row in rows.values() if row.uuid in touch.trees}
            selection = LOCKED_OF_TREES if self._locks else OF_TREES
            tree = selection.rows(self._connection, sorted(roots))
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

    def _read_relatives(self, rows: Iterable[Any]) -> None:
        """The uuids of parents and roots that are not among the rows themselves."""
        wanted = {
            id_
            for row in rows
            for id_ in (row.parent_provider_id, row.root_provider_id)
            if id_ is not None and id_ not in self._names
        }
        for id_, uuid in UUIDS.rows(self._connection, sorted(wanted)):
            self._names[id_] = uuid

    def _provider(self, row: Any) -> ProviderRow:
        id_, uuid, name, generation, parent, root, created_at, updated_at = row
        return ProviderRow(
            uuid=uuid,
            name=name,
            generation=generation,
            parent_uuid=None if parent is None else self._names[parent],
            root_uuid=self._names[root],
            id=id_,
            created_at=created_at,
            updated_at=updated_at,
        )

    def _read_provider_names(self, state: State, touch: Touch) -> None:
        state.provider_names.update(dict.fromkeys(touch.provider_names))
        for name, uuid in NAMESAKES.rows(self._connection, touch.provider_names):
            if name in touch.provider_names:
                state.provider_names[name] = uuid

    def _read_consumers(self, state: State, wanted: frozenset[str]) -> None:
        state.consumers.update(dict.fromkeys(wanted))
        selection = LOCKED_CONSUMERS if self._locks else CONSUMERS
        rows = [row for row in selection.rows(self._connection, sorted(wanted)) if row.uuid in wanted]
        known = self._registries
        project_names = known.projects.names(self._connection, (row.project_id for row in rows))
        user_names = known.users.names(self._connection, (row.user_id for row in rows))
        type_ids = {row.consumer_type_id for row in rows} - {None}
        types = known.consumer_types.names(self._connection, type_ids)
        for row in rows:
            state.consumers[row.uuid] = ConsumerRow(
                uuid=row.uuid,
                project_id=project_names[row.project_id],
                user_id=user_names[row.user_id],
                consumer_type=types.get(row.consumer_type_id),
                generation=row.generation,
                id=row.id,
            )

    def _existing(self, state: State, uuids: Iterable[str]) -> dict[int, str]:
        """Those of the providers that exist: uuid by id."""
        return {
            row.id: uuid
            for uuid in uuids
            if (row := state.providers.get(uuid)) is not None and row.id is not None
        }

    def _read_inventories(self, state: State, uuids: Iterable[str]) -> None:
        ids = self._existing(state, uuids)
        found: dict[int, dict[str, Any]] = {id_: {} for id_ in ids}
        rows = INVENTORIES.rows(self._connection, sorted(ids))
        names = self._named(rows)
        for provider_id, class_id, *values in rows:
            found[provider_id][names[class_id]] = Inventory(*values)
        state.inventories.update({ids[id_]: items for id_, items in found.items()})

    def _read_used(self, state: State, uuids: Iterable[str]) -> None:
        ids = self._existing(state, uuids)
        found: dict[int, dict[str, int]] = {id_: {} for id_ in ids}
        rows = USED.rows(self._connection, sorted(ids))
        names = self._named(rows)
        for provider_id, class_id, used in rows:
            found[provider_id][names[class_id]] = used
        state.used.update({ids[id_]: items for id_, items in found.items()})

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
