"""What counts as growing in proportion, with times that are told and not measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.growth import measure

SIZE = 64_000

FIXED = 0.02
"""Seconds: what a slow machine takes for any request."""


@pytest.mark.parametrize(
    ("takes", "is_fine"),
    [
        (lambda size: size * 1e-9, True),
        (lambda size: size * 1e-6, True),
        (lambda size: FIXED + size * 1e-6, True),
        (lambda size: size**2 * 1e-10, False),
        (lambda size: 2**size * 1e-9, False),
        (lambda size: FIXED + 2**size * 1e-7, False),
    ],
)
def test_work_is_in_proportion_whatever_it_takes_at_least(
    takes: Callable[[int], float], is_fine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "seconds", lambda work, given: work(given))
    assert measure.grows_in_proportion(takes, int, SIZE) is is_fine
