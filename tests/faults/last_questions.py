"""The last questions of a run: each worker process is asked for everything that it holds."""

from __future__ import annotations

from typing import Any

from tests.faults.clients import Recorder
from tests.faults.history import History
from tests.faults.serving import Serving
from tests.faults.workload import CONSUMERS, PROVIDERS, question_paths

CONNECTIONS_TO_FIND_WORKERS = 200
"""The kernel deals connections to workers at random; so many find each of a few."""

Question = tuple[tuple[Any, ...], str]
"""In the auditor's words, and as a path."""


def everything() -> list[Question]:
    """All that a worker can be asked for in the end."""
    return [
        *question_paths(),
        *(
            ((kind, provider), f"/resource_providers/{provider}/{kind}")
            for provider in PROVIDERS
            for kind in ("inventories", "usages", "allocations")
        ),
        *((("consumer", consumer), f"/allocations/{consumer}") for consumer in CONSUMERS),
    ]


def ask_all_workers(serving: Serving) -> tuple[dict[int, History], list[str]]:
    """Answers to every question by process id of the worker, each asked on a connection to it."""
    questions = everything()
    asked: dict[int, History] = {}
    problems: list[str] = []
    for _ in range(CONNECTIONS_TO_FIND_WORKERS):
        if len(asked) == serving.workers:
            break
        history = History()
        recorder = Recorder(history, serving.port, "last", serving.address)
        try:
            pid = recorder.connected_to(serving.worker_of)
            if pid is None or pid in asked:
                continue
            for question in questions:
                ask(recorder, serving, pid, question)
        finally:
            recorder.close()
        asked[pid] = history
        if (answered := len(history.readings)) != len(questions):
            told = f"worker {pid} answered {answered} of {len(questions)}: {recorder.unanswered}"
            problems.append(f"final answer: {told}")
    if missing := serving.workers - len(asked):
        problems.append(f"workers: {missing} of {serving.workers} could not be reached")
    return asked, problems


def ask(recorder: Recorder, serving: Serving, pid: int, question: Question) -> None:
    """Ask one worker, and no other one.

    If its connection had been idle for too long, it is asked once more. On a busy machine that happens
    between two questions, for a service under fire closes what is idle after seconds.
    """
    for _ in range(2):
        if not recorder.is_connected and not is_reached(recorder, serving, pid):
            recorder.unanswered.append(f"{question[1]}: worker {pid} could not be reached again")
            return
        recorder.read(*question)
        if not recorder.was_idle:
            return


def is_reached(recorder: Recorder, serving: Serving, pid: int) -> bool:
    """Connect again and again until it is to that worker; whether it is."""
    for _ in range(CONNECTIONS_TO_FIND_WORKERS):
        if recorder.connected_to(serving.worker_of) == pid:
            return True
        recorder.close()
    return False
