"""Bodies that never come to their end, and those who must not wait for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest

from moorage.cli.slow_bodies import BoundedBody, BoundedReading

LONG = 60.0
READERS = 3


class Stuck:
    """A body that does not come before ``go_on``."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.go_on = threading.Event()

    def read(self, size: int) -> bytes:
        self.waiting.release()
        assert self.go_on.wait(LONG)
        return b"late"


class Broken:
    def read(self, size: int) -> bytes:
        raise ConnectionError("gone")


def test_one_body_more_than_may_be_read_at_a_time_is_refused_at_once() -> None:
    turns = threading.Semaphore(READERS)
    stuck = Stuck()
    with ThreadPoolExecutor(READERS) as readers:
        answers = [readers.submit(BoundedBody(stuck, turns).read, 4) for _ in range(READERS)]
        for _ in answers:
            stuck.waiting.acquire()
        with pytest.raises(BlockingIOError):
            BoundedBody(BytesIO(b"quick"), turns).read(5)
        stuck.go_on.set()
        assert [answer.result() for answer in answers] == [b"late"] * READERS
    assert BoundedBody(BytesIO(b"quick"), turns).read(5) == b"quick"


def test_a_turn_is_given_back_also_by_who_fails() -> None:
    turns = threading.Semaphore(1)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            BoundedBody(Broken(), turns).read(1)
    assert turns.acquire(blocking=False)


def test_an_application_gets_bodies_that_take_turns() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        assert isinstance(body, BoundedBody)
        return [body.read(3)]

    bounded = BoundedReading(application, READERS)
    assert list(bounded({"wsgi.input": BytesIO(b"abc")}, lambda *_: None)) == [b"abc"]
