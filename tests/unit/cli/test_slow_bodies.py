"""Bodies that never come to their end, and those who must not wait for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest

from moorage.cli.body_deadline import MARGIN_SECONDS, BodyDeadline, Request
from moorage.cli.slow_bodies import BoundedBody, BoundedReading, Readable, Turns, turns_for

LONG = 60.0
READERS = 3


def bounded(body: Readable, turns: Turns) -> BoundedBody:
    """A body that may take for ever."""
    return BoundedBody({"wsgi.input": body}, turns, BodyDeadline(), Request(0.0, "1"))


class Stuck:
    """A body that does not come before ``go_on``."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.go_on = threading.Event()

    def read(self, size: int) -> bytes:
        self.waiting.release()
        assert self.go_on.wait(LONG)
        return b"late"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Broken:
    def read(self, size: int) -> bytes:
        raise ConnectionError("gone")


def test_one_body_more_than_may_be_read_at_a_time_is_refused_at_once() -> None:
    turns = turns_for(READERS)
    stuck = Stuck()
    with ThreadPoolExecutor(READERS) as readers:
        answers = [readers.submit(bounded(stuck, turns).read, 4) for _ in range(READERS)]
        for _ in answers:
            stuck.waiting.acquire()
        with pytest.raises(BlockingIOError):
            bounded(BytesIO(b"quick"), turns).read(5)
        stuck.go_on.set()
        assert [answer.result() for answer in answers] == [b"late"] * READERS
    assert bounded(BytesIO(b"quick"), turns).read(5) == b"quick"


def test_a_turn_is_given_back_also_by_who_fails() -> None:
    turns = turns_for(1)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            bounded(Broken(), turns).read(1)
    assert len(turns) == 1


def served(application: Any, body: Readable, deadline: BodyDeadline) -> bytes:
    """What an application answers to a request with a body."""
    environ = {"wsgi.input": body, "SERVER_PORT": "8778"}
    return b"".join(BoundedReading(application, READERS, deadline)(environ, lambda *_: None))


def test_an_application_gets_bodies_that_take_turns() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        assert isinstance(body, BoundedBody)
        return [body.read(3)]

    assert served(application, BytesIO(b"abc"), BodyDeadline()) == b"abc"


@pytest.mark.parametrize(("seconds", "late"), [(9.9, False), (10.0, True)])
def test_a_body_that_is_complete_after_the_deadline_is_late_all_the_same(seconds: float, late: bool) -> None:
    clock = Clock()

    class Slow:
        def read(self, size: int) -> bytes:
            clock.now += seconds
            return b"abc"

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            return [environ["wsgi.input"].read(3)]
        except TimeoutError:
            return [b"late"]

    assert served(application, Slow(), BodyDeadline(10.0, clock=clock)) == (b"late" if late else b"abc")


def test_a_request_counts_as_reading_only_while_it_waits_for_its_body() -> None:
    clock = Clock()
    asked: list[tuple[int, float]] = []

    def cut(port: int, silence: float) -> int:
        asked.append((port, silence))
        return 1

    deadline = BodyDeadline(10.0, 5.0, cut, clock)

    class Slow:
        def read(self, size: int) -> bytes:
            assert deadline.look() == 0
            clock.now += 10
            assert deadline.look() == 1
            return b"abc"

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises(TimeoutError):
            environ["wsgi.input"].read(3)
        assert deadline.look() == 0
        return []

    assert served(application, Slow(), deadline) == b""
    assert deadline.look() == 0
    assert asked == [(8778, 10.0 + 5.0 + MARGIN_SECONDS)]


@pytest.mark.parametrize(
    ("length", "content", "answer"),
    [("3", b"a", b"late"), ("3", b"abc", b"abc"), (None, b"a", b"a")],
    ids=["breaks off", "is whole", "in chunks"],
)
def test_a_young_body_that_breaks_off_when_others_are_cut_is_late_as_well(
    length: str | None, content: bytes, answer: bytes
) -> None:
    clock = Clock()
    deadline = BodyDeadline(10.0, 5.0, lambda _port, _silence: 1, clock)
    deadline.begin("8778").reads = True
    clock.now = 10.0

    class Cut:
        def read(self, size: int) -> bytes:
            assert deadline.look() == 1
            return content

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if length is not None:
            environ["CONTENT_LENGTH"] = length
        try:
            return [environ["wsgi.input"].read(3)]
        except TimeoutError:
            return [b"late"]

    assert served(application, Cut(), deadline) == answer
