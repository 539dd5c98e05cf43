"""Residuals: what is left of a device is worth what the usual requests can still make of it.

Prices of partial amounts solve the dual of the cutting-stock problem: the prices of what usually comes sum to
the most while no filling of a whole device is worth more than the device. Multiplicative weights find them
without a solver of linear programs: the price of an amount falls as fillings cover its demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from moorage.search.index.columns import FloatArray, IntArray

GRAINS: Final = 100
"""Parts that a whole device is divided into."""

ROUNDS: Final = 800
"""Fillings that prices are found by."""

FIRST_STRIDE: Final = 0.3
STRIDE_ROUNDS: Final = 40
"""The part of the scarcest demand that the first filling covers, and how fast that part shrinks."""


def values_of(demand: Mapping[int, float], rounds: int = ROUNDS) -> FloatArray:
    """What 0, 1, ... ``GRAINS`` free grains of a device are worth; a whole one is worth 1.

    ``demand`` has the share of each amount in grains, from 1 up to ``GRAINS`` - 1. All is worth nothing
    without demand.
    """
    if not demand:
        return np.zeros(GRAINS + 1, dtype=np.float64)
    amounts: IntArray = np.array(sorted(demand), dtype=np.int64)
    shares: FloatArray = np.array([demand[amount] for amount in amounts.tolist()], dtype=np.float64)
    covered = np.zeros(len(amounts), dtype=np.float64)
    best = -1.0
    sizes: FloatArray = amounts.astype(np.float64)
    found = sizes
    for number in range(rounds):
        cover = covered / shares
        prices = sizes * np.exp(np.mean(cover) - cover)
        values, last = _filled(amounts, prices)
        prices = prices / values[GRAINS]
        worth = float(shares @ prices)
        if worth > best:
            best, found = worth, prices
        counts = _counts(amounts, last)
        used = counts > 0
        stride = FIRST_STRIDE / np.sqrt(1 + number / STRIDE_ROUNDS)
        covered += counts * (stride * np.min(shares[used] / counts[used]))
    values, _ = _filled(amounts, found)
    worths: FloatArray = values / values[GRAINS]
    return worths


def _filled(amounts: IntArray, prices: FloatArray) -> tuple[FloatArray, list[int]]:
    """The worth of the best filling of 0, 1, ... ``GRAINS`` grains, and the number of an amount in it.

    The number is -1 where the filling of one grain less is as good.
    """
    # Amounts are few, most often: arrays would take several times as long.
    parts: list[tuple[int, float]] = list(zip(amounts.tolist(), prices.tolist(), strict=True))
    values = [0.0] * (GRAINS + 1)
    last = [-1] * (GRAINS + 1)
    for grains in range(parts[0][0], GRAINS + 1):
        most = values[grains - 1]
        for number, (amount, price) in enumerate(parts):
            if amount > grains:
                break
            worth = values[grains - amount] + price
            if worth > most:
                most = worth
                last[grains] = number
        values[grains] = most
    return np.array(values), last


def _counts(amounts: IntArray, last: list[int]) -> IntArray:
    """How often each amount is in the best filling of a whole device."""
    counts = np.zeros(len(amounts), dtype=np.int64)
    grains = GRAINS
    while grains > 0:
        chosen = last[grains]
        if chosen < 0:
            grains -= 1
        else:
            counts[chosen] += 1
            grains -= int(amounts[chosen])
    return counts
