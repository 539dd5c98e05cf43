"""The benchmarks of explanations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import explain, unmet
from tests.servers.databases import SQLITE


@pytest.mark.journey
def test_services_that_keep_and_forget_what_finds_nothing_are_compared() -> None:
    rows = unmet.measure(SQLITE, hosts=20, turns=1, seconds=0.5)
    assert len({name for name, *_ in rows}) == 3
    for _, rate, ours, others, ratio, rates in rows:
        assert int(rate.replace(",", "")) > 0
        assert float(ours.removesuffix(" ms")) > 0
        assert float(others.removesuffix(" ms")) > 0
        assert float(ratio) > 0
        assert float(rates) > 0


def test_explanations_are_measured_on_clouds_of_several_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(explain, "REPEATS", 1)
    picture = tmp_path / "curves.svg"
    monkeypatch.setattr(sys, "argv", ["explain", "40", "100", "--picture", str(picture)])
    explain.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split("|")[2].strip() for line in lines] == ["4", "10", "4", "10", "40", "100"]
    assert all(line.split("|")[4].strip() == "0" for line in lines[-2:])
    assert picture.read_text().count("<polyline") + picture.read_text().count("<path") >= len(explain.ASKS)
