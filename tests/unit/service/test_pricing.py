"""Markets: what is learnt from arrivals, and when prices are worked out anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import pytest

from moorage.model import mixes
from moorage.model.errors import UnavailableError
from moorage.model.mixes import Mix, Shape
from moorage.model.orders import Order
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.search.index.columns import FloatArray
from moorage.search.index.index import Snapshot
from moorage.search.order.residuals import values_of
from moorage.service import pricing
from moorage.service.pricing import Markets
from tests.unit.search.builders import index_of, provider

SMALL, LARGE = (CandidateRequest((RequestGroup("", {"VCPU": amount}),)) for amount in (1, 4))
SNAPSHOT = index_of(*[provider(number, {"VCPU": 8}) for number in range(1, 5)]).snapshot()
LEARNS = Order("slots")
GIVEN = Order("slots", mix=Mix.of([(SMALL, 1.0)]), learned=None)


def markets(snapshot: Callable[[], Snapshot] = lambda: SNAPSHOT) -> Markets:
    return Markets(snapshot)


def arrive(some: Markets, order: Order, request: CandidateRequest, count: int = 1) -> None:
    some.arrive([request] * count, [order] * count)


def shares(some: Markets, order: Order = LEARNS) -> dict[Shape, float]:
    prices = some.prices(order)
    return {} if prices is None else dict(zip(prices.terms.shapes, prices.terms.shares.tolist(), strict=True))


def counted_rounds(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[int, float]]:
    """The demands for which residuals are worked out, from now on in a few rounds."""
    rounds: list[Mapping[int, float]] = []

    def counted(demand: Mapping[int, float]) -> FloatArray:
        rounds.append(demand)
        return values_of(demand, 5)

    monkeypatch.setattr(pricing, "values_of", counted)
    return rounds


def test_other_orders_have_no_prices_and_are_not_counted() -> None:
    some = markets()
    some.ready([None, Order("pack"), LEARNS])
    some.arrive([SMALL] * 100, [Order("pack")] * 100)
    some.arrive([SMALL], [])
    some.settle()
    assert some.prices(None) is None
    assert some.prices(Order("pack")) is None
    assert some.prices(LEARNS) is None


def test_a_mix_is_learnt_after_fifty_arrivals_and_again_after_as_many() -> None:
    some = markets()
    arrive(some, LEARNS, SMALL, 49)
    some.arrive([None], [LEARNS])
    some.settle()
    assert shares(some) == {}
    arrive(some, LEARNS, SMALL)
    some.settle()
    assert shares(some) == {Shape.of(SMALL): 1.0}
    before = some.prices(LEARNS)
    arrive(some, LEARNS, LARGE, 49)
    some.settle()
    assert some.prices(LEARNS) is before
    arrive(some, LEARNS, LARGE)
    some.settle()
    assert shares(some) == {Shape.of(SMALL): 0.5, Shape.of(LARGE): 0.5}


@pytest.mark.parametrize(("later", "expected"), [(LARGE, [500, 1500, 2500]), (SMALL, [500])])
def test_residuals_are_learnt_after_five_hundred_and_after_each_thousand_that_changed_the_mix(
    monkeypatch: pytest.MonkeyPatch, later: CandidateRequest, expected: list[int]
) -> None:
    rounds = counted_rounds(monkeypatch)
    some = markets()
    before, found = 0, []
    for arrived in range(50, 3_001, 50):
        arrive(some, LEARNS, SMALL if arrived <= 500 else later, 50)
        some.settle()
        if len(rounds) > before:
            found.append(arrived)
        before = len(rounds)
    assert found == expected


def test_in_a_large_cloud_prices_stay_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "STEP", 2)
    monkeypatch.setattr(pricing, "TREES_PER_ARRIVAL", 1)
    some = markets()
    some.ready([GIVEN])
    found = [some.prices(GIVEN)]
    for _ in range(8):
        arrive(some, GIVEN, SMALL)
        some.settle()
        if some.prices(GIVEN) is not found[-1]:
            found.append(some.prices(GIVEN))
    assert len(found) == 3


def test_a_given_mix_has_prices_at_once_and_keeps_its_residuals(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = counted_rounds(monkeypatch)
    some = markets()
    some.ready([GIVEN])
    first = some.prices(GIVEN)
    some.ready([GIVEN])
    assert some.prices(GIVEN) is first
    arrive(some, GIVEN, LARGE, 500)
    some.settle()
    assert some.prices(GIVEN) is not first
    assert shares(some, GIVEN) == {Shape.of(SMALL): 1.0}
    assert len(rounds) == 1


def test_a_given_mix_holds_until_enough_is_learnt() -> None:
    some = markets()
    both = Order("slots", mix=Mix.of([(SMALL, 1.0)]), learned="both")
    some.ready([both])
    arrive(some, both, LARGE, 499)
    some.settle()
    assert shares(some, both) == {Shape.of(SMALL): 1.0}
    arrive(some, both, LARGE)
    some.settle()
    assert shares(some, both) == {Shape.of(LARGE): 1.0}


def test_what_the_cloud_has_nothing_of_has_no_prices() -> None:
    some = markets()
    arrive(some, LEARNS, CandidateRequest((RequestGroup("", {"VF": 1}),)), 50)
    some.settle()
    assert some.prices(LEARNS) is None


def test_old_arrivals_count_less_and_rare_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixes, "RECENT", 100)
    monkeypatch.setattr(mixes, "MOST_LEARNT", 2)
    some = markets()
    arrive(some, LEARNS, SMALL, 101)
    some.settle()
    arrive(some, LEARNS, LARGE, 49)
    some.settle()
    assert shares(some) == {
        Shape.of(SMALL): pytest.approx(50.5 / 99.5),
        Shape.of(LARGE): pytest.approx(49 / 99.5),
    }
    arrive(some, LEARNS, CandidateRequest((RequestGroup("", {"VCPU": 2}),)), 50)
    some.settle()
    assert len(shares(some)) == 2


def test_too_many_different_requests_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "MOST_PENDING", 1)
    some = markets()
    for request in (SMALL, LARGE) * 25:
        arrive(some, LEARNS, request)
    some.settle()
    assert shares(some) == {Shape.of(SMALL): 1.0}


def test_the_oldest_market_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "MOST_MARKETS", 1)
    some = markets()
    some.ready([GIVEN])
    before = some.prices(GIVEN)
    assert some.prices(LEARNS) is None
    some.ready([GIVEN])
    assert some.prices(GIVEN) is not before


def test_two_threads_work_prices_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    other = threading.Thread(target=lambda: some.ready([GIVEN]))

    def snapshot() -> Snapshot:
        taken.append(1)
        other.start()
        return SNAPSHOT

    some = markets(snapshot)
    some.ready([GIVEN])
    other.join()
    assert len(taken) == 1


def test_the_thread_goes_on_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [ValueError("broken"), UnavailableError("no database")]
    settled = threading.Event()

    def snapshot() -> Snapshot:
        if errors:
            raise errors.pop()
        settled.set()
        return SNAPSHOT

    some = markets(snapshot)
    some.start()
    arrive(some, LEARNS, SMALL, 50)
    for _ in range(1_000):
        if settled.wait(0.01):
            break
        arrive(some, LEARNS, SMALL)
    assert settled.is_set()
    some.stop()
    assert [record.message for record in caplog.records] == [
        "Prices could not be worked out, or arrivals not be kept."
    ]


def test_a_service_that_ends_works_out_nothing() -> None:
    some = markets()
    arrive(some, LEARNS, SMALL, 50)
    some.stop()
    some.settle()
    assert some.prices(LEARNS) is None


class Kept:
    """What a database keeps of one market."""

    def __init__(self, **learnt: float) -> None:
        self.counts = {
            Shape.of({"small": SMALL, "large": LARGE}[name]): count for name, count in learnt.items()
        }
        self.fails = False

    def learnt(self, _market: str) -> dict[Shape, float]:
        if self.fails:
            raise UnavailableError("no database")
        return self.counts

    def add(self, _market: str, arrived: Mapping[Shape, float]) -> dict[Shape, float]:
        if self.fails:
            raise UnavailableError("no database")
        self.counts = mixes.with_arrivals(self.counts, arrived)
        return self.counts


def keeping(kept: Kept) -> Markets:
    return Markets(lambda: SNAPSHOT, kept)  # type: ignore[arg-type]


def test_what_was_learnt_earlier_has_prices_at_once() -> None:
    some = keeping(Kept(small=30, large=10))
    some.ready([LEARNS])
    assert shares(some) == {Shape.of(SMALL): 0.75, Shape.of(LARGE): 0.25}


def test_many_arrivals_are_kept_and_added_to_those_of_other_processes() -> None:
    kept = Kept(small=1)
    some = keeping(kept)
    some.ready([LEARNS, GIVEN])
    kept.counts = {Shape.of(SMALL): 501.0}
    arrive(some, LEARNS, LARGE, 499)
    arrive(some, GIVEN, LARGE, 499)
    some.settle()
    some.keep()
    assert kept.counts == {Shape.of(SMALL): 501.0}
    arrive(some, LEARNS, LARGE)
    some.keep()
    assert kept.counts == {Shape.of(SMALL): 501.0, Shape.of(LARGE): 500.0}
    arrive(some, LEARNS, LARGE, 500)
    some.settle()
    assert shares(some)[Shape.of(SMALL)] == pytest.approx(501 / 1501)


def test_few_arrivals_are_kept_after_a_while_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    some = keeping(kept)
    arrive(some, LEARNS, SMALL)
    some.keep()
    assert not kept.counts
    monkeypatch.setattr(pricing, "KEEP_SECONDS", 0.0)
    some.keep()
    assert kept.counts == {Shape.of(SMALL): 1.0}
    monkeypatch.undo()
    arrive(some, LEARNS, SMALL)
    some.start()
    some.stop()
    assert kept.counts == {Shape.of(SMALL): 2.0}


def test_a_database_that_is_away_loses_no_arrivals() -> None:
    kept = Kept(small=7)
    kept.fails = True
    some = keeping(kept)
    some.ready([LEARNS])
    arrive(some, LEARNS, LARGE, 50)
    some.settle()
    assert shares(some) == {Shape.of(LARGE): 1.0}
    with pytest.raises(UnavailableError):
        some.keep(at_once=True)
    kept.fails = False
    some.keep(at_once=True)
    assert kept.counts == {Shape.of(SMALL): 7.0, Shape.of(LARGE): 50.0}
