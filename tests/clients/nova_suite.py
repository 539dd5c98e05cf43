"""Runs nova's functional tests of its Placement client against Moorage, in a process of its own.

``python -m tests.clients.nova_suite [TEST]`` wants an environment with nova, which brings some eighty
distributions along and is no part of the locked ones; docs/internals/work-on-moorage.md has the commands.
It ends with status 1 if a test fails. As in ``osc_suite``, Moorage takes the place of the reference.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from placement.tests.functional.fixtures import placement

from tests.clients.osc_suite import MoorageFixture
from tests.databases.prepared import prepare_schema

TESTS = "nova.tests.functional.test_report_client"


def run(name: str) -> unittest.TestResult:
    """Run all tests of a module, a class, or one test."""
    with TemporaryDirectory() as folder:
        MoorageFixture.template = Path(folder) / "template.sqlite"
        prepare_schema(f"sqlite:///{MoorageFixture.template}")
        patched: Any = placement
        patched.PlacementFixture = MoorageFixture
        return unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromName(name))


if __name__ == "__main__":
    outcome = run((sys.argv[1:] or [TESTS])[0])
    sys.exit(0 if outcome.wasSuccessful() and outcome.testsRun else 1)
