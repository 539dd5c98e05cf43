"""The alert rules ask for metrics that there are, by labels that they have, and say what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from moorage.telemetry.table import MetricKind
from tests.docs.test_dashboard import SERIES, labels_in, labels_of, series_in

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
FILE = HOW_TO / "moorage-alerts.yaml"

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
]


def test_every_rule_names_series_and_labels_that_there_are() -> None:
    assert len(RULES) > 5
    for rule in RULES:
        expression = rule["expr"]
        named = series_in(expression)
        assert named, rule
        assert named <= SERIES.keys(), rule
        having = set.intersection(*(labels_of(SERIES[name]) for name in named))
        assert labels_in(expression) <= having, rule
        for bracket in ("()", "{}", "[]"):
            assert expression.count(bracket[0]) == expression.count(bracket[1]), rule


def test_a_rule_shows_only_labels_that_its_result_has() -> None:
    for rule in RULES:
        expression = rule["expr"]
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        left = (
            {name.strip() for name in grouped[-1].split(",")} - {"le"}
            if grouped
            else set.union(*(labels_of(SERIES[name]) for name in series_in(expression)))
        )
        shown = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        assert shown <= left, rule


def test_counters_are_watched_as_rates_and_gauges_are_not() -> None:
    for rule in RULES:
        for name, window in re.findall(r"\b(moorage_\w+)(?:{[^}]*})?(\[\w+\])?", rule["expr"]):
            assert bool(window) == (SERIES[name].kind in {MetricKind.COUNTER, MetricKind.HISTOGRAM}), rule


def test_every_rule_has_a_severity_and_says_what_it_means() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule
        assert rule["annotations"]["summary"].endswith("."), rule
        assert len(rule["annotations"]["description"]) > 40, rule


def test_every_rule_is_on_the_page_about_monitoring() -> None:
    text = (HOW_TO / "monitor.md").read_text()
    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in text] == []
