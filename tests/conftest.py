"""What all tests share: database servers, and hypothesis profiles."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.plugin"]

# A slow machine is no failure: no test here is about time. `make check` looks whether a property holds at
# all; to look for what is rare, `make test` has many times as many examples.
settings.register_profile(
    "check", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=15
)
settings.register_profile(
    "test", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200
)
settings.register_profile(
    "long", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=5_000
)
settings.load_profile(os.environ.get("MOORAGE_TEST_PROFILE", "check"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests and journeys first: one process does a whole file, and the last to begin
    should not be the longest. (``--no-loadscope-reorder`` keeps this order.)
    """
    long = {
        item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("journey")
    }
    items.sort(key=lambda item: item.path not in long)
