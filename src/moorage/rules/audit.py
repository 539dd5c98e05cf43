"""What must hold in the account, said a second time in the plainest way.

The functions take rows as the database has them, and yield what is wrong. Except for the definition of
capacity they share no code with the service: a verification that used the same code would share its
mistakes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import isfinite
from typing import NamedTuple

from moorage.model.findings import Finding
from moorage.model.values import Inventory, ProviderRecord
from moorage.rules.capacity import capacity


class ProviderFact(NamedTuple):
    """A row of resource_providers."""

    id: int
    uuid: str
    generation: int | None
    parent_id: int | None
    root_id: int | None
    name: str | None = None


class InventoryFact(NamedTuple):
    """A row of inventories."""

    provider_id: int
    class_id: int
    inventory: Inventory


class AllocationFact(NamedTuple):
    """A row of allocations."""

    provider_id: int
    class_id: int
    consumer: str
    used: int


class ConsumerFact(NamedTuple):
    """A row of consumers."""

    uuid: str
    generation: int | None
    project_id: int
    user_id: int
    consumer_type_id: int | None


class MemberFact(NamedTuple):
    """A provider and a trait, or a provider and an aggregate."""

    provider_id: int
    other_id: int


class LogFact(NamedTuple):
    """A row of the change log."""

    revision: int
    position: int
    transaction_id: str


class CounterFact(NamedTuple):
    """A row of the revision table."""

    id: int
    revision: int
    compacted: int


class UsedFact(NamedTuple):
    """Amount used of a provider's class, as the database sums it up."""

    provider_id: int
    resource_class: str
    used: int


@dataclass(slots=True)
class Facts:
    """The account as rows. Names are by database id.

    ``origins``: the lease of each consumer whose claim has an origin, None if it hangs on none. ``leases``:
    their states by uuid.
    """

    providers: dict[int, ProviderFact] = field(default_factory=dict)
    inventories: list[InventoryFact] = field(default_factory=list)
    allocations: list[AllocationFact] = field(default_factory=list)
    consumers: list[ConsumerFact] = field(default_factory=list)
    provider_traits: list[MemberFact] = field(default_factory=list)
    provider_aggregates: list[MemberFact] = field(default_factory=list)
    sums: list[UsedFact] = field(default_factory=list)
    resource_classes: dict[int, str] = field(default_factory=dict)
    traits: dict[int, str] = field(default_factory=dict)
    aggregates: dict[int, str] = field(default_factory=dict)
    projects: frozenset[int] = frozenset()
    users: frozenset[int] = frozenset()
    consumer_types: frozenset[int] = frozenset()
    origins: Mapping[str, str | None] = field(default_factory=dict)
    leases: Mapping[str, str] = field(default_factory=dict)

    def provider(self, id_: int) -> str:
        """How a provider is called in a finding."""
        row = self.providers.get(id_)
        return f"the missing provider with id {id_}" if row is None else f"provider {row.uuid}"

    def resource_class(self, id_: int) -> str:
        """How a resource class is called in a finding."""
        return self.resource_classes.get(id_, f"the missing resource class with id {id_}")

    def used(self) -> Counter[tuple[int, int]]:
        """Amount by (provider id, class id), added up by hand."""
        used: Counter[tuple[int, int]] = Counter()
        for row in self.allocations:
            used[row.provider_id, row.class_id] += row.used
        return used


# The change log.


def check_log(counters: Sequence[CounterFact], log: Iterable[LogFact]) -> Iterator[Finding]:
    """One counter. The log has every revision since the compaction, dense and in whole transactions.

    ``log`` is in order of revision and position.
    """
    if len(counters) != 1:
        yield Finding("the revision counter", f"must be one row, but is {len(counters)}")
        return
    [counter] = counters
    if not 0 <= counter.compacted <= counter.revision:
        yield Finding(
            "the revision counter",
            f"is at {counter.revision}, but says that the log is compacted up to {counter.compacted}",
        )
    expected = counter.compacted + 1
    transactions: dict[str, int] = {}
    for revision, grouped in groupby(log, key=lambda row: row.revision):
        rows = list(grouped)
        if revision > expected:
            yield _missing(expected, revision - 1)
        if revision <= counter.compacted:
            yield Finding(f"revision {revision}", "is in the change log, but was compacted away")
        elif revision > counter.revision:
            yield Finding(
                f"revision {revision}",
                f"is in the change log, but the counter is at {counter.revision} only",
            )
        expected = max(expected, revision + 1)
        yield from _check_entry(revision, rows, transactions)
    if expected <= counter.revision:
        yield _missing(expected, counter.revision)


def _missing(first: int, last: int) -> Finding:
    which = f"revision {first}" if first == last else f"revisions {first} to {last}"
    return Finding(which, "missing in the change log: an index that catches up does not learn of it")


def _check_entry(revision: int, rows: Sequence[LogFact], transactions: dict[str, int]) -> Iterator[Finding]:
    positions = [row.position for row in rows]
    if positions != list(range(len(rows))):
        yield Finding(
            f"revision {revision}",
            f"has lost a line in the change log: positions are {', '.join(map(str, positions))}",
        )
    names = {row.transaction_id for row in rows}
    if len(names) > 1:
        yield Finding(f"revision {revision}", f"belongs to {len(names)} transactions")
    for name in names:
        if transactions.setdefault(name, revision) not in (revision, revision - 1):
            yield Finding(
                f"revision {revision}",
                f"belongs to the transaction of revision {transactions[name]}, with others between: "
                "it was written twice, or out of order",
            )
        transactions[name] = revision


# Trees.


def check_trees(facts: Facts) -> Iterator[Finding]:
    """Parents exist, no provider is its own ancestor, and the recorded root is where the parents lead."""
    roots: dict[int, int | None] = {}
    for row in facts.providers.values():
        if row.parent_id is not None and row.parent_id not in facts.providers:
            yield Finding(f"provider {row.uuid}", f"has a parent that is not there (id {row.parent_id})")
        root = _root(facts, row.id, roots)
        if root is None:
            yield Finding(f"provider {row.uuid}", "is among its own ancestors, or below one that is")
        elif row.root_id != root:
            recorded = "none" if row.root_id is None else facts.provider(row.root_id)
            yield Finding(
                f"provider {row.uuid}",
                f"has {recorded} recorded as its root, but its parents lead to {facts.provider(root)}",
            )


def _root(facts: Facts, id_: int, known: dict[int, int | None]) -> int | None:
    """Where the parents lead; None in a loop. Remembers the answer for all providers on the way."""
    way: list[int] = []
    seen: set[int] = set()
    while id_ not in known:
        if id_ in seen:
            known[id_] = None
            break
        way.append(id_)
        seen.add(id_)
        parent = facts.providers[id_].parent_id
        if parent is None or parent not in facts.providers:
            known[id_] = id_
            break
        id_ = parent
    known.update(dict.fromkeys(way, known[id_]))
    return known[id_]


# Inventories, traits and aggregates.


def check_inventories(facts: Facts) -> Iterator[Finding]:
    """Provider and class exist, and the numbers are such that a claim can be decided."""
    for row in facts.inventories:
        subject = f"inventory of {facts.resource_class(row.class_id)} of {facts.provider(row.provider_id)}"
        if row.provider_id not in facts.providers or row.class_id not in facts.resource_classes:
            yield Finding(subject, "is an orphan")
        inventory = row.inventory
        for name, least in (
            ("total", 0),
            ("reserved", 0),
            ("min_unit", 1),
            ("max_unit", 1),
            ("step_size", 1),
        ):
            if getattr(inventory, name) < least:
                yield Finding(subject, f"has {name} {getattr(inventory, name)}, the least is {least}")
        if inventory.allocation_ratio < 0:
            yield Finding(subject, f"has allocation_ratio {inventory.allocation_ratio}, below 0")
        elif not isfinite(inventory.allocation_ratio):
            yield Finding(subject, f"has allocation_ratio {inventory.allocation_ratio}, which is not finite")


def check_members(facts: Facts) -> Iterator[Finding]:
    """Both ends of a link to a trait or an aggregate exist."""
    for kind, rows, names in (
        ("trait", facts.provider_traits, facts.traits),
        ("aggregate", facts.provider_aggregates, facts.aggregates),
    ):
        for row in rows:
            name = names.get(row.other_id)
            if name is None or row.provider_id not in facts.providers:
                called = f"{kind} {name}" if name else f"the missing {kind} with id {row.other_id}"
                yield Finding(f"{called} of {facts.provider(row.provider_id)}", "is an orphan")


# Consumers and allocations.


def check_consumers(facts: Facts) -> Iterator[Finding]:
    """Each holds something, and its project, user and type exist. Each origin of a claim has its consumer,
    and its lease, which has not ended.
    """
    holders = {row.consumer for row in facts.allocations}
    for row in facts.consumers:
        subject = f"consumer {row.uuid}"
        if row.uuid not in holders:
            yield Finding(subject, "has no allocations: it should have gone with the last one")
        if row.project_id not in facts.projects:
            yield Finding(subject, f"has a project that is not there (id {row.project_id})")
        if row.user_id not in facts.users:
            yield Finding(subject, f"has a user that is not there (id {row.user_id})")
        if row.consumer_type_id is not None and row.consumer_type_id not in facts.consumer_types:
            yield Finding(subject, f"has a consumer type that is not there (id {row.consumer_type_id})")
    for uuid in sorted(facts.origins.keys() - {row.uuid for row in facts.consumers}):
        yield Finding(f"origin of the claim of {uuid}", "is an orphan: there is no such consumer")
    for uuid, lease in sorted(facts.origins.items()):
        if lease is not None and facts.leases.get(lease, "released") == "released":
            found = "has ended" if lease in facts.leases else "does not exist"
            yield Finding(f"claim of {uuid}", f"hangs on the lease {lease}, which {found}")


def check_allocations(facts: Facts) -> Iterator[Finding]:
    """Each has its consumer, its provider and an inventory there, a positive amount, and no twin."""
    consumers = {row.uuid for row in facts.consumers}
    offered = {(row.provider_id, row.class_id) for row in facts.inventories}
    seen: set[tuple[str, int, int]] = set()
    for row in facts.allocations:
        resource_class = facts.resource_class(row.class_id)
        provider = facts.provider(row.provider_id)
        subject = f"allocation of {row.used} {resource_class} of {provider} to {row.consumer}"
        if row.consumer not in consumers:
            yield Finding(subject, "is an orphan: there is no such consumer")
        if row.provider_id not in facts.providers or row.class_id not in facts.resource_classes:
            yield Finding(subject, "is an orphan")
        elif (row.provider_id, row.class_id) not in offered:
            yield Finding(subject, "is of a class that the provider has no inventory of")
        if row.used < 1:
            yield Finding(subject, "is of no positive amount")
        key = (row.consumer, row.provider_id, row.class_id)
        if key in seen:
            yield Finding(subject, "is there twice: what the consumer holds is counted double")
        seen.add(key)


def check_usage(facts: Facts) -> Iterator[Finding]:
    """The database's sums equal those added up by hand. Use above the capacity is a warning."""
    used = facts.used()
    by_name = {
        (provider, facts.resource_classes[class_id]): amount
        for (provider, class_id), amount in used.items()
        if class_id in facts.resource_classes
    }
    sums = {(row.provider_id, row.resource_class): row.used for row in facts.sums}
    for provider, name in sorted(by_name.keys() | sums.keys()):
        by_hand, summed = by_name.get((provider, name), 0), sums.get((provider, name), 0)
        if by_hand != summed:
            yield Finding(
                f"use of {name} of {facts.provider(provider)}",
                f"is {summed} as the database sums it up, but {by_hand} added up by hand",
            )
    for row in facts.inventories:
        amount, most = used[row.provider_id, row.class_id], capacity(row.inventory)
        if amount > most:
            yield Finding(
                f"use of {facts.resource_class(row.class_id)} of {facts.provider(row.provider_id)}",
                f"is {amount}, over its capacity of {most}: its inventory was reduced below what is used",
                warning=True,
            )


# Generations.


def check_generations(facts: Facts) -> Iterator[Finding]:
    """Generations are 0 or more. 0 is a warning for consumers, and for providers with inventory or use."""
    writers = {row.provider_id for row in facts.inventories} | {row.provider_id for row in facts.allocations}
    for provider in facts.providers.values():
        subject = f"provider {provider.uuid}"
        if provider.generation is None or provider.generation < 0:
            yield Finding(subject, f"has generation {provider.generation}")
        elif provider.generation == 0 and provider.id in writers:
            yield Finding(subject, "has generation 0, but inventory or allocations", warning=True)
    for consumer in facts.consumers:
        subject = f"consumer {consumer.uuid}"
        if consumer.generation is None or consumer.generation < 0:
            yield Finding(subject, f"has generation {consumer.generation}")
        elif consumer.generation == 0:
            yield Finding(subject, "has generation 0: it was not made by a claim", warning=True)


# The index.


def records_by_hand(facts: Facts) -> dict[int, ProviderRecord]:
    """What an index must hold, put together from the rows one by one."""
    used = facts.used()
    offered: dict[int, list[tuple[str, Inventory, int]]] = defaultdict(list)
    for row in facts.inventories:
        if row.class_id in facts.resource_classes:
            amount = used[row.provider_id, row.class_id]
            offered[row.provider_id].append((facts.resource_classes[row.class_id], row.inventory, amount))
    traits = _members(sorted(facts.provider_traits), facts.traits)
    aggregates = _members(facts.provider_aggregates, facts.aggregates)
    return {
        row.id: ProviderRecord(
            id=row.id,
            uuid=row.uuid,
            parent_id=row.parent_id,
            root_id=row.id if row.root_id is None else row.root_id,
            inventories=tuple(offered[row.id]),
            traits=tuple(traits[row.id]),
            aggregates=tuple(aggregates[row.id]),
            name=row.name or "",
        )
        for row in facts.providers.values()
    }


def _members(rows: Iterable[MemberFact], names: Mapping[int, str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        if row.other_id in names:
            found[row.provider_id].append(names[row.other_id])
    return found


def check_names(index: str, names: frozenset[str], facts: Facts) -> Iterator[Finding]:
    """An index knows all names of resource classes and traits, and no other."""
    wanted = {*facts.resource_classes.values(), *facts.traits.values()}
    for name in sorted(wanted ^ names):
        where = ("database", "index") if name in wanted else ("index", "database")
        yield Finding(name, f"is in the {where[0]}, but not in the {where[1]} (the index {index})")


def check_index(
    index: str, records: Iterable[ProviderRecord], wanted: Mapping[int, ProviderRecord]
) -> Iterator[Finding]:
    """An index holds every provider as the rows have it, and no other. ``index`` says which one it is."""
    seen: set[int] = set()
    for record in records:
        seen.add(record.id)
        expected = wanted.get(record.id)
        if expected is None:
            yield Finding(f"provider {record.uuid}", f"is in the index {index}, but not in the database")
        else:
            yield from _differences(index, _in_order(record), _in_order(expected))
    for id_ in wanted.keys() - seen:
        yield Finding(f"provider {wanted[id_].uuid}", f"is in the database, but not in the index {index}")


def _in_order(record: ProviderRecord) -> dict[str, object]:
    """A record as comparable fields: inventories and aggregates have no order."""
    return {
        "uuid": record.uuid,
        "name": record.name,
        "parent": record.parent_id,
        "root": record.root_id,
        "traits": record.traits,
        "aggregates": tuple(sorted(record.aggregates)),
    } | {
        f"{name} {what}": value
        for name, inventory, used in record.inventories
        for what, value in (("inventory", inventory), ("use", used))
    }


def _differences(
    index: str, record: Mapping[str, object], expected: Mapping[str, object]
) -> Iterator[Finding]:
    for name in sorted(record.keys() | expected.keys()):
        found, wanted = record.get(name, "none"), expected.get(name, "none")
        if found != wanted:
            yield Finding(
                f"provider {expected['uuid']}",
                f"differs in {name}: {found} in the index {index}, {wanted} in the database",
            )
