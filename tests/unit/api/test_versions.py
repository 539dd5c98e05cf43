"""How a microversion is asked for, and tables by microversion."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.placement.versions import (
    NEWEST,
    MalformedVersionError,
    Since,
    UnknownVersionError,
    negotiate,
)
from tests.table import each


@each(
    ("header", "minor"),
    [
        (None, 0),
        ("", 0),
        (",", 0),
        ("placement 1.0", 0),
        ("placement 1.39", 39),
        ("placement latest", 39),
        ("PlaceMent 1.7", 7),
        ("placement 1.05", 5),
        ("placement   1.9 ", 9),
        ("placement 1. 5", 5),
        ("placement +1.+5", 5),
        ("compute 2.1", 0),
        ("compute 2.1, placement 1.7", 7),
        ("placement 1.7, compute 2.1", 7),
        ("placement 1.3, placement 1.9", 9),
        ("placement", 0),
        ("1.5", 0),
    ],
)
def test_a_header_asks_for_a_version(header: str | None, minor: int) -> None:
    assert negotiate(header) == minor


@each("version", ["1", "x", "a.b", "1.3.4", "1.", ".1", "1.9 x", "LATEST", "1." + "9" * 5000])
def test_what_is_no_version_is_malformed(version: str) -> None:
    with pytest.raises(MalformedVersionError, match="invalid version string: "):
        negotiate(f"placement {version}")


@pytest.mark.parametrize("version", ["1.40", "2.0", "0.1", "-1.3", "1.-1", "9.9"])
def test_a_version_that_is_not_spoken_is_unknown(version: str) -> None:
    with pytest.raises(UnknownVersionError, match=f"Unacceptable version header: {version}"):
        negotiate(f"placement {version}")


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_any_header_asks_for_a_version_or_is_refused(header: str) -> None:
    minor = 0
    # These are the only two ways to refuse: any other error fails this test.
    with contextlib.suppress(MalformedVersionError, UnknownVersionError):
        minor = negotiate(header)
    assert 0 <= minor <= NEWEST


def test_a_table_holds_each_value_until_the_next_step() -> None:
    table = Since({30: "new", 2: "old"})
    assert table.oldest == 2
    assert [table.at(minor) for minor in (2, 29, 30, NEWEST)] == ["old", "old", "new", "new"]


def test_a_table_has_nothing_before_its_first_step() -> None:
    with pytest.raises(LookupError):
        Since({2: "old"}).at(1)
