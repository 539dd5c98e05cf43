"""Runs of ``benchmarks.placing``: each database with each number of hosts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import placing

ROW = {
    "row": "one by one",
    "strategy": "pack",
    "clients": 1,
    "hosts": 1,
    "placed_per_second": 2_000.0,
    "p50_ms": 20.0,
    "p99_ms": 40.0,
    "cpu_ms_per_claim": 0.4,
}


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ([], [("postgresql", 10_000)]),
        (
            ["--database", "sqlite", "--database", "mariadb", "--hosts", "5", "--hosts", "7"],
            [("sqlite", 5), ("sqlite", 7), ("mariadb", 5), ("mariadb", 7)],
        ),
    ],
)
def test_each_database_is_measured_with_each_number_of_hosts(
    given: list[str], runs: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []

    def run(database: str, hosts: int, _options: argparse.Namespace) -> dict[str, Any]:
        done.append((database, hosts))
        return {"results": [{**ROW, "refused": {}}], "sound": True}

    monkeypatch.setattr(placing, "run", run)
    assert placing.main([*given, "--output", str(tmp_path)]) == 0
    assert done == runs
    for database, hosts in runs:
        assert json.loads((tmp_path / f"placing-{database}-{hosts}.json").read_text())["sound"]


@pytest.mark.parametrize(("refused", "sound"), [({"claim 503": 1}, True), ({}, False)])
def test_a_refusal_or_a_fault_fails_all(
    refused: dict[str, int], sound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {5: ({}, True), 7: (refused, sound), 9: ({}, True)}

    def run(_database: str, hosts: int, _options: argparse.Namespace) -> dict[str, Any]:
        refusals, is_sound = told[hosts]
        return {"results": [{**ROW, "refused": refusals}], "sound": is_sound}

    monkeypatch.setattr(placing, "run", run)
    hosts = [part for number in told for part in ("--hosts", str(number))]
    assert placing.main([*hosts, "--output", str(tmp_path)]) == 1
