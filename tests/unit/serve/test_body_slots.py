"""Bodies that never come to their end, and those who must not wait for them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moorage.serve import body_slots
from moorage.serve.body_slots import NO_BODY, Body, BodyReading
from tests.unit.serve.asgi import BROKEN_OFF, Future, Protocol, message

LONG = 60.0
READERS = 3


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come at once is slow."""
    monkeypatch.setattr(body_slots, "HONEST_SECONDS", 0.0)


def there(*messages: Any) -> Protocol:
    """A body whose pieces have come."""
    return Protocol(Future(each) for each in messages)


def body(protocol: Protocol, length: str = "", reading: BodyReading | None = None) -> Body:
    return Body(length, protocol.receive, reading or BodyReading(READERS))


def parts(read: Body, size: int) -> Iterable[bytes]:
    while part := read.read(size):
        yield part


def test_a_body_of_known_length_is_read_without_asking_for_its_end() -> None:
    read = body(there(message(b"ab", True), message(b"c", True)), "3")
    assert read.read(3) == b"ab"
    assert not read.is_read
    assert read.read(1) == b"c"
    assert read.is_read
    assert read.read(1) == b""


def test_a_body_in_chunks_is_read_to_its_last_one() -> None:
    read = body(there(message(b"ab", True), message(b"", True), message(b"c", True), message(b"", False)))
    assert list(parts(read, 10)) == [b"ab", b"c"]
    assert read.is_read


def test_no_more_is_given_than_was_asked_for() -> None:
    read = body(there(message(b"abcde", False)))
    assert [read.read(2), read.read(2)] == [b"ab", b"cd"]
    assert not read.is_read
    assert read.read(2) == b"e"
    assert read.is_read


def test_a_body_that_ends_before_its_length_is_at_its_end() -> None:
    read = body(there(message(b"ab", True), message(b"", False)), "3")
    assert list(parts(read, 3)) == [b"ab"]
    assert read.is_read


def test_a_body_that_breaks_off_is_an_error() -> None:
    read = body(there(message(b"ab", True), BROKEN_OFF), "3")
    assert read.read(3) == b"ab"
    with pytest.raises(ConnectionError):
        read.read(3)
    assert not read.is_read


def test_a_request_without_a_body_has_read_it() -> None:
    assert NO_BODY.is_read
    assert NO_BODY.read(1) == b""
    NO_BODY.close()
    assert NO_BODY.is_read


def test_after_the_answer_nothing_is_asked_for() -> None:
    read = body(there(message(b"ab", True)), "2")
    read.close()
    with pytest.raises(ConnectionError):
        read.read(2)


def test_a_piece_that_comes_later_is_waited_for() -> None:
    future = Future()
    future.on_wait(lambda: future.arrive(message(b"ab", True)))
    assert body(Protocol([future]), "2").read(2) == b"ab"
    assert not future.cancelled


def test_one_slow_body_more_than_may_be_waited_for_is_refused() -> None:
    reading = BodyReading(READERS)
    waiting = threading.Semaphore(0)
    stuck = [Future().on_wait(waiting.release) for _ in range(READERS)]
    with ThreadPoolExecutor(READERS) as readers:
        answers = [readers.submit(body(Protocol([future]), "2", reading).read, 2) for future in stuck]
        for _ in stuck:
            assert waiting.acquire(timeout=LONG)
        # Until they are known to be slow.
        while reading.turns:
            assert not any(answer.done() for answer in answers)
        one_more = Protocol([Future()])
        with pytest.raises(BlockingIOError):
            body(one_more, "2", reading).read(2)
        for future in stuck:
            future.arrive(message(b"ab", True))
        assert [answer.result(LONG) for answer in answers] == [b"ab"] * READERS
    assert len(reading.turns) == READERS
    assert body(there(message(b"ab", True)), "2", reading).read(2) == b"ab"


def test_a_body_that_turns_out_slow_when_all_others_wait_is_refused() -> None:
    reading = BodyReading(1)
    future = Future().on_wait(reading.turns.clear)
    with pytest.raises(BlockingIOError):
        body(Protocol([future]), "2", reading).read(2)
    assert future.cancelled


def test_an_honest_body_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_slots, "HONEST_SECONDS", LONG)
    reading = BodyReading(1)
    future = Future()

    def arrive() -> None:
        # Others take all of them meanwhile.
        reading.turns.clear()
        future.arrive(message(b"ab", True))

    assert body(Protocol([future.on_wait(arrive)]), "2", reading).read(2) == b"ab"


def test_past_its_deadline_a_body_is_given_up_and_its_turn_given_back() -> None:
    reading = BodyReading(READERS, seconds=0.0)
    future = Future()
    with pytest.raises(TimeoutError):
        body(Protocol([future]), "2", reading).read(2)
    assert future.cancelled
    assert len(reading.turns) == READERS


def test_what_is_there_is_in_time() -> None:
    assert body(there(message(b"ab", True)), "2", BodyReading(READERS, seconds=-1.0)).read(2) == b"ab"


def test_drops_do_not_put_the_deadline_off() -> None:
    """All pieces of a body have one deadline together."""
    protocol = Protocol([Future(message(b"a", True)), Future()])
    read = body(protocol, "3", BodyReading(READERS, seconds=0.0))
    assert read.read(3) == b"a"
    with pytest.raises(TimeoutError):
        read.read(2)
