"""Plans the steps that bring a service to the state of a document. Pure functions.

A plan consists of steps in the order of execution. Each step is one command that succeeds or fails alone. A
document that was carried out yields an empty plan.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, fields, replace
from typing import Final

from moorage.cli.document import ConsumerEntry, Document, ProviderEntry
from moorage.cli.shared.differences import differences
from moorage.cli.shared.names import provider_uuid
from moorage.model.commands import (
    KEEP,
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    Keep,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.valueclass import valueclass
from moorage.model.values import CUSTOM_PREFIX, ConsumerAllocations, Inventory, Provider, stated_type

RATIO_PRECISION: Final = 1e-5
"""Relative difference up to which two ratios are equal: MariaDB returns six digits of a FLOAT."""


@valueclass(frozen=True, slots=True)
class PresentDetails:
    """The present parts of one provider. ``generation`` is the lowest at which a part was read."""

    generation: int
    inventories: Mapping[str, Inventory]
    traits: frozenset[str]
    aggregates: frozenset[str]


@valueclass(frozen=True, slots=True)
class Present:
    """The state that a document is compared with.

    ``providers`` are all that exist, in the order of their ids. ``details`` (by uuid) are needed
    for those that the document names, ``consumers`` for all its consumers.
    """

    providers: tuple[Provider, ...] = ()
    details: Mapping[str, PresentDetails] = field(default_factory=dict)
    consumers: Mapping[str, ConsumerAllocations] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    resource_classes: frozenset[str] = frozenset()


@valueclass(frozen=True, slots=True)
class Step:
    """One provider's or consumer's command.

    ``action`` is one of create, update, delete, claim, release; ``details`` says what changes, and
    ``changes`` from which value to which; ``needs`` is the uuid of a provider that the step needs. ``line``
    is the line of the document that the step comes from; None for a step that comes from a missing entry.
    """

    action: str
    label: str
    uuid: str
    command: Command[object]
    details: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    line: int | None = None
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.action} {self.label}" + (f": {', '.join(self.details)}" if self.details else "")


def uuids_of(document: Document, present: Collection[Provider]) -> dict[str, str]:
    """Provider name of the document to uuid.

    The uuid is that of the file, else that of the present provider with this name, else it is computed from
    the name. No two names share a uuid: a provider that one entry names by uuid or present name is not used
    for another entry.
    """
    entries = [entry for entry, _ in document.entries()]
    given = {entry.uuid for entry in entries if entry.uuid}
    by_name = {provider.name: provider.uuid for provider in present if provider.uuid not in given}
    known = {entry.name: entry.uuid or by_name.get(entry.name) for entry in entries}
    taken = {uuid for uuid in known.values() if uuid}
    uuids: dict[str, str] = {}
    for name, uuid in known.items():
        attempt = 1
        while uuid is None:
            derived = provider_uuid(name, attempt)
            uuid = None if derived in taken else derived
            attempt += 1
        taken.add(uuid)
        uuids[name] = uuid
    return uuids


def plan(document: Document, present: Present, *, prune: bool = False) -> list[Step]:
    """All steps: providers with parents first, then consumers, then what ``prune`` removes."""
    uuids = uuids_of(document, present.providers)
    existing = {provider.uuid: provider for provider in present.providers}
    steps = []
    for entry, parent in document.entries():
        step = provider_step(
            entry,
            uuid=uuids[entry.name],
            parent_uuid=uuids[parent.name] if parent else None,
            provider=existing.get(uuids[entry.name]),
            present=present,
        )
        if step is not None:
            steps.append(step)
    names = {**{each.uuid: each.name for each in present.providers}, **{uuids[name]: name for name in uuids}}
    for consumer in document.consumers:
        step = consumer_step(consumer, uuids, present.consumers.get(consumer.uuid), names)
        if step is not None:
            steps.append(step)
    if prune:
        steps.extend(prune_steps(present.providers, frozenset(uuids.values())))
    return steps


def provider_step(
    entry: ProviderEntry,
    *,
    uuid: str,
    parent_uuid: str | None,
    provider: Provider | None,
    present: Present,
) -> Step | None:
    """The batch that gives a provider the state of ``entry``; None if it has that state."""
    commands: list[Command[object]] = []
    details: list[str] = []
    if provider is None:
        commands.append(CreateProvider(uuid=uuid, name=entry.name, parent_uuid=parent_uuid))
    else:
        moved = provider.parent_uuid != parent_uuid
        if provider.name != entry.name or moved:
            new_parent: str | Keep | None = parent_uuid if moved else KEEP
            commands.append(UpdateProvider(uuid=uuid, name=entry.name, parent_uuid=new_parent))
            details += ["name"] * (provider.name != entry.name) + ["parent"] * moved
    now = present.details.get(uuid) if provider is not None else None
    has = now or PresentDetails(0, {}, frozenset(), frozenset())
    # Only the first command checks the generation, because each command increments it.
    generation = now.generation if now is not None else None
    if entry.inventories is not None and not same_inventories(entry.inventories, has.inventories):
        commands.extend(
            CreateResourceClass(name, may_exist=True)
            for name in _missing(entry.inventories, present.resource_classes)
        )
        commands.append(SetInventories(uuid, generation, entry.inventories))
        details.append("inventories")
        generation = None
    if entry.traits is not None and entry.traits != has.traits:
        commands.extend(CreateTrait(name) for name in _missing(entry.traits, present.traits))
        commands.append(SetTraits(uuid, generation, entry.traits))
        details.append("traits")
        generation = None
    if entry.aggregates is not None and frozenset(entry.aggregates) != has.aggregates:
        commands.append(SetAggregates(uuid, generation, entry.aggregates))
        details.append("aggregates")
    if not commands:
        return None
    return Step(
        action="create" if provider is None else "update",
        label=entry.name,
        uuid=uuid,
        command=Batch(tuple(commands)),
        details=() if provider is None else tuple(details),
        needs=(parent_uuid,) if parent_uuid else (),
        line=entry.line,
        changes=() if provider is None else tuple(_changes(entry, provider, parent_uuid, has, present)),
    )


def _changes(
    entry: ProviderEntry,
    provider: Provider,
    parent_uuid: str | None,
    has: PresentDetails,
    present: Present,
) -> Iterator[str]:
    """The changes of an update in words."""
    names = {each.uuid: each.name for each in present.providers}
    before: dict[str, object] = {"name": provider.name, "parent": names.get(provider.parent_uuid or "")}
    after: dict[str, object] = {"name": entry.name, "parent": names.get(parent_uuid or "", parent_uuid)}
    yield from differences(before, after)
    if entry.inventories is not None and not same_inventories(entry.inventories, has.inventories):
        yield from differences(_fields(has.inventories), _fields(entry.inventories))
    lists = (("traits", entry.traits, has.traits), ("aggregates", entry.aggregates, has.aggregates))
    for name, wanted, found in lists:
        if wanted is not None:
            yield from differences({name: sorted(found)}, {name: sorted(wanted)})


def _fields(inventories: Mapping[str, Inventory]) -> dict[str, dict[str, object]]:
    return {
        name: {item.name: getattr(inventory, item.name) for item in fields(inventory)}
        for name, inventory in inventories.items()
    }


def consumer_step(
    entry: ConsumerEntry,
    uuids: Mapping[str, str],
    held: ConsumerAllocations | None,
    names: Mapping[str, str],
) -> Step | None:
    """The claim that gives a consumer the state of ``entry``; None if it has that state.

    ``names`` are those of providers, by uuid.
    """
    held = held or ConsumerAllocations()
    wanted = {uuids[name]: dict(resources) for name, resources in entry.allocations.items()}
    holds = {uuid: dict(of_provider.resources) for uuid, of_provider in held.providers.items()}
    owner = (held.project_id, held.user_id, stated_type(held.consumer_type))
    if wanted == holds and (not holds or owner == (entry.project_id, entry.user_id, entry.consumer_type)):
        return None
    if not wanted:
        return Step(
            action="release",
            label=entry.label,
            uuid=entry.uuid,
            command=DeleteAllocations(entry.uuid),
            line=entry.line,
            changes=tuple(differences(_held(holds, names), {})),
        )
    claim = Claim(
        consumer=entry.uuid,
        allocations=wanted,
        project_id=entry.project_id,
        user_id=entry.user_id,
        generation=held.generation,
        consumer_type=entry.consumer_type,
    )
    return Step(
        action="claim",
        label=entry.label,
        uuid=entry.uuid,
        command=ReplaceAllocations((claim,)),
        needs=tuple(wanted),
        line=entry.line,
        changes=tuple(
            differences(
                {**_owner(owner), **_held(holds, names)},
                {
                    **_owner((entry.project_id, entry.user_id, entry.consumer_type)),
                    **_held(wanted, names),
                },
            )
        ),
    )


def _owner(owner: tuple[str | None, str | None, str | None]) -> dict[str, object]:
    return {
        name: each for name, each in zip(("project", "user", "type"), owner, strict=True) if each is not None
    }


def _held(amounts: Mapping[str, Mapping[str, int]], names: Mapping[str, str]) -> dict[str, object]:
    return {names.get(uuid, uuid): dict(sorted(each.items())) for uuid, each in amounts.items()}


def prune_steps(providers: Collection[Provider], named: frozenset[str]) -> list[Step]:
    """Deletions of all providers that are not ``named`` (uuids), children before their parents."""
    parents = {provider.uuid: provider.parent_uuid for provider in providers}
    depths: dict[str, int] = {}
    for provider in providers:
        path = []
        uuid: str | None = provider.uuid
        while uuid is not None and uuid not in depths:
            path.append(uuid)
            uuid = parents.get(uuid)
        depth = depths[uuid] if uuid is not None else -1
        for step_uuid in reversed(path):
            depth += 1
            depths[step_uuid] = depth
    unnamed = [provider for provider in providers if provider.uuid not in named]
    unnamed.sort(key=lambda provider: -depths[provider.uuid])
    return [
        Step(
            action="delete",
            label=provider.name,
            uuid=provider.uuid,
            command=DeleteProvider(provider.uuid),
        )
        for provider in unnamed
    ]


def same_inventories(left: Mapping[str, Inventory], right: Mapping[str, Inventory]) -> bool:
    """Whether two sets of inventories are the same, ratios up to the precision of a database."""
    return left.keys() == right.keys() and all(
        math.isclose(inventory.allocation_ratio, right[name].allocation_ratio, rel_tol=RATIO_PRECISION)
        and replace(inventory, allocation_ratio=right[name].allocation_ratio) == right[name]
        for name, inventory in left.items()
    )


def _missing(names: Collection[str], existing: frozenset[str]) -> list[str]:
    """Custom names that must be created first."""
    return sorted(name for name in names if name.startswith(CUSTOM_PREFIX) and name not in existing)
