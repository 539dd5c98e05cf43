"""Write the difference between what was read and what was decided.

Everything goes in bulk: the number of statements depends on the kinds of changes only (new
providers: on the depth of their trees). Generations are guarded: an update that does not find
the generation that was read has lost against another writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from moorage.rules.state import ConsumerRow, Held, ProviderRow, State
from moorage.store.batches import batches
from moorage.store.bulk import Bump, Bumping, Insertion, Outcome, Selection
from moorage.store.errors import WriteConflictError
from moorage.store.inventory_rows import values_of
from moorage.store.reading import Known, Registries
from moorage.store.tables import (
    allocations,
    consumers,
    inventories,
    provider_aggregates,
    provider_traits,
    resource_classes,
    resource_providers,
    traits,
)

NEW_CONSUMERS = Insertion(consumers, "uuid", "generation", "project_id", "user_id", "consumer_type_id")
PRESENT_CONSUMERS = Selection(sa.select(consumers.c.uuid), consumers.c.uuid)
GONE_CONSUMERS = Selection(consumers.delete(), consumers.c.id)
NEW_ALLOCATIONS = Insertion(allocations, "resource_provider_id", "resource_class_id", "consumer_id", "used")
GONE_ALLOCATIONS = Selection(allocations.delete(), allocations.c.consumer_id)
CHANGED_CONSUMER = consumers.update().where(consumers.c.id == sa.bindparam("row_id"))
PROVIDER_GENERATIONS = Bumping(resource_providers)
CONSUMER_GENERATIONS = Bumping(consumers)

FIRST_CUSTOM_CLASS_ID = 10_000
"""Ids of custom resource classes start here; the standard ones keep their library's order."""


class Writer:
    """Writes one group's changes. ``added`` names registry ids to remember after COMMIT."""

    def __init__(self, connection: sa.Connection, registries: Registries, known: Known) -> None:
        self._connection = connection
        self._registries = registries
        self._known = known
        # A provider that makes way for a new one of its uuid had another id: the log needs both.
        self._ids_before = dict(known.providers)
        self._renamed_root_ids: set[int] = set()
        self._references: dict[str, dict[str, int | None]] = {}
        self._outcomes: list[Outcome] = []
        self.added: list[tuple[Any, dict[str, int]]] = []

    def write(self, before: State, after: State) -> None:
        """Everything but claims and generations; ``prepare_claims`` follows."""
        self._write_resource_classes(before, after)
        self._write_traits(before, after)
        removed = _removed_providers(before, after)
        self._free_names(before, after)
        self._delete_providers(before, after, removed)
        self._insert_providers(before, after)
        self._update_providers(before, after, removed)
        self._write_inventories(before, after)
        self._write_provider_traits(before, after)
        self._write_provider_aggregates(before, after)

    def prepare_claims(self, before: State, after: State) -> None:
        """Find, or make, what claims refer to."""
        self._references = self._consumer_references(_changed_consumers(before, after))
        self._class_ids({name for held in _replaced(before, after).values() for _, name in held})

    def write_claims(self, before: State, after: State) -> None:
        """What follows ``prepare_claims``: statements that none waits for the answer of another."""
        self._write_consumers(before, after)
        self._write_allocations(before, after)
        self._bump(PROVIDER_GENERATIONS, _provider_steps(before, after))

    def check(self) -> None:
        """Raises WriteConflictError if a guarded row was not as it was read."""
        if not all(outcome.is_complete() for outcome in self._outcomes):
            raise WriteConflictError

    def check_absent(self, before: State, after: State) -> None:
        """Raises WriteConflictError if a consumer has come that was not there, and is not written.

        To be asked with the revision's lock in hand: whoever makes one now will do so after this group. A row
        that is written needs no such question, for it would meet the other one.
        """
        absent = {uuid for uuid, row in after.consumers.items() if row is None and not before.consumers[uuid]}
        if not absent.isdisjoint(uuid for (uuid,) in PRESENT_CONSUMERS.tuples(self._connection, absent)):
            raise WriteConflictError

    def root_ids(self, before: State, after: State, providers: Iterable[str]) -> frozenset[int]:
        """Database ids of the roots of all trees that these providers were or are in.

        Trees that have a class under its new name now are among them.
        """
        found = set(self._renamed_root_ids)
        ids = self._known.providers
        for uuid in providers:
            was, now = before.providers.get(uuid), after.providers.get(uuid)
            if was is not None:
                found.add(self._ids_before[was.root_uuid])
            if now is not None:
                found.add(ids[now.root_uuid])
        return frozenset(found)

    def _execute(self, statement: Any, rows: list[dict[str, Any]]) -> None:
        """One statement for all rows; none for none."""
        if rows:
            self._connection.execute(statement, rows)

    def _write_resource_classes(self, before: State, after: State) -> None:
        table = resource_classes
        old, new = before.resource_classes, after.resource_classes
        known = self._known.resource_classes
        renamed = {name: row.renamed_to for name, row in new.items() if row.renamed_to is not None}
        for name, new_name in renamed.items():
            self._connection.execute(table.update().where(table.c.id == known[name]).values(name=new_name))
            known[new_name] = known[name]
            self._renamed_root_ids |= self._roots_with(known[name])
        created, deleted = _name_changes(old, new)
        created = [name for name in created if name not in renamed.values()]
        for name in deleted:
            if name not in renamed:
                self._connection.execute(table.delete().where(table.c.id == known[name]))
        if created:
            last = self._connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0
            first = max(last + 1, FIRST_CUSTOM_CLASS_ID)
            ids = {name: first + offset for offset, name in enumerate(created)}
            self._execute(table.insert(), [{"id": id_, "name": name} for name, id_ in ids.items()])
            known |= ids

    def _roots_with(self, class_id: int) -> set[int]:
        """Database ids of the roots of all trees that have inventory of a class."""
        query = (
            sa.select(resource_providers.c.root_provider_id)
            .join_from(
                inventories,
                resource_providers,
                inventories.c.resource_provider_id == resource_providers.c.id,
            )
            .where(inventories.c.resource_class_id == class_id)
            .distinct()
        )
        return set(self._connection.execute(query).scalars())

    def _write_traits(self, before: State, after: State) -> None:
        created, deleted = _name_changes(before.trait_names, after.trait_names)
        if deleted:
            ids = [self._known.traits[name] for name in deleted]
            self._connection.execute(traits.delete().where(traits.c.id.in_(ids)))
        if created:
            self._execute(traits.insert(), [{"name": name} for name in created])
            query = sa.select(traits.c.name, traits.c.id).where(traits.c.name.in_(created))
            self._known.traits |= {row.name: row.id for row in self._connection.execute(query)}

    def _free_names(self, before: State, after: State) -> None:
        """Names that one provider gives to another in the same transaction are nobody's between."""
        given = [
            was.id
            for was, now in _kept_providers(before, after)
            if was.name != now.name and after.provider_names.get(was.name) is not None
        ]
        table = resource_providers
        for batch in batches(given):
            self._connection.execute(table.update().where(table.c.id.in_(batch)).values(name=None))

    def _delete_providers(self, before: State, after: State, removed: Mapping[str, int]) -> None:
        table = resource_providers
        # A root names itself as its root, and providers that go too, or move elsewhere in this
        # very transaction, name it as their parent: no row may name one that goes.
        attached = [
            was.id
            for was, now in _kept_providers(before, after)
            if was.parent_uuid in removed or was.root_uuid in removed
        ]
        for loosened in batches((*removed.values(), *attached) if removed else ()):
            self._connection.execute(
                table.update()
                .where(table.c.id.in_(loosened))
                .values(root_provider_id=None, parent_provider_id=None)
            )
        for batch in batches(removed.values()):
            for other in (inventories, provider_traits, provider_aggregates):
                self._connection.execute(other.delete().where(other.c.resource_provider_id.in_(batch)))
            self._connection.execute(table.delete().where(table.c.id.in_(batch)))

    def _insert_providers(self, before: State, after: State) -> None:
        """Level by level, for a child needs the ids of its parent and of its root."""
        ids = self._known.providers
        new = [row for row in after.rows() if row.id is None]
        waiting = {row.uuid for row in new}
        while new:
            level = [row for row in new if row.parent_uuid not in waiting]
            rows = [self._provider_values(row, waiting) for row in level]
            self._execute(resource_providers.insert(), rows)
            for batch in batches(row.uuid for row in level):
                query = sa.select(resource_providers.c.uuid, resource_providers.c.id).where(
                    resource_providers.c.uuid.in_(batch)
                )
                ids |= {row.uuid: row.id for row in self._connection.execute(query)}
            waiting -= {row.uuid for row in level}
            new = [row for row in new if row.uuid in waiting]
        roots = [row.uuid for row in after.rows() if row.id is None and row.root_uuid == row.uuid]
        for batch in batches(roots):
            table = resource_providers
            own = [ids[uuid] for uuid in batch]
            self._connection.execute(
                table.update().where(table.c.id.in_(own)).values(root_provider_id=table.c.id)
            )

    def _provider_values(self, row: ProviderRow, waiting: set[str]) -> dict[str, Any]:
        ids = self._known.providers
        return {
            "uuid": row.uuid,
            "name": row.name,
            "generation": row.generation,
            "parent_provider_id": None if row.parent_uuid is None else ids[row.parent_uuid],
            "root_provider_id": None if row.root_uuid in waiting else ids[row.root_uuid],
        }

    def _update_providers(self, before: State, after: State, removed: Mapping[str, int]) -> None:
        table = resource_providers
        ids = self._known.providers
        rows = [
            {
                "row_id": now.id,
                "name": now.name,
                "parent_provider_id": None if now.parent_uuid is None else ids[now.parent_uuid],
                "root_provider_id": ids[now.root_uuid],
            }
            for was, now in _kept_providers(before, after)
            if (was.name, was.parent_uuid, was.root_uuid) != (now.name, now.parent_uuid, now.root_uuid)
            or was.parent_uuid in removed
            or was.root_uuid in removed
        ]
        self._execute(
            table.update()
            .where(table.c.id == sa.bindparam("row_id"))
            .values(
                name=sa.bindparam("name"),
                parent_provider_id=sa.bindparam("parent_provider_id"),
                root_provider_id=sa.bindparam("root_provider_id"),
            ),
            rows,
        )

    def _write_inventories(self, before: State, after: State) -> None:
        table = inventories
        inserted: list[dict[str, Any]] = []
        updated: list[dict[str, Any]] = []
        deleted: list[tuple[int, int]] = []
        for uuid, was, now in self._facets(before, after, "inventories"):
            was = was or {}
            id_ = self._known.providers[uuid]
            class_ids = self._class_ids({*was, *now})
            for name, inventory in now.items():
                keys = {"provider_id": id_, "class_id": class_ids[name]}
                if name not in was:
                    inserted.append(
                        {"resource_provider_id": id_, "resource_class_id": class_ids[name]}
                        | values_of(inventory)
                    )
                elif inventory != was[name]:
                    updated.append(keys | values_of(inventory))
            deleted.extend((id_, class_ids[name]) for name in was if name not in now)
        self._delete_pairs(table, table.c.resource_provider_id, table.c.resource_class_id, deleted)
        if updated:
            self._execute(
                table.update().where(
                    table.c.resource_provider_id == sa.bindparam("provider_id"),
                    table.c.resource_class_id == sa.bindparam("class_id"),
                ),
                updated,
            )
        self._execute(table.insert(), inserted)

    def _class_ids(self, names: Iterable[str]) -> dict[str, int]:
        known = self._known.resource_classes
        missing = [name for name in names if name not in known]
        if missing:
            query = sa.select(resource_classes.c.name, resource_classes.c.id)
            rows = self._connection.execute(query.where(resource_classes.c.name.in_(missing)))
            known |= {row.name: row.id for row in rows}
        return known

    def _facets(self, before: State, after: State, name: str) -> Iterator[tuple[str, Any, Any]]:
        """Provider, what it had and what it has, where that may differ."""
        old: Mapping[str, Any] = getattr(before, name)
        for uuid, now in getattr(after, name).items():
            row = after.providers.get(uuid)
            if row is None:
                continue
            # What a provider that makes way for a new one had went with it.
            was = None if row.id is None else old.get(uuid)
            if now is not was:
                yield uuid, was, now

    def _delete_pairs(
        self, table: sa.Table, first: sa.Column[Any], second: sa.Column[Any], pairs: list[tuple[int, int]]
    ) -> None:
        for batch in batches(pairs):
            self._connection.execute(table.delete().where(sa.tuple_(first, second).in_(batch)))

    def _write_provider_traits(self, before: State, after: State) -> None:
        table = provider_traits
        ids = self._known.traits
        inserted: list[dict[str, Any]] = []
        deleted: list[tuple[int, int]] = []
        for uuid, was, now in self._facets(before, after, "traits"):
            was = was or frozenset()
            id_ = self._known.providers[uuid]
            inserted += [{"resource_provider_id": id_, "trait_id": ids[name]} for name in sorted(now - was)]
            deleted += [(id_, ids[name]) for name in was - now]
        self._delete_pairs(table, table.c.resource_provider_id, table.c.trait_id, deleted)
        self._execute(table.insert(), inserted)

    def _write_provider_aggregates(self, before: State, after: State) -> None:
        table = provider_aggregates
        facets = list(self._facets(before, after, "aggregates"))
        if not facets:
            return
        names = {name for _, was, now in facets for name in (*(was or ()), *now)}
        ids, added = self._registries.aggregates.ids(self._connection, names)
        self.added.append((self._registries.aggregates, added))
        inserted: list[dict[str, Any]] = []
        deleted: list[tuple[int, int]] = []
        for uuid, was, now in facets:
            was = was or ()
            id_ = self._known.providers[uuid]
            # A collation may hold two names of an aggregate equal: one membership is enough.
            wanted = {ids[name] for name in now}
            present = {ids[name] for name in was}
            inserted += [
                {"resource_provider_id": id_, "aggregate_id": aggregate}
                for aggregate in sorted(wanted - present)
            ]
            deleted += [(id_, aggregate) for aggregate in present - wanted]
        self._delete_pairs(table, table.c.resource_provider_id, table.c.aggregate_id, deleted)
        self._execute(table.insert(), inserted)

    def _write_consumers(self, before: State, after: State) -> None:
        gone = [
            was.id
            for uuid, was in before.consumers.items()
            if was is not None and was.id is not None and _is_gone(after.consumers[uuid])
        ]
        GONE_CONSUMERS.execute(self._connection, gone)
        changed = _changed_consumers(before, after)
        ids = self._references
        NEW_CONSUMERS.execute(
            self._connection,
            [(row.uuid, row.generation, *ids[row.uuid].values()) for row in changed if row.id is None],
        )
        kept = [(row, was) for row in changed if (was := before.consumers[row.uuid]) is not None]
        self._execute(
            CHANGED_CONSUMER,
            [
                {"row_id": row.id} | ids[row.uuid]
                for row, was in kept
                if row.id is not None and _attributes(row) != _attributes(was)
            ],
        )
        self._bump(
            CONSUMER_GENERATIONS,
            [
                (row.id, was.generation, row.generation - was.generation)
                for row, was in kept
                if row.id is not None and row.generation != was.generation
            ],
        )

    def _consumer_references(self, rows: list[ConsumerRow]) -> dict[str, dict[str, int | None]]:
        known = self._registries
        project_ids, added = known.projects.ids(self._connection, (row.project_id for row in rows))
        self.added.append((known.projects, added))
        user_ids, added = known.users.ids(self._connection, (row.user_id for row in rows))
        self.added.append((known.users, added))
        types = {row.consumer_type for row in rows if row.consumer_type is not None}
        type_ids, added = known.consumer_types.ids(self._connection, types)
        self.added.append((known.consumer_types, added))
        return {
            row.uuid: {
                "project_id": project_ids[row.project_id],
                "user_id": user_ids[row.user_id],
                "consumer_type_id": None if row.consumer_type is None else type_ids[row.consumer_type],
            }
            for row in rows
        }

    def _write_allocations(self, before: State, after: State) -> None:
        replaced = _replaced(before, after)
        GONE_ALLOCATIONS.execute(
            self._connection, [consumer for consumer in replaced if before.held[consumer]]
        )
        class_ids = self._known.resource_classes
        NEW_ALLOCATIONS.execute(
            self._connection,
            [
                (self._known.providers[provider], class_ids[name], consumer, amount)
                for consumer, held in replaced.items()
                for (provider, name), amount in held.items()
            ],
        )

    def _bump(self, generations: Bumping, rows: Iterable[Bump]) -> None:
        self._outcomes.append(generations.execute(self._connection, rows))


def _changed_consumers(before: State, after: State) -> list[ConsumerRow]:
    """Rows to be written."""
    return [row for row in after.consumers.values() if row is not None and row != before.consumers[row.uuid]]


def _replaced(before: State, after: State) -> dict[str, Held]:
    """What consumers hold now, of those that were given anything anew, or nothing."""
    # wire: what a consumer holds is written anew even if it is the same: its date is seen.
    return {consumer: held for consumer, held in after.held.items() if held is not before.held[consumer]}


def _attributes(row: ConsumerRow) -> tuple[str, str, str | None]:
    return row.project_id, row.user_id, row.consumer_type


def _is_gone(row: ConsumerRow | None) -> bool:
    """Whether the row that was read makes way: for nothing, or for a new consumer of its uuid."""
    return row is None or row.id is None


def _name_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    created = [name for name, row in new.items() if row.exists and not old[name].exists]
    deleted = [name for name, row in new.items() if not row.exists and old[name].exists]
    return created, deleted


def _removed_providers(before: State, after: State) -> dict[str, int]:
    """Providers that go, for good or to make way for a new one of their uuid: id by uuid."""
    return {
        uuid: row.id
        for uuid, row in before.providers.items()
        if row is not None and row.id is not None
        if (now := after.providers[uuid]) is None or now.id is None
    }


def _kept_providers(before: State, after: State) -> Iterator[tuple[ProviderRow, ProviderRow]]:
    """Providers that were there and still are: as they were, as they are."""
    for row in after.rows():
        was = before.providers.get(row.uuid)
        if was is not None and row.id is not None:
            yield was, row


def _provider_steps(before: State, after: State) -> list[Bump]:
    return [
        (row.id, was.generation, row.generation - was.generation)
        for was, row in _kept_providers(before, after)
        if row.id is not None and row.generation != was.generation
    ]
