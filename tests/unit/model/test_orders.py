from __future__ import annotations

import math
from typing import Any

import pytest

from moorage.model.orders import MOST_SEED, MOST_WEIGHT, Order, Wish, wishes


def test_orders_that_say_the_same_in_another_order_are_equal() -> None:
    one = Order("pack", {"VCPU": 2, "DISK_GB": 1}, wishes({"B": 1, "A": 2}, [("p1", 3)]))
    other = Order("pack", {"DISK_GB": 1.0, "VCPU": 2.0}, wishes({"A": 2.0, "B": 1.0}, [("p1", 3.0)]))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Order("spread", one.weights, one.prefer)
    assert one != "pack"


def test_an_order_takes_more_bytes_the_more_it_names() -> None:
    assert Order().size < Order(prefer=wishes({"A": 1})).size < Order(prefer=wishes({"A": 1, "B": 1})).size
    assert Order(rare=frozenset(["A"])).size > Order(rare=frozenset()).size


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": "packed"},
        {"weights": {"VCPU": -1}},
        {"weights": {"VCPU": MOST_WEIGHT + 1}},
        {"weights": {"VCPU": math.nan}},
        {"weights": {f"CUSTOM_{number}": 1 for number in range(101)}},
        {"rare": frozenset([f"CUSTOM_{number}" for number in range(10_001)])},
        {"largest": {"VCPU": math.inf}},
        {"spare_special": math.inf},
        {"seed": -1},
        {"seed": MOST_SEED + 1},
        {"among_best": 0},
        {"among_best": 1001},
        {"prefer": wishes({f"CUSTOM_{number}": 1 for number in range(101)})},
        {"avoid": wishes({f"CUSTOM_{number}": 1 for number in range(101)})},
    ],
)
def test_what_is_no_order_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|may|unknown"):
        Order(**fields)


@pytest.mark.parametrize("fields", [{}, {"trait": "A", "provider": "p1"}])
def test_a_wish_names_one_thing(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either"):
        Wish(1.0, **fields)


def test_a_wish_has_a_weight_that_can_be_added() -> None:
    with pytest.raises(ValueError, match="weight"):
        Wish(-1.0, trait="A")
