"""How many statements things cost: few, and as many with 500 providers as with 10."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moorage.model.commands import (
    Batch,
    Command,
    CreateProvider,
    DeleteAllocations,
    DeleteProvider,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.requests import CandidateRequest, ProviderFilter, RequestGroup
from moorage.model.values import Inventory
from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import ASKER, VCPU, add_provider, claim, inventories, new_uuid, order
from tests.databases.sql_watch import Watched, watching

FEW, MANY = 10, 500


def fill(service: Service, number: int) -> None:
    """So many providers, a tenth of them with a consumer."""
    uuids = [new_uuid() for _ in range(number)]
    commands: list[Command[object]] = []
    for position, uuid in enumerate(uuids):
        commands.append(CreateProvider(uuid, f"filler {uuid}"))
        commands.append(SetInventories(uuid, 0, {VCPU: Inventory(8)}))
        if position % 10 == 0:
            commands.append(claim(new_uuid(), {uuid: {VCPU: 1}}))
    order(service, Batch(tuple(commands)))


def costs(store: Store, service: Service) -> dict[str, int]:
    """Statements of each thing that clients ask, on a provider and a consumer of their own."""
    found: dict[str, int] = {}

    def count(name: str, act: Callable[[], object]) -> None:
        with watching(store) as watched:
            act()
        found[name] = len(watched) + len(watched.direct)

    service.warm_up()
    # The names of its classes are remembered from now on.
    provider, other, consumer = new_uuid(), add_provider(service, VCPU=8, DISK_GB=1), new_uuid()
    parent = add_provider(service)
    steps: dict[str, Command[object]] = {
        "create": CreateProvider(provider, f"name {provider}"),
        "set inventories": SetInventories(provider, 0, inventories(VCPU=8, DISK_GB=10)),
        "set traits": SetTraits(provider, 1, frozenset(("COMPUTE_NODE", "HW_CPU_X86_AVX"))),
        "set aggregates": SetAggregates(provider, None, (new_uuid(), new_uuid())),
        "first claim of a project and user": claim(
            new_uuid(), {provider: {VCPU: 1}}, project_id=new_uuid(), user_id=new_uuid()
        ),
        "claim": claim(consumer, {provider: {VCPU: 1}}, None),
        "claim of two providers": claim(
            new_uuid(), {provider: {VCPU: 1, "DISK_GB": 1}, other: {VCPU: 1}}, None
        ),
        "move": claim(consumer, {other: {VCPU: 1}}, 1),
        "reparent": UpdateProvider(other, f"name {other}", parent),
        "release": DeleteAllocations(consumer),
    }
    for name, command in steps.items():
        count(name, lambda command=command: service.execute(command, ASKER))  # type: ignore[misc]
    service.warm_up()
    order(service, SetInventories(provider, None, inventories(VCPU=50, DISK_GB=10)))
    count("catch up", service.warm_up)
    order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    count("catch up with own claims", service.warm_up)
    order(Service(store), claim(new_uuid(), {provider: {VCPU: 1}}))
    order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    count("catch up with claims", service.warm_up)
    group = RequestGroup("", {VCPU: 40})
    reads: dict[str, Callable[[], object]] = {
        "provider": lambda: service.provider(provider),
        "providers": lambda: service.providers(ProviderFilter()),
        "providers of a group": lambda: service.providers(ProviderFilter(group=group)),
        "inventories": lambda: service.provider_inventories(provider),
        "traits of a provider": lambda: service.provider_traits(provider),
        "aggregates": lambda: service.provider_aggregates(provider),
        "provider usages": lambda: service.provider_usages(provider),
        "provider allocations": lambda: service.provider_allocations(provider),
        "consumer": lambda: service.consumer_allocations(consumer),
        "usages": lambda: service.usages("project"),
        "usages by type": lambda: service.usages_by_type("project"),
        "traits": lambda: service.traits(associated=True),
        "classes": service.resource_classes,
        "candidates": lambda: service.candidates(CandidateRequest((group,))),
    }
    for name, read in reads.items():
        count(name, read)
    leaf = add_provider(service)
    count("delete", lambda: order(service, DeleteProvider(leaf)))
    return found


@pytest.mark.slow
def test_no_cost_grows_with_the_number_of_providers(store: Store, service: Service) -> None:
    fill(service, FEW)
    with_few = costs(store, service)
    fill(service, MANY - FEW)
    assert costs(store, service) == with_few
    assert {name: number for name, number in with_few.items() if name in READS} == READS
    assert max(with_few.values()) <= 20


# What asks the index polls the revision first. To catch up, what claims have changed is asked for before
# all else; a process' own claims are there already.
READS = {
    "provider": 1,
    "providers": 1,
    "providers of a group": 2,
    "inventories": 2,
    "traits of a provider": 2,
    "aggregates": 2,
    "provider usages": 3,
    "provider allocations": 2,
    "consumer": 1,
    "usages": 2,
    "usages by type": 2,
    "traits": 1,
    "classes": 1,
    "candidates": 1,
    "catch up": 9,
    "catch up with own claims": 1,
    "catch up with claims": 2,
}


def kinds(watched: Watched) -> list[str]:
    """Each statement's verb and first table."""
    shown = []
    for statement in watched.statements:
        words = statement.replace("`", "").split()
        before = {"SELECT": "FROM", "DELETE": "FROM", "INSERT": "INTO", "UPDATE": "UPDATE"}[words[0]]
        if "STRAIGHT_JOIN" in words:
            before = "STRAIGHT_JOIN"
        lock = " FOR UPDATE" if statement.endswith("FOR UPDATE") else ""
        shown.append(f"{words[0]} {words[words.index(before) + 1]}{lock}")
    return shown


def test_a_claim_is_one_transaction_of_few_statements(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    with watching(store) as watched:
        order(service, claim(new_uuid(), {provider: {VCPU: 1}}, None))
    lock = "" if store.engines.serializes_writes else " FOR UPDATE"
    assert kinds(watched) == [
        f"SELECT resource_providers{lock}",
        "SELECT inventories",
        "INSERT consumers",
        "INSERT allocations",
        "UPDATE resource_providers",
        "UPDATE moorage_revision",
        "INSERT moorage_journal",
        "INSERT moorage_changes",
    ]
    assert watched.commits == 1


@pytest.mark.parametrize("number", [2, 20])
def test_claims_of_one_order_cost_no_more_than_one(store: Store, service: Service, number: int) -> None:
    """Nor does a list of providers in one claim."""
    providers = [add_provider(service, VCPU=8) for _ in range(number)]
    order(service, claim(new_uuid(), {providers[0]: {VCPU: 1}}))
    with watching(store) as watched:
        order(
            service,
            Batch(tuple(claim(new_uuid(), {uuid: {VCPU: 1} for uuid in providers}, None) for _ in range(3))),
        )
    assert len(watched) == 9  # one more for the several consumers of one record
