"""Runs osc-placement's own functional tests against Moorage, in a process of its own.

``python -m tests.clients.osc_suite MODULE...`` runs modules of the tests that the installed distribution
carries, and ends with status 1 if one of them fails, is skipped or has no test. Their fixture starts the
reference in the same process; here another one takes its place. It is a process of its own because these
tests change the logging, the output and the caches of the whole process.
"""

from __future__ import annotations

import shutil
import sys
import unittest
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fixtures
from placement.tests.functional.fixtures import placement
from wsgi_intercept.interceptor import RequestsInterceptor

from moorage.api.placement import application
from moorage.auth.policy import Policy, default_policy
from moorage.service.facade import Service
from tests import compiled
from tests.databases.prepared import prepare_schema, store_on

PACKAGE = "osc_placement.tests.functional"
MOUNTED_AT = "http://moorage.test/placement"
"""Under a prefix, as the fixture of the reference has it."""


@cache
def old_policy() -> Policy:
    """As the fixture of the reference has it: its tests know an administrator who may do all."""
    return default_policy(enforce_new_defaults=False)


class MoorageFixture(fixtures.Fixture):
    """Moorage with an empty account, reached in-process by whoever uses requests."""

    template: Path
    """An SQLite file with schema and standard names."""

    token = "admin"
    endpoint = MOUNTED_AT

    def _setUp(self) -> None:  # noqa: N802 - the name that a fixture has to have
        path = Path(self.useFixture(fixtures.TempDir()).path) / "account.sqlite"
        shutil.copy(self.template, path)
        service = Service(store_on(f"sqlite:///{path}"))
        self.addCleanup(service.close)
        served = application.create(service, policy=old_policy())
        interceptor = RequestsInterceptor(lambda: served, url=self.endpoint)
        interceptor.install_intercept()
        self.addCleanup(interceptor.uninstall_intercept)


def passes(modules: list[str]) -> bool:
    """Run all tests of these modules; whether each has some, and all of them pass."""
    compiled.share()
    with TemporaryDirectory() as folder:
        MoorageFixture.template = Path(folder) / "template.sqlite"
        prepare_schema(f"sqlite:///{MoorageFixture.template}")
        patched: Any = placement
        patched.PlacementFixture = MoorageFixture
        suites = [unittest.defaultTestLoader.loadTestsFromName(f"{PACKAGE}.{module}") for module in modules]
        outcome = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(suites))
    every_one_has_tests = all(suite.countTestCases() for suite in suites)
    return bool(suites) and every_one_has_tests and outcome.wasSuccessful() and not outcome.skipped


if __name__ == "__main__":
    sys.exit(0 if passes(sys.argv[1:]) else 1)
