"""What ends a service, and what reloads it, at the worst of moments."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.journeys.client import START_SECONDS, STOP_SECONDS, Client
from tests.journeys.test_rolling import Server, Traffic, locked, serving
from tests.servers.ports import free_port

pytestmark = pytest.mark.journey

SERVE = f"{sys.executable} -m moorage serve --port"

ON_TERMINAL = 'exec <>"$0" 1>&0 2>&1; '
"""A process that leads a session and opens a terminal gets it for its own."""


def until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def answers(port: int, path: str = "/healthz") -> bool:
    with suppress(OSError), Client(port) as client:
        return client.request("GET", path).status == 200
    return False


@contextmanager
def on_terminal(folder: Path, command: str) -> Iterator[tuple[psutil.Process, Callable[[], None]]]:
    """A command on a terminal of its own, and what closes the terminal."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    process = subprocess.Popen(["sh", "-c", ON_TERMINAL + command, name], cwd=folder, start_new_session=True)
    os.close(slave)
    with ExitStack() as terminal:
        terminal.callback(os.close, master)
        try:
            yield psutil.Process(process.pid), terminal.pop_all().close
        finally:
            # What is left of the session, if anything: the test has failed.
            for left in psutil.process_iter():
                with suppress(psutil.Error, ProcessLookupError):
                    if os.getsid(left.pid) == process.pid:
                        left.kill()
            process.wait()


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [("exec ", "", True), ("set -m; ", "; echo as make does", True), ("exec nohup ", "", False)],
    ids=["serve", "make run", "nohup"],
)
def test_a_closed_terminal_ends_the_service(tmp_path: Path, before: str, after: str, ends: bool) -> None:
    port = free_port()
    with on_terminal(tmp_path, f"{before}{SERVE} {port}{after}") as (process, close):
        until(lambda: answers(port))
        family = [process, *process.children(recursive=True)]
        close()
        if ends:
            _, left = psutil.wait_procs(family, STOP_SECONDS)
            assert left == []
            return
        assert answers(port)
        assert all(each.is_running() for each in family)


def test_a_reload_is_taken_as_soon_as_the_service_says_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = free_port()
    monkeypatch.setenv("OS_PLACEMENT_MOORAGE__METRICS_LISTEN", f"127.0.0.1:{metrics}")

    class Early(Server):
        """One that is told to reload at once."""

        def wait_for(self, condition: Callable[[], bool]) -> None:
            if not hasattr(self, "was_told"):
                self.was_told = True
                until(lambda: answers(metrics))
                self.process.send_signal(signal.SIGHUP)
            super().wait_for(condition)

    server = Early(tmp_path)
    try:
        first = server.workers()
        server.wait_for(lambda: len(server.workers()) == 1 and server.workers() != first)
        assert answers(server.port)
        assert server.stop() == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()


def at_once(_server: Server, _old: set[int]) -> bool:
    """The signal to reload has just been sent."""
    return True


def starting(server: Server, old: set[int]) -> bool:
    """A new worker is on its way."""
    return bool(server.workers() - old)


def ports_of(workers: set[int]) -> list[set[int]]:
    """The ports that each of them listens on."""
    found = []
    for worker in workers:
        with suppress(psutil.Error):
            connections = psutil.Process(worker).net_connections("tcp")
            found.append(
                {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN and each.laddr}
            )
    return found


def draining(server: Server, old: set[int]) -> bool:
    """An old worker listens where nothing connects to it, and asks its clients to connect anew."""
    return any(ports and server.port not in ports for ports in ports_of(old))


def finishing(_server: Server, old: set[int]) -> bool:
    """An old worker was told to end: it listens no longer, and works on what it has."""
    return any(not ports for ports in ports_of(old))


@pytest.mark.parametrize("state", [at_once, starting, draining, finishing])
def test_a_reload_under_load_ends_when_the_service_is_to_end(
    tmp_path: Path, state: Callable[[Server, set[int]], bool]
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, "--workers", "2", "--stop-seconds", "5"))
        old = server.workers()
        stack.enter_context(Traffic(server.port))
        if state is finishing:
            # Claims are on their way in every worker, and stay.
            stack.enter_context(locked(server.database))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda: state(server, old))
        server.process.send_signal(signal.SIGTERM)
        before = old | server.workers()
        # One may have been on its way into being.
        later: set[int] = set()
        end = time.monotonic() + STOP_SECONDS
        while server.process.poll() is None:
            later |= server.workers() - before
            assert time.monotonic() < end
            time.sleep(0.02)
        assert server.process.returncode == 0
        assert len(later) <= 1
        assert not [worker for worker in before | later if psutil.pid_exists(worker)]
