"""What the claims benchmark has found, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report import NAMES, markdown_table, milliseconds, times
from benchmarks.services import Moorage, Reference

Row = Mapping[str, Any]

SERVICES = (Moorage.name, Reference.name)
HEAD = (
    "scenario",
    "order",
    "clients",
    "workers",
    "Moorage per second",
    "claim p50",
    "p99",
    "CPU per request",
    "refused",
    "reference per second",
    "claim p50",
    "p99",
    "CPU per request",
    "refused",
    "ratio",
    "p99 ratio",
)

AUDIT_HEAD = (
    "service",
    "order",
    "workers",
    "over capacity",
    "lost",
    "phantom",
    "outcome unknown to the client",
)


def rate(value: float | None) -> str:
    """Per second, with as many digits as are worth something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def refusals(refused: Mapping[str, int]) -> str:
    """Requests that did not succeed, by reason; most often none."""
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items())) or "none"


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table of results, as long as its head."""
    own: list[str] = []
    for service in SERVICES:
        found = row.get(service, {})
        own += [
            rate(found.get("per_second")),
            *(milliseconds(found.get(name)) for name in ("claim_p50_ms", "claim_p99_ms", "cpu_ms")),
            refusals(found.get("refused", {})) if found else "-",
        ]
    ratios = (row.get(name) for name in ("ratio", "p99_ratio"))
    return (
        row["scenario"],
        row.get("order") or "-",
        str(row["clients"]),
        str(row["workers"]),
        *own,
        *("-" if value is None else times(value) for value in ratios),
    )


def audit_cells(report: Row) -> list[tuple[str, ...]]:
    """What the databases held in the end, against what clients were told."""
    names = ("over_capacity", "lost", "phantom", "unknown")
    return [
        (service, each["order"], str(each["workers"]), *(f"{each[service][name]:,}" for name in names))
        for each in report["audits"]
        for service in SERVICES
        if service in each
    ]


def tables(report: Row) -> list[tuple[Sequence[str], list[tuple[str, ...]]]]:
    """Head and rows of each table."""
    return [(HEAD, [cells(row) for row in report["results"]]), (AUDIT_HEAD, audit_cells(report))]


def conditions_line(run: Row) -> str:
    """Under which conditions the figures hold."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return (
        f"{run['cores']} cores ({run['processor']}) for services, clients and database together, "
        f"{NAMES[run['database']]} {run['database_version']}, {versions}; seed {run['seed']}, "
        f"{in_turns(run['turns'])}{run['seconds']:g} s per row, twice as long for the reference, "
        "six times for cycles. With order *random* the option `randomize_allocation_candidates` is set."
        f"{busy(run['load'], run['cores'])}"
    )


def in_turns(turns: int) -> str:
    """How often each service had the time that follows."""
    return "" if turns == 1 else f"{turns} times "


def busy(load: float, cores: int) -> str:
    """A word of warning if the machine had other work when the run began, in processes that want to run."""
    if load <= cores / 2:
        return ""
    return (
        f" Other work was going on at the same time ({load:g} processes for {cores} cores), which slows both "
        "services down: compare within a row."
    )


def markdown(report: Row) -> str:
    """The tables of a run, ready to be read."""
    about = "\n".join(f"- *{name}*: {text}." for name, text in report["run"]["scenarios"].items())
    return (
        "\n\n".join(
            [conditions_line(report["run"]), about, *(markdown_table(*each) for each in tables(report))]
        )
        + "\n"
    )
