"""The functional tests that osc-placement carries, with Moorage in the place of the reference."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from tests.clients.environment import environment

pytestmark = pytest.mark.slow

OWN_TESTS = "osc_placement.tests.functional"

ASKS_NO_SERVICE = {"test_plugin"}
"""Modules of osc-placement's tests that look at the command line only."""


def own_modules() -> list[str]:
    """Modules of osc-placement's own tests."""
    names = (item.name for item in files(OWN_TESTS).iterdir())
    found = {name.removesuffix(".py") for name in names if name.startswith("test_") and name.endswith(".py")}
    return sorted(found - ASKS_NO_SERVICE)


def test_osc_placements_own_tests_pass(tmp_path: Path) -> None:
    """In one process: loading what they need takes longer than running them."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.clients.osc_suite", *own_modules()],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-20_000:]


def test_osc_placement_has_tests_of_all_it_can_do() -> None:
    assert len(own_modules()) >= 8
