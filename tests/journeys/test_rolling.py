"""Workers are replaced, and the service is stopped, while clients are at work."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from moorage.serve.workers import DRAIN_SECONDS
from tests.journeys.client import START_SECONDS, STOP_SECONDS, Client

pytestmark = pytest.mark.journey

PROVIDER = "aaaa0000-0000-4000-8000-000000000001"
CLIENTS = 4
PAUSE_SECONDS = 0.1
"""Of each client, between two of its turns: the service has time to start workers, which the tests await."""


class Server:
    """``moorage serve`` with its own data."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "serve.log"
        self.database = folder / "moorage-data" / "moorage.sqlite"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                # -P: with a new folder in its path, a process would look for all entry points again.
                [sys.executable, "-P", "-m", "moorage", "serve", "--port", "0", *arguments],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait_for(lambda: "Stop it with Ctrl-C." in self.log.read_text())
        found = re.search(r"answers at http://[\d.]+:(\d+)", self.log.read_text())
        assert found
        self.port = int(found[1])

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait for something that this server does."""
        until = time.monotonic() + START_SECONDS
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def workers(self) -> set[int]:
        """Process ids of the workers that are ready or about to be."""
        found = set()
        for child in psutil.Process(self.process.pid).children():
            # One that has just ended tells nothing any more.
            with suppress(psutil.Error):
                if not any("resource_tracker" in word for word in child.cmdline()):
                    found.add(child.pid)
        return found

    def roll(self) -> None:
        """Have all workers replaced, and wait until they are."""
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: not before & (now := self.workers()) and len(now) == len(before))

    def kill_workers(self) -> None:
        """Kill all as soon as they are there, whether they serve by then or not, and wait for another one."""
        before = self.workers()
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        self.wait_for(lambda: bool(self.workers() - before))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Server]:
    server = Server(folder, *arguments)
    try:
        with Client(server.port) as client:
            client.add_provider(PROVIDER, "host", {"VCPU": {"total": 1_000_000}})
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()


class Traffic:
    """Clients that claim and search all the time; every second one keeps its connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n % 2 == 0,)) for n in range(CLIENTS)]
        self.granted: list[str] = []
        self.answered = 0
        self.refused: list[object] = []

    def _work(self, keep_alive: bool) -> None:
        with Client(self._port, keep_alive=keep_alive) as client:
            while not self._stop.is_set():
                consumer = str(uuid4())
                try:
                    answer = client.claim(consumer, PROVIDER, {"VCPU": 1})
                    if answer.status == 204:
                        self.granted.append(consumer)
                    else:
                        self.refused.append(answer)
                    client.get("/allocation_candidates?resources=VCPU:1&limit=1")
                    self.answered += 2
                except OSError as error:
                    self.refused.append(error)
                    client.close()
                time.sleep(PAUSE_SECONDS)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def held(port: int) -> set[str]:
    """Consumers that the service knows to hold something."""
    with Client(port) as client:
        return set(client.get(f"/resource_providers/{PROVIDER}/allocations")["allocations"])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_are_replaced_without_a_refused_request(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, "--workers", str(workers)) as server:
        with Traffic(server.port) as traffic:
            for _ in range(2):
                answered = traffic.answered
                server.roll()
                assert traffic.answered > answered
        assert traffic.refused == []
        assert held(server.port) == set(traffic.granted)
        assert server.stop() == 0


def test_worker_that_cannot_start_leaves_the_old_one_at_work(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = server.workers()
        with sqlite3.connect(server.database) as connection:
            connection.execute("ALTER TABLE moorage_alembic_version RENAME TO elsewhere")
        with Traffic(server.port) as traffic:
            server.process.send_signal(signal.SIGHUP)
            server.wait_for(lambda: "the old one goes on" in server.log.read_text())
        assert traffic.refused == []
        assert server.workers() == before
        with sqlite3.connect(server.database) as connection:
            connection.execute("ALTER TABLE elsewhere RENAME TO moorage_alembic_version")
        server.roll()
        assert held(server.port) == set(traffic.granted)


def test_worker_that_was_killed_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        [worker] = server.workers()
        os.kill(worker, signal.SIGKILL)
        server.wait_for(lambda: bool(server.workers() - {worker}))
        # The socket is everybody's: whoever comes meanwhile waits in its queue.
        assert held(server.port) == set()


def test_workers_that_are_killed_again_and_again_do_not_end_the_service(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        for _ in range(3):
            server.kill_workers()
        server.wait_for(lambda: len(server.workers()) == 2)
        assert held(server.port) == set()
        assert server.process.poll() is None
        assert server.stop() == 0


def counted(port: int) -> float:
    """Requests for claims, as the service has counted them."""
    with Client(port, keep_alive=False) as client:
        text = client.request("GET", "/metrics").body.decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "moorage_requests_total"
        and sample.labels["route"] == "/allocations/{consumer_uuid}"
    )


def test_metrics_count_each_request_once_over_workers_that_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = tmp_path / "figures"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(figures))
    monkeypatch.setenv("OS_PLACEMENT_MOORAGE__METRICS_ON_API", "true")
    workers = 2
    with serving(tmp_path, "--workers", str(workers)) as server:
        files = set()
        for _ in range(2):
            with Traffic(server.port) as traffic:
                before = counted(server.port)
                server.roll()
                # The figures of the last worker are folded once it has ended.
                server.wait_for(lambda: len({owner(path) for path in figures.glob("*.db")}) <= workers + 1)
                assert counted(server.port) >= before
            assert traffic.refused == []
            files.add(len(list(figures.glob("*.db"))))
            assert counted(server.port) == len(held(server.port))
        [worker, *_] = server.workers()
        os.kill(worker, signal.SIGKILL)
        server.wait_for(lambda: not list(figures.glob(f"*_{worker}.db")))
        assert counted(server.port) == len(held(server.port))
    # As many after two rolls as after one.
    assert len(files) == 1


def owner(path: Path) -> str:
    """Whose figures a file holds."""
    return path.stem.rpartition("_")[2]


def test_stop_while_workers_are_replaced_is_a_stop(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda: len(server.workers()) == 2)
        begin = time.monotonic()
        assert server.stop() == 0
        # It does not wait until the new one is ready, and the old one has drained.
        assert time.monotonic() - begin < START_SECONDS
        assert DRAIN_SECONDS < START_SECONDS


@contextmanager
def locked(database: Path) -> Iterator[Any]:
    """Keep everybody else from writing: a claim waits as long as this lasts."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.rollback()
        connection.close()


def waiting_claim(server: Server, answers: list[object]) -> threading.Thread:
    """A claim on its way; its answer, or what becomes of it, goes to ``answers``."""

    def claim() -> None:
        with Client(server.port) as client:
            try:
                answers.append(client.claim(str(uuid4()), PROVIDER, {"VCPU": 1}).status)
            except OSError as error:
                answers.append(error)

    thread = threading.Thread(target=claim)
    thread.start()
    return thread


def test_request_that_is_on_its_way_is_finished_before_the_service_stops(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        answers: list[object] = []
        with locked(server.database):
            thread = waiting_claim(server, answers)
            time.sleep(1)  # until it has arrived; if it has not, it is refused and the test fails
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            assert answers == []
            assert server.process.poll() is None
        thread.join()
        assert answers == [204]
        assert server.process.wait(STOP_SECONDS) == 0


def test_request_that_takes_too_long_is_cut_off_after_the_seconds_to_stop(tmp_path: Path) -> None:
    with serving(tmp_path, "--stop-seconds", "1") as server:
        answers: list[object] = []
        with locked(server.database):
            thread = waiting_claim(server, answers)
            time.sleep(1)
            server.process.send_signal(signal.SIGTERM)
            # The lock is kept: only the deadline can end it.
            server.process.wait(STOP_SECONDS)
            thread.join()
        [answer] = answers
        assert isinstance(answer, OSError)
        with sqlite3.connect(server.database) as connection:
            assert connection.execute("SELECT count(*) FROM allocations").fetchone() == (0,)
