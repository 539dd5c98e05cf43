"""``moorage run`` and a real service: the one GPU is never in two jobs' hands, and always comes back."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.targets import create_database, processes_of, start_again
from tests.journeys.client import Client, running_service
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database
from tests.servers.plugin import NewServer

pytestmark = [pytest.mark.journey, pytest.mark.slow]

SECONDS = 120.0
"""Nothing takes so long."""

HOST = "aaaa0000-0000-4000-8000-000000000001"

HASTY = ("--ttl", "2s", "--kill-after", "1s")


class Way:
    """The network between clients and the service. While it is cut, bytes get lost in both directions."""

    def __init__(self) -> None:
        self.port = 0
        self.is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as service:
            while True:
                for ready in select.select([client, service], [], [])[0]:
                    said = ready.recv(65536)
                    if not said:
                        return
                    if not self.is_cut:
                        (service if ready is client else client).sendall(said)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fresh_database(SQLITE, tmp_path_factory.mktemp("run")) as url:
        yield url


@pytest.fixture(scope="module")
def service(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_service(database, tmp_path_factory.mktemp("service")) as port:
        add_the_gpu(port)
        yield port


def add_the_gpu(port: int) -> None:
    with Client(port) as client:
        client.must("PUT", "/resource_classes/CUSTOM_GPU", None)
        client.add_provider(HOST, "host", {"CUSTOM_GPU": {"total": 1}})


@pytest.fixture
def way(service: int) -> Iterator[Way]:
    opened = Way()
    opened.port = service
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def job(way: Way, script: str, *options: str, stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
    asked = ["run", "--url", way.url, "--host", "host", "--resources", "CUSTOM_GPU=1", *options]
    command = [sys.executable, "-P", "-m", "moorage", *asked, "--", "sh", "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


BUSY = "sleep 1000 & echo $$ $!; wait"


def next_job_finds(way: Way, pids: str) -> list[str]:
    """Wait for the GPU, and see which of these processes still live when it is there."""
    with waiting_job(way, pids) as process:
        return found_by(process)


def waiting_job(
    way: Way, pids: str, stderr: int | None = None
) -> AbstractContextManager[subprocess.Popen[str]]:
    script = "for pid in " + pids + "; do kill -0 $pid 2>/dev/null && echo $pid; done; echo end"
    return job(way, script, *HASTY, "--wait", "100s", stderr=stderr)


def found_by(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    return out.split()


def test_the_gpu_of_a_client_that_was_killed_comes_back_after_its_process_has_ended(way: Way) -> None:
    with job(way, BUSY, *HASTY) as process:
        pids = line(process)
        process.kill()
        assert next_job_finds(way, pids) == ["end"]


def test_the_gpu_of_a_client_without_a_network_comes_back_after_its_process_has_ended(
    way: Way, service: int
) -> None:
    other = Way()
    other.port = service
    with job(way, "trap '' TERM; " + BUSY + "; sleep 1000", *HASTY) as process:
        pids = line(process)
        way.is_cut = True
        assert next_job_finds(other, pids) == ["end"]
    other.close()


def test_a_job_goes_on_when_another_process_takes_the_service_over(
    way: Way, service: int, database: str, tmp_path: Path
) -> None:
    until = f"echo ready; until test -e {tmp_path}/enough; do sleep 0.1; done; exit 5"
    with job(way, until, "--ttl", "3s") as process:
        assert line(process) == "ready"
        with running_service(database, tmp_path) as successor:
            way.port = successor
            # Longer than the lease lasts without a renewal.
            time.sleep(4)
            (tmp_path / "enough").touch()
            assert process.wait(SECONDS) == 5
            assert next_job_finds(way, "") == ["end"]
    way.port = service


def test_a_job_that_waits_begins_once_the_gpu_is_freed(way: Way, tmp_path: Path) -> None:
    until = f"echo ready; until test -e {tmp_path}/enough; do sleep 0.1; done"
    with job(way, until) as first:
        assert line(first) == "ready"
        with job(way, "echo mine", "--wait", "100s") as second:
            time.sleep(2)
            (tmp_path / "enough").touch()
            assert line(second) == "mine"
            assert second.wait(SECONDS) == 0


@pytest.mark.databases
def test_the_gpu_is_in_one_job_s_hands_while_the_database_is_paused_and_killed(
    own_server: NewServer, tmp_path: Path
) -> None:
    """A pause within the ttl costs nothing. After a kill the job ends before another one gets the GPU."""
    server, way = own_server(POSTGRESQL), Way()
    url = create_database(server.url).render_as_string(hide_password=False)
    with running_service(url, tmp_path) as way.port:
        add_the_gpu(way.port)
        with job(way, BUSY, "--ttl", "3s", "--kill-after", "1s") as first:
            pids = line(first)
            with waiting_job(way, pids, stderr=subprocess.PIPE) as second:
                assert second.stderr is not None
                assert any("Waiting for a place" in told for told in second.stderr)
                paused = processes_of(server)
                for pid in paused:
                    os.kill(pid, signal.SIGSTOP)
                time.sleep(0.7)
                for pid in paused:
                    os.kill(pid, signal.SIGCONT)
                time.sleep(0.5)
                assert first.poll() is None, "the pause was shorter than its ttl"
                server.kill()
                # The command is ended by its own clock, also if nothing can be heard of the lease.
                while any(Path(f"/proc/{pid}").exists() for pid in pids.split()):
                    time.sleep(0.05)
                start_again(server)
                assert found_by(second) == ["end"]
    way.close()
