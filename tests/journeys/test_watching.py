"""A service with several workers, as those who watch it see it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.journeys.client import START_SECONDS, Client
from tests.servers.ports import free_port

pytestmark = pytest.mark.journey

PROVIDER = "11111111-1111-4111-8111-111111111111"
CLAIMS = 12
WORKERS = 2


def samples(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with Client(port, keep_alive=False) as client:
        text = client.request("GET", "/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def summed(port: int, name: str, **labels: str) -> float:
    return sum(
        value
        for (found, having), value in samples(port).items()
        if found == name and labels.items() <= dict(having).items()
    )


def test_a_scrape_is_right_with_several_workers_and_health_is_told(sqlite_url: str, tmp_path: Path) -> None:
    port, metrics_port = free_port(), free_port()
    log = tmp_path / "moorage.log"
    (tmp_path / "placement.conf").write_text(
        f"[DEFAULT]\nlog_file = {log}\n[placement_database]\nconnection = {sqlite_url}\n"
        f"sync_on_startup = true\n[api]\nauth_strategy = noauth2\n"
        f"[moorage]\nmetrics_listen = 127.0.0.1:{metrics_port}\naccess_log = true\n"
    )
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            # -P: with a new folder in its path, a process would look for all entry points again.
            [sys.executable, "-P", "-m", "moorage", "serve", "--port", str(port), "--workers", str(WORKERS)],
            cwd=tmp_path,
            env=os.environ | {"OS_PLACEMENT_CONFIG_DIR": str(tmp_path)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while summed_or_none(metrics_port) < WORKERS:
            assert process.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        while not ready(port):
            assert time.monotonic() < until
            time.sleep(0.1)
        with Client(port, keep_alive=False) as client:
            client.add_provider(PROVIDER, "host", {"VCPU": {"total": CLAIMS}})
            for number in range(CLAIMS):
                claimed = client.claim(f"{number:08d}-0000-4000-8000-000000000000", PROVIDER, {"VCPU": 1})
                assert claimed.status == 204
            assert client.request("GET", "/metrics").status == 404
            assert client.request("GET", "/healthz", headers={"X-Auth-Token": ""}).json == {"status": "ok"}
        # Whichever workers answered, and however often one asks, it is the same.
        for _ in range(3):
            assert (
                summed(metrics_port, "moorage_requests_total", route="/allocations/{consumer_uuid}") == CLAIMS
            )
            assert summed(metrics_port, "moorage_request_seconds_count", method="PUT") == CLAIMS + 1
            assert summed(metrics_port, "moorage_database_up") == 1
        assert summed(metrics_port, "moorage_commit_group_writes_sum") == CLAIMS + 2
        # Sums over all providers are remembered for some seconds.
        while summed(metrics_port, "moorage_class_used", resource_class="VCPU") != CLAIMS:
            assert time.monotonic() < until
            time.sleep(0.5)
        with Client(metrics_port, keep_alive=False) as client:
            assert client.request("GET", "/readyz").json["ready"] is True
            assert client.request("GET", "/resource_providers").status == 404
    finally:
        process.terminate()
        process.wait(60)
    lines = [line for line in log.read_text().splitlines() if " moorage.access " in line]
    assert sum('"PUT /allocations/' in line and "status: 204" in line for line in lines) == CLAIMS


def summed_or_none(port: int) -> int:
    """How many workers keep figures; 0 before anybody listens."""
    try:
        return sum(name == "moorage_index_revision" for name, _ in samples(port))
    except OSError:
        return 0


def ready(port: int) -> bool:
    try:
        with Client(port, keep_alive=False) as client:
            return client.request("GET", "/readyz").status == 200
    except OSError:
        return False
