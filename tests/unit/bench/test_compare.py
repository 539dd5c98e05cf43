"""What the command line of the comparison chooses."""

from __future__ import annotations

import pytest

from benchmarks.compare import chosen, parser
from benchmarks.scenarios import SCENARIOS


def choice(*arguments: str) -> dict[str, tuple[int, ...]]:
    return {scenario.name: sizes for scenario, sizes in chosen(parser().parse_args(arguments))}


def test_without_options_all_scenarios_run_in_their_short_sizes() -> None:
    assert choice() == {scenario.name: scenario.short for scenario in SCENARIOS}
    assert choice("--full") == {scenario.name: scenario.full for scenario in SCENARIOS}


def test_scenarios_and_sizes_can_be_chosen_together_or_each_by_itself() -> None:
    assert choice("--only", "flat", "--only", "wide", "--hosts", "7") == {"flat": (7,), "wide": (7,)}
    sizes = choice("--size", "wide:500", "--size", "flat:10000", "--size", "flat:1000")
    assert sizes == {"flat": (10_000, 1_000), "wide": (500,)}


@pytest.mark.parametrize("text", ["flat", "flat:", "flat:many", "round:1000"])
def test_a_size_that_makes_no_sense_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--size", text])
    assert "--size" in capsys.readouterr().err
