"""Consumers, what they hold, and how much of inventories that uses: what claims are decided by."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import sqlalchemy as sa

from moorage.model.cache import MIB, Cache
from moorage.model.commands import KEEP, Keep
from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory
from moorage.rules.audit import AllocationFact, ConsumerFact, UsedFact
from moorage.rules.state import ConsumerRow, Inventories, State, Touch, Used
from moorage.store.changes.counter import THE_ROW
from moorage.store.nouns.inventories import FIELDS
from moorage.store.nouns.noun import AuditRows, GroupWork, NotNewError, Noun, ids_of, rows_of
from moorage.store.nouns.providers import PLACED
from moorage.store.nouns.resource_classes import class_ids, class_names
from moorage.store.sql.equality import held_equal
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.literals import number
from moorage.store.sql.statements import Bumping, Insertion, Part, Plain, Selection, Selections, fetched
from moorage.store.tables import (
    allocations,
    claims,
    consumer_types,
    consumers,
    inventories,
    projects,
    resource_classes,
    resource_providers,
    revisions,
    users,
)

_consumers = sa.select(
    consumers.c.id,
    consumers.c.uuid,
    consumers.c.project_id,
    consumers.c.user_id,
    consumers.c.consumer_type_id,
    consumers.c.generation,
).order_by(consumers.c.id)

LOCKED_CONSUMERS = Selection(_consumers.with_for_update(), consumers.c.uuid)
PRESENT_CONSUMERS = Selection(sa.select(consumers.c.uuid), consumers.c.uuid)
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

NEW_CONSUMERS = Insertion(consumers, "uuid", "generation", "project_id", "user_id", "consumer_type_id")
GONE_CONSUMERS = Selection(consumers.delete(), consumers.c.id)
CHANGED_CONSUMER = Plain(consumers.update().where(consumers.c.id == sa.bindparam("row_id")))
GENERATIONS = Bumping(consumers)
NEW_ALLOCATIONS = Insertion(allocations, "resource_provider_id", "resource_class_id", "consumer_id", "used")
GONE_ALLOCATIONS = Selection(allocations.delete(), allocations.c.consumer_id)

KNOWN_BYTES: Final = 8 * MIB
"""Providers remembered per connection: some thousands."""

PROVIDER_BYTES: Final = 700
INVENTORY_BYTES: Final = 500
AMOUNT_BYTES: Final = 150
"""What a provider takes, each of its inventories, and each amount of it that is in use."""

LONGEST_SECONDS: Final = 10.0
"""After so long the database sums up again. A change of allocations by hand, which changes no revision,
must not mislead the memory for good."""

DISTRUSTED_GROUPS: Final = 64
"""How many groups are decided without the memory after it was found outdated. Where several processes
write, it mostly is, and finding that out costs a statement."""

_MEMORY: Final = "moorage.usage"


@valueclass(frozen=True, slots=True)
class ProviderUse:
    """What a provider has, None if that is not known, and how much of it is used."""

    used: Used
    inventories: Inventories | None = None


@dataclass(slots=True)
class _Known:
    generation: int
    use: ProviderUse
    read_at: float


def _size_of(_id: int, known: _Known) -> int:
    return _bytes_of(known.use)


def _bytes_of(use: ProviderUse) -> int:
    return PROVIDER_BYTES + INVENTORY_BYTES * len(use.inventories or ()) + AMOUNT_BYTES * len(use.used)


@dataclass(slots=True)
class UsageMemory:
    """What providers have and how much of it is used, remembered from one group of claims to the next.

    The sum over all allocations of a provider takes longer the more there are: a shared pool of storage may
    have tens of thousands of consumers. A connection that has written the last revision knows the sums that
    it left. A later group locks the provider. If it finds the same revision and the provider's same
    generation, those sums still hold. Otherwise it asks the database.

    It is the memory of one connection, which one thread uses at a time. ``owner``: whose registries it uses.
    """

    owner: object
    _revision: int = -1
    _distrusted: int = 0
    _known: Cache[int, _Known] = field(default_factory=lambda: Cache(KNOWN_BYTES, _size_of))

    @classmethod
    def of(cls, connection: sa.Connection, owner: object) -> UsageMemory:
        """The memory of ``connection``; it ends with the connection."""
        memory: UsageMemory | None = connection.info.get(_MEMORY)
        if memory is None or memory.owner is not owner:
            memory = connection.info[_MEMORY] = cls(owner)
        return memory

    def recall(self, generations: Mapping[int, int]) -> dict[int, ProviderUse]:
        """What is known of these providers, by id, if the revision is still the same: see ``holds``.

        ``generations``: the providers' present ones, read while holding their locks.
        """
        oldest = time.monotonic() - LONGEST_SECONDS
        found: dict[int, ProviderUse] = {}
        for id_, known in self._known.get_all(generations).items():
            if known.generation == generations[id_] and known.read_at >= oldest:
                found[id_] = known.use
            else:
                self._known.drop(id_)
        return found

    def holds(self, revision: int) -> bool:
        """Whether what was recalled is true at ``revision``. If not, everything is forgotten for a while."""
        if revision == self._revision:
            return True
        self.forget()
        self._distrusted = DISTRUSTED_GROUPS
        return False

    def learn(self, before: int, after: int, found: Mapping[int, tuple[int, ProviderUse]]) -> None:
        """Remember generation and use of providers, by id, after a group that changed no inventory.

        ``before``: the revision at which the group read them. ``after``: the revision that its writes led
        to. If other processes have written in between, the next group will find a higher one.
        """
        if self._distrusted:
            self._distrusted -= 1
            return
        if before != self._revision:
            self._known.clear()
        now = time.monotonic()
        remembered = self._known.get_all(found)
        for id_, (generation, use) in found.items():
            known = remembered.get(id_)
            if known is None:
                self._known.put(id_, _Known(generation, use, now))
                continue
            if use.inventories is None:
                use = ProviderUse(use.used, known.use.inventories)
            # A sum that continues a remembered one is as old as the remembered one.
            if _bytes_of(use) == _bytes_of(known.use):
                known.generation, known.use = generation, use
            else:
                self._known.put(id_, _Known(generation, use, known.read_at))
        self._revision = after

    def forget(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._revision = -1


_SORTS = ("inventories", "consumers", "holders", "used", "revision", "origins")
_INVENTORY, _CONSUMER, _HELD, _USED, _REVISION, _ORIGIN = range(6)
_UUID = 1
"""Place of a consumer's uuid in a row."""

UUID_LENGTH: Final = 36
"""Characters of a lease's uuid."""

# Without a type, so that a ratio keeps its own type in the union. A number would give it more digits.
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
# A sum without the cast is a decimal number on MariaDB.
_sum = sa.cast(sa.func.sum(allocations.c.used), sa.BigInteger)
_used = _row(
    _USED, allocations.c.resource_provider_id, allocations.c.resource_class_id, _sum, _no_ratio, _no_text
).group_by(allocations.c.resource_provider_id, allocations.c.resource_class_id)

_revision = _row(_REVISION, revisions.c.revision, number(0), _no_ratio, _no_text)

# A claim's lease comes in the same text, for the others have one text only. Its uuid has a fixed length.
_leased = claims.c.lease.is_not(None)
_origins = _row(
    _ORIGIN,
    sa.case((_leased, number(1)), else_=number(0)),
    _no_ratio,
    sa.case((_leased, claims.c.consumer_uuid.concat(claims.c.lease)), else_=claims.c.consumer_uuid),
)

FACTS = Selections(
    # The first part has the ratio, from which the others take its type.
    Part(_inventories, inventories.c.resource_provider_id, "inventories", 0),
    Part(_others, consumers.c.uuid, "consumers", ""),
    Part(_held, allocations.c.consumer_id, "holders", ""),
    Part(_used, allocations.c.resource_provider_id, "used", 0),
    Part(_revision, revisions.c.id, "revision", 0),
    Part(_origins, claims.c.consumer_uuid, "origins", ""),
)
"""What decides claims, in one statement: inventories, consumers that are not locked, what consumers hold,
how much of inventories is used, the revision at which all this holds. Also which consumers have an origin,
and which leases their claims hang on."""


def providers_held(work: GroupWork, wanted: Iterable[str]) -> set[str]:
    """The providers of which these consumers hold something. Their locks come before the consumers'."""
    rows = HELD.tuples(work.connection, wanted)
    names = class_names(work, {class_id for _, _, class_id, _ in rows})
    # Only a collation could return a consumer that the query did not name.
    return {provider for consumer, provider, class_id, _ in rows if consumer in wanted and class_id in names}


def read(work: GroupWork, memory: UsageMemory, state: State, touch: Touch, holders: set[str]) -> None:
    """Consumers, what they hold, inventories and their use. Providers have been read.

    ``holders``: see ``providers_held``. Raises NotNewError, and WriteConflictError if what must be locked
    changed meanwhile.
    """
    locked: Sequence[Any] = ()
    if work.locks:
        locked = LOCKED_CONSUMERS.tuples(work.connection, sorted(touch.consumers - touch.newcomers))
    present = work.present
    inventory_ids = {present[uuid]: uuid for uuid in touch.inventories if uuid in present}
    used_ids = {present[uuid]: uuid for uuid in touch.used | holders if uuid in present}
    recalled = memory.recall({id_: _generation(state, uuid) for id_, uuid in used_ids.items()})
    had = {id_: use.inventories for id_, use in recalled.items() if use.inventories is not None}
    sorts = _facts(
        work,
        inventories=sorted(inventory_ids.keys() - had.keys()),
        consumers=sorted(touch.consumers.difference(row[_UUID] for row in locked)),
        holders=sorted(touch.consumers),
        used=sorted(used_ids.keys() - recalled.keys()),
        revision=[THE_ROW] if used_ids else [],
        origins=sorted(touch.consumers),
    )
    _take_origins(state, touch, sorts[_ORIGIN])
    if sorts[_REVISION]:
        work.revision = revision = sorts[_REVISION][0][0]
        if recalled and not memory.holds(revision):
            again = _facts(
                work,
                inventories=sorted(inventory_ids.keys() & had.keys()),
                used=sorted(recalled),
            )
            sorts[_INVENTORY] += again[_INVENTORY]
            sorts[_USED] += again[_USED]
            recalled, had = {}, {}
    of_classes = sorts[_INVENTORY] + sorts[_HELD] + sorts[_USED]
    names = class_names(work, {class_id for _, class_id, *_ in of_classes}) if of_classes else {}
    _take_held(work, state, touch, sorts[_HELD], used_ids, names)
    _take_consumers(work, state, touch, locked, sorts[_CONSUMER])
    inventory: dict[int, dict[str, Inventory]] = {id_: dict(had.get(id_, {})) for id_ in inventory_ids}
    for provider_id, class_id, *values, _ in sorts[_INVENTORY]:
        # Here and below: a row of a class that does not exist is read as if it were absent.
        if class_id in names:
            inventory[provider_id][names[class_id]] = Inventory(*values)
    state.inventories.update({inventory_ids[id_]: items for id_, items in inventory.items()})
    used = {id_: dict(recalled[id_].used) if id_ in recalled else {} for id_ in used_ids}
    for provider_id, class_id, amount, *_ in sorts[_USED]:
        if class_id in names:
            used[provider_id][names[class_id]] = amount
    state.used.update({used_ids[id_]: items for id_, items in used.items()})


def _take_origins(state: State, touch: Touch, rows: Iterable[Sequence[Any]]) -> None:
    found: dict[str, Keep | None] = {}
    attached: dict[str, str | None] = {}
    for leased, *_, text in rows:
        consumer = text[:-UUID_LENGTH] if leased else text
        if consumer in touch.consumers:
            found[consumer] = KEEP
            if leased:
                attached[consumer] = text[-UUID_LENGTH:]
    state.origins.update(found)
    state.attached.update(attached)


def _generation(state: State, uuid: str) -> int:
    row = state.providers[uuid]
    assert row is not None, "only providers that exist have been read"
    return row.generation


def _facts(work: GroupWork, **values: Sequence[object]) -> list[list[Any]]:
    """What ``FACTS`` finds, by sort."""
    sorts: list[list[Any]] = [[] for _ in _SORTS]
    for sort, *fact in FACTS.rows(work.connection, **{name: values.get(name, ()) for name in _SORTS}):
        sorts[sort].append(fact)
    return sorts


def _take_held(
    work: GroupWork,
    state: State,
    touch: Touch,
    facts: Iterable[Sequence[Any]],
    counted: Mapping[int, str],
    names: Mapping[int, str],
) -> None:
    """``counted``: the providers whose use has been read, by id."""
    held: dict[str, dict[tuple[str, str], int]] = {uuid: {} for uuid in touch.consumers}
    uncounted: set[int] = set()
    for provider_id, class_id, amount, *_, consumer in facts:
        if consumer in touch.newcomers:
            raise NotNewError
        # Only a collation could return a consumer that the query did not name.
        if consumer in held:
            provider = counted.get(provider_id)
            if provider is None:
                uncounted.add(provider_id)
            elif class_id in names:
                held[consumer][provider, names[class_id]] = amount
    if uncounted and PLACED.rows(work.connection, sorted(uncounted)):
        # The consumer got it after the query for what the consumer holds.
        raise WriteConflictError
    state.held.update(held)


def _take_consumers(
    work: GroupWork, state: State, touch: Touch, locked: Sequence[Any], facts: Iterable[Sequence[Any]]
) -> None:
    rows = [(uuid, id_, *rest) for id_, uuid, *rest in locked if uuid in touch.consumers]
    met = {row[_UUID] for row in locked}
    for *numbers, _, _, _, uuid in facts:
        met.add(uuid)
        if uuid in touch.newcomers:
            raise NotNewError
        if uuid in touch.consumers:
            if work.locks:
                # The consumer was added after the others had been locked.
                raise WriteConflictError
            rows.append((uuid, *numbers))
    state.consumers.update(dict.fromkeys(touch.consumers))
    if any(uuid not in touch.consumers for uuid in met):
        missing = touch.consumers.difference(met)
        state.equal_consumers.update(held_equal(work.connection, consumers.c.uuid, missing))
    if not rows:
        return
    owners = {row[2:5] for row in rows}
    named = work.registries.owner_names.get_all(owners)
    if len(named) < len(owners):
        named |= work.registries.read_owners(work.connection, [*owners - named.keys()])
    for row in rows:
        uuid, id_, *_, generation_ = row
        state.consumers[uuid] = ConsumerRow(uuid, *named[row[2:5]], generation_, id_)


def remember(work: GroupWork, memory: UsageMemory, after: State, writes: int) -> None:
    """Remember the use after committed claims: they led to ``after``, as so many writes."""
    if work.revision is not None:
        left = {
            work.present[uuid]: (_generation(after, uuid), ProviderUse(used, after.inventories.get(uuid)))
            for uuid, used in after.used.items()
            if uuid in work.present
        }
        memory.learn(work.revision, work.revision + writes, left)


def _refer(work: GroupWork, before: State, after: State, changed: Sequence[ConsumerRow]) -> None:
    """Find or create the rows that consumers and allocations refer to."""
    owners = {row.uuid: (row.project_id, row.user_id, row.consumer_type) for row in changed}
    ids = work.registries.owner_ids.get_all(owners.values())
    unknown = [owner for owner in set(owners.values()) if owner not in ids]
    if unknown:
        found, added = work.registries.add_owners(work.connection, unknown)
        ids |= found
        work.added += added
    work.references = {uuid: ids[owner] for uuid, owner in owners.items()}
    names = {
        name for consumer, held in after.held.items() if held is not before.held[consumer] for _, name in held
    }
    if not names <= work.classes.keys():
        class_ids(work, names)


def plan(work: GroupWork, before: State, after: State) -> dict[int, Used]:
    """Plan to write consumers and allocations. Returns the use that differs, by the provider's id and class.

    None of these statements needs the answer of another one.
    """
    changed = _changed(before, after)
    _refer(work, before, after, changed)
    gone = [
        was.id
        for uuid, was in before.consumers.items()
        # A row that was read is deleted for good, or in favour of a new consumer of its uuid.
        if was is not None
        and was.id is not None
        and ((now := after.consumers[uuid]) is None or now.id is None)
    ]
    if gone:
        work.planned.append((GONE_CONSUMERS, gone))
    new = [(row.uuid, row.generation, *work.references[row.uuid]) for row in changed if row.id is None]
    if new:
        work.planned.append((NEW_CONSUMERS, new))
    kept = [(row, was) for row in changed if row.id is not None and (was := before.consumers[row.uuid])]
    if kept:
        _plan_kept(work, kept)
    # wire: allocations are written anew even if they are the same, since their date is visible.
    replaced = {uuid: held for uuid, held in after.held.items() if held is not before.held[uuid]}
    emptied = [consumer for consumer in replaced if before.held[consumer]]
    if emptied:
        work.planned.append((GONE_ALLOCATIONS, emptied))
    rows = [
        (work.providers[provider], work.classes[name], consumer, amount)
        for consumer, held in replaced.items()
        for (provider, name), amount in held.items()
    ]
    if rows:
        work.planned.append((NEW_ALLOCATIONS, rows))
    present = work.present
    return {
        present[uuid]: used
        for uuid, used in after.used.items()
        if uuid in present and used is not before.used[uuid]
    }


def _changed(before: State, after: State) -> list[ConsumerRow]:
    """Rows to be written."""
    return [row for row in after.consumers.values() if row is not None and row != before.consumers[row.uuid]]


def _plan_kept(work: GroupWork, kept: Iterable[tuple[ConsumerRow, ConsumerRow]]) -> None:
    """Consumers that existed and still do: as they are, as they were."""
    updated: list[dict[str, Any]] = []
    steps: list[tuple[int, int, int]] = []
    for row, was in kept:
        if (row.project_id, row.user_id, row.consumer_type) != (
            was.project_id,
            was.user_id,
            was.consumer_type,
        ):
            project_id, user_id, type_id = work.references[row.uuid]
            updated.append(
                {"row_id": row.id, "project_id": project_id, "user_id": user_id, "consumer_type_id": type_id}
            )
        if row.id is not None and row.generation != was.generation:
            steps.append((row.id, was.generation, row.generation - was.generation))
    if updated:
        work.planned.append((CHANGED_CONSUMER, updated))
    if steps:
        work.planned.append((GENERATIONS, steps))


def check_absent(work: GroupWork, before: State, after: State) -> None:
    """Raises WriteConflictError if another process has added a consumer that this group leaves absent.

    Must be called while holding the revision's lock: a process that adds the consumer later comes after
    this group. A written row needs no such check, for it would collide with the other one.
    """
    absent = {uuid for uuid, row in after.consumers.items() if row is None and not before.consumers[uuid]}
    if not absent.isdisjoint(uuid for (uuid,) in PRESENT_CONSUMERS.tuples(work.connection, absent)):
        raise WriteConflictError


def select_used(*where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Provider id, class name and the amount used of it. ``where``: conditions on allocations.

    It is summed up by ids, in the order of an index, before each class is given its name.
    """
    ids = (allocations.c.resource_provider_id, allocations.c.resource_class_id)
    sums = sa.select(*ids, sa.func.sum(allocations.c.used).label("used")).where(*where).group_by(*ids)
    found = sums.subquery()
    named = sa.select(found.c.resource_provider_id, resource_classes.c.name, found.c.used).join_from(
        found, resource_classes, found.c.resource_class_id == resource_classes.c.id
    )
    # MariaDB would begin with the names, and sum up all allocations of each class.
    return named.prefix_with("STRAIGHT_JOIN", dialect="mysql")


def _sums(connection: sa.Connection) -> list[UsedFact]:
    return [
        UsedFact(row.resource_provider_id, row.name, int(row.used))
        for row in fetched(connection, select_used())
    ]


class Consumers(Noun):
    """Consumers have locks of their own, and are written in one go with the change log.

    So the transaction calls the functions of this module itself.
    """

    audited: ClassVar[Mapping[str, AuditRows]] = {
        "allocations": rows_of(
            AllocationFact,
            allocations.c.resource_provider_id,
            allocations.c.resource_class_id,
            allocations.c.consumer_id,
            allocations.c.used,
        ),
        "consumers": rows_of(
            ConsumerFact,
            consumers.c.uuid,
            consumers.c.generation,
            consumers.c.project_id,
            consumers.c.user_id,
            consumers.c.consumer_type_id,
        ),
        "sums": _sums,
        "projects": ids_of(projects),
        "users": ids_of(users),
        "consumer_types": ids_of(consumer_types),
    }


CONSUMERS = Consumers()


def consumers_without_record(connection: sa.Connection) -> int:
    """How many consumers hold something and have no row: Placement wrote none before Rocky."""
    known = sa.exists().where(consumers.c.uuid == allocations.c.consumer_id)
    query = sa.select(sa.func.count(allocations.c.consumer_id.distinct())).where(~known)
    return connection.execute(query).scalar_one()
