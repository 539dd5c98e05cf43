from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from dataclasses import dataclass
from enum import Enum

import pytest

from moorage.model.cache import GRAIN, LARGEST_PART, PLACE_BYTES, Cache, Weight, bytes_of
from tests.copies import in_a_copy

ROOM_FOR_FOUR = LARGEST_PART * (PLACE_BYTES + 100)


def cache(most: int = ROOM_FOR_FOUR) -> Cache[str, int]:
    """Values that say themselves how many bytes they take."""
    return Cache(most, lambda _key, value: value)


def test_a_value_is_made_once() -> None:
    known, made = cache(), list[int]()

    def make() -> int:
        made.append(1)
        return 100

    assert [known.of("a", make) for _ in range(3)] == [100] * 3
    assert made == [1]
    assert known.size == PLACE_BYTES + 100


def test_what_cannot_be_made_is_not_kept() -> None:
    known = cache()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            known.of("a", lambda: 1 // 0)
    assert len(known) == known.size == 0


def test_several_values_are_looked_up_at_once_and_count_as_asked_for() -> None:
    known = cache()
    for key in "abcd":
        known.put(key, 100)
    assert known.get_all("axb") == {"a": 100, "b": 100}
    known.put("e", 100)
    known.put("f", 100)
    assert known.get_all("abcdef") == dict.fromkeys("abef", 100)


def test_all_together_stay_within_the_bound_and_those_asked_for_stay() -> None:
    known = cache()
    for key in "abcd":
        known.put(key, 100)
    assert known.get("a") == 100
    for key in "efg":
        known.put(key, 100)
        assert known.size <= ROOM_FOR_FOUR
    assert [key for key in "abcdefg" if known.get(key)] == ["a", "e", "f", "g"]


def test_what_is_in_use_is_not_pushed_out_by_what_comes_once() -> None:
    known = cache()
    for key in "abcd":
        known.put(key, 100)
        known.get(key)
    known.put("e", 100)
    assert len(known) == 4
    assert known.get("e") is None
    known.put("f", 100)
    assert known.get("f") == 100, "nobody has asked for the others since"
    assert known.get("a") is None


def test_a_value_that_is_too_large_is_not_kept_nor_what_was_there_before() -> None:
    known = cache()
    known.put("a", 100)
    known.put("b", 100)
    known.put("a", 101)
    assert (known.get("a"), known.get("b")) == (None, 100)
    assert known.size == PLACE_BYTES + 100
    assert cache(0).of("a", lambda: 1) == 1
    assert len(cache(0)) == 0


def test_a_value_that_grows_pushes_others_out_and_in_the_end_goes_itself() -> None:
    weights = [Weight(10), Weight(10), Weight(10), Weight(10)]
    known: Cache[int, Weight] = Cache(
        LARGEST_PART * (PLACE_BYTES + GRAIN + 10_000), lambda _key, weight: weight.size
    )
    for number, weight in enumerate(weights):
        known.put_growing(number, weight, weight)
    for _ in range(999):
        for weight in weights:
            weight.add(10)
            assert known.size <= known.most
            assert sum([weight.size for weight in weights]) <= known.size
    assert len(known) == 4
    for _ in range(300):
        weights[1].add(10)
    assert known.get(1) is None
    assert len(known) == 3
    assert sum([weights[number].size for number in (0, 2, 3)]) <= known.size
    weights[1].add(1)
    assert len(known) == 3


def test_growth_makes_room() -> None:
    known: Cache[int, Weight] = Cache(
        LARGEST_PART * (PLACE_BYTES + GRAIN + 5_000), lambda _key, weight: weight.size
    )
    for number in range(4):
        known.put(number, Weight(6_000))
    last = Weight(10)
    known.put_growing(4, last, last)
    last.add(4_900)
    assert [number for number in range(5) if known.get(number)] == [1, 2, 3, 4]


@pytest.mark.parametrize("most", [0, 10_000])
def test_a_value_that_is_forgotten_is_held_by_nothing_not_even_itself(most: int) -> None:
    known: Cache[int, Ship] = Cache(most, lambda _key, ship: ship.weight.size)
    ship = Ship(Weight(5))
    known.put_growing(1, ship, ship.weight)
    held = weakref.ref(ship)
    del ship
    assert (held() is not None) is bool(most)
    known.clear()
    assert held() is None


def test_values_can_be_forgotten() -> None:
    known = cache()
    for key in "abc":
        known.put(key, 100)
    known.drop("a")
    known.drop("x")
    assert (known.get("a"), known.size) == (None, 2 * (PLACE_BYTES + 100))
    known.clear()
    assert (known.get("b"), known.size, len(known)) == (None, 0, 0)


def test_several_threads_leave_the_account_right() -> None:
    known = cache()

    def work(thread: int) -> None:
        for number in range(500):
            key, weight = f"{(thread + number) % 7}", Weight()
            assert known.of(key, lambda: 100) == 100
            known.put_growing(key, 100, weight)
            weight.add(1)
            if number % 50 == 0:
                known.drop(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert known.size == len(known) * (PLACE_BYTES + 100)
    assert known.size <= known.most


@dataclass(slots=True)
class Boat:
    name: str
    berths: dict[str, tuple[int, ...]]
    crew: frozenset[str]


@dataclass
class Ship:
    weight: Weight


class Colour(Enum):
    RED = "red"


def boats(name: str, first: int) -> list[Boat]:
    return [
        Boat(
            f"{name} {n}",
            {f"berth {name} {n}": tuple(range(first * n, (first + 10) * n))},
            frozenset([f"{n} {name}"]),
        )
        for n in range(9)
    ]


@pytest.mark.unmeasured
@in_a_copy
def test_bytes_are_those_of_all_that_a_value_holds() -> None:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    more = boats("Ben", 5000)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.8 * taken <= bytes_of(more) <= 1.2 * taken


def test_what_a_value_holds_twice_has_its_bytes_once() -> None:
    some = boats("Anna", 1000)
    assert bytes_of(some, some) == bytes_of(some) > bytes_of(some[:5])
    assert bytes_of(Colour.RED, int, None) == 0
