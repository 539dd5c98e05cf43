"""What a worker closes."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.serve import worker
from moorage.serve.processors import VARIABLE as PROCESSOR_VARIABLE
from moorage.serve.worker import (
    DIRECTORY_VARIABLE,
    announce_ready,
    on_shared_socket,
    ready_file,
    stop_accepting,
)
from moorage.serve.workers import listening_socket
from tests.servers.file_locks import locks_on


@pytest.fixture
def accepting(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The descriptor that the server of a worker has got to accept from, and to close."""
    monkeypatch.setattr(worker, "_accepted_from", [])
    monkeypatch.setattr(worker, "begin_as_new_process", lambda: None)
    got: list[int] = []
    listening = listening_socket("127.0.0.1", 0)
    number = listening.fileno()
    on_shared_socket(lambda *_: got.append(number), None, 0, None, None, (None, listening))
    assert got == [number]
    yield number
    os.close(number)


def test_a_worker_that_is_to_go_accepts_from_a_socket_that_nothing_connects_to(accepting: int) -> None:
    before = os.fstat(accepting)
    stop_accepting()
    with socket.socket(fileno=os.dup(accepting)) as another:
        assert another.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert not os.path.samestat(before, os.fstat(accepting))


def test_a_number_that_a_stopped_server_has_given_back_is_left_to_the_file_that_got_it(
    accepting: int, tmp_path: Path
) -> None:
    path = tmp_path / "database"
    path.touch()
    with path.open("r+b") as file:
        os.dup2(file.fileno(), accepting)
    fcntl.lockf(accepting, fcntl.LOCK_EX)
    stop_accepting()
    assert locks_on(path) == {os.getpid(): 1}


def test_a_worker_knows_the_processor_that_it_is_to_stay_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_accepted_from", [])
    monkeypatch.setattr(worker, "begin_as_new_process", lambda: None)
    monkeypatch.setenv(PROCESSOR_VARIABLE, "")
    listening = listening_socket("127.0.0.1", 0)
    number = listening.fileno()
    told: list[str] = []
    on_shared_socket(
        lambda *_: told.append(os.environ[PROCESSOR_VARIABLE]), 3, 0, None, None, (None, listening)
    )
    os.close(number)
    assert told == ["3"]


def test_a_worker_says_that_it_is_ready_only_where_that_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "workers"
    folder.mkdir()
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")
    announce_ready()
    assert not list(folder.iterdir())
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(folder))
    announce_ready()
    assert list(folder.iterdir()) == [ready_file(folder, os.getpid())]
