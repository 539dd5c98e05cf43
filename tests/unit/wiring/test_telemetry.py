"""Which of metrics, logs and traces there are."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from moorage.model.errors import ConfigurationError
from moorage.model.leases import LeaseCounts
from moorage.telemetry.scrape import Scrape
from moorage.telemetry.sources import Sources
from moorage.wiring.options import read_options, value_of
from moorage.wiring.telemetry import (
    DIRECTORY_VARIABLE,
    Telemetry,
    TelemetrySettings,
    directory_of,
    forget_worker,
    serve_metrics,
    shared_directory,
    telemetry_from,
)
from tests.journeys.client import Client
from tests.servers.file_locks import locks_on
from tests.servers.ports import free_port
from tests.unit.telemetry.calls import get
from tests.unit.telemetry.test_health import inner

SOURCES = Sources(lambda: 7, list, list, lambda: LeaseCounts({}, 0, 0, None))


def settings(**options: str) -> TelemetrySettings:
    environment = {f"OS_PLACEMENT_MOORAGE__{name.upper()}": value for name, value in options.items()}
    conf = read_options(environment=environment)
    return telemetry_from(lambda name: value_of(conf, "moorage", name))


def test_the_options_say_what_there_is() -> None:
    assert settings() == TelemetrySettings()
    assert not settings().has_metrics
    told = settings(metrics_listen="127.0.0.1:9778", access_log="true", traces="true")
    assert told == TelemetrySettings(("127.0.0.1", 9778), access_log=True, traces=True)
    assert told.has_metrics
    assert settings(metrics_on_api="true").has_metrics
    with pytest.raises(ConfigurationError, match="metrics_listen"):
        settings(metrics_listen="everywhere")


def test_nothing_is_counted_unless_somebody_can_ask() -> None:
    telemetry = Telemetry(TelemetrySettings())
    assert telemetry.service is None
    assert len(telemetry.requests) == 1
    app = telemetry.front(inner, lambda: 1, SOURCES, listens=True)
    assert get(app, "/metrics").status == 418
    assert get(app, "/healthz").status == 200
    assert get(app, "/readyz").json["revision"] == 1


def test_metrics_are_answered_where_the_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    port = free_port()
    telemetry = Telemetry(TelemetrySettings(("127.0.0.1", port)))
    assert telemetry.service is not None
    telemetry.service.group_ended(5, 0, 0.1)
    app = telemetry.front(inner, lambda: 1, SOURCES, listens=False)
    assert get(app, "/metrics").status == 418

    telemetry = Telemetry(TelemetrySettings(("127.0.0.1", port), metrics_on_api=True))
    assert telemetry.service is not None
    telemetry.service.group_ended(5, 0, 0.1)
    app = telemetry.front(inner, lambda: 1, SOURCES, listens=True)
    assert b"moorage_commit_group_writes_sum 5.0" in get(app, "/metrics").body
    with Client(port) as client:
        while not listens(port):
            pass
        answer = client.request("GET", "/metrics")
        assert b"moorage_commit_group_writes_sum 5.0" in answer.body
        client.close()
        assert client.request("GET", "/healthz").status == 200
        client.close()
        assert client.request("GET", "/resource_providers").status == 404


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30):
            return True
    except ConnectionRefusedError:
        return False


def test_traces_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moorage.telemetry.traces", None)
    with pytest.raises(ConfigurationError, match="pip install 'moorage\\[otel\\]'"):
        Telemetry(TelemetrySettings(traces=True))


def test_traces_observe_both(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace import SpanProcessor

    from moorage.telemetry import traces

    made = traces.Traces(SpanProcessor())
    monkeypatch.setattr(traces, "exporting", lambda: made)
    telemetry = Telemetry(TelemetrySettings(traces=True))
    assert made in telemetry.requests
    assert telemetry.service is not None


def test_figures_of_an_earlier_run_are_forgotten(tmp_path: Path) -> None:
    assert directory_of({}) is None
    told = {DIRECTORY_VARIABLE: str(tmp_path / "figures")}
    assert shared_directory(told) == tmp_path / "figures"
    (tmp_path / "figures" / "counter_1.db").write_text("left")
    others = {"notes", "moorage.db", "counter_of_boats.db", "gauge_1.db"}
    for name in others:
        (tmp_path / "figures" / name).write_text("kept")
    shared_directory(told)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == others
    made = shared_directory({})
    assert made.is_dir()
    made.rmdir()


def test_the_process_over_the_workers_serves_their_figures(tmp_path: Path) -> None:
    serve_metrics(TelemetrySettings(metrics_on_api=True), tmp_path, lambda: 1, SOURCES)
    port = free_port()
    serve_metrics(TelemetrySettings(("127.0.0.1", port)), tmp_path, lambda: 1, SOURCES)
    with Client(port) as client:
        assert b"moorage_revision 7.0" in client.request("GET", "/metrics").body


def test_a_database_in_the_directory_of_the_figures_is_not_opened(tmp_path: Path) -> None:
    database = tmp_path / "moorage.db"
    with database.open("wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        scrape = Scrape(SOURCES, CollectorRegistry(), tmp_path)
        assert b"moorage_revision 7.0" in get(scrape, "/metrics").body
        assert locks_on(database) == {os.getpid(): 1}


def test_figures_of_a_worker_that_is_gone_are_folded_if_there_are_any(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = tmp_path / "gauge_livesum_7.db"
    left.touch()
    environment = {DIRECTORY_VARIABLE: str(tmp_path)}
    forget_worker(TelemetrySettings(), environment)(7)
    forget_worker(TelemetrySettings(metrics_on_api=True), {})(7)
    assert left.exists()
    forget_worker(TelemetrySettings(metrics_on_api=True), environment)(7)
    assert not left.exists()
    assert not caplog.messages
    forget_worker(TelemetrySettings(metrics_on_api=True), {DIRECTORY_VARIABLE: str(tmp_path / "nowhere")})(7)
    assert "may be wrong" in caplog.text
