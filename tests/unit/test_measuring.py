"""Where coverage is measured, and that nothing keeps it from pausing."""

from __future__ import annotations

import os
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from tests import measuring


class Controller:
    """Of pytest-cov. As coverage itself: what is started twice, one stop does not end."""

    def __init__(self) -> None:
        self.started = True
        self.times = 1

    def pause(self) -> None:
        self.started = False
        self.times = max(0, self.times - 1)

    def resume(self) -> None:
        self.started = True
        self.times += 1


def item(controller: Controller, nodeid: str, *marks: str) -> Any:
    """A test, as far as measuring looks at it."""
    plugins = SimpleNamespace(getplugin=lambda _name: SimpleNamespace(cov_controller=controller))
    return SimpleNamespace(
        nodeid=nodeid,
        config=SimpleNamespace(pluginmanager=plugins),
        get_closest_marker=lambda name: name if name in marks else None,
    )


def begun(test: Any) -> Generator[None, object, object]:
    """The hook, while the test runs."""
    running = measuring.pytest_runtest_protocol(test)
    next(running)
    return running


def end(running: Generator[None, object, object]) -> None:
    with pytest.raises(StopIteration):
        running.send(True)


@pytest.mark.parametrize(
    ("nodeid", "marks", "times"),
    [
        ("tests/unit/rules/test_claims.py::test_one", (), 1),
        ("tests/unit/rules/test_claims.py::test_one", ("unmeasured",), 0),
        ("tests/peer/test_peer.py::test_one", (), 0),
    ],
)
def test_coverage_is_measured_unless_a_test_does_again_what_others_do(
    nodeid: str, marks: tuple[str, ...], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(measuring.MEASURED_CHILDREN, "config")
    controller = Controller()
    running = begun(item(controller, nodeid, *marks))
    assert controller.times == times
    assert (measuring.MEASURED_CHILDREN in os.environ) == bool(times)
    end(running)
    assert controller.times == 1
    assert os.environ[measuring.MEASURED_CHILDREN] == "config"


def test_a_mark_of_pytest_cov_does_not_start_it_twice() -> None:
    controller = Controller()
    running = begun(item(controller, "tests/peer/test_peer.py::test_one"))
    # What pytest-cov does around the call of a test that has the mark ``no_cover``.
    controller.pause()
    controller.resume()
    end(running)
    assert controller.times == 1
