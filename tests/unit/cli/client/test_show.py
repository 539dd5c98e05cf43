"""Tables and drawings at every width."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from moorage.cli.client.drawing import Node, draw
from moorage.cli.shared import show
from tests.table import each

UUID = "cccc0000-0000-4000-8000-000000000001"
ROWS = [("rack3-a100-host1-numa0-gpu0", UUID, 12, "rack3-a100-host1-numa0"), ("h", UUID, 3, None)]
COLUMNS = ("name", "uuid", "generation", "parent")


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@each("columns", [40, 60, 80, 100, 250])
def test_table_fits_the_width_and_has_no_trailing_blanks(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    show.table(COLUMNS, ROWS, ("generation",), extras=("generation", "parent"))
    lines = printed(capsys)
    assert all(cell_len(line) <= columns and line == line.rstrip() for line in lines)
    # What is too long goes on below itself: nothing is cut off.
    assert "rack3-a100-host1-numa0-gpu0" in "".join(re.sub(r" .*", "", line) for line in lines)


def test_columns_that_say_least_give_way_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headings = {}
    for columns in (120, 90, 80):
        monkeypatch.setenv("COLUMNS", str(columns))
        show.table(COLUMNS, ROWS, ("generation",), extras=("generation", "parent"))
        headings[columns] = printed(capsys)[0].split()
    assert headings == {
        120: ["NAME", "UUID", "GENERATION", "PARENT"],
        90: ["NAME", "UUID", "PARENT"],
        80: ["NAME", "UUID"],
    }


def test_columns_that_are_left_out_are_named_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for terminal, told in ((False, ""), (True, "Left out for lack of width: generation, parent.")):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        show.table(COLUMNS, ROWS, ("generation",), extras=("generation", "parent"))
        assert click.unstyle(capsys.readouterr().err).startswith(told)


def test_line_in_a_pipe_has_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert show.width() == show.USUAL_WIDTH == 80


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    assert sorted(["host10", "host2", "2", "a-10-b", "a-9-c", ""], key=show.natural) == [
        *("", "2", "a-9-c", "a-10-b", "host2", "host10"),
    ]


@given(st.text(alphabet="ab -_漢", max_size=30), st.integers(2, 12))
def test_broken_text_fits_and_loses_nothing_but_blanks(text: str, most: int) -> None:
    lines = show.broken(text, most)
    assert all(cell_len(line) <= most for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_long_value_of_a_pair_goes_on_below_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    show.pairs({"name": "h", "traits": "HW_CPU_X86_AVX2 COMPUTE_NODE", "parent": None})
    assert printed(capsys) == ["name    h", "traits  HW_CPU_X86_AVX2", "        COMPUTE_NODE", "parent"]


@each("columns", [30, 50, 80])
def test_drawing_fits_the_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    traits = ["HW_CPU_X86_AVX2", "COMPUTE_NODE", "CUSTOM_A100"]
    inventory = {"total": 8, "reserved": 0, "allocation_ratio": 1.0}
    nodes = [
        Node("a host", "1", None, traits, {"VCPU": inventory}, {"VCPU": 4}),
        Node("child10", "2", "1", [], {"CUSTOM_THING": inventory}),
        Node("child9", "3", "1", traits),
        Node("grandchild", "4", "3", [], {"VCPU": inventory}),
    ]
    draw(nodes, with_uuids=True)
    lines = printed(capsys)
    assert all(cell_len(line) <= columns and line == line.rstrip() for line in lines)
    names = [word for line in lines for word in re.findall(r"a host|child\d+|grandchild", line)]
    assert names == ["a host", "child9", "grandchild", "child10"]
    assert sum("HW_CPU_X86_AVX2" in line for line in lines) == 2


def test_uuids_are_broken_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = ("consumer", "provider", "class", "amount", "since")
    show.table(columns, [(UUID, ROWS[0][0], "MEMORY_MB", 131072, "3d")])
    lines = printed(capsys)
    assert lines[1].startswith(UUID)
    assert all(len(line) <= 80 for line in lines)


@each(
    ("second", "told"), [(-5, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (86_399, "23h"), (200_000, "2d")]
)
@each(
    ("second", "told"),
    [(-5, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (86_399, "23h"), (200_000, "2d")],
)
def test_age_is_told_in_the_largest_unit(second: int, told: str) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert show.age("2026-01-01T00:00:00Z", begin + timedelta(seconds=second)) == told
    assert show.age(None) == ""


def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        assert list(show.progress("Providers", range(show.SLOW))) == list(range(show.SLOW))
        assert ("Providers" in capsys.readouterr().err) is terminal
