"""Faults built into the service on purpose: the auditor has to catch each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.mischief import BODIES_STALLED, BODY_SECONDS, FILE_OPENED, IDLE_SECONDS
from tests.faults.opening import SQLITE, opened
from tests.faults.runs import Plan, run

pytestmark = [pytest.mark.journey, pytest.mark.slow]

SECONDS = 3.0

MOST_RUNS = 4
"""Whether a mistake does harm within seconds is up to chance; that harm which is done is seen is not."""

UNTIL_CUT_SECONDS = BODY_SECONDS + IDLE_SECONDS + 10.0
"""Until the service has looked for bodies that do not come, and others have opened its file after that."""


def require_caught(plan: Plan, is_enough: Callable[[set[str]], bool]) -> None:
    """Run until the kinds of violations are enough, with other seeds."""
    reports = []
    for seed in range(plan.seed, plan.seed + MOST_RUNS):
        with opened(SQLITE) as target:
            reports.append(run(target, replace(plan, seed=seed)))
        if is_enough({violation.partition(":")[0] for violation in reports[-1].violations}):
            return
    pytest.fail(f"Not caught in {MOST_RUNS} runs; the last one:\n{reports[-1]}")


@pytest.mark.parametrize(
    ("sabotage", "faults", "kinds"),
    [
        ("skip_the_capacity_check", (), {"against the rules"}),
        ("acknowledge_before_commit", ("service killed",), {"acknowledged yet lost"}),
        ("lose_a_row_of_the_change_log", (), {"density"}),
        ("apply_twice_after_a_lost_commit", (), {"refused yet done"}),
        ("forget_to_catch_up", (), {"reading"}),
        ("forget_the_keys", (), {"done twice", "key"}),
        ("claim_half_a_gang", (), {"placed"}),
        ("leave_a_row_after_a_refusal", (), {"final state"}),
        ("lose_a_change", (), {"watch reliable", "mirror"}),
        ("quarantine_nothing", (), {"lease", "lease early", "lease clock"}),
    ],
)
def test_a_fault_that_is_built_in_is_caught(sabotage: str, faults: tuple[str, ...], kinds: set[str]) -> None:
    plan = Plan(1, SECONDS, workers=1, sabotage=sabotage, only=faults)
    require_caught(plan, lambda found: kinds <= found)


def test_locks_that_a_slow_body_costs_are_missed() -> None:
    """A descriptor of the database is closed while the service looks for connections to cut."""
    plan = Plan(
        1,
        UNTIL_CUT_SECONDS,
        workers=1,
        sabotage="lose_the_locks_on_the_file",
        only=(BODIES_STALLED, FILE_OPENED),
    )
    require_caught(plan, lambda found: bool(found & {"acknowledged yet lost", "damaged", "no recovery"}))


def test_without_a_fault_nothing_is_found() -> None:
    with opened(SQLITE) as target:
        report = run(target, Plan(1, SECONDS, workers=1, only=()))
    assert not report.violations, str(report)
    assert "turned away" not in report.operations
    assert "unsent" not in report.operations
