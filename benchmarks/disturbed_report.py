"""What the benchmark of disturbances has found, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.claim_report import rate, refusals
from benchmarks.report import NAMES, markdown_table, milliseconds

Row = Mapping[str, Any]

HEAD = (
    "disturbance",
    "scenario",
    "requests",
    "per second",
    "disturbance took",
    "longest without success",
    "longest request",
    "refused",
    "refusals from first to last",
    "longest wait for a refusal",
    "over capacity",
    "lost",
    "phantom",
    "outcome unknown to the client",
)


def duration(seconds: float) -> str:
    """Of something that need not have happened."""
    return milliseconds(seconds * 1_000) if seconds else "-"


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table, as long as its head."""
    found = row["audit"]
    return (
        row["disturbance"],
        row["scenario"],
        f"{row['requests']:,}",
        rate(row["per_second"]),
        duration(row["disturbed"]),
        duration(row["silence"]),
        duration(row["longest"]),
        refusals(row["refused"]),
        duration(row["refusing"]),
        duration(row["slowest_refusal"]),
        *(f"{found[name]:,}" for name in ("over_capacity", "lost", "phantom", "unknown")),
    )


def conditions_line(run: Row) -> str:
    """Under which conditions the figures hold."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return (
        f"{run['cores']} cores ({run['processor']}) for service, clients and both databases together, "
        f"{NAMES[run['database']]} {run['database_version']} with a synchronous standby, {versions}; "
        f"{run['workers']} workers, {run['clients']} clients, each of which waits "
        f"{run['pause_seconds'] * 1_000:g} ms after a refusal; "
        f"seed {run['seed']}, {run['seconds']:g} s of traffic before and after each disturbance."
        f"{busy(run['load'], run['cores'])}"
    )


def busy(load: float, cores: int) -> str:
    """A word of warning if the machine had other work when the run began."""
    if load <= cores / 2:
        return ""
    return f" Other work went on at the same time ({load:g} processes for {cores} cores): times are longer."


def markdown(report: Row) -> str:
    """The table of a run, ready to be read."""
    run = report["run"]
    about = "\n".join(
        f"- *{name}*: {text}." for name, text in (run["disturbances"] | run["scenarios"]).items()
    )
    table = markdown_table(HEAD, [cells(row) for row in report["results"]])
    return "\n\n".join([conditions_line(run), about, table]) + "\n"
