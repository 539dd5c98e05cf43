"""When the change log may forget, and what may go wrong with that in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateTrait
from moorage.model.errors import UnavailableError
from moorage.model.keys import IdempotencyKey
from moorage.service import compactor as compactor_module
from moorage.service.compactor import SETTLE_SECONDS, Compactor
from moorage.service.facade import Service
from moorage.service.settings import ChangeLogSettings
from moorage.store.changes import changelog
from moorage.store.sql.errors import WriteConflictError
from moorage.store.store import Store
from moorage.store.tables import journal, keys
from tests.databases.orders import ASKER, order

KEEP_ONE = ChangeLogSettings(kept_revisions=1, kept_seconds=1e9)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changelog, "COMPACTED_TOGETHER", 2)
    monkeypatch.setattr(compactor_module, "BATCH_PAUSE_SECONDS", 0.0)


def test_a_write_is_forgotten_only_once_it_was_seen_long_enough(
    sqlite_service: Service, sqlite_store: Store
) -> None:
    now = [0.0]
    compactor = Compactor(sqlite_store, KEEP_ONE, lambda: now[0])
    for number in range(5):
        order(sqlite_service, CreateTrait(f"CUSTOM_{number}"))
    seen = sqlite_store.revision()
    assert compactor.compact() == 0
    order(sqlite_service, CreateTrait("CUSTOM_NEW"))
    order(sqlite_service, CreateTrait("CUSTOM_NEWER"))
    now[0] = SETTLE_SECONDS - 1
    assert compactor.compact() == 0
    now[0] = SETTLE_SECONDS
    assert compactor.compact() == seen
    assert sqlite_store.refresh(seen - 1) is None
    assert sqlite_store.refresh(seen) is not None


def test_a_clock_that_jumps_ahead_takes_nothing_that_was_not_seen_long_enough(
    sqlite_service: Service, sqlite_store: Store
) -> None:
    """Its own clock says of each key and record that it is older than it may become."""
    now = [0.0]
    settings = ChangeLogSettings(keys_kept_seconds=-3600, journal_seconds=-3600)
    compactor = Compactor(sqlite_store, settings, lambda: now[0])
    key = IdempotencyKey("id", "fingerprint", str)
    assert sqlite_service.outcome(CreateTrait("CUSTOM_T"), ASKER, key).error is None

    def left() -> tuple[int, int]:
        counts = [sa.select(sa.func.count()).select_from(table) for table in (keys, journal)]
        with sqlite_store.engines.single.connect() as connection:
            kept = [int(connection.execute(count).scalar_one()) for count in counts]
            return kept[0], kept[1]

    compactor.compact()
    now[0] = SETTLE_SECONDS - 1
    compactor.compact()
    assert all(left())
    now[0] = SETTLE_SECONDS
    compactor.compact()
    assert left() == (0, 0)


def test_who_meets_another_process_at_the_log_leaves_it_to_that(
    sqlite_service: Service, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(sqlite_service, CreateTrait("CUSTOM_T"))
    answers: list[int | Exception] = [2, WriteConflictError()]

    def compact(*_: Any) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Store, "compact", compact)
    now = [0.0]
    compactor = Compactor(sqlite_store, KEEP_ONE, lambda: now[0])
    compactor.compact()
    now[0] = SETTLE_SECONDS
    assert compactor.compact() == 2
    assert not answers


def test_rounds_go_on_whatever_happens_until_the_service_is_closed(
    sqlite_service: Service,
    sqlite_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(compactor_module, "ROUND_SECONDS", 0.001)
    outcomes: list[Callable[[], int]] = []

    def fails(error: Exception) -> Callable[[], int]:
        def fail() -> int:
            raise error

        return fail

    outcomes += [fails(UnavailableError("away")), fails(ValueError("odd")), lambda: 0, lambda: 7]
    done, threads = threading.Event(), []

    def compact(compactor: Compactor) -> int:
        if compactor is not sqlite_service._compactor:
            return 0  # of a service that another test left behind
        threads.append(threading.current_thread())
        if outcomes:
            return outcomes.pop(0)()
        done.set()
        return 0

    monkeypatch.setattr(Compactor, "compact", compact)
    with caplog.at_level(logging.INFO):
        sqlite_service.start_upkeep()
        assert done.wait(30)
        sqlite_service.close()
        threads[0].join(30)
    assert not threads[0].is_alive()
    assert "The change log could not be compacted." in caplog.messages
    assert "The change log has forgotten its 7 oldest writes." in caplog.messages


def test_a_batch_that_takes_long_is_followed_by_a_longer_pause(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [1_000, 1_000, 1_000, 0]
    takes, now = {1: 0.001, 2: 0.02, 3: 30.0}, [0.0]
    waited: list[float] = []

    def compact(_store: Store, _kept: int, _seconds: float, _settled: int) -> int:
        now[0] += takes.get(4 - len(batches) + 1, 0.0)
        return batches.pop(0)

    def wait(seconds: float) -> bool:
        waited.append(round(seconds, 3))
        return False

    monkeypatch.setattr(Store, "compact_journal", compact)
    monkeypatch.setattr(compactor_module, "perf_counter", lambda: now[0])
    monkeypatch.setattr(compactor_module, "BATCH_PAUSE_SECONDS", 0.05)
    compactor = Compactor(sqlite_store, KEEP_ONE)
    monkeypatch.setattr(compactor._ending, "wait", wait)
    compactor.compact()
    assert waited == [0.05, 0.18, compactor_module.LONGEST_PAUSE_SECONDS]
