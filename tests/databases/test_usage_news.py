"""What claims have changed is told in one statement; of all else it says that it cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moorage.model.commands import (
    Batch,
    Command,
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.values import Inventory
from moorage.service.facade import Service
from moorage.service.live_index import built
from moorage.store.changes import changelog
from moorage.store.changes import news as usage_news
from moorage.store.changes.news import NEWS, UsageNews
from moorage.store.sql.direct import DirectQuery
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order


def news(store: Store, revision: int) -> UsageNews | None:
    return store.usage_news(revision, store.revision())


def ids(store: Store) -> dict[str, int]:
    """Database id by uuid."""
    with store.everything() as everything:
        return {record.uuid: record.id for record in built(everything).records()}


def test_what_providers_of_claimed_trees_use_is_told(store: Store, service: Service) -> None:
    root, other, idle = (add_provider(service, VCPU=8, DISK_GB=9) for _ in range(3))
    child, unclaimed = (add_provider(service, parent=root, VCPU=8) for _ in range(2))
    order(service, claim(new_uuid(), {unclaimed: {VCPU: 5}, idle: {VCPU: 1}}))
    start, number = store.revision(), ids(store)
    consumer = new_uuid()
    order(service, claim(consumer, {root: {VCPU: 1, "DISK_GB": 2}, child: {VCPU: 3}}))
    order(service, claim(new_uuid(), {child: {VCPU: 4}, other: {VCPU: 1}}))
    assert news(store, start) == UsageNews(
        start + 2,
        frozenset((number[root], number[other])),
        {
            number[root]: {VCPU: 1, "DISK_GB": 2},
            number[child]: {VCPU: 7},
            number[unclaimed]: {VCPU: 5},
            number[other]: {VCPU: 1},
        },
    )
    order(service, DeleteAllocations(consumer))
    assert news(store, start + 2) == UsageNews(
        start + 3, frozenset((number[root],)), {number[child]: {VCPU: 4}, number[unclaimed]: {VCPU: 5}}
    )


def test_without_writes_there_is_no_news(store: Store, service: Service) -> None:
    add_provider(service, VCPU=1)
    assert news(store, store.revision()) == UsageNews(store.revision(), frozenset(), {})


CHANGES: dict[str, Callable[[str, str], Command[Any]]] = {
    "traits": lambda root, child: SetTraits(root, None, frozenset(("COMPUTE_NODE",))),
    "aggregates": lambda root, child: SetAggregates(root, None, (new_uuid(),)),
    "inventories": lambda root, child: SetInventories(root, None, inventories(VCPU=9)),
    "parent": lambda root, child: UpdateProvider(child, "alone", None),
    "names": lambda root, child: CreateTrait("CUSTOM_NEW"),
    "gone": lambda root, child: DeleteProvider(child),
    "in a batch with a claim": lambda root, child: Batch(
        (claim(new_uuid(), {root: {VCPU: 1}}), SetInventories(child, None, {VCPU: Inventory(1)}))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_of_more_than_claims_nothing_is_told(store: Store, service: Service, change: str) -> None:
    root = add_provider(service, VCPU=8)
    child = add_provider(service, parent=root)
    start = store.revision()
    order(service, claim(new_uuid(), {root: {VCPU: 1}}))
    order(service, CHANGES[change](root, child))
    order(service, claim(new_uuid(), {root: {VCPU: 1}}))
    assert news(store, start) is None
    assert news(store, store.revision() - 1) is not None


def test_of_too_many_trees_and_of_too_many_writes_nothing_is_told(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers = [add_provider(sqlite_service, VCPU=8) for _ in range(3)]
    start = sqlite_store.revision()
    for provider in providers:
        order(sqlite_service, claim(new_uuid(), {provider: {VCPU: 1}}))
    told = sqlite_store.usage_news(start, start + 3)
    assert told is not None
    # One that is known, and two that were committed since.
    monkeypatch.setattr(usage_news, "AHEAD", 2)
    assert sqlite_store.usage_news(start, start + 1) == told
    monkeypatch.setattr(usage_news, "AHEAD", 1)
    assert sqlite_store.usage_news(start, start + 1) is None
    monkeypatch.setattr(usage_news, "MOST_TREES", 3)
    assert sqlite_store.usage_news(start, start + 3) is None
    assert sqlite_store.usage_news(start + 1, start + 3) is not None


def test_of_what_the_log_has_forgotten_nothing_is_told(store: Store, service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    start = store.revision()
    for _ in range(3):
        order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    with store.engines.write.begin() as connection:
        changelog.compact(connection, start + 1)
    assert news(store, start) is None
    assert news(store, start + 1) is not None
    # Nor to whoever knows more than there is: the database was put back.
    assert news(store, start + 4) is None


def test_a_broken_connection_is_not_used_again_and_says_nothing(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = add_provider(sqlite_service, VCPU=8)
    start = sqlite_store.revision()
    order(sqlite_service, claim(new_uuid(), {provider: {VCPU: 1}}))
    broken = DirectQuery(sqlite_store.engines.single, NEWS)
    broken.text = "SELECT nothing FROM nowhere"
    monkeypatch.setattr(sqlite_store._usage_reader, "_query", broken)
    assert news(sqlite_store, start) is None
    assert sqlite_store.engines.single.pool.checkedout() == 0  # type: ignore[attr-defined]
    sqlite_service.warm_up()
    assert sqlite_service._index.revision == start + 1
