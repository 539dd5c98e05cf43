"""Which processor a worker is kept on, and which of its threads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moorage.api.http.exchange import WsgiApplication
from moorage.serve import processors
from moorage.serve.processors import (
    IS_POSSIBLE,
    VARIABLE,
    OnOneProcessor,
    allowed_processors,
    beginning_of,
    on_its_processor,
    processor_of,
)

linux_only = pytest.mark.skipif(not IS_POSSIBLE, reason="threads can be kept on a processor on Linux only")


def test_workers_get_processors_of_their_own_among_those_allowed() -> None:
    allowed = {7, 2, 5}
    assert {processor_of(worker, 3, 8778, allowed) for worker in range(3)} == allowed


def test_services_on_one_host_begin_at_different_processors() -> None:
    two = {0, 1}
    here, there = (processor_of(0, 1, beginning_of("host", port), two) for port in (8778, 8779))
    assert here != there


def test_containers_of_the_same_port_begin_at_different_processors() -> None:
    many = set(range(64))
    chosen = {processor_of(0, 1, beginning_of(f"moorage-{number}", 8778), many) for number in range(8)}
    assert len(chosen) > 4


@pytest.mark.parametrize(("workers", "allowed"), [(1, {3}), (3, {0, 1}), (1, ())])
def test_workers_move_about_if_they_would_have_to_share_or_there_is_no_choice(
    workers: int, allowed: set[int]
) -> None:
    assert processor_of(0, workers, 8778, allowed) is None


def test_nothing_is_chosen_from_where_the_system_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "IS_POSSIBLE", False)
    assert allowed_processors() == ()


def test_nothing_is_chosen_from_without_a_lock_to_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert allowed_processors() == ()


def in_threads(application: WsgiApplication, calls: int) -> list[bytes]:
    """What ``application`` says in one thread that is not this one."""
    with ThreadPoolExecutor(1) as pool:
        asked = [pool.submit(application, {}, lambda *_: None) for _ in range(calls)]
        return [b"".join(each.result()) for each in asked]


def telling(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """An application that tells where its thread may run."""
    start_response("200 OK", [])
    return [repr(sorted(os.sched_getaffinity(0))).encode()]


@linux_only
def test_only_the_threads_that_answer_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    processor = max(before)
    monkeypatch.setenv(VARIABLE, str(processor))
    assert in_threads(on_its_processor(telling), 2) == [f"[{processor}]".encode()] * 2
    assert os.sched_getaffinity(0) == before


@linux_only
def test_each_thread_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []

    def keep(_: int, wanted: set[int]) -> None:
        told.extend((threading.get_ident(), processor) for processor in wanted)

    monkeypatch.setattr(os, "sched_setaffinity", keep)
    application = OnOneProcessor(telling, 5)
    in_threads(application, 3)
    list(application({}, lambda *_: None))
    assert [processor for _, processor in told] == [5, 5]
    assert len(dict(told)) == 2


@linux_only
def test_a_processor_that_is_not_to_be_had_is_done_without() -> None:
    impossible = os.cpu_count() or 0
    assert in_threads(OnOneProcessor(telling, impossible + 4096), 1) == [
        repr(sorted(os.sched_getaffinity(0))).encode()
    ]


def test_without_a_processor_the_application_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert on_its_processor(telling) is telling
