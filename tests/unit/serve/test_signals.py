"""What signals mean, and that no moment of a reload keeps a service from ending."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_start_method
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from granian.server.mp import MPServer

from moorage.cli import serve as serving
from moorage.serve import signals as signals_module
from moorage.serve import workers as workers_module
from moorage.serve.signals import (
    Hangup,
    Signals,
    begin_as_new_process,
    has_terminal,
    kept_from_workers,
    meaning_of_hangup,
)
from moorage.serve.worker import WAKE_SIGNAL, drain_on_signal, wake_main_thread
from moorage.serve.workers import Interrupt, Workers
from tests.copies import ending
from tests.unit.cli.test_commands import run

NUMBERS = (signal.SIGHUP, signal.SIGTERM)

ALL_NUMBERS = (*NUMBERS, signal.SIGUSR1, WAKE_SIGNAL)


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ALL_NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a terminal is looked for. There is none."""
    path = tmp_path / "tty"
    monkeypatch.setattr(signals_module, "TERMINAL", path)
    return path


@pytest.mark.parametrize(
    ("has_one", "handler", "meaning"),
    [
        (True, signal.SIG_DFL, Hangup.END),
        (True, signal.SIG_IGN, Hangup.NOTHING),
        (False, signal.SIG_DFL, Hangup.RELOAD),
        (False, signal.SIG_IGN, Hangup.RELOAD),
    ],
)
def test_a_closed_terminal_ends_and_a_service_manager_reloads(
    terminal: Path, has_one: bool, handler: signal.Handlers, meaning: Hangup
) -> None:
    if has_one:
        terminal.touch()
    assert has_terminal() == has_one
    signal.signal(signal.SIGHUP, handler)
    assert meaning_of_hangup() is meaning


def test_a_reload_that_comes_early_is_remembered(terminal: Path) -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with Signals() as signals:
        assert not signals.wants_reload
        signal.raise_signal(signal.SIGHUP)
        assert signals.wants_reload
    assert [signal.getsignal(number) for number in NUMBERS] == before


@pytest.mark.parametrize("number", NUMBERS)
def test_an_early_end_is_an_orderly_one(terminal: Path, number: signal.Signals) -> None:
    terminal.touch()
    with Signals(), pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == 0


def test_what_nohup_ignores_stays_ignored(terminal: Path) -> None:
    terminal.touch()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals():
        signal.raise_signal(signal.SIGHUP)


def test_handlers_stand_before_anything_says_that_the_service_lives(
    terminal: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[Any] = []

    def watch(_: object) -> dict[str, str]:
        found.extend(signal.getsignal(number) for number in NUMBERS)
        raise SystemExit(7)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "serve_metrics_of_workers", watch)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert run("serve", "--port", "0").exit_code == 7
    assert [handler.__name__ for handler in found] == ["_remember", "_end"]


def test_workers_get_no_signals_of_a_terminal() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with kept_from_workers():
        told = subprocess.run(
            [sys.executable, "-c", "import signal; print(signal.pthread_sigmask(0, ()))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert "SIGHUP" in told
    assert "SIGINT" in told
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_copy_of_the_managing_process_ends_at_once_when_it_is_to() -> None:
    """An end that comes before it has a handler of its own is neither lost nor the parent's to treat."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with kept_from_workers(signal.SIGTERM):
            child = os.fork()
            if child == 0:
                with ending():
                    os.kill(os.getpid(), signal.SIGTERM)
                    begin_as_new_process()
        _, status = os.waitpid(child, 0)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_first_workers_are_copies_only_of_a_process_with_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert workers_module.method_for_first_workers(True) == "fork"
    assert workers_module.method_for_first_workers(False) == "spawn"
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert workers_module.method_for_first_workers(True) == "spawn"
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert workers_module.method_for_first_workers(True) == "spawn"


def test_all_first_workers_begin_before_the_first_thread_that_watches_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "method_for_first_workers", lambda _: "fork")
    monkeypatch.setattr(gc, "freeze", lambda: None)
    workers = server(tmp_path)
    workers.wrks = []
    told: list[tuple[str, str | None]] = []
    spawn = workers._spawn_worker

    def spawned(index: int, *rest: object) -> Any:
        worker = spawn(index, *rest)
        worker.inner = SimpleNamespace(start=lambda: told.append(("start", get_start_method())))
        worker._watch = lambda: told.append(("watch", get_start_method()))
        return worker

    workers._spawn_worker = spawned
    before = get_start_method()
    workers._spawn_workers(None, None)
    assert told == [("start", "fork")] * 3 + [("watch", before)] * 3
    assert len(workers.wrks) == 3


MOMENT = 0.2
"""Seconds after which the main thread waits."""


@contextmanager
def given_to_another_thread(then: Callable[[], None]) -> Iterator[None]:
    """A thread that gets SIGUSR1 once the main thread waits, as one does if two signals come at once."""

    def get_it() -> None:
        time.sleep(MOMENT)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        time.sleep(MOMENT)
        then()

    thread = threading.Thread(target=get_it)
    thread.start()
    yield
    thread.join()


def test_the_process_over_the_workers_takes_a_signal_that_another_thread_got() -> None:
    came = Interrupt()
    signal.signal(signal.SIGUSR1, lambda *_: came.set())
    with given_to_another_thread(lambda: None):
        assert came.wait(30)
    came.clear()
    assert not came.is_set()
    assert not came.wait(0.0)


def test_a_worker_takes_a_signal_that_another_thread_got() -> None:
    drain_on_signal()
    lock = threading.Lock()
    signal.signal(signal.SIGUSR1, lambda *_: lock.release())
    lock.acquire()
    with given_to_another_thread(wake_main_thread):
        assert lock.acquire(timeout=30)


def test_a_process_that_cannot_be_woken_is_not_killed() -> None:
    signal.signal(WAKE_SIGNAL, signal.SIG_DFL)
    wake_main_thread()


class FakeWorker:
    """A process that ends as soon as it is told to, or only when it is killed."""

    def __init__(self, name: str, *, ends: bool = True) -> None:
        self.name = name
        self.ends = ends
        self.told: list[str] = []
        self.interrupt_by_parent = False

    def _id(self) -> int:
        return 2**22 + 1  # no process has it

    def is_alive(self) -> bool:
        return "kill" not in self.told and not (self.ends and "terminate" in self.told)

    def start(self) -> None:
        self.told.append("start")

    def terminate(self) -> None:
        self.told.append("terminate")

    def kill(self) -> None:
        self.told.append("kill")

    def join(self, timeout: float | None = None) -> None:
        self.told.append("join")


def server(tmp_path: Path, count: int = 3, hangup: Hangup = Hangup.RELOAD) -> Any:
    """Workers that are no processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals_module, "meaning_of_hangup", lambda: hangup)
        signals = Signals()
    said = tmp_path / "said"
    said.mkdir()
    made: Any = Workers("no:target", said, signals, workers=count, workers_kill_timeout=30)
    made.wrks = [FakeWorker(f"old {number}") for number in range(count)]
    made.spawned = []

    def spawn(index: int, *_: object) -> FakeWorker:
        made.spawned.append(FakeWorker(f"new {index}"))
        return made.spawned[-1]  # type: ignore[no-any-return]

    made._spawn_worker = spawn
    return made


@pytest.mark.parametrize(
    ("hangup", "ends", "reloads"),
    [(Hangup.END, True, False), (Hangup.RELOAD, False, True), (Hangup.NOTHING, False, False)],
)
def test_the_server_takes_a_hangup_for_what_it_means(
    tmp_path: Path, hangup: Hangup, ends: bool, reloads: bool
) -> None:
    workers = server(tmp_path, hangup=hangup)
    workers.signal_handler_reload(signal.SIGHUP, None)
    assert (workers.interrupt_signal, workers.reload_signal) == (ends, reloads)


def test_a_reload_that_came_early_is_done_once_there_are_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MPServer, "startup", lambda *_: None)
    workers = server(tmp_path)
    workers.startup(None, None)
    assert not workers.reload_signal
    workers._signals.wants_reload = True
    workers.startup(None, None)
    assert workers.reload_signal


def test_an_end_that_comes_while_a_worker_starts_starts_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workers = server(tmp_path)
    start = FakeWorker.start

    def interrupted(worker: FakeWorker) -> None:
        start(worker)
        workers.signal_handler_interrupt()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeWorker, "start", interrupted)
        workers._respawn_workers([0, 1, 2], None, None)
    assert [worker.told for worker in workers.spawned] == [["start", "kill", "join"]]
    assert [worker.told for worker in workers.wrks] == [[], [], []]
    assert not caplog.messages


@pytest.mark.parametrize(("moment", "drain_seconds"), [("draining", 60.0), ("finishing", 0.0)])
def test_an_end_that_comes_while_a_worker_leaves_waits_for_it_together_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, drain_seconds: float
) -> None:
    monkeypatch.setattr(workers_module, "DRAIN_SECONDS", drain_seconds)
    workers = server(tmp_path)
    workers._is_ready = lambda _: True
    old = workers.wrks[0]
    old.ends = False

    def is_alive() -> bool:
        if moment == "draining" or old.told:
            workers.signal_handler_interrupt()
        return "kill" not in old.told

    old.is_alive = is_alive
    workers._respawn_workers([0, 1, 2], None, None)
    assert len(workers.spawned) == 1
    assert workers._leaving == [old]
    assert old.told == ["terminate"]
    workers._stop_workers()
    # It was told once: the HTTP server hangs when it is told often.
    assert old.told == ["terminate", "join", "kill", "join"]
    assert workers.wrks == workers._leaving == []


def test_workers_that_stop_share_the_time_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = server(tmp_path)
    now = [0.0]
    given: list[float] = []

    def join(_: FakeWorker, timeout: float | None = None) -> None:
        if timeout is not None:
            given.append(timeout)
            now[0] += timeout

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(FakeWorker, "join", join)
    stubborn = [FakeWorker("leaving", ends=False), FakeWorker("stays", ends=False)]
    workers._leaving, workers.wrks = stubborn[:1], stubborn[1:]
    workers._stop_workers()
    assert given == [30.0, 0.0]
    assert [worker.told[-1] for worker in stubborn] == ["kill", "kill"]


def test_a_worker_whose_end_is_learnt_a_moment_later_is_not_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread that watches it has taken its exit status, and not told yet."""
    workers = server(tmp_path, 1)
    [worker] = workers.wrks
    looks = iter([True, True, False])
    worker.is_alive = lambda: next(looks)
    workers._stop_workers()
    assert worker.told == ["terminate", "join"]
    assert not caplog.messages


def test_an_end_that_comes_just_before_a_reload_begins_is_not_lost(tmp_path: Path) -> None:
    workers = server(tmp_path)

    class Interrupted(Interrupt):
        """SIGTERM comes between the look at it and the beginning of the reload."""

        def clear(self) -> None:
            workers.signal_handler_interrupt()
            super().clear()

    workers.main_loop_interrupt = Interrupted()
    workers.signal_handler_reload()
    loop = threading.Thread(target=workers._serve_loop, args=(None, None), daemon=True)
    loop.start()
    loop.join(10)
    assert not loop.is_alive()
    assert workers.spawned == []


def test_a_worker_that_has_just_ended_needs_not_be_told(tmp_path: Path) -> None:
    workers = server(tmp_path, 1)
    workers._is_ready = lambda _: True
    old = workers.wrks[0]
    gone: list[int] = []
    workers._on_gone = gone.append
    # There is no such process: the signal finds nobody.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers_module, "DRAIN_SECONDS", 0.0)
        workers._respawn_workers([0], None, None)
    assert old.told == ["terminate"]
    assert gone == [old._id()]


def test_workers_that_die_are_replaced_whatever_was_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = server(tmp_path)
    workers._is_ready = lambda _: True
    monkeypatch.setattr(workers_module, "LOOK_SECONDS", 0.01)
    for index in (0, 2):
        workers.wrks[index].told.append("kill")
    # A report of before, of a worker that has been replaced since.
    workers.interrupt_children = [1]

    def replaced(indexes: list[int], *_: object) -> None:
        MADE(workers, indexes, None, None)
        workers.signal_handler_interrupt()

    workers._respawn_workers = replaced
    workers._serve_loop(None, None)
    assert [worker.name for worker in workers.wrks] == ["new 0", "old 1", "new 2"]
    # Else the exit status would be that of a failure.
    assert workers.interrupt_children == []


MADE = Workers._respawn_workers


@pytest.mark.parametrize("has_served", [False, True])
def test_only_a_service_that_has_never_served_ends_when_its_workers_cannot_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has_served: bool
) -> None:
    workers = server(tmp_path, 1)
    workers.wrks[0].told.append("kill")
    if has_served:
        (tmp_path / "said" / "7").touch()
    seconds = [1000.0]
    waits: list[float] = []

    def wait(timeout: float) -> None:
        seconds[0] += timeout
        waits.append(timeout)
        if len(workers.spawned) == 8:
            workers.signal_handler_interrupt()

    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(workers_module, "LOOK_SECONDS", 1000.0)
    workers.main_loop_interrupt = SimpleNamespace(wait=wait, clear=lambda: None, set=lambda: None)
    workers._is_ready = lambda _: False
    workers._serve_loop(None, None)
    if has_served:
        assert len(workers.spawned) == 8
        assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
        assert workers.interrupt_children == []
    else:
        assert len(workers.spawned) == 1
        assert workers.interrupt_children == [0]
        assert "none has ever served" in caplog.text
