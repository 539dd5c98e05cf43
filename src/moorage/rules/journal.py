"""The record of a write: all that it changes, before and after.

Undoing the records after a revision, the newest first, leads from the present back to that revision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from moorage.model.journal import ChangeSelection, JournalMode
from moorage.model.mixes import Shape
from moorage.model.valueclass import valueclass
from moorage.model.values import Inventory
from moorage.rules.state import Changes, ConsumerRow, Inventories, NameRow, ProviderRow, State, Used

Body = Mapping[str, Any]
"""What JSON can write. Each changed value is a list of two: before and after. None: it was, or is, not there.

providers
    by uuid: ``tree``, the uuid of its root; and of ``generation``, ``name``, ``parent``, ``root``,
    ``inventories``, ``traits``, ``aggregates`` the pairs that differ. ``used`` has pairs by resource class.
consumers
    by uuid: ``project_id``, always; of ``user_id``, ``consumer_type`` and ``generation`` the pairs that
    differ. ``held`` has pairs by provider and resource class. A consumer that holds nothing is not there.
    ``lease`` is a pair: the lease that its claim hangs on.
leases
    by uuid: ``project_id`` and ``owner``, always; the pair of its ``state``, if that differs.
resource_classes, traits
    by name: whether it exists.
renamed
    resource classes: new names by old names. All that had the class has it under its new name.
reason
    why a claim was changed that no client has asked to change: the finding of a report that it heals.
"""

EVERYTHING: Final = "*"
"""Stands for a tree in a record that concerns all providers and consumers."""


@valueclass(frozen=True, slots=True)
class Record:
    """A record's body, and its subjects: the consumers, the roots of the trees, and the leases that it is
    about.
    """

    body: Body
    consumers: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()


EMPTY: Final = Record({})


def recorded(state: State, changes: Changes[Any], mode: JournalMode) -> Record | None:
    """The record of a command's changes; None if none is kept. ``state``: as the command found it."""
    if mode is JournalMode.OFF:
        return None
    body: dict[str, Any] = {}
    providers = _providers(state, changes)
    if providers:
        body["providers"] = providers
    consumers = _consumers(state, changes)
    if consumers:
        body["consumers"] = consumers
    if changes.changes_names:
        body |= _names(state, changes)
    if changes.leases:
        body["leases"] = _leases(state, changes)
    if mode is JournalMode.REFS:
        body = references(body)
    if changes.reason is not None:
        body["reason"] = dict(changes.reason)
    return record_of(body)


def record_of(body: Body) -> Record:
    """A body with its subjects."""
    if concerns_everything(body):
        return Record(body, (), (EVERYTHING,))
    return Record(body, tuple(body.get("consumers", ())), trees_of(body), tuple(body.get("leases", ())))


def references(body: Body) -> dict[str, Any]:
    """What a body is about, without values."""
    short = {name: part for name, part in body.items() if name not in ("providers", "consumers", "leases")}
    if "providers" in body:
        short["providers"] = {
            uuid: {name: each[name] for name in ("tree", "root") if name in each}
            for uuid, each in body["providers"].items()
        }
    if "consumers" in body:
        short["consumers"] = {
            uuid: {name: each[name] for name in ("project_id",) if name in each}
            for uuid, each in body["consumers"].items()
        }
    if "leases" in body:
        short["leases"] = {
            uuid: {name: each[name] for name in ("project_id", "owner") if name in each}
            for uuid, each in body["leases"].items()
        }
    return short


def trees_of(body: Body) -> tuple[str, ...]:
    """Roots of the trees that a record changes, those included that a provider has left."""
    found: dict[str, None] = {}
    for each in body.get("providers", {}).values():
        found[each["tree"]] = None
        for root in each.get("root", ()):
            if root is not None:
                found[root] = None
    return tuple(found)


def projects_of(body: Body) -> frozenset[str]:
    """The projects whose consumers or leases a record changes."""
    found = {
        project
        for each in body.get("consumers", {}).values()
        for project in each["project_id"]
        if project is not None
    }
    return frozenset(found.union([each["project_id"] for each in body.get("leases", {}).values()]))


def concerns_everything(body: Body) -> bool:
    """Whether a record changes what any provider or consumer may have."""
    return "renamed" in body or "adopted" in body


def _providers(state: State, changes: Changes[Any]) -> dict[str, Any]:
    found = {}
    for uuid in sorted(changes.touched_providers()):
        was = state.providers[uuid]
        now = changes.providers.get(uuid, was)
        row = was if now is None else now
        if row is not None:
            parts: dict[str, Any] = {"tree": row.root_uuid}
            parts.update(_row(was, now))
            parts.update(_facets(state, changes, uuid, was, now))
            if len(parts) > 1:
                found[uuid] = parts
    return found


def _row(was: ProviderRow | None, now: ProviderRow | None) -> Iterator[tuple[str, Any]]:
    if was is None or now is None:
        one = was or now
        assert one is not None, "a provider that neither was nor is has no row"
        for name, value in (
            ("generation", one.generation),
            ("name", one.name),
            ("parent", one.parent_uuid),
            ("root", one.root_uuid),
        ):
            yield name, [value, None] if now is None else [None, value]
        return
    if was.generation != now.generation:
        yield "generation", [was.generation, now.generation]
    if was.name != now.name:
        yield "name", [was.name, now.name]
    if was.parent_uuid != now.parent_uuid:
        yield "parent", [was.parent_uuid, now.parent_uuid]
    if was.root_uuid != now.root_uuid:
        yield "root", [was.root_uuid, now.root_uuid]


def _facets(
    state: State, changes: Changes[Any], uuid: str, was: ProviderRow | None, now: ProviderRow | None
) -> Iterator[tuple[str, Any]]:
    if now is None:
        yield "inventories", [_told(state.inventories[uuid]), None]
        yield "traits", [sorted(state.traits[uuid]), None]
        yield "aggregates", [sorted(state.aggregates[uuid]), None]
        return
    if uuid in changes.inventories:
        had = None if was is None else state.inventories[uuid]
        if had != changes.inventories[uuid]:
            yield "inventories", [None if had is None else _told(had), _told(changes.inventories[uuid])]
    if uuid in changes.traits:
        yield from _sets("traits", None if was is None else state.traits[uuid], changes.traits[uuid])
    if uuid in changes.aggregates:
        yield from _sets(
            "aggregates", None if was is None else state.aggregates[uuid], changes.aggregates[uuid]
        )
    if uuid in changes.used:
        used = _amounts({} if was is None else state.used[uuid], changes.used[uuid])
        if used:
            yield "used", used


def _sets(name: str, had: Any, has: Any) -> Iterator[tuple[str, Any]]:
    before, after = None if had is None else sorted(had), sorted(has)
    if before != after:
        yield name, [before, after]


def _amounts(before: Used, after: Used) -> dict[str, list[int]]:
    """What differs; a class that is not used may be missing."""
    found = {}
    for name in {**before, **after}:
        was, now = before.get(name, 0), after.get(name, 0)
        if was != now:
            found[name] = [was, now]
    return found


def _told(inventories: Inventories) -> dict[str, Any]:
    return {name: inventory_told(inventory) for name, inventory in inventories.items()}


def inventory_told(inventory: Inventory) -> dict[str, Any]:
    """An inventory as records have it."""
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
    }


def _consumers(state: State, changes: Changes[Any]) -> dict[str, Any]:
    found = {}
    for uuid in {**changes.held, **changes.consumers, **changes.attached}:
        had = state.held[uuid]
        has = changes.held.get(uuid, had)
        # A row that was left behind without allocations is no consumer.
        was = state.consumers[uuid] if had else None
        now = changes.consumers.get(uuid, was) if has else None
        if was is not None or now is not None:
            parts = dict(_owner(was, now))
            held: dict[str, dict[str, list[int]]] = {}
            for key in {**had, **has}:
                before, after = had.get(key, 0), has.get(key, 0)
                if before != after:
                    held.setdefault(key[0], {})[key[1]] = [before, after]
            if held:
                parts["held"] = held
            if uuid in changes.attached:
                # A consumer that was not there hung on no lease, whatever was left of an earlier one.
                leases = [None if was is None else state.attached.get(uuid), changes.attached[uuid]]
                if leases[0] != leases[1]:
                    parts["lease"] = leases
            found[uuid] = parts
    return found


def _leases(state: State, changes: Changes[Any]) -> dict[str, Any]:
    found = {}
    for uuid, lease in changes.leases.items():
        was = state.leases[uuid]
        assert lease is not None, "no command takes a lease away"
        # Commands change a lease by its state only.
        states = [None if was is None else was.state.value, lease.state.value]
        found[uuid] = {"project_id": lease.project_id, "owner": lease.owner, "state": states}
    return found


def _owner(was: ConsumerRow | None, now: ConsumerRow | None) -> Iterator[tuple[str, Any]]:
    if was is None or now is None:
        one = was or now
        assert one is not None, "a consumer that neither was nor is has no row"
        for name, value in (
            ("project_id", one.project_id),
            ("user_id", one.user_id),
            ("consumer_type", one.consumer_type),
            ("generation", one.generation),
        ):
            yield name, [value, None] if now is None else [None, value]
        return
    yield "project_id", [was.project_id, now.project_id]
    if was.user_id != now.user_id:
        yield "user_id", [was.user_id, now.user_id]
    if was.consumer_type != now.consumer_type:
        yield "consumer_type", [was.consumer_type, now.consumer_type]
    if was.generation != now.generation:
        yield "generation", [was.generation, now.generation]


def _names(state: State, changes: Changes[Any]) -> Iterator[tuple[str, Any]]:
    classes = _existence(state.resource_classes, changes.resource_classes)
    if classes:
        yield "resource_classes", classes
    traits = _existence(state.trait_names, changes.trait_names)
    if traits:
        yield "traits", traits
    renamed = {
        name: row.renamed_to for name, row in changes.resource_classes.items() if row.renamed_to is not None
    }
    if renamed:
        yield "renamed", renamed


def _existence(before: Mapping[str, NameRow], after: Mapping[str, NameRow]) -> dict[str, list[bool]]:
    return {
        name: [before[name].exists, row.exists]
        for name, row in after.items()
        if before[name].exists != row.exists
    }


def names_added(resource_classes: list[str], traits: list[str]) -> Record:
    """The record of names that were added."""
    body = {
        "resource_classes": {name: [False, True] for name in resource_classes},
        "traits": {name: [False, True] for name in traits},
    }
    return Record({name: part for name, part in body.items() if part})


def adopted(counts: Mapping[str, int]) -> Record:
    """The record that begins a new history, with how many rows of each kind there are."""
    return record_of({"adopted": dict(counts)})


def arrivals(bodies: Iterable[Body]) -> dict[Shape, float]:
    """How many consumers came with each shape of claims. A record without values counts nothing."""
    found: dict[Shape, float] = {}
    for body in bodies:
        for parts in body.get("consumers", {}).values():
            if parts["project_id"][0] is None and "held" in parts:
                shape = Shape.of_amounts(
                    (name, pair[1]) for amounts in parts["held"].values() for name, pair in amounts.items()
                )
                found[shape] = found.get(shape, 0.0) + 1.0
    return found


@valueclass(frozen=True, slots=True)
class Hanging:
    """A lease that a claim hung on: from the revision ``first`` to ``last``, both included; None: no end."""

    lease: str
    first: int
    last: int | None = None


def hung_on(consumer: str, records: Iterable[tuple[int, Body]], present: str | None) -> list[Hanging]:
    """The leases that a consumer's claim hung on, by all records about it, with their revisions, in order.

    ``present``: the lease that it hangs on now. A lease that was released had no claims any more, whether
    a record of the consumer says so or not.
    """
    steps = [
        (revision, parts["lease"])
        for revision, body in records
        if "lease" in (parts := body.get("consumers", {}).get(consumer, {}))
    ]
    if not steps:
        return [] if present is None else [Hanging(present, 0)]
    found = []
    first, (earlier, _) = steps[0]
    if earlier is not None:
        found.append(Hanging(earlier, 0, first))
    ends: list[int | None] = [revision for revision, _ in steps[1:]]
    for (revision, (_, lease)), end in zip(steps, [*ends, None], strict=True):
        if lease is not None:
            found.append(Hanging(lease, revision, end))
    return found


def in_history_of(consumer: str, leases: Collection[str], body: Body) -> Body:
    """What a record says in the history of a consumer that hung on these leases."""
    if concerns_everything(body) or consumer in body.get("consumers", ()):
        return body
    return {"leases": {uuid: parts for uuid, parts in body.get("leases", {}).items() if uuid in leases}}


def is_in_history(body: Body, wanted: ChangeSelection) -> bool:
    """As ``is_about``, of a body as ``in_history_of`` leaves it."""
    if wanted.consumer is not None and body.keys() == {"leases"}:
        return bool(body["leases"]) and (wanted.project_id is None or wanted.project_id in projects_of(body))
    return is_about(body, wanted)


def is_of_kind(kind: str, kinds: frozenset[str] | None) -> bool:
    """Whether a kind is among those wanted, whole or by its part before the point. None: all are."""
    return kinds is None or kind in kinds or kind.partition(".")[0] in kinds


def is_in_tree(body: Body, tree: str | None) -> bool:
    """Whether a record changes the tree with this root, or everything. None: any tree will do."""
    return tree is None or concerns_everything(body) or tree in trees_of(body)


def is_about(body: Body, wanted: ChangeSelection) -> bool:
    """Whether a record is about the tree, the consumer and the project that are wanted."""
    if concerns_everything(body):
        return True
    return (
        is_in_tree(body, wanted.tree)
        and (wanted.consumer is None or wanted.consumer in body.get("consumers", ()))
        and (wanted.project_id is None or wanted.project_id in projects_of(body))
        and (wanted.provider is None or wanted.provider in body.get("providers", ()))
    )


_OF_CLAIMS: Final = frozenset({"tree", "generation", "used"})
"""What the record of a claim says of a provider."""

_OF_REFERENCES: Final = frozenset({"tree", "root"})
"""What a record without values says of a provider; one with values never says so little."""


def may_make_room(body: Body, classes: Collection[str]) -> bool:
    """Whether a request for these resource classes that found no place may find one after a record.

    So it is if a claim gives some of them back, or if a provider changes otherwise. A record without values
    of providers does not tell, and may.
    """
    if "adopted" in body:
        return True
    if any(
        each.keys() - _OF_CLAIMS or each.keys() <= _OF_REFERENCES
        for each in body.get("providers", {}).values()
    ):
        return True
    return any(
        name in classes and (now or 0) < (before or 0)
        for parts in body.get("consumers", {}).values()
        for amounts in parts.get("held", {}).values()
        for name, (before, now) in amounts.items()
    )


def as_seen_by(body: Body, project_id: str) -> Body:
    """What a reader of one project may see: its own leases, and its own consumers with what they hold by
    resource class.
    """
    seen = {name: body[name] for name in ("renamed", "adopted") if name in body}
    consumers = {
        uuid: _own(parts, project_id)
        for uuid, parts in body.get("consumers", {}).items()
        if project_id in parts["project_id"]
    }
    leases = {
        uuid: parts for uuid, parts in body.get("leases", {}).items() if parts["project_id"] == project_id
    }
    if leases:
        seen["leases"] = leases
    return {**seen, "consumers": consumers} if consumers else seen


def _own(parts: Mapping[str, Any], project_id: str) -> dict[str, Any]:
    """A consumer that has another owner before or after is not there before or after."""
    is_own = [project == project_id for project in parts["project_id"]]

    def seen(pair: list[Any]) -> list[Any]:
        return [value if own else None for value, own in zip(pair, is_own, strict=True)]

    found: dict[str, Any] = {name: seen(pair) for name, pair in parts.items() if name != "held"}
    resources: dict[str, list[int]] = {}
    for amounts in parts.get("held", {}).values():
        for name, pair in amounts.items():
            before = resources.setdefault(name, [0, 0])
            resources[name] = [before[0] + pair[0], before[1] + pair[1]]
    if resources:
        found["resources"] = {name: seen(pair) for name, pair in resources.items()}
    return found
