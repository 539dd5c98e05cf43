"""Tables, charts and the page in the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import report
from benchmarks.figures import NOT_ASKED, TIME_OUT
from benchmarks.plot import Chart, Line, decades, number, svg

OURS = {"samples": 3, "median_ms": 1.234, "p99_ms": 5.0, "cpu_ms": 1.0, "body_bytes": 4700, "candidates": 10}


def found() -> dict[str, Any]:
    """A report of three sizes: the reference answers at the first and times out at the second."""
    reference: list[dict[str, Any]] = [
        {**OURS, "median_ms": 1234.0},
        {"samples": 0, "trouble": TIME_OUT},
        {"trouble": NOT_ASKED},
    ]
    ratios = [(1000.0, None), (None, 24_000.0), (None, None)]
    return {
        "run": {
            "database": "sqlite",
            "database_version": "3.40",
            "cores": 2,
            "processor": "X",
            "versions": {"Moorage": "1"},
            "workers": 1,
            "seed": 7,
            "effort": {"timeout_seconds": 30.0, "seconds": 2.0, "least": 3, "most": 500, "turn_seconds": 1.0},
        },
        "results": [
            {
                "scenario": "flat",
                "hosts": size,
                "providers": size,
                "query": "limit=10",
                "order": "default",
                "moorage": OURS,
                "reference": theirs,
                "ratio": exact,
                "ratio_at_least": least,
                "agree": True if exact else None,
            }
            for size, theirs, (exact, least) in zip((1_000, 10_000, 100_000), reference, ratios, strict=True)
        ],
        "starts": [
            {
                "scenario": "flat",
                "hosts": size,
                "providers": size,
                "moorage": {"seconds": 1.5, "worker_mib": 90.0, "peak_mib": 99.0},
            }
            for size in (1_000, 10_000, 100_000)
        ],
    }


def test_rows_are_as_long_as_their_heads() -> None:
    told = found()
    assert all(len(report.result_cells(row)) == len(report.RESULT_HEAD) for row in told["results"])
    assert all(len(report.start_cells(row)) == len(report.START_HEAD) for row in told["starts"])


def test_ratios_are_exact_or_at_least_or_absent() -> None:
    assert [report.ratio_of(row) for row in found()["results"]] == ["1,000 x", "> 24,000 x", "-"]


def test_a_time_out_and_what_was_not_asked_stand_in_the_table() -> None:
    medians = [report.result_cells(row)[12] for row in found()["results"]]
    assert medians == ["1.23 s", TIME_OUT, NOT_ASKED]


def test_the_first_answer_is_told_apart_from_the_others() -> None:
    row = found()["results"][0]
    cells = dict(
        zip(
            report.RESULT_HEAD, report.result_cells(row | {"moorage": OURS | {"first_ms": 9.5}}), strict=False
        )
    )
    assert cells["Moorage first"] == "9.5 ms"
    assert report.result_cells(row)[8] == "1.23 ms"


def test_a_different_answer_leaps_to_the_eye() -> None:
    row = found()["results"][0]
    assert report.same(row) == "yes"
    assert "NO" in report.same({**row, "agree": False})


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.5, "0.5 ms"), (123.4, "123 ms"), (2_345.0, "2.35 s")]
)
def test_times_have_three_digits(value: float | None, text: str) -> None:
    assert report.milliseconds(value) == text


def test_the_tables_name_conditions_scenarios_and_rows() -> None:
    text = report.markdown(found())
    assert "seed 7" in text
    assert "- *flat*:" in text
    assert "- *wide*:" not in text
    assert text.count("| flat |") == 6


def test_writes_are_told_of_where_there_were_any() -> None:
    told = found()
    assert report.write_lines(told) == []
    told["results"][0]["moorage"] = OURS | {"writes": {"per_second": 500.0, "refused": 0.0, "failed": 0.0}}
    assert "500 writes per second" in report.write_lines(told)[0]
    assert "500 writes per second" in report.markdown(told)


def test_charts_show_each_service_and_the_time_out() -> None:
    charts = report.charts(found())
    assert set(charts) == {"latency", "start", "memory"}
    for text in charts.values():
        ElementTree.fromstring(text)
    assert "moorage, limit=10" in charts["latency"]
    assert "reference, limit=10" in charts["latency"]
    assert "time-out" in charts["latency"]
    assert "reference" not in charts["start"]


def test_there_are_no_charts_of_nothing() -> None:
    assert report.charts({**found(), "results": [], "starts": []}) == {}
    with pytest.raises(ValueError, match="nothing"):
        svg(Chart("t", "x", "y", []))


def test_decades_enclose_all_values() -> None:
    assert decades([1_000, 200_000]) == (3, 6)
    assert decades([10]) == (1, 2)
    assert decades([0.5, 0.7]) == (-1, 0)
    assert [number(value) for value in (1_000, 1, 0.1)] == ["1,000", "1", "0.1"]


def test_points_lie_within_the_picture_and_rise_with_their_values() -> None:
    text = svg(Chart("a < b", "x", "y", [Line("one", [(1, 1), (10, 5), (100, 100)])]))
    circles = ElementTree.fromstring(text).findall("{http://www.w3.org/2000/svg}circle")
    places = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in circles]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    assert all(0 < x < 720 and 0 < y < 420 for x, y in places)


def test_results_are_written_as_data_table_and_pictures(tmp_path: Path) -> None:
    report.write(found(), tmp_path / "out")
    assert json.loads((tmp_path / "out/results.json").read_text()) == found()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"results.json", "results.md", "latency.svg", "start.svg", "memory.svg"}


def test_publishing_again_replaces_the_section_of_its_database_only(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Figures\n\n<!-- figures: mariadb -->\nkept\n<!-- end: mariadb -->\n")
    for seed in (1, 2):
        told = found()
        told["run"]["seed"] = seed
        report.publish(told, page)
    text = page.read_text()
    assert "kept" in text
    assert "seed 2" in text
    assert "seed 1" not in text
    assert text.count("## On SQLite") == 1
    assert (tmp_path / "benchmarks" / "sqlite-latency.svg").exists()
    assert json.loads((tmp_path / "benchmarks" / "sqlite.json").read_text())["run"]["seed"] == 2
