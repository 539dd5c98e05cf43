"""The service that the faults hit, and what it does about a dead worker by itself."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.serving import Serving, signal_process
from tests.journeys.client import Client

pytestmark = [pytest.mark.journey, pytest.mark.slow]


def test_a_worker_that_was_killed_is_replaced_and_the_service_goes_on(
    sqlite_url: str, tmp_path: Path
) -> None:
    serving = Serving(sqlite_url, tmp_path)
    serving.synchronise()
    serving.start()
    try:
        assert serving.process is not None
        main = serving.process.pid
        (worker,) = serving.worker_pids()
        with Client(serving.port) as client:
            client.add_provider("00000000-0000-0000-0000-00000000a000", "kept", {"VCPU": {"total": 1}})
        assert signal_process(worker, signal.SIGKILL)
        serving.wait()
        assert serving.process.pid == main
        assert serving.worker_pids() != [worker]
        with Client(serving.port) as client:
            assert [item["name"] for item in client.get("/resource_providers")["resource_providers"]] == [
                "kept"
            ]
    finally:
        serving.stop()
