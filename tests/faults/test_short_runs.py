"""A short run on each database. ``make faults`` makes long ones."""

from __future__ import annotations

import sys

import pytest

from tests.faults.opening import DATABASES, SQLITE, run_where_the_harness_holds
from tests.faults.runs import Plan, chosen_seed
from tests.servers.plugin import skip_or_fail
from tests.servers.session import MissingServerError

pytestmark = [pytest.mark.journey, pytest.mark.slow]

SECONDS = 10.0


@pytest.mark.parametrize(
    "database",
    [
        pytest.param(database, marks=[] if database == SQLITE else [pytest.mark.databases])
        for database in DATABASES
    ],
)
def test_nothing_is_lost_doubled_or_wrong_under_faults(database: str) -> None:
    try:
        report = run_where_the_harness_holds(database, Plan(chosen_seed(1), SECONDS))
    except MissingServerError as missing:
        skip_or_fail(missing)
    sys.stdout.write(f"{report}\n")
    assert not report.violations, str(report)
    assert report.faults
    assert report.operations["acknowledged"] > 20
