"""Builds a state through the service: providers with all that belongs to them, and claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from moorage.model.commands import (
    AddInventory,
    Claim,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    ReplaceAllocations,
    SetAggregates,
    SetTraits,
)
from moorage.model.values import CUSTOM_PREFIX, Inventory, Requester
from moorage.service.facade import Service

BUILDER = Requester("builder", "builder", "req-builder")

Offer = int | Inventory
"""What a provider offers of a class; a bare number is its total and its largest unit."""


@dataclass(frozen=True)
class Held:
    """What one consumer holds of the provider where this stands."""

    resources: Mapping[str, int]
    consumer: str = field(default_factory=lambda: str(uuid4()))
    project_id: str = "project"
    user_id: str = "user"


@dataclass(frozen=True)
class Node:
    """A provider and its subtree. ``variable`` names the environment variable of its uuid."""

    name: str
    variable: str | None = None
    offers: Mapping[str, Offer] = field(default_factory=dict)
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    children: tuple[Node, ...] = ()
    held: tuple[Held, ...] = ()
    uuid: str = field(default_factory=lambda: str(uuid4()))


def build(service: Service, *nodes: Node) -> dict[str, str]:
    """Make the trees of ``nodes``; gives uuids by the variables that are to hold them."""
    variables: dict[str, str] = {}
    for node in nodes:
        _build(service, node, None, variables)
    return variables


def _build(service: Service, node: Node, parent: str | None, variables: dict[str, str]) -> None:
    service.execute(CreateProvider(node.uuid, node.name, parent), BUILDER)
    if node.variable is not None:
        variables[node.variable] = node.uuid
    if node.aggregates:
        # Without a generation, so that the provider's is not bumped.
        service.execute(SetAggregates(node.uuid, None, node.aggregates), BUILDER)
    for resource_class, offer in node.offers.items():
        _offer(service, node.uuid, resource_class, offer)
    if node.traits:
        for trait in node.traits:
            if trait.startswith(CUSTOM_PREFIX):
                service.execute(CreateTrait(trait), BUILDER)
        service.execute(SetTraits(node.uuid, None, frozenset(node.traits)), BUILDER)
    for held in node.held:
        claim = Claim(held.consumer, {node.uuid: held.resources}, held.project_id, held.user_id)
        service.execute(ReplaceAllocations((claim,)), BUILDER)
    for child in node.children:
        _build(service, child, node.uuid, variables)


def _offer(service: Service, provider: str, resource_class: str, offer: Offer) -> None:
    if resource_class.startswith(CUSTOM_PREFIX):
        service.execute(CreateResourceClass(resource_class, may_exist=True), BUILDER)
    inventory = offer if isinstance(offer, Inventory) else Inventory(offer, max_unit=offer)
    service.execute(AddInventory(provider, resource_class, inventory), BUILDER)
