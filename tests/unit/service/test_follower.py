"""An index that no request asks is caught up in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from moorage.model.errors import UnavailableError
from moorage.service import follower as follower_module
from moorage.service.facade import Service
from moorage.service.follower import FOLLOW_SECONDS, MOST_PAUSE_SECONDS, Follower
from moorage.service.live_index import LiveIndex
from moorage.store.sql.errors import ConnectionLostError
from tests.databases.orders import add_provider


class MadeUpIndex:
    """Follows with the given outcomes, one after the other, and then without error."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.asked_at = 0.0
        self.outcomes = [*outcomes]
        self.followed = 0
        self.enough = threading.Event()
        self.recognised = threading.Semaphore(0)
        self.unknown: Exception | None = None

    def recognise(self) -> None:
        self.recognised.release()
        if self.unknown is not None:
            raise self.unknown

    def follow(self) -> None:
        self.followed += 1
        if not self.outcomes:
            self.enough.set()
            return
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome


def test_requests_do_not_put_off_that_the_database_is_recognised() -> None:
    index = MadeUpIndex()
    index.asked_at, index.unknown = float("inf"), UnavailableError("away")
    follower = Follower(index)
    follower.start()
    for _ in range(2):
        assert index.recognised.acquire(timeout=60)
    follower.stop()
    assert index.followed == 0


def test_a_look_is_due_a_second_after_the_last_request_or_look() -> None:
    now = [100.0]
    index = MadeUpIndex()
    follower = Follower(index, lambda: now[0])
    assert follower.waiting_time == FOLLOW_SECONDS
    index.asked_at = now[0] = 100.75
    assert follower.waiting_time == FOLLOW_SECONDS
    now[0] = 101.75
    assert follower.waiting_time == 0
    follower.look()
    assert index.followed == 1
    assert follower.waiting_time == FOLLOW_SECONDS


def test_a_lost_database_is_logged_once_and_asked_more_and_more_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = [UnavailableError("away"), ConnectionLostError(), *[UnavailableError("away")] * 6]
    index = MadeUpIndex(*errors)
    follower = Follower(index, lambda: 0.0)
    pauses = []
    with caplog.at_level(logging.INFO):
        for _ in errors:
            follower.look()
            pauses.append(follower.waiting_time)
        assert len(caplog.messages) == 1
        assert pauses[:3] == [2 * FOLLOW_SECONDS, 4 * FOLLOW_SECONDS, 8 * FOLLOW_SECONDS]
        assert pauses[-1] == MOST_PAUSE_SECONDS
        for _ in range(2):
            follower.look()
            assert follower.waiting_time == FOLLOW_SECONDS
    assert caplog.messages[1:] == ["The index follows the database again."]
    assert [record.exc_info for record in caplog.records] == [None, None]


def test_an_error_that_nobody_expects_is_logged_with_its_origin(caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(MadeUpIndex(ValueError("odd"), ValueError("odd")), lambda: 0.0)
    for _ in range(2):
        follower.look()
    [record] = caplog.records
    assert record.exc_info is not None


def test_what_fails_because_the_service_ends_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(MadeUpIndex(ValueError("closed")))
    follower.stop()
    follower.look()
    assert caplog.records == []


def test_looks_go_on_whatever_happens_until_the_service_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "FOLLOW_SECONDS", 0.001)
    monkeypatch.setattr(follower_module, "MOST_PAUSE_SECONDS", 0.001)
    index = MadeUpIndex(UnavailableError("away"), ValueError("odd"), None)
    follower = Follower(index)
    follower.start()
    assert index.enough.wait(30)
    assert index.followed >= 4
    thread = follower._thread
    assert thread is not None
    follower.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_requests_put_a_look_off() -> None:
    """The thread waits anew if a request came while it was waiting."""
    waits: list[float] = []
    index = MadeUpIndex()
    now = [10.0]
    follower = Follower(index, lambda: now[0])

    class Ending:
        """Time passes in it, and in the first second comes a request."""

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            if len(waits) == 1:
                index.asked_at = now[0] + 0.5
            now[0] += seconds
            return len(waits) > 3

    follower._ending = Ending()  # type: ignore[assignment]
    follower._run()
    assert waits == [FOLLOW_SECONDS, 0.5, FOLLOW_SECONDS, FOLLOW_SECONDS]
    assert index.followed == 2


def test_a_service_starts_and_ends_its_follower(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "FOLLOW_SECONDS", 0.001)
    follower = sqlite_service._follower = Follower(sqlite_service._index)
    followed = threading.Event()
    real: Callable[[LiveIndex], None] = LiveIndex.follow

    def follow(index: LiveIndex) -> None:
        real(index)
        if index is sqlite_service._index and index.revision == sqlite_service.revision():
            followed.set()

    sqlite_service.warm_up()
    add_provider(sqlite_service, VCPU=4)
    assert sqlite_service._index.revision != sqlite_service.revision()
    monkeypatch.setattr(LiveIndex, "follow", follow)
    sqlite_service.start_upkeep()
    assert followed.wait(30)
    thread = follower._thread
    assert thread is not None
    sqlite_service.close()
    thread.join(30)
    assert not thread.is_alive()
