"""Compare Moorage with the reference, side by side on the same kind of database.

    python -m benchmarks.compare [--full] [--database postgresql] [--only flat] [--hosts 1000]

Writes tables, JSON and charts. The exit status is 1 if the two answered differently anywhere.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import moorage
from benchmarks import report
from benchmarks.databases import KINDS, running_server, version
from benchmarks.runner import Conditions, Effort, run
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.services import Reference, Seeking
from tests.servers.databases import fresh_database

SEED = 20240607
"""Any number will do, as long as the runs that are compared use the same one."""

SHORT = Effort(timeout_seconds=10, seconds=2, least=3, most=500, turn_seconds=0.5)
"""A few minutes for everything: enough to see a regression, not to quote a p99 of the reference."""

FULL = Effort(timeout_seconds=30, seconds=20, least=5, most=2_000, turn_seconds=2)
"""An hour or two. Clients of Placement give up long before 30 seconds."""

LIBRARIES = ("openstack-placement", "granian", "SQLAlchemy", "numpy")

TABLE_WIDTH = 180
"""Columns of text that the tables need, whatever the terminal believes to have."""

OUTPUT = Path("bench-results")
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    effort = FULL if options.full else SHORT
    changed = {"timeout_seconds": options.timeout, "seconds": options.seconds}
    effort = Effort(
        **(asdict(effort) | {name: value for name, value in changed.items() if value is not None})
    )
    conditions = Conditions(
        options.database,
        options.seed,
        options.workers,
        effort,
        (Seeking,) if options.without_reference else (Seeking, Reference),
        options.reference_up_to,
    )
    # Ended from outside, the servers are to be stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=max(TABLE_WIDTH, Console().width))
    found: dict[str, Any] = {"run": {}, "starts": [], "results": []}
    with running_server(options.database):
        found["run"] = described(conditions, options.output)
        console.print(report.conditions_line(found["run"]), markup=False)
        for scenario, sizes in chosen(options):
            told = run(scenario, sizes, conditions, lambda text: console.print(f"  {text}"))
            found["starts"] += told["starts"]
            found["results"] += told["results"]
            # What takes hours is written as it comes.
            report.write(found, options.output)
    show(found, console)
    if options.publish:
        report.publish(found, PAGE)
    return 1 if any(row["agree"] is False for row in found["results"]) else 0


def chosen(options: argparse.Namespace) -> Iterator[tuple[Scenario, tuple[int, ...]]]:
    """Scenarios in the order of the table, each in the sizes that the command line asks for."""
    for scenario in SCENARIOS:
        if options.size:
            sizes = tuple([hosts for name, hosts in options.size if name == scenario.name])
        elif options.only and scenario.name not in options.only:
            sizes = ()
        else:
            sizes = tuple(options.hosts or (scenario.full if options.full else scenario.short))
        if sizes:
            yield scenario, sizes


def size(text: str) -> tuple[str, int]:
    """``flat:1000``: a scenario and its hosts. Raises ValueError."""
    name, _, hosts = text.partition(":")
    if name not in [scenario.name for scenario in SCENARIOS]:
        raise ValueError(name)
    return name, int(hosts)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__.partition("\n")[0]
    )
    made.add_argument("--full", action="store_true", help="all sizes, and enough requests for a p99")
    made.add_argument(
        "--database", choices=KINDS, default=KINDS[0], help="kind of database (default: sqlite)"
    )
    names = [scenario.name for scenario in SCENARIOS]
    made.add_argument("--only", choices=names, action="append", help="this scenario (may be repeated)")
    made.add_argument("--hosts", type=int, action="append", help="this size instead (may be repeated)")
    made.add_argument(
        "--size",
        type=size,
        action="append",
        metavar="SCENARIO:HOSTS",
        help="this scenario in this size, instead of --only and --hosts (may be repeated)",
    )
    made.add_argument(
        "--reference-up-to",
        type=int,
        metavar="HOSTS",
        help="ask Moorage alone about clouds of more hosts than this",
    )
    made.add_argument("--timeout", type=float, help="seconds after which an answer is given up")
    made.add_argument("--seconds", type=float, help="seconds per query and service")
    made.add_argument("--workers", type=int, default=1, help="worker processes of each service (default: 1)")
    made.add_argument("--seed", type=int, default=SEED, help=f"seed of the clouds (default: {SEED})")
    made.add_argument("--without-reference", action="store_true", help="measure Moorage alone")
    made.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"folder of the results (default: {OUTPUT})"
    )
    made.add_argument("--publish", action="store_true", help=f"put the figures into {PAGE.name} as well")
    return made


def described(conditions: Conditions, folder: Path) -> dict[str, Any]:
    """Under which conditions a run takes place; nothing that names the machine."""
    return described_machine(conditions.kind, folder) | {
        "workers": conditions.workers,
        "seed": conditions.seed,
        "effort": asdict(conditions.effort),
    }


def described_machine(kind: str, folder: Path) -> dict[str, Any]:
    """Database, processor and versions of what is measured."""
    folder.mkdir(parents=True, exist_ok=True)
    with fresh_database(kind, folder) as url:
        database_version = version(url)
    return {
        "database": kind,
        "database_version": database_version.partition(" on ")[0].removeprefix("PostgreSQL "),
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "versions": {
            "Moorage": moorage.__version__,
            **{name: version_of(name) for name in LIBRARIES},
            "Python": platform.python_version(),
        },
    }


def processor() -> str:
    """What the processor calls itself."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def show(found: dict[str, Any], console: Console) -> None:
    """The tables, on the terminal."""
    for head, rows in (
        (report.RESULT_HEAD, [report.result_cells(row) for row in found["results"]]),
        (report.START_HEAD, [report.start_cells(row) for row in found["starts"]]),
    ):
        table = Table(*head)
        for cells in rows:
            table.add_row(*cells)
        console.print(table)
    for line in report.write_lines(found):
        console.print(line, markup=False)


if __name__ == "__main__":
    sys.exit(main())
