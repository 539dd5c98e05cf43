"""What has to be written so that the service has what a document says: pure functions.

A plan consists of steps in the order in which they can be carried out; each step is one command
and stands or falls alone. A document that was carried out yields an empty plan.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Final

from moorage.cli.document import ConsumerEntry, Document, ProviderEntry, provider_uuid
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
from moorage.model.values import CUSTOM_PREFIX, ConsumerAllocations, Inventory, Provider

RATIO_PRECISION: Final = 1e-5
"""Relative difference of two ratios that are the same: MariaDB gives back six digits of a FLOAT."""


@valueclass(frozen=True, slots=True)
class PresentDetails:
    """What one provider has now. ``generation`` is the lowest that any of its parts was read at."""

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

    ``action`` is one of create, update, delete, claim, release; ``details`` says what changes;
    ``needs`` is the uuid of a provider without which the step cannot be done; ``line`` is where
    the document asks for it, None if it does by its silence.
    """

    action: str
    label: str
    uuid: str
    command: Command[object]
    details: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.action} {self.label}" + (f": {', '.join(self.details)}" if self.details else "")


def uuids_of(document: Document, present: Collection[Provider]) -> dict[str, str]:
    """Provider name of the document to uuid.

    The file's uuid counts; without one a provider that has the name already is meant, and
    otherwise the uuid follows from the name.
    """
    by_name = {provider.name: provider.uuid for provider in present}
    return {
        entry.name: entry.uuid or by_name.get(entry.name) or provider_uuid(entry.name)
        for entry, _ in document.entries()
    }


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
    for consumer in document.consumers:
        step = consumer_step(consumer, uuids, present.consumers.get(consumer.uuid))
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
    """The one batch that makes a provider what ``entry`` says; None if it is that already."""
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
    # Only the first of these checks the generation: the commands before it bump it.
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
    )


def consumer_step(
    entry: ConsumerEntry, uuids: Mapping[str, str], held: ConsumerAllocations | None
) -> Step | None:
    """The claim that gives a consumer what ``entry`` says; None if it holds just that."""
    held = held or ConsumerAllocations()
    wanted = {uuids[name]: dict(resources) for name, resources in entry.allocations.items()}
    holds = {uuid: dict(of_provider.resources) for uuid, of_provider in held.providers.items()}
    owner = (held.project_id, held.user_id, held.consumer_type)
    if wanted == holds and (not holds or owner == (entry.project_id, entry.user_id, entry.consumer_type)):
        return None
    if not wanted:
        return Step(
            action="release",
            label=entry.label,
            uuid=entry.uuid,
            command=DeleteAllocations(entry.uuid),
            line=entry.line,
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
    )


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
    """Custom names that have to be made first."""
    return sorted(name for name in names if name.startswith(CUSTOM_PREFIX) and name not in existing)
