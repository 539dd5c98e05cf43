"""What all tests share: database servers, and hypothesis profiles."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests import compiled
from tests.measuring import FAULTS, PROPERTIES, pytest_runtest_protocol, pytest_xdist_setupnodes

__all__ = ["pytest_runtest_protocol", "pytest_xdist_setupnodes"]

pytest_plugins = ["tests.servers.plugin"]

# ``nohup`` has SIGHUP ignored, and so would all processes that tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

compiled.share()

# A slow machine is no failure: no test here is about time. `make check` looks whether a property holds at
# all; `make test` has more examples. Both take the same examples each time, so that a change
# that fails is the change at fault. `make chance` looks for what is rare, with other examples each time.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("check", CALM, derandomize=True, max_examples=15)
settings.register_profile("test", CALM, derandomize=True, max_examples=25)
settings.register_profile("chance", CALM, max_examples=300)
settings.register_profile("long", CALM, max_examples=5_000)
settings.load_profile(os.environ.get("MOORAGE_TEST_PROFILE", "check"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays until the end. To look through all of it for garbage again and again, while it
    grows, would take as long as the collection itself.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Processes of pytest-xdist begin with different files. Each finds compiled what another one has
    collected before it, and so a fresh checkout is compiled about once and not once by each of them.
    """
    report = yield
    given: Mapping[str, Any] = getattr(collector.config, "workerinput", {})
    if given and isinstance(collector, pytest.Directory):
        number, entries = int(given["workerid"].removeprefix("gw")), list(report.result or ())
        if number % 2:
            entries.reverse()
        start = len(entries) * (number // 2) * 2 // int(given["workercount"])
        report.result = entries[start:] + entries[:start]
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first: one process does a whole file, and the last to begin should not be the
    longest. (``--no-loadscope-reorder`` keeps this order.) The faults are the longest, as they stay together;
    then come properties, then files with slow tests and journeys.
    """
    long = {
        item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("journey")
    }

    def place(item: pytest.Item) -> tuple[bool, bool, bool, tuple[str, ...]]:
        return (
            not item.nodeid.startswith(FAULTS),
            not item.nodeid.startswith(PROPERTIES),
            item.path not in long,
            # All processes have one order, whatever each of them has collected first.
            item.path.parts,
        )

    items.sort(key=place)


class _Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """File by file, but the faults together: they mostly wait, and while one process waits the other shall
    compute, not wait as well.
    """

    def _split_scope(self, nodeid: str) -> str:
        return FAULTS if nodeid.startswith(FAULTS) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """None: whatever else was asked for."""
    return _Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
