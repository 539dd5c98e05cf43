"""Where coverage is measured: in tests that reach lines on purpose."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

FAULTS = "tests/faults/"
PROPERTIES = "tests/property/"

AGAIN = (
    "tests/adoption/",
    "tests/clients/",
    "tests/configuration/test_wsgi_servers.py",
    "tests/console/",
    "tests/databases/test_damaged_rows.py",
    "tests/databases/test_error_catalogue.py",
    "tests/databases/test_upgrades.py",
    "tests/docs/",
    FAULTS,
    "tests/fuzz/",
    "tests/growth/",
    "tests/journeys/",
    "tests/keystone/",
    "tests/packaging/",
    "tests/peer/",
    PROPERTIES,
    "tests/schedules/",
    "tests/tidy/",
    "tests/unit/contracts/",
)
"""Where what others have reached is done again, many times or from outside: coverage is not measured there.
That halves their time, and what only chance reaches does not count."""

MEASURED_CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage measures processes that tests start."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """pytest-cov measures the processes of pytest-xdist itself. Coverage would measure each of them a second
    time, also while ``pytest_runtest_protocol`` has the measuring pause; and two in one process can end in
    the wrong order, so that what one of them has measured is lost.
    """
    os.environ.pop(MEASURED_CHILDREN, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Nothing is measured in a test that does again what others do, nor while its fixtures are made."""
    controller = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    is_again = item.nodeid.startswith(AGAIN) or item.get_closest_marker("unmeasured") is not None
    if controller is None or not is_again:
        return (yield)
    children = os.environ.pop(MEASURED_CHILDREN, None)
    controller.pause()
    try:
        return (yield)
    finally:
        # The mark ``no_cover`` of pytest-cov resumes as well. If coverage is started twice, no pause stops it
        # any more.
        if not controller.started:
            controller.resume()
        if children is not None:
            os.environ[MEASURED_CHILDREN] = children
