"""Nothing that the tables of the source have is left out of the documents."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from moorage.api.placement.answers import CODES
from moorage.api.placement.routes import ROUTES
from moorage.cli.main import main
from moorage.telemetry.health import HEALTH_PATH, METRICS_PATH, READINESS_PATH
from moorage.telemetry.table import METRICS, Metric
from moorage.wiring.options import LIBRARY_OPTIONS, OPTIONS
from tests.table import each

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def commands(command: click.Command, words: tuple[str, ...] = ("moorage",)) -> Iterator[str]:
    """Every command line without its options."""
    if not isinstance(command, click.Group):
        yield " ".join(words)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*words, name))


COMMANDS = [*commands(main), "moorage-status upgrade check"]


def test_there_is_something_to_look_for() -> None:
    assert len(COMMANDS) > 20
    assert len(CODES) > 8
    assert len(METRICS) > 10


@each("line", COMMANDS)
def test_every_command_is_in_the_reference(line: str) -> None:
    pages = ("commands.md", "client-commands.md")
    text = "".join((REFERENCE / page).read_text() for page in pages)
    assert re.search(rf"`{line}[ `]", text)


@each("code", sorted(CODES))
def test_every_error_code_is_in_the_reference(code: str) -> None:
    assert f"`{code}`" in (REFERENCE / "api" / "errors.md").read_text()


def test_every_route_is_in_the_reference() -> None:
    text = (REFERENCE / "api" / "routes.md").read_text()
    missing = [
        f"{method} {path}"
        for path, methods in ROUTES.items()
        for method in methods
        if f"`{method} {path}`" not in text
    ]
    assert missing == []


@pytest.mark.parametrize("path", [HEALTH_PATH, READINESS_PATH, METRICS_PATH])
def test_every_path_beside_the_api_is_told_of(path: str) -> None:
    assert f"`GET {path}`" in (REFERENCE / "differences.md").read_text()
    assert f"`{path}`" in (DOCS / "how-to" / "monitor.md").read_text()


@each("metric", METRICS)
def test_every_metric_is_in_the_reference(metric: Metric) -> None:
    assert f"| `{metric.name}` |" in (REFERENCE / "metrics.md").read_text()


def test_every_option_is_in_the_reference() -> None:
    text = (REFERENCE / "configuration.md").read_text()
    sections = dict(re.findall(r"^## \[(\w+)\]\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    missing = [
        f"[{group}] {option.dest}"
        for table in (OPTIONS, LIBRARY_OPTIONS)
        for group, options in table.items()
        for option in options
        if f"| `{option.dest}` |" not in sections.get(group, "")
    ]
    assert missing == []


def test_every_run_time_dependency_has_its_reason_in_the_architecture() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    section = (ROOT / "ARCHITECTURE.md").read_text().partition("## Run-time dependencies")[2]
    rows = re.findall(r"^\| ([^|]+) \| \S", section.partition("\n## ")[0], re.MULTILINE)
    named = {name for row in rows[1:] for name in row.split(", ")}
    assert named == {re.split(r"[\[<>=]", line)[0] for line in required}
