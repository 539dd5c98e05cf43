"""What the processes of a service hold on their SQLite file, and that nothing acknowledged is lost.

POSIX drops all locks that a process has on a file as soon as it closes any descriptor of the file. Then
others take it for gone: whatever opens the database next and closes it removes the log in which the newest
writes are.
"""

from __future__ import annotations

import itertools
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from moorage.service.tokens import Tokens
from moorage.service.verification import verify
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.faults.serving import Serving
from tests.journeys.client import Answer, Client
from tests.journeys.slow import stalled_bodies
from tests.servers.file_locks import has_open, without_locks
from tests.servers.ports import free_port

pytestmark = pytest.mark.journey

SECONDS = 1
"""For bodies and for headers."""

WAIT_SECONDS = 60.0

OPEN_AND_CLOSE = """
import sqlite3, sys
while sys.stdin.readline():
    connection = sqlite3.connect(sys.argv[1])
    connection.execute("SELECT count(*) FROM traits").fetchone()
    connection.close()
    with open(sys.argv[1], "rb") as file:
        file.read(100)
    print(flush=True)
"""
"""What an administrator's shell does, and any program that looks at the file."""


def served(folder: Path, workers: int, **variables: object) -> Serving:
    """A service whose patience with bodies is short."""
    told = {
        "body_timeout": SECONDS,
        "idle_timeout": SECONDS,
        "metrics_on_api": "true",
        **variables,
    }
    environment = {f"OS_PLACEMENT_MOORAGE__{name.upper()}": str(value) for name, value in told.items()}
    return Serving(f"sqlite:///{folder}/moorage.sqlite", folder, workers, environment=environment)


@contextmanager
def started(serving: Serving) -> Iterator[Serving]:
    serving.synchronise()
    serving.start()
    try:
        yield serving
    finally:
        serving.kill()


def cut_bodies(serving: Serving) -> None:
    """All of them are told that they came too late."""
    with stalled_bodies(serving.port, 8) as connections:
        for connection in connections:
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


def roll(serving: Serving) -> None:
    before = set(serving.worker_pids())
    assert serving.process is not None
    serving.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + WAIT_SECONDS
    while before & (now := set(serving.worker_pids())) or len(now) < len(before):
        assert time.monotonic() < until, serving.tail()
        time.sleep(0.1)


def administer(serving: Serving, deed: Callable[[Store], object]) -> None:
    """What a command of an administrator does, in a process that is not the service's: this one."""
    store = Store(StoreSettings(serving.database))
    try:
        deed(store)
    finally:
        store.close()


def is_sound(store: Store) -> None:
    found = [finding for check in verify(store).checks for finding in check.findings]
    assert not [finding for finding in found if not finding.warning]


def test_all_processes_keep_their_locks_over_all_that_they_do(tmp_path: Path) -> None:
    metrics = free_port()
    database = tmp_path / "moorage.sqlite"
    with started(served(tmp_path, 1, metrics_listen=f"127.0.0.1:{metrics}")) as serving:

        def ask(path: str) -> None:
            for port in (serving.port, metrics) * 5:
                with Client(port) as client:
                    client.must("GET", path)

        def write() -> None:
            with Client(serving.port) as client:
                for number in range(20):
                    client.must("PUT", f"/traits/CUSTOM_{number}")
                    client.get("/allocation_candidates?resources=VCPU:1")

        deeds: Mapping[str, Callable[[], object]] = {
            "writes and searches": write,
            "health": lambda: ask("/healthz"),
            "readiness": lambda: ask("/readyz"),
            "metrics": lambda: ask("/metrics"),
            "slow bodies": lambda: cut_bodies(serving),
            "verify": lambda: administer(serving, is_sound),
            "tokens": lambda: administer(serving, lambda store: Tokens(store).all()),
            "schema": serving.synchronise,
            "reload": lambda: roll(serving),
            "slow bodies after a reload": lambda: cut_bodies(serving),
        }
        for name, deed in deeds.items():
            deed()
            assert all(has_open(worker, database) for worker in serving.worker_pids())
            assert without_locks(serving.pids(), database) == [], name
        # The process over the workers has it open, too, for the figures of the metrics.
        assert serving.process is not None
        assert has_open(serving.process.pid, database)


class Writer:
    """Makes traits, one after the other, until it is stopped."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.acknowledged: list[str] = []
        self.refused: list[Answer] = []

    def _work(self) -> None:
        for number in itertools.takewhile(lambda _: not self._stop.is_set(), itertools.count()):
            self.write(f"CUSTOM_{number}")

    def write(self, name: str) -> None:
        with Client(self._port) as client:
            answer = client.request("PUT", f"/traits/{name}")
        if answer.status == 201:
            self.acknowledged.append(name)
        else:
            self.refused.append(answer)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def foreign_opener(database: Path) -> Iterator[Callable[[], None]]:
    """Another process; what it gives opens the database there and closes it."""
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_CLOSE, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        orders, answers = process.stdin, process.stdout
        assert orders is not None
        assert answers is not None

        def open_and_close() -> None:
            orders.write("\n")
            orders.flush()
            assert answers.readline()

        try:
            yield open_and_close
        finally:
            orders.close()


def test_what_opens_and_closes_the_database_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    database, dice = tmp_path / "moorage.sqlite", random.Random(1)
    with started(served(tmp_path, 1)) as serving, foreign_opener(database) as open_and_close:
        with Writer(serving.port) as writer:
            with stalled_bodies(serving.port, 8) as connections:
                for connection in connections:
                    open_and_close()
                    connection.recv(100)
            for _ in range(40):
                time.sleep(dice.uniform(0.0, 0.02))
                open_and_close()
        # And while nothing else is going on.
        open_and_close()
        for number in range(20):
            writer.write(f"CUSTOM_LAST_{number}")
        serving.kill()
        open_and_close()
        serving.start()
        with Client(serving.port) as client:
            found = {item for item in client.get("/traits")["traits"] if item.startswith("CUSTOM_")}
        assert not set(writer.acknowledged) - found
        assert writer.refused == []
        assert writer.acknowledged
        administer(serving, is_sound)
    with sqlite3.connect(database) as looking:
        assert looking.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    looking.close()
