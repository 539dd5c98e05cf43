"""The pace at which a keeper takes claims away, in virtual time: fast enough, and no faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import pytest

from moorage.service.keeper import LEAST_PAUSE, PACE, TICK_SECONDS, TOGETHER, Clock, TimeKeeper

CLAIMS = 10_000


@dataclass
class Sweep:
    """Claims of one ended lease, and batches that take ``trip`` seconds each."""

    trip: float
    left: int = CLAIMS
    now: float = 0.0
    trips: list[tuple[float, float]] = field(default_factory=list)

    def ended(self, _most: int) -> list[str]:
        return ["lease"] if self.left else []

    def take_some(self, uuids: Sequence[str], _requester: object) -> tuple[int, int]:
        begun, count = self.now, min(self.left, TOGETHER)
        self.left -= count
        self.now += self.trip
        self.trips.append((begun, self.now))
        return count, 0 if self.left else len(uuids)

    def wait(self, seconds: float) -> bool:
        assert 0 <= seconds <= TICK_SECONDS
        self.now += seconds
        return False

    def is_set(self) -> bool:
        return False

    def end(self) -> None:
        """Take all away, as many turns as that takes."""
        keeper = TimeKeeper(cast("Clock", self), self, lambda *_: None, steady=lambda: self.now)
        keeper._stopping = self  # type: ignore[assignment]
        turns = 0
        while self.left:
            begun = self.now
            assert keeper.take_away() > 0
            assert self.now - begun <= 2 * TICK_SECONDS + self.trip, "time must be counted meanwhile"
            turns += 1
            assert turns < CLAIMS

    def least_pause(self) -> float:
        return min(begun - ended for (_, ended), (begun, _) in pairwise(self.trips))


@pytest.mark.parametrize("trip", [0.0, 0.005, 0.03, 0.08])
def test_ten_thousand_claims_go_within_nine_seconds_and_no_faster_than_that_needs(trip: float) -> None:
    sweep = Sweep(trip)
    sweep.end()
    assert CLAIMS / PACE - TICK_SECONDS / 2 <= sweep.now <= 9.0
    # Whatever of that time the batches do not need is left to other writers, between each of them.
    assert sweep.least_pause() >= 0.9 * (TOGETHER / PACE - trip)


@pytest.mark.parametrize("trip", [0.1, 0.5, 3.0])
def test_other_writers_have_a_turn_after_each_batch_where_the_pace_cannot_be_kept(trip: float) -> None:
    sweep = Sweep(trip)
    sweep.end()
    assert sweep.least_pause() >= min(LEAST_PAUSE * trip, TICK_SECONDS) * 0.999
    assert sweep.now <= len(sweep.trips) * trip * (1 + LEAST_PAUSE) * 1.001


def test_a_few_claims_go_at_once() -> None:
    sweep = Sweep(0.02, left=TOGETHER // 2)
    sweep.end()
    assert len(sweep.trips) == 1
    assert sweep.now <= TOGETHER / PACE
