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

from moorage.model.values import CUSTOM_PREFIX
from moorage.rules.state import ConsumerRow, NameRow, ProviderRow, State, Touch
from moorage.store.batches import batches
from moorage.store.errors import WriteConflictError
from moorage.store.inventory_rows import inventory_of, select_inventories, select_used
from moorage.store.registry import Registry
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
    """What a process remembers of names that are only ever added."""

    def __init__(self) -> None:
        self.projects = Registry(projects, "external_id")
        self.users = Registry(users, "external_id")
        self.consumer_types = Registry(consumer_types, "name")
        self.aggregates = Registry(aggregates, "uuid")


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
            if self._locks and any(state.consumers.values()):
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

    def _rows(
        self, query: sa.Select[Any], column: sa.ColumnElement[Any], values: Iterable[object]
    ) -> list[Any]:
        """All rows where ``column`` is one of ``values``."""
        return [
            row
            for batch in batches(values)
            for row in self._connection.execute(query.where(column.in_(batch)))
        ]

    def _locking(self, query: sa.Select[Any]) -> sa.Select[Any]:
        return query.with_for_update() if self._locks else query

    def _held(self, wanted: Iterable[str]) -> dict[str, dict[tuple[str, str], int]]:
        query = (
            sa.select(
                allocations.c.consumer_id,
                resource_providers.c.uuid,
                resource_classes.c.name,
                allocations.c.used,
            )
            .join_from(
                allocations,
                resource_providers,
                allocations.c.resource_provider_id == resource_providers.c.id,
            )
            .join(resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
        )
        held: dict[str, dict[tuple[str, str], int]] = {consumer: {} for consumer in wanted}
        for row in self._rows(query, allocations.c.consumer_id, wanted):
            # Only a collation could give a consumer that was not asked for.
            if row.consumer_id in held:
                held[row.consumer_id][row.uuid, row.name] = row.used
        return held

    def _read_providers(self, state: State, touch: Touch, uuids: frozenset[str] | set[str]) -> None:
        table = resource_providers
        columns = sa.select(
            table.c.id,
            table.c.uuid,
            table.c.name,
            table.c.generation,
            table.c.parent_provider_id,
            table.c.root_provider_id,
            table.c.created_at,
            table.c.updated_at,
        ).order_by(table.c.id)
        rows = {row.id: row for row in self._rows(self._locking(columns), table.c.uuid, sorted(uuids))}
        if touch.trees:
            roots = {row.root_provider_id for row in rows.values() if row.uuid in touch.trees}
            tree = self._rows(self._locking(columns), table.c.root_provider_id, sorted(roots))
            rows |= {row.id: row for row in tree}
            if self._locks:
                # A child may have come in between the statement's snapshot and its locks.
                again = self._rows(columns, table.c.root_provider_id, sorted(roots))
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
        query = sa.select(resource_providers.c.id, resource_providers.c.uuid)
        for row in self._rows(query, resource_providers.c.id, sorted(wanted)):
            self._names[row.id] = row.uuid

    def _provider(self, row: Any) -> ProviderRow:
        parent = row.parent_provider_id
        return ProviderRow(
            uuid=row.uuid,
            name=row.name,
            generation=row.generation,
            parent_uuid=None if parent is None else self._names[parent],
            root_uuid=self._names[row.root_provider_id],
            id=row.id,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    def _read_provider_names(self, state: State, touch: Touch) -> None:
        table = resource_providers
        state.provider_names.update(dict.fromkeys(touch.provider_names))
        query = sa.select(table.c.name, table.c.uuid)
        for row in self._rows(query, table.c.name, touch.provider_names):
            if row.name in touch.provider_names:
                state.provider_names[row.name] = row.uuid

    def _read_consumers(self, state: State, wanted: frozenset[str]) -> None:
        state.consumers.update(dict.fromkeys(wanted))
        query = self._locking(
            sa.select(
                consumers.c.id,
                consumers.c.uuid,
                consumers.c.project_id,
                consumers.c.user_id,
                consumers.c.consumer_type_id,
                consumers.c.generation,
            ).order_by(consumers.c.id)
        )
        rows = [row for row in self._rows(query, consumers.c.uuid, sorted(wanted)) if row.uuid in wanted]
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
        for row in self._rows(select_inventories, inventories.c.resource_provider_id, sorted(ids)):
            found[row.resource_provider_id][row.name] = inventory_of(row)
        state.inventories.update({ids[id_]: items for id_, items in found.items()})

    def _read_used(self, state: State, uuids: Iterable[str]) -> None:
        ids = self._existing(state, uuids)
        found: dict[int, dict[str, int]] = {id_: {} for id_ in ids}
        for row in self._rows(select_used, allocations.c.resource_provider_id, sorted(ids)):
            found[row.resource_provider_id][row.name] = int(row.used)
        state.used.update({ids[id_]: items for id_, items in found.items()})

    def _read_traits(self, state: State, uuids: Iterable[str]) -> None:
        ids = self._existing(state, uuids)
        found: dict[int, set[str]] = defaultdict(set)
        query = sa.select(provider_traits.c.resource_provider_id, traits.c.id, traits.c.name).join_from(
            provider_traits, traits
        )
        for row in self._rows(query, provider_traits.c.resource_provider_id, sorted(ids)):
            found[row.resource_provider_id].add(row.name)
            self.known.traits[row.name] = row.id
        state.traits.update({uuid: frozenset(found[id_]) for id_, uuid in ids.items()})

    def _read_aggregates(self, state: State, uuids: Iterable[str]) -> None:
        ids = self._existing(state, uuids)
        found: dict[int, list[str]] = defaultdict(list)
        query = sa.select(provider_aggregates.c.resource_provider_id, aggregates.c.uuid).join_from(
            provider_aggregates, aggregates, provider_aggregates.c.aggregate_id == aggregates.c.id
        )
        for row in self._rows(query, provider_aggregates.c.resource_provider_id, sorted(ids)):
            found[row.resource_provider_id].append(row.uuid)
        state.aggregates.update({uuid: tuple(found[id_]) for id_, uuid in ids.items()})

    def _read_resource_classes(self, state: State, touch: Touch) -> None:
        # Nothing in the schema holds an inventory to its class: whoever adds one keeps a custom
        # class from being deleted, and whoever deletes one waits for those.
        kept = {name for name in touch.kept_classes if name.startswith(CUSTOM_PREFIX)}
        self._lock_classes(kept - touch.resource_class_use, shared=True)
        self._lock_classes(touch.resource_class_use, shared=False)
        table = resource_classes
        used = self._used_names(table, touch.resource_class_use, inventories.c.resource_class_id)
        state.resource_classes.update(dict.fromkeys(touch.resource_classes, NameRow(exists=False)))
        query = sa.select(table.c.id, table.c.name)
        for row in self._rows(query, table.c.name, touch.resource_classes):
            if row.name in touch.resource_classes:
                self.known.resource_classes[row.name] = row.id
                state.resource_classes[row.name] = NameRow(exists=True, in_use=row.name in used)

    def _lock_classes(self, names: Iterable[str], *, shared: bool) -> None:
        if self._locks:
            table = resource_classes
            query = sa.select(table.c.id).order_by(table.c.id).with_for_update(read=shared)
            self._rows(query, table.c.name, sorted(names))

    def _read_trait_names(self, state: State, touch: Touch) -> None:
        used = self._used_names(traits, touch.trait_use, provider_traits.c.trait_id)
        state.trait_names.update(dict.fromkeys(touch.trait_names, NameRow(exists=False)))
        query = sa.select(traits.c.id, traits.c.name)
        for row in self._rows(query, traits.c.name, touch.trait_names):
            if row.name in touch.trait_names:
                self.known.traits[row.name] = row.id
                state.trait_names[row.name] = NameRow(exists=True, in_use=row.name in used)

    def _used_names(self, table: sa.Table, wanted: Iterable[str], reference: sa.Column[Any]) -> set[str]:
        query = sa.select(table.c.name).where(sa.exists().where(reference == table.c.id))
        return {row.name for row in self._rows(query, table.c.name, wanted)}
