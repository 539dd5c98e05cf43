"""Hundreds of schedules of faults, and proof that each kind of mistake would be seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from moorage.model.values import Requester
from moorage.service.facade import Service
from moorage.service.placing import Placement
from moorage.store import transaction
from moorage.store.changes.counter import CURRENT
from moorage.store.sql import statements
from moorage.store.store import Store
from moorage.store.tables import changes, revisions
from moorage.store.transaction import WriteTransaction
from tests.databases.prepared import store_on
from tests.property.strategies_account import BEGINNING
from tests.schedules.machine import Machine, Stage

"""What runs here is the code that the tests of databases reach, thousands of times."""

PROFILE = os.environ.get("MOORAGE_TEST_PROFILE", "check")
THOROUGH = PROFILE != "check"

RUNS = {"check": 6, "test": 30}.get(PROFILE, 180)
STEPS = 20
"""A run comes to some ten groups of commands, each with a schedule of its own: 30 runs are 300."""

MOST_REPETITIONS = 5
"""Chance may choose short runs, one after the other: then there are as many again."""

USUAL = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def _stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A file that has the account where sequences begin, and stores to play on copies of it."""
    folder = tmp_path_factory.mktemp("schedules")
    template = folder / "begun.sqlite"
    shutil.copy(sqlite_template, template)
    service = Service(store_on(f"sqlite:///{template}"))
    for command in BEGINNING:
        service.execute(command, Requester())
    service.close()
    Machine.stage = Stage(template, folder / "account.sqlite")
    yield
    Machine.stage.close()


@pytest.mark.slow
def test_no_schedule_of_faults_loses_doubles_or_misorders_a_write() -> None:
    Machine.schedules = Machine.struck = 0
    run_state_machine_as_test(Machine, settings=USUAL)
    # That the faults were met at all: a driver that is asked for nothing cannot fail. What a run consists of
    # is up to chance, which a few runs do not even out.
    if THOROUGH:
        for _ in range(MOST_REPETITIONS):
            if Machine.schedules <= 4 * RUNS:
                run_state_machine_as_test(Machine, settings=USUAL)
        assert Machine.schedules > 4 * RUNS
        assert Machine.struck > Machine.schedules / 2


# Mistakes made on purpose.

MUTANT_RUNS = 300
MUTANT = settings(
    USUAL,
    max_examples=MUTANT_RUNS,
    # The first failure is enough; what the smallest is does not matter here.
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
)

Patch = Callable[[pytest.MonkeyPatch], None]


def applies_twice_after_a_lost_commit(patch: pytest.MonkeyPatch) -> None:
    """What is not looked up is taken not to have happened."""
    patch.setattr(Store, "was_committed", lambda _store, _transaction_id: False)


def takes_a_lost_commit_for_done(patch: pytest.MonkeyPatch) -> None:
    """What is not looked up is taken to have happened."""
    patch.setattr(Store, "was_committed", lambda _store, _transaction_id: True)


def answers_before_commit(patch: pytest.MonkeyPatch) -> None:
    """What COMMIT says comes too late to be heard."""
    real = WriteTransaction.commit

    def commit(transaction: WriteTransaction, writer: Any) -> None:
        try:
            real(transaction, writer)
        except Exception:
            transaction._committed = True

    patch.setattr(WriteTransaction, "commit", commit)


LAST = changes.c.revision == CURRENT.scalar_subquery()


def _logged(patch: pytest.MonkeyPatch, spoil: sa.Executable) -> None:
    real = statements.send

    def send(connection: sa.Connection, planned: Iterable[statements.Planned]) -> list[Any]:
        answers = real(connection, planned)
        connection.execute(spoil)
        return answers

    patch.setattr(statements, "send", send)


def loses_a_line_of_the_log(patch: pytest.MonkeyPatch) -> None:
    """The last revision of a group is counted, but not told."""
    _logged(patch, changes.delete().where(LAST))


def tells_of_another_tree(patch: pytest.MonkeyPatch) -> None:
    """Revisions are dense, but the log names a tree that did not change."""
    _logged(patch, changes.update().where(LAST).values(root_provider_id=4_711))


def counts_once_too_often(patch: pytest.MonkeyPatch) -> None:
    """A revision that no write has."""
    _logged(patch, revisions.update().values(revision=revisions.c.revision + 1))


def forgets_keys(patch: pytest.MonkeyPatch) -> None:
    """No answer is remembered, so that a request that is sent again is carried out again."""
    patch.setattr(transaction, "plan_keys", lambda _after, _used: [])


def claims_half_a_gang(patch: pytest.MonkeyPatch) -> None:
    """Of claims that must have places together, those that can have one are granted."""
    real = Placement.of
    patch.setattr(
        Placement,
        "of",
        lambda placement, command, decision: real(placement, replace(command, least=1), decision),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant",
    [
        applies_twice_after_a_lost_commit,
        takes_a_lost_commit_for_done,
        answers_before_commit,
        loses_a_line_of_the_log,
        tells_of_another_tree,
        counts_once_too_often,
        forgets_keys,
        claims_half_a_gang,
    ],
)
def test_a_mistake_made_on_purpose_is_seen(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=MUTANT)
