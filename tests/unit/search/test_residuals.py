from __future__ import annotations

import numpy as np
import pytest

from moorage.search.order.residuals import GRAINS, values_of


def test_without_demand_nothing_that_is_left_is_worth_anything() -> None:
    assert not values_of({}).any()
    assert len(values_of({})) == GRAINS + 1


def test_a_whole_device_is_worth_one_and_less_is_worth_no_more() -> None:
    values = values_of({10: 0.2, 22: 0.3, 50: 0.5}, rounds=40)
    assert values[GRAINS] == 1.0
    assert (np.diff(values) >= 0).all()
    assert not values[:10].any()


def test_what_no_usual_amount_fits_is_lost() -> None:
    values = values_of({50: 1.0}, rounds=10)
    assert values[[0, 49, 50, 99, 100]].tolist() == [0.0, 0.0, 0.5, 0.5, 1.0]


def test_prices_solve_the_dual_of_cutting_stock() -> None:
    """60 needs a device of its own, and 40 fits beside it: so only 60 has a price, if it comes more often."""
    values = values_of({40: 0.3, 60: 0.7})
    assert values[60] == pytest.approx(1.0, abs=0.02)
    assert values[40] == pytest.approx(0.0, abs=0.02)


def test_prices_are_as_good_as_those_of_a_linear_program() -> None:
    """Three of 34 do not fit: an amount above a third and up to a half is worth a half."""
    values = values_of({34: 0.5, 50: 0.5})
    assert values[34] == pytest.approx(0.5, abs=0.01)
    assert values[50] == pytest.approx(0.5, abs=0.01)
