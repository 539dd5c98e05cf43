"""The benchmark's clouds, the rows that are written of them, and what its queries find there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from benchmarks import clouds, loader
from benchmarks.clouds import CONSUMERS_PER_FULL_HOST, HOST, HOSTS_PER_FREE_HOST
from benchmarks.scenarios import FLAVORS, SCENARIOS, Query, Scenario
from moorage.api.placement import application
from moorage.service.facade import Service
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.peer.exchange import ADMIN, Request, call

SEED = 1
HEADERS = {**ADMIN, "OpenStack-API-Version": "placement 1.39"}

ALL = [scenario.cloud for scenario in SCENARIOS]


def query_of(scenario: str, name: str) -> tuple[Scenario, Query]:
    return next(
        (each, query)
        for each in SCENARIOS
        if each.name == scenario
        for query in each.queries
        if query.name == name
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(StoreSettings(f"sqlite:///{tmp_path / 'cloud.sqlite'}", sqlite_synchronous_full=False))
    made.migrate()
    made.synchronise_names()
    yield made
    made.close()


def candidates(store: Store, cloud: clouds.Cloud, hosts: int, text: str) -> int:
    """How many candidates a query finds in a cloud that was loaded as the benchmark loads it."""
    chance = Random(SEED)
    loader.load(store.engines.write.url.render_as_string(False), cloud(hosts, chance), chance)
    service = Service(store)
    try:
        answer = call(
            application.create(service), Request("GET", "/allocation_candidates", text, headers=HEADERS)
        )
    finally:
        service.close()
    assert answer.status == 200, answer
    return len(answer.json["allocation_requests"])


@pytest.mark.parametrize("cloud", ALL, ids=lambda cloud: str(cloud.__name__))
def test_one_seed_always_makes_the_same_cloud(cloud: clouds.Cloud) -> None:
    assert list(cloud(30, Random(SEED))) == list(cloud(30, Random(SEED)))


@pytest.mark.parametrize("cloud", ALL, ids=lambda cloud: str(cloud.__name__))
def test_parents_come_before_their_children_and_names_are_unique(cloud: clouds.Cloud) -> None:
    trees = list(cloud(30, Random(SEED)))
    for tree in trees:
        assert tree[0].parent is None
        assert all(
            each.parent is not None and each.parent < place for place, each in enumerate(tree[1:], start=1)
        )
    providers = [provider for tree in trees for provider in tree]
    assert len({each.uuid for each in providers}) == len({each.name for each in providers}) == len(providers)


def test_nested_trees_have_seven_providers() -> None:
    assert {len(tree) for tree in clouds.nested(3, Random(SEED))} == {7}


def test_a_full_cloud_has_one_free_host_among_twenty_in_changing_places() -> None:
    hosts = [tree[0] for tree in clouds.full(200, Random(SEED))]
    free = [number for number, host in enumerate(hosts) if not host.held]
    assert [number // HOSTS_PER_FREE_HOST for number in free] == list(range(10))
    assert len({number % HOSTS_PER_FREE_HOST for number in free}) > 1
    held = next(host.held for host in hosts if host.held)
    assert len(held) == CONSUMERS_PER_FULL_HOST
    assert {name: sum(each[name] for each in held) for name in HOST} == {
        name: inventory.total for name, inventory in HOST.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "name", "hosts", "expected"),
    [
        ("varied", "all", 30, 27),
        ("varied", "limit=10", 30, 10),
        ("varied-trees", "all", 10, 17),
        ("varied-pools", "all", 60, 112),
        ("flat", "all", 30, 30),
        ("flat", "limit=10", 30, 10),
        ("nested", "all", 5, 10),
        ("shared", "all", 150, 300),
        ("wide", "limit=1000", 2, 1000),
        ("full", "limit=1000", 60, 3),
        ("nothing", "more than any host has", 30, 0),
        ("nothing", "a trait that no host has", 30, 0),
        ("nothing", "a trait and an aggregate, never together", 30, 0),
    ],
)
def test_a_query_finds_what_its_cloud_was_made_for(
    store: Store, scenario: str, name: str, hosts: int, expected: int
) -> None:
    found, query = query_of(scenario, name)
    assert candidates(store, found.cloud, hosts, query.text) == expected


@pytest.mark.parametrize("cloud", [clouds.varied, clouds.varied_trees, clouds.varied_pools])
def test_varied_hosts_are_of_three_kinds_and_half_of_them_hold_what_there_is_room_for(
    cloud: clouds.Cloud,
) -> None:
    trees = list(cloud(300, Random(SEED)))
    hosts = [tree for tree in trees if clouds.SHARES not in tree[0].traits]
    used = [tree for tree in hosts if any(provider.held for provider in tree)]
    assert 100 < len(used) < 200
    assert len({repr(tree[0].inventories) for tree in hosts}) == 3
    assert len({repr(provider.held) for tree in used for provider in tree}) > 50
    for provider in (provider for tree in trees for provider in tree):
        for name, inventory in provider.inventories.items():
            room = (inventory.total - inventory.reserved) * inventory.allocation_ratio
            assert sum([held[name] for held in provider.held]) <= room


def test_a_trait_and_an_aggregate_are_there_that_never_meet(store: Store) -> None:
    _, query = query_of("nothing", "a trait and an aggregate, never together")
    other_side = query.text.replace(clouds.aggregate("right"), clouds.aggregate("left"))
    assert candidates(store, clouds.flat, 30, other_side) == 10


def test_loading_in_several_batches_counts_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "TREES_PER_BATCH", 4)
    assert candidates(store, clouds.nested, 9, query_of("nested", "all")[1].text) == 18


def test_batches_hold_everything_once() -> None:
    trees = list(islice(clouds.flat(7, Random(SEED)), 7))
    found = list(loader.batches(trees, 3))
    assert [len(batch) for batch in found] == [3, 3, 1]
    assert [tree for batch in found for tree in batch] == trees


def test_varied_clouds_are_asked_different_queries() -> None:
    for scenario in SCENARIOS:
        for query in scenario.queries:
            distinct = len(set(query.texts))
            assert distinct == len(query.texts) == (FLAVORS if scenario.name.startswith("varied") else 1)


def test_every_scenario_is_small_in_a_short_run() -> None:
    for scenario in SCENARIOS:
        assert max(scenario.short) <= min(1_000, max(scenario.full))
        assert scenario.queries
