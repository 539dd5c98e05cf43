"""The last questions: none is lost because the machine was busy, and none is answered by another worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import last_questions
from tests.faults.clients import Recorder
from tests.faults.history import History
from tests.faults.last_questions import ask, ask_all_workers, everything
from tests.faults.mischief import IDLE_SECONDS, IMPATIENCE
from tests.faults.serving import Serving

pytestmark = [pytest.mark.journey, pytest.mark.slow]

LATE = everything()[40]
"""A question that comes late."""


@pytest.fixture
def serving(sqlite_url: str, tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(sqlite_url, tmp_path, 2, environment=IMPATIENCE)
    serving.synchronise()
    serving.start()
    yield serving
    serving.kill()


def test_a_question_on_a_connection_that_was_idle_for_too_long_is_asked_again(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Recorder.read
    waited: list[Any] = []

    def after_a_while(recorder: Recorder, question: tuple[Any, ...], path: str) -> Any:
        if question == LATE[0] and not waited:
            waited.append(question)
            time.sleep(IDLE_SECONDS + 1)
        return read(recorder, question, path)

    monkeypatch.setattr(Recorder, "read", after_a_while)
    asked, problems = ask_all_workers(serving)
    assert problems == []
    assert set(asked) == set(serving.worker_pids())
    assert {len(history.readings) for history in asked.values()} == {len(everything())}
    assert waited


def test_a_question_that_is_lost_at_once_is_missed(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Recorder._exchange

    def lost(recorder: Recorder, method: str, path: str, *others: Any) -> Any:
        if path == LATE[1]:
            raise ConnectionResetError
        return exchange(recorder, method, path, *others)

    monkeypatch.setattr(Recorder, "_exchange", lost)
    asked, problems = ask_all_workers(serving)
    total = len(everything())
    for pid in asked:
        [told] = [
            problem for problem in problems if f"worker {pid} answered {total - 1} of {total}" in problem
        ]
        assert f"{LATE[1]}: ConnectionResetError()" in told


def test_no_other_worker_answers_for_one_that_has_ended(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_questions, "CONNECTIONS_TO_FIND_WORKERS", 20)
    history = History()
    recorder = Recorder(history, serving.port, "last", serving.address)
    pid = recorder.connected_to(serving.worker_of)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for question in everything()[:2]:
        ask(recorder, serving, pid, question)
    recorder.close()
    assert history.readings == []
    assert f"worker {pid} could not be reached again" in recorder.unanswered[-1]
