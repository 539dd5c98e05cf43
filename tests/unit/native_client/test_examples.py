"""The programs of ``examples/``, against the real application."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moorage_client import Moorage
from prometheus_client import CollectorRegistry

from examples import capacity_exporter
from examples.placement_cache import PlacementCache
from moorage.model.commands import CreateResourceClass, RenameResourceClass
from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.unit.native_client.conftest import sharing

AVX = "HW_CPU_X86_AVX2"
GPU = "HW_GPU_API_VULKAN"

SECONDS = 60.0
"""Nothing takes so long."""


@pytest.fixture
def url(sqlite_service: Service) -> Iterator[str]:
    """The address of a native API that shares its service with the test."""
    with sharing(sqlite_service) as address:
        yield address


def test_the_exporter_adds_up_per_trait_and_class(
    url: str, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is started: the figures are those that it would serve."""
    service = sqlite_service
    root = add_provider(service, "host", traits=(AVX,), VCPU=8)
    gpu = add_provider(service, "gpu", root, traits=(GPU,), PGPU=2)
    add_provider(service, "other", VCPU=4)
    order(service, claim(new_uuid(), {root: {VCPU: 3}, gpu: {"PGPU": 1}}))
    figures: dict[str, dict[tuple[str, str], float]] = {}

    def serve(_port: int, *, registry: CollectorRegistry) -> None:
        for sample in (sample for family in registry.collect() for sample in family.samples):
            labels = (sample.labels.get("resource_class", ""), sample.labels.get("trait", ""))
            figures.setdefault(sample.name, {})[labels] = sample.value
        raise KeyboardInterrupt

    monkeypatch.setattr(capacity_exporter, "start_http_server", serve)
    with pytest.raises(KeyboardInterrupt):
        capacity_exporter.main(url)
    assert figures["placement_capacity"] == {
        (VCPU, ""): 12,
        (VCPU, AVX): 8,
        ("PGPU", ""): 2,
        ("PGPU", AVX): 2,
        ("PGPU", GPU): 2,
    }
    assert figures["placement_used"] == {
        (VCPU, ""): 3,
        (VCPU, AVX): 3,
        ("PGPU", ""): 1,
        ("PGPU", AVX): 1,
        ("PGPU", GPU): 1,
    }
    assert figures["placement_revision"] == {("", ""): service.revision()}
    assert figures["placement_age_seconds"]["", ""] < SECONDS


def assert_all_changed(cache: PlacementCache) -> None:
    """After all that it says at first."""
    while (found := cache.changed(SECONDS)) is not None:
        assert found, "nothing has come in time"


def test_the_cache_answers_as_placement_and_says_what_changed(
    url: str, sqlite_service: Service, sqlite_store: Store
) -> None:
    service = sqlite_service
    root = add_provider(service, "host", traits=(AVX,), VCPU=8)
    child, other = add_provider(service, "child", root, VCPU=4), add_provider(service, "other", VCPU=4)
    consumer = new_uuid()
    with Moorage(url) as moorage:
        cache = PlacementCache(moorage)
        with cache.mirror as mirror:
            assert cache.changed(0.0) is None
            order(service, claim(consumer, {child: {VCPU: 3}}))
            assert mirror.wait_for(service.revision(), SECONDS)
            assert cache.changed(SECONDS) == {root}
            assert cache.changed(0.0) == set()
            assert cache.inventories(child) == {
                VCPU: {
                    "total": 4,
                    "reserved": 0,
                    "min_unit": 1,
                    "max_unit": 2147483647,
                    "step_size": 1,
                    "allocation_ratio": 1.0,
                }
            }
            assert cache.traits(root) == [AVX]
            assert cache.usages(child) == {VCPU: 3}
            provider = mirror.provider(child)
            assert provider is not None
            assert cache.allocations(consumer) == {
                child: {"resources": {VCPU: 3}, "generation": provider.generation}
            }
            assert cache.allocations(new_uuid()) == {}
            assert cache.inventories("?") is cache.traits("?") is cache.usages("?") is None
            order(service, CreateResourceClass("CUSTOM_A"))
            order(service, RenameResourceClass("CUSTOM_A", "CUSTOM_B"))
            order(service, claim(new_uuid(), {other: {VCPU: 1}}))
            assert_all_changed(cache)
            assert cache.changed(0.0) is not None
            sqlite_store.new_history()
            assert_all_changed(cache)
