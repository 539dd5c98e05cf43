"""A table of cases runs all of them and tells all that fail."""

from __future__ import annotations

import pytest

from tests.table import each

SEEN: list[tuple[int, str]] = []


@each("number", [1, 2])
@each("letter", ["a", pytest.param("b")])
def test_every_combination_of_two_tables_is_run(number: int, letter: str) -> None:
    SEEN.append((number, letter))
    if len(SEEN) == 4:
        assert sorted(SEEN) == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]


def test_all_cases_that_fail_are_told() -> None:
    @each("number, limit", [(1, 2), (3, 2), (4, 2)])
    def below(number: int, limit: int) -> None:
        assert number < limit

    with pytest.raises(BaseExceptionGroup) as raised:
        below()
    notes = [failure.__notes__ for failure in raised.value.exceptions]
    assert notes == [["case: number=3, limit=2"], ["case: number=4, limit=2"]]


def test_a_single_failure_is_raised_as_it_is() -> None:
    @each("number", [1, 2])
    def odd(number: int) -> None:
        assert number % 2

    with pytest.raises(AssertionError):
        odd()


def test_fixtures_are_handed_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    @each("number", [1, 2])
    def test(number: int, given: str) -> None:
        assert given == "fixture"

    test(given="fixture")


def test_a_table_without_cases_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        each("number", [])
