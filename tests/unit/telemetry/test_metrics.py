"""Counts, and what is looked up when somebody asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from moorage.api.placement import application
from moorage.model.errors import UnavailableError
from moorage.model.leases import LeaseCounts, LeaseState
from moorage.model.reports import SourceFigures
from moorage.model.values import ClassTotal
from moorage.service.observer import Setback, Stage
from moorage.telemetry import scrape, table
from moorage.telemetry.folding import fold
from moorage.telemetry.instruments import Instruments
from moorage.telemetry.scrape import Scrape
from moorage.telemetry.several import Several
from moorage.telemetry.sources import Sources
from tests.unit.api.fake import UUID, FakeService
from tests.unit.telemetry.calls import Told, get

COUNTS = LeaseCounts({LeaseState.ACTIVE: 3}, ticks=61_500, term=2, due=60_000)
SOURCES = Sources(
    lambda: 7,
    lambda: [ClassTotal("VCPU", 2, 16, 20)],
    lambda: [SourceFigures("nova", 0, {"leaked": 3}, 2)],
    lambda: COUNTS,
)


def values(told: Told) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(told.body.decode())
        for sample in family.samples
    }


def value(told: Told, name: str, **labels: str) -> float | None:
    return values(told).get((name, tuple(sorted(labels.items()))))


def test_requests_are_counted_by_route_version_and_status() -> None:
    registry = CollectorRegistry()
    app = application.create(FakeService(), observers=[Instruments(registry)])
    token = {"HTTP_X_AUTH_TOKEN": "admin", "HTTP_OPENSTACK_API_VERSION": "placement 1.39"}
    for _ in range(3):
        assert get(app, f"/resource_providers/{UUID}", token).status == 200
    get(app, f"/resource_providers/{UUID}")
    get(app, "/nowhere", token)
    get(app, "/usages", token)
    told = get(Scrape(SOURCES, registry), "/metrics")
    labels: Mapping[str, str] = {"method": "GET", "microversion": "1.39"}
    route = "/resource_providers/{uuid}"
    assert value(told, "moorage_requests_total", **labels, route=route, status="200") == 3
    assert value(told, "moorage_requests_total", **labels, route="/usages", status="400") == 1
    nobody = {"method": "other", "route": "none"}
    assert value(told, "moorage_requests_total", **nobody, microversion="", status="401") == 1
    assert value(told, "moorage_requests_total", **nobody, microversion="1.39", status="404") == 1
    assert value(told, "moorage_request_seconds_count", method="GET", route=route) == 3


def test_what_the_service_does_is_counted() -> None:
    registry = CollectorRegistry()
    observer = Several([Instruments(registry)])
    observer.stage_ended(Stage.SEARCH, 0.003)
    observer.index_changed(41, 100)
    observer.index_built(1.5)
    observer.group_ended(5, 2, 0.02)
    observer.group_set_back(Setback.CONFLICT)
    observer.search_unmet("no_room")
    observer.report_received("nova", 0)
    observer.report_received("nova", 2)
    observer.finding_acted_on("leaked", "release", done=True)
    observer.finding_acted_on("leaked", "release", done=False)
    told = get(Scrape(SOURCES, registry), "/metrics")
    assert value(told, "moorage_search_stage_seconds_bucket", stage="search", le="0.005") == 1
    assert value(told, "moorage_search_stage_seconds_bucket", stage="search", le="0.002") == 0
    assert value(told, "moorage_index_revision") == 41
    assert value(told, "moorage_index_providers") == 100
    assert value(told, "moorage_index_build_seconds_count") == 1
    assert value(told, "moorage_commit_group_writes_sum") == 5
    assert value(told, "moorage_commit_waiting") == 2
    assert value(told, "moorage_commit_seconds_count") == 1
    assert value(told, "moorage_commit_setbacks_total", reason="conflict") == 1
    assert value(told, "moorage_commit_setbacks_total", reason="lost_commit") == 0
    assert value(told, "moorage_unmet_total", verdict="no_room") == 1
    for trust in ("believed", "suspect"):
        assert value(told, "moorage_reports_total", source="nova", trust=trust) == 1
    for outcome in ("done", "refused"):
        labels = {"kind": "leaked", "action": "release", "outcome": outcome}
        assert value(told, "moorage_finding_actions_total", **labels) == 1


def test_findings_and_the_age_of_reports_are_looked_up() -> None:
    told = get(Scrape(SOURCES, CollectorRegistry()), "/metrics")
    assert value(told, "moorage_findings", source="nova", kind="leaked") == 3
    assert value(told, "moorage_findings", source="nova", kind="moved") == 0
    assert value(told, "moorage_report_suspect_trees", source="nova") == 2
    age = value(told, "moorage_report_age_seconds", source="nova")
    assert age is not None
    assert age > 1e9


def test_capacity_use_and_memory_are_looked_up() -> None:
    told = get(Scrape(SOURCES, CollectorRegistry()), "/metrics")
    assert told.headers["Content-Type"].startswith("text/plain; version=")
    assert value(told, "moorage_database_up") == 1
    assert value(told, "moorage_revision") == 7
    assert value(told, "moorage_class_providers", resource_class="VCPU") == 2
    assert value(told, "moorage_class_capacity", resource_class="VCPU") == 16
    assert value(told, "moorage_class_used", resource_class="VCPU") == 20
    assert value(told, "moorage_leases", state="active") == value(told, "moorage_leases_waiting") == 3
    assert value(told, "moorage_leases", state="quarantined") == 0
    assert value(told, "moorage_service_time_seconds") == 61.5
    assert value(told, "moorage_service_time_term") == 2
    assert value(told, "moorage_lease_expiry_lag_seconds") == 1.5
    resident = value(told, "moorage_process_resident_bytes", pid=str(os.getpid()))
    assert resident is not None
    assert resident > 1_000_000


def test_sums_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def totals() -> list[ClassTotal]:
        asked.append(1)
        return []

    now = [100.0]
    monkeypatch.setattr("moorage.telemetry.scrape.time.monotonic", lambda: now[0])
    app = Scrape(Sources(lambda: 1, totals, list, lambda: COUNTS), CollectorRegistry())
    get(app, "/metrics")
    get(app, "/metrics")
    assert len(asked) == 1
    now[0] += scrape.TOTALS_SECONDS
    get(app, "/metrics")
    assert len(asked) == 2


def test_metrics_are_answered_while_the_database_is_away() -> None:
    def away() -> int:
        raise UnavailableError("it is away")

    told = get(Scrape(Sources(away, list, list, lambda: COUNTS), CollectorRegistry()), "/metrics")
    assert told.status == 200
    assert value(told, "moorage_database_up") == 0
    assert value(told, "moorage_revision") is None


def test_every_metric_of_the_table_is_answered_and_no_other() -> None:
    registry = CollectorRegistry()
    Instruments(registry)
    told = get(Scrape(SOURCES, registry), "/metrics")
    found = {
        line.split()[2] for line in told.body.decode().splitlines() if line.startswith("# TYPE moorage_")
    }
    assert {name for name in found if not name.endswith("_created")} == {
        metric.name for metric in table.METRICS
    }


WORKER = """
import sys
from prometheus_client import CollectorRegistry
from moorage.service.observer import Setback
from moorage.telemetry.instruments import Instruments
instruments = Instruments(CollectorRegistry())
instruments.index_changed(int(sys.argv[1]), 10)
instruments.group_ended(3, 1, 0.1)
instruments.group_set_back(Setback.CONNECTION)
print("counted", flush=True)
sys.stdin.read()
"""


def worker(directory: Path, revision: int) -> subprocess.Popen[str]:
    """A process that counts, and lives until its input is closed."""
    started = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(revision)],
        env=os.environ | {scrape.DIRECTORY_VARIABLE: str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "counted\n"
    return started


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("")


def test_figures_of_several_processes_are_added_and_those_of_dead_ones_kept_where_they_count(
    tmp_path: Path,
) -> None:
    app = Scrape(SOURCES, CollectorRegistry(), tmp_path)
    one, other = worker(tmp_path, 5), worker(tmp_path, 6)
    try:
        told = get(app, "/metrics")
        assert value(told, "moorage_commit_group_writes_sum") == 6
        assert value(told, "moorage_commit_waiting") == 2
        assert value(told, "moorage_index_revision", pid=str(one.pid)) == 5
        assert value(told, "moorage_index_revision", pid=str(other.pid)) == 6
        assert value(told, "moorage_process_resident_bytes", pid=str(one.pid)) is not None
        end(one)
        told = get(app, "/metrics")
        assert value(told, "moorage_commit_group_writes_sum") == 6
        assert value(told, "moorage_commit_setbacks_total", reason="connection") == 2
        assert value(told, "moorage_commit_waiting") == 1
        assert value(told, "moorage_index_revision", pid=str(one.pid)) is None
        assert value(told, "moorage_process_resident_bytes", pid=str(one.pid)) is None
    finally:
        end(other)


def shown(told: Told) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Counters and histograms."""
    return {
        (name, labels): found
        for (name, labels), found in values(told).items()
        if name.startswith("moorage_commit_") and name != table.COMMIT_WAITING.name
    }


def test_what_workers_that_are_gone_have_counted_stays_the_same_in_one_file_per_kind(tmp_path: Path) -> None:
    app = Scrape(SOURCES, CollectorRegistry(), tmp_path)
    for _ in range(3):
        process = worker(tmp_path, 5)
        before = shown(get(app, "/metrics"))
        end(process)
        fold(tmp_path, process.pid)
        told = get(app, "/metrics")
        assert shown(told) == before
        assert value(told, "moorage_index_revision", pid=str(process.pid)) is None
        fold(tmp_path, process.pid)
        assert shown(get(app, "/metrics")) == before
    told = get(app, "/metrics")
    assert value(told, "moorage_commit_group_writes_sum") == 9
    assert value(told, "moorage_commit_setbacks_total", reason="connection") == 3
    assert value(told, "moorage_commit_seconds_bucket", le="+Inf") == 3
    assert {path.name for path in tmp_path.glob("*.db")} == {"counter_gone.db", "histogram_gone.db"}


def test_a_process_of_somebody_else_is_there_and_one_that_is_not_has_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    assert scrape._is_there(1)
    assert scrape.resident_bytes(2**22 + 1) is None


def test_the_table_has_words_for_every_metric_and_names_in_base_units() -> None:
    names: list[Any] = [metric.name for metric in table.METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.about.endswith(".") for metric in table.METRICS)
    for metric in table.METRICS:
        assert (metric.kind is table.MetricKind.COUNTER) == metric.name.endswith("_total")
        assert bool(metric.buckets) == (metric.kind is table.MetricKind.HISTOGRAM)
