"""Where the threads of workers run that answer requests."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from moorage.serve.processors import IS_POSSIBLE, allowed_processors
from tests.journeys.client import START_SECONDS, Client
from tests.journeys.test_rolling import Server, serving

WORKERS = 2
REQUESTS = 200

pytestmark = [
    pytest.mark.journey,
    pytest.mark.skipif(
        not IS_POSSIBLE or len(allowed_processors()) < WORKERS, reason="needs a choice of processors"
    ),
]


def kept_on(server: Server) -> list[set[int]]:
    """For each worker, the processors that its threads are kept on."""
    everywhere = set(allowed_processors())
    found = []
    for worker in server.workers():
        allowed = []
        for thread in psutil.Process(worker).threads():
            # One may end meanwhile.
            with suppress(ProcessLookupError):
                allowed.append(os.sched_getaffinity(thread.id))
        # Those of the HTTP server go where they like.
        assert everywhere in allowed
        found.append(set().union(*(each for each in allowed if each != everywhere)))
    return found


def ask(server: Server) -> None:
    """Some requests, each on a connection of its own, so that any worker may take it."""

    def once(_: int) -> None:
        with Client(server.port, keep_alive=False) as client:
            assert client.request("GET", "/resource_providers").status == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(once, range(REQUESTS)))


def ask_all(server: Server) -> list[set[int]]:
    """Ask until each worker has answered; where they are kept then."""
    until = time.monotonic() + START_SECONDS
    while True:
        ask(server)
        found = kept_on(server)
        if all(found):
            return found
        assert time.monotonic() < until, found


def test_each_worker_answers_on_a_processor_of_its_own(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", str(WORKERS)) as server:
        found = ask_all(server)
        assert sorted(map(len, found)) == [1] * WORKERS
        assert len(set().union(*found)) == WORKERS


def test_the_configuration_lets_threads_move_about(tmp_path: Path) -> None:
    configuration = tmp_path / "placement.conf"
    configuration.write_text(
        "[moorage]\none_processor_per_worker = false\n[api]\nauth_strategy = noauth2\n"
        f"[placement_database]\nconnection = sqlite:///{tmp_path}/moorage.sqlite\nsync_on_startup = true\n"
    )
    with serving(tmp_path, "--config-file", str(configuration)) as server:
        ask(server)
        assert kept_on(server) == [set()]
