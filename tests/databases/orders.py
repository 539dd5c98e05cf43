"""Short ways to order things of a service, for tests that are about what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import uuid4

from moorage.model.commands import (
    KEEP,
    Claim,
    Command,
    CreateProvider,
    Keep,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
)
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Inventory, Requester
from moorage.service.facade import Service

ResultT = TypeVar("ResultT")

ASKER = Requester("asker", "askers", "req-1")
"""Who asks in tests that are not about that."""

VCPU = "VCPU"
MEMORY = "MEMORY_MB"
DISK = "DISK_GB"


def new_uuid() -> str:
    """A uuid as clients make them."""
    return str(uuid4())


def order(service: Service, command: Command[ResultT]) -> ResultT:
    """Carry out one command as ``ASKER``."""
    return service.execute(command, ASKER)


def inventories(**totals: int) -> dict[str, Inventory]:
    """Inventories with these totals and all else by default."""
    return {name: Inventory(total) for name, total in totals.items()}


def add_provider(
    service: Service,
    name: str | None = None,
    parent: str | None = None,
    traits: tuple[str, ...] = (),
    aggregates: tuple[str, ...] = (),
    **totals: int,
) -> str:
    """A new provider with all that is named; returns its uuid."""
    uuid = new_uuid()
    order(service, CreateProvider(uuid, name or f"provider {uuid}", parent))
    if totals:
        order(service, SetInventories(uuid, None, inventories(**totals)))
    if traits:
        order(service, SetTraits(uuid, None, frozenset(traits)))
    if aggregates:
        order(service, SetAggregates(uuid, None, aggregates))
    return uuid


def claim(
    consumer: str,
    allocations: Mapping[str, Mapping[str, int]],
    generation: int | Keep | None = KEEP,
    consumer_type: str | Keep | None = KEEP,
    project_id: str = "project",
    user_id: str = "user",
) -> ReplaceAllocations:
    """The order that one consumer shall hold this, whatever its generation."""
    return ReplaceAllocations((Claim(consumer, allocations, project_id, user_id, generation, consumer_type),))


def uuids_with_room(service: Service, resource_class: str, amount: int) -> set[str]:
    """Uuids of all providers that the search finds for one class."""
    found = service.candidates(CandidateRequest((RequestGroup("", {resource_class: amount}),)))
    return {uuid for candidate in found.candidates for uuid in candidate.allocations}
