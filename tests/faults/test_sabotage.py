"""Faults built into the service on purpose: the auditor has to catch each of them."""

from __future__ import annotations

import pytest

from tests.faults.mischief import BODIES_STALLED, BODY_SECONDS, FILE_OPENED, IDLE_SECONDS
from tests.faults.opening import SQLITE, opened
from tests.faults.runs import Plan, run

pytestmark = [pytest.mark.journey, pytest.mark.slow]

SECONDS = 4.0

UNTIL_CUT_SECONDS = BODY_SECONDS + IDLE_SECONDS + 10.0
"""Until the service has looked for bodies that do not come, and others have opened its file after that."""


@pytest.mark.parametrize(
    ("sabotage", "faults", "kinds"),
    [
        ("skip_the_capacity_check", (), {"against the rules"}),
        ("acknowledge_before_commit", ("service killed",), {"acknowledged yet lost"}),
        ("lose_a_row_of_the_change_log", (), {"density"}),
        ("apply_twice_after_a_lost_commit", (), {"refused yet done"}),
        ("forget_to_catch_up", (), {"reading"}),
    ],
)
def test_a_fault_that_is_built_in_is_caught(sabotage: str, faults: tuple[str, ...], kinds: set[str]) -> None:
    with opened(SQLITE) as target:
        report = run(target, Plan(1, SECONDS, workers=1, sabotage=sabotage, only=faults))
    assert kinds <= {violation.partition(":")[0] for violation in report.violations}, str(report)


def test_locks_that_a_slow_body_costs_are_missed() -> None:
    """A descriptor of the database is closed while the service looks for connections to cut."""
    plan = Plan(
        1,
        UNTIL_CUT_SECONDS,
        workers=1,
        sabotage="lose_the_locks_on_the_file",
        only=(BODIES_STALLED, FILE_OPENED),
    )
    with opened(SQLITE) as target:
        report = run(target, plan)
    kinds = {text.partition(":")[0] for text in report.violations}
    assert kinds & {"acknowledged yet lost", "damaged"}, str(report)


def test_without_a_fault_nothing_is_found() -> None:
    with opened(SQLITE) as target:
        report = run(target, Plan(1, SECONDS, workers=1, only=()))
    assert not report.violations, str(report)
    assert "turned away" not in report.operations
    assert "unsent" not in report.operations
