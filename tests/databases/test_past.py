"""States of the past on each database, against the slow twin."""

from __future__ import annotations

from typing import Any

import pytest

from moorage.model.commands import (
    AttachClaim,
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    DeleteAllocations,
    DeleteProvider,
    EndLease,
    GrantLease,
    RenameResourceClass,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.values import Inventory
from moorage.service.facade import Service
from moorage.store import past
from moorage.store.store import Store
from tests.databases.orders import VCPU, new_uuid, order
from tests.databases.past_views import assert_past
from tests.oracle.history import View, view_of
from tests.oracle.leased import LeasedTwin


@pytest.mark.slow
@pytest.mark.parametrize("named", [0, past.MOST_NAMED])
def test_each_revision_of_any_mix_of_writes_is_what_the_twin_had(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch, named: int
) -> None:
    # Most records of claims are later ones, which the database chooses by their texts.
    monkeypatch.setattr(past, "EARLY", 2)
    monkeypatch.setattr(past, "MOST_NAMED", named)
    host, child, other, fresh = (new_uuid() for _ in range(4))
    vm, job, lease = new_uuid(), new_uuid(), new_uuid()

    def claimed(consumer: str, generation: int | None, **held: int) -> Command[Any]:
        providers = {"host": host, "child": child}
        amounts = {providers[name]: {VCPU: amount} for name, amount in held.items()}
        return ReplaceAllocations((Claim(consumer, amounts, "red", "ann", generation, "INSTANCE"),))

    commands: list[Command[Any]] = [
        CreateResourceClass("CUSTOM_GOLD"),
        CreateProvider(host, "host"),
        CreateProvider(child, "child", host),
        CreateProvider(other, "other"),
        SetInventories(host, 0, {VCPU: Inventory(8), "CUSTOM_GOLD": Inventory(4)}),
        SetInventories(child, 0, {VCPU: Inventory(8, allocation_ratio=1.5)}),
        claimed(vm, None, host=2, child=1),
        SetTraits(child, 2, frozenset(("HW_CPU_X86_AVX2",))),
        claimed(job, None, child=3),
        GrantLease(lease, "agent", "red", "ann", 60_000, 0),
        AttachClaim(lease, vm),
        AttachClaim(lease, job),
        UpdateProvider(child, "renamed", other),
        SetAggregates(child, None, (new_uuid(),)),
        claimed(vm, 1, host=1),
        RenameResourceClass("CUSTOM_GOLD", "CUSTOM_SILVER"),
        EndLease(lease, keeps_claims=True),
        DeleteAllocations(job),
        DeleteProvider(child),
        Batch((CreateProvider(fresh, "fresh", other), SetInventories(fresh, 0, {VCPU: Inventory(1)}))),
        DeleteAllocations(vm),
        claimed(vm, None, host=4),
    ]
    account = LeasedTwin()
    views: dict[int, View] = {store.revision(): view_of(account)}
    for command in commands:
        account.execute(command)
        order(service, command)
        views[store.revision()] = view_of(account)
    assert len(views) == len(commands) + 1
    ever: View = {
        part: {uuid: None for view in views.values() for uuid in view[part]}
        for part in ("providers", "consumers")
    }
    for revision, view in views.items():
        assert_past(service, view, revision, ever)
