"""What all tests share: database servers, and hypothesis profiles."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.plugin"]

# A slow machine is no failure: no test here is about time.
settings.register_profile(
    "check", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.register_profile(
    "test", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200
)
settings.register_profile(
    "long", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=5_000
)
settings.load_profile(os.environ.get("MOORAGE_TEST_PROFILE", "check"))
