"""The dashboard asks for metrics that there are, by labels that they have, and leaves none out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moorage.telemetry.table import METRICS, Metric, MetricKind
from tests.table import each

FILE = Path(__file__).parents[2] / "docs" / "how-to" / "moorage-dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())

OF_PROMETHEUS = {"instance", "le"}
"""Labels that Prometheus itself adds."""

SUFFIXES = ("_bucket", "_sum", "_count")

SERIES: dict[str, Metric] = {
    metric.name + suffix: metric
    for metric in METRICS
    for suffix in (SUFFIXES if metric.kind is MetricKind.HISTOGRAM else ("",))
}


def targets() -> Iterator[tuple[str, str, str]]:
    """Title, expression and legend of everything that is drawn."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


EXPRESSIONS = [pytest.param(expression, legend, id=title) for title, expression, legend in targets()]


def series_in(expression: str) -> set[str]:
    return set(re.findall(r"\bmoorage_\w+", expression))


def labels_in(expression: str) -> set[str]:
    grouped = {
        name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")
    }
    return grouped | set(re.findall(r"[{,]\s*(\w+)\s*[=!]", expression))


@each(("expression", "legend"), EXPRESSIONS)
def test_a_query_names_series_and_labels_that_there_are(expression: str, legend: str) -> None:
    named = series_in(expression)
    assert named
    assert named <= SERIES.keys()
    having = set.intersection(*(labels_of(SERIES[name]) for name in named))
    assert labels_in(expression) <= having
    # What one operand has besides, it keeps where the other one is a single number.
    shown = set.union(*(labels_of(SERIES[name]) for name in named)) if "scalar(" in expression else having
    assert set(re.findall(r"{{(\w+)}}", legend)) <= shown
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


def labels_of(metric: Metric) -> set[str]:
    return {*metric.labels, *OF_PROMETHEUS, "pid"} if metric.per_process else {*metric.labels, *OF_PROMETHEUS}


def test_counters_are_drawn_as_rates_and_gauges_are_not() -> None:
    for _, expression, _ in targets():
        for name, window in re.findall(r"\b(moorage_\w+){[^}]*}(\[\w+\])?", expression):
            assert bool(window) == (SERIES[name].kind in {MetricKind.COUNTER, MetricKind.HISTOGRAM}), (
                expression
            )


def test_every_metric_is_on_the_dashboard() -> None:
    drawn = {name for _, expression, _ in targets() for name in series_in(expression)}
    assert {SERIES[name] for name in drawn} == set(METRICS)


def test_panels_have_titles_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_names_in_the_documents_are_those_of_the_table() -> None:
    text = (FILE.parent / "monitor.md").read_text()
    words = {name for name in re.findall(r"\bmoorage_\w+", text) if name != "moorage_metrics"}
    assert words
    assert words <= SERIES.keys()
