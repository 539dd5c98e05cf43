"""When workers that die are replaced."""

from __future__ import annotations

from moorage.serve.comebacks import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Comebacks


def test_a_worker_that_dies_for_the_first_time_is_replaced_at_once() -> None:
    comebacks = Comebacks()
    assert comebacks.has_died(1, None, 5.0) == 0
    assert comebacks.dead() == [1]
    assert not comebacks.has_failed
    assert comebacks.due(5.0) == [1]
    assert comebacks.dead() == []


def test_each_that_dies_soon_makes_the_next_one_wait_longer() -> None:
    comebacks = Comebacks()
    pauses = [comebacks.has_died(0, None, 0.0)]
    now = 0.0
    for _ in range(8):
        [index] = comebacks.due(now)
        began, now = now, now + 1.0
        pauses.append(comebacks.has_died(index, began, now))
        assert comebacks.has_failed
        assert not pauses[-1] or comebacks.due(now + pauses[-1] - 0.1) == []
        # What was told before is no news.
        assert comebacks.has_died(index, began, now) == 0
        now += pauses[-1]
    assert pauses == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]


def test_one_that_lived_well_is_replaced_at_once_again() -> None:
    comebacks = Comebacks()
    for began in (None, 0.0, 1.0):
        comebacks.has_died(0, began, 2.0)
        comebacks.due(100.0)
    assert comebacks.has_died(0, 10.0, 10.0 + STEADY_SECONDS) == 0
    assert comebacks.due(10.0 + STEADY_SECONDS) == [0]
    assert comebacks.has_died(0, 30.0, 31.0) == 1


def test_one_that_a_reload_has_brought_back_is_not_replaced() -> None:
    comebacks = Comebacks()
    comebacks.has_died(0, None, 0.0)
    comebacks.is_there(0)
    comebacks.is_there(1)
    assert comebacks.due(9.0) == []
    assert not comebacks.has_failed


def test_workers_wait_each_for_itself() -> None:
    comebacks = Comebacks()
    assert comebacks.seconds_left(7.0, 0.0) == 7
    comebacks.has_died(0, 0.0, 1.0)
    assert comebacks.has_died(2, None, 1.5) == 0
    assert comebacks.dead() == [0, 2]
    assert comebacks.seconds_left(7.0, 1.5) == 0
    assert comebacks.due(1.5) == [2]
    assert comebacks.seconds_left(7.0, 1.5) == 0.5
    assert comebacks.seconds_left(0.2, 1.5) == 0.2
    assert comebacks.seconds_left(7.0, 9.0) == 0
