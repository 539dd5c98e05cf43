"""What a run has found, as JSON, tables and charts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import TIME_OUT
from benchmarks.plot import Chart, Line, svg
from benchmarks.scenarios import SCENARIOS
from benchmarks.services import Moorage, Reference

Row = Mapping[str, Any]

SERVICES = (Moorage.name, Reference.name)
GROWING = "flat"
"""The scenario whose sizes span decades: it is the one that is drawn."""

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}

OURS = ("Moorage first", "median", "p99", "CPU")
THEIRS = ("reference first", "median", "p99", "CPU")
ABOUT = ("scenario", "hosts", "providers", "query", "order", "candidates", "body")
RESULT_HEAD = (*ABOUT, *OURS, *THEIRS, "ratio", "same answer")

OUR_START = ("Moorage ready after", "worker", "peak")
THEIR_START = ("reference ready after", "worker", "peak")
START_HEAD = ("scenario", "providers", *OUR_START, *THEIR_START)


def milliseconds(value: float | None) -> str:
    """Three digits are as many as a benchmark knows."""
    if value is None:
        return "-"
    if value >= 1_000:
        return f"{value / 1_000:,.3g} s" if value < 100_000 else f"{value / 1_000:,.0f} s"
    return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"


def mebibytes(value: float | None) -> str:
    """Memory, or a dash."""
    return "-" if value is None else f"{value:,.0f} MiB"


def size(value: int | None) -> str:
    """Length of a body, or a dash."""
    if value is None:
        return "-"
    return f"{value / 1_000_000:,.2f} MB" if value >= 1_000_000 else f"{value / 1_000:,.1f} kB"


def times(value: float) -> str:
    """A ratio, with two digits at least."""
    return f"{value:,.0f} x" if value >= 10 else f"{value:.2g} x"


def ratio_of(row: Row) -> str:
    """How much faster Moorage is: exactly, or at least, or a dash."""
    if row["ratio"] is not None:
        return times(row["ratio"])
    return f"> {times(row['ratio_at_least'])}" if row["ratio_at_least"] is not None else "-"


def same(row: Row) -> str:
    """Whether the services agree."""
    return {True: "yes", False: "**NO**", None: "-"}[row["agree"]]


def result_cells(row: Row) -> tuple[str, ...]:
    """One row of the table of results, as long as its head."""
    ours, theirs = (row.get(service, {}) for service in SERVICES)
    candidates = ours.get("candidates", theirs.get("candidates"))
    return (
        row["scenario"],
        f"{row['hosts']:,}",
        f"{row['providers']:,}",
        row["query"],
        row["order"],
        "-" if candidates is None else f"{candidates:,}",
        size(ours.get("body_bytes")),
        *_times(ours),
        *_times(theirs),
        ratio_of(row),
        same(row),
    )


def _times(figures: Row) -> tuple[str, ...]:
    median = milliseconds(figures.get("median_ms"))
    if figures.get("trouble"):
        median = figures["trouble"] if median == "-" else f"{median}, then {figures['trouble']}"
    others = (milliseconds(figures.get(name)) for name in ("p99_ms", "cpu_ms"))
    return milliseconds(figures.get("first_ms")), median, *others


def start_cells(row: Row) -> tuple[str, ...]:
    """One row of the table of starts, as long as its head."""
    cells = [row["scenario"], f"{row['providers']:,}"]
    for service in SERVICES:
        figures = row.get(service, {})
        seconds = figures.get("seconds")
        cells.append("-" if seconds is None else f"{seconds:.1f} s")
        cells += [mebibytes(figures.get("worker_mib")), mebibytes(figures.get("peak_mib"))]
    return tuple(cells)


def write_lines(report: Row) -> list[str]:
    """A sentence per service and size on what was written beside the searches."""
    return [
        f"- {service}, {row['order']} order, {row['providers']:,} providers: "
        f"{writes['per_second']:,.0f} writes per second, "
        f"median {milliseconds(writes.get('median_ms'))}, p99 {milliseconds(writes.get('p99_ms'))}; "
        f"{writes['refused']:.0f} refused, {writes['failed']:.0f} failed"
        for row in report["results"]
        for service in SERVICES
        if (writes := row.get(service, {}).get("writes"))
    ]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, and so are the others that are not all figures."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def conditions_line(run: Row) -> str:
    """Under which conditions the figures hold."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    effort = run["effort"]
    return (
        f"{run['cores']} cores ({run['processor']}), {NAMES[run['database']]} {run['database_version']}, "
        f"{versions}; {run['workers']} worker per service, seed {run['seed']}, "
        f"time-out {effort['timeout_seconds']:g} s, per query {effort['least']} to {effort['most']:,} "
        f"requests in about {effort['seconds']:g} s."
    )


def markdown(report: Row) -> str:
    """The tables of a run, ready to be read."""
    asked = {row["scenario"] for row in report["results"]}
    parts = [
        conditions_line(report["run"]),
        "\n".join(f"- *{each.name}*: {each.about}." for each in SCENARIOS if each.name in asked),
        markdown_table(RESULT_HEAD, [result_cells(row) for row in report["results"]]),
    ]
    written = write_lines(report)
    if written:
        parts.append("Writes beside the searches of *writing*:\n\n" + "\n".join(written))
    parts.append(markdown_table(START_HEAD, [start_cells(row) for row in report["starts"]]))
    return "\n\n".join(parts) + "\n"


def charts(report: Row) -> dict[str, str]:
    """SVG by name: latency, start and memory against the number of providers, where there are figures."""
    starts = [row for row in report["starts"] if row["scenario"] == GROWING]
    named = {
        "latency": Chart("Flat hosts: median time to the last byte", "providers", "ms", _latencies(report)),
        "start": Chart("Time until the first answer", "providers", "s", _lines(starts, "seconds")),
        "memory": Chart("Memory of a worker", "providers", "MiB", _lines(starts, "worker_mib")),
    }
    return {name: svg(chart) for name, chart in named.items() if any(line.points for line in chart.lines)}


def _latencies(report: Row) -> list[Line]:
    rows = [row for row in report["results"] if row["scenario"] == GROWING and row["order"] == "default"]
    lines = []
    for service in SERVICES:
        for query in dict.fromkeys(row["query"] for row in rows):
            points = [
                (row["providers"], row[service]["median_ms"])
                for row in rows
                if row["query"] == query and "median_ms" in row.get(service, {})
            ]
            if points:
                lines.append(Line(f"{service}, {query}", points))
    timeout = report["run"]["effort"]["timeout_seconds"] * 1_000
    if any(row.get(Reference.name, {}).get("trouble") == TIME_OUT for row in rows):
        ends = [row["providers"] for row in rows]
        lines.append(Line("time-out", [(min(ends), timeout), (max(ends), timeout)], dashed=True))
    return lines


def _lines(starts: Sequence[Row], figure: str) -> list[Line]:
    return [
        Line(service, [(row["providers"], row[service][figure]) for row in starts if row.get(service)])
        for service in SERVICES
        if any(row.get(service) for row in starts)
    ]


def write(report: Row, folder: Path) -> None:
    """``results.json``, ``results.md`` and the charts, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(report))
    for name, text in charts(report).items():
        (folder / f"{name}.svg").write_text(text)


def publish(report: Row, page: Path) -> None:
    """Put tables, charts and JSON of a run into the documentation, in place of those of its database.

    The page has a section per kind of database between two comments; a new one goes to its end.
    Charts and JSON go into a folder beside the page with the page's name.
    """
    kind = report["run"]["database"]
    beside = page.with_suffix("")
    beside.mkdir(exist_ok=True)
    pictures = []
    for name, text in charts(report).items():
        (beside / f"{kind}-{name}.svg").write_text(text)
        pictures.append(f"![{name} on {NAMES[kind]}]({beside.name}/{kind}-{name}.svg)")
    publish_section(report, page, markdown(report), pictures)


def publish_section(report: Row, page: Path, text: str, pictures: Sequence[str]) -> None:
    """Put ``text``, links to ``pictures`` and the JSON of a run into the section of its database."""
    kind = report["run"]["database"]
    beside = page.with_suffix("")
    beside.mkdir(exist_ok=True)
    (beside / f"{kind}.json").write_text(json.dumps(report, indent=1) + "\n")
    title = f"## On {NAMES[kind]}"
    source = f"The same as data: [{kind}.json]({beside.name}/{kind}.json)."
    body = "\n\n".join([title, text.rstrip(), *pictures, source])
    page.write_text(with_section(page.read_text(), kind, body))


def with_section(text: str, kind: str, body: str) -> str:
    """``text`` with ``body`` as the section of ``kind``."""
    begin, end = f"<!-- figures: {kind} -->", f"<!-- end: {kind} -->"
    section = f"{begin}\n\n{body}\n\n{end}"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text)
    return f"{text.rstrip()}\n\n{section}\n"
