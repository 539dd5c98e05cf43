from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from moorage.service import live_index
from moorage.service.live_index import SharedPoll

PATIENCE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no failure: within the service's 30 ms a thread may not come to its turn."""
    monkeypatch.setattr(live_index, "PATIENCE_SECONDS", PATIENCE_SECONDS)


class Source:
    """Answers 1, 2, 3, ...; each time it waits until it is let go on."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.may_answer = threading.Semaphore(0)
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        answer = self.count
        self.asked.release()
        assert self.may_answer.acquire(timeout=PATIENCE_SECONDS)
        return answer


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def waiting(poll: SharedPoll) -> bool:
    return poll._next is not None


def test_who_comes_while_a_question_is_on_its_way_shares_the_next_one(pool: ThreadPoolExecutor) -> None:
    source = Source()
    poll = SharedPoll(source)
    first = pool.submit(poll.ask)
    assert source.asked.acquire(timeout=PATIENCE_SECONDS)
    late = [pool.submit(poll.ask) for _ in range(4)]
    while not waiting(poll) or sum(future.running() for future in late) < 4:
        pass
    source.may_answer.release(10)
    assert first.result(PATIENCE_SECONDS) == 1
    answers = [future.result(PATIENCE_SECONDS) for future in late]
    assert set(answers) <= {2, 3, 4, 5}
    assert source.count == max(answers)


def test_an_answer_is_never_older_than_the_question() -> None:
    numbers = iter(range(100))
    poll = SharedPoll(lambda: next(numbers))
    assert [poll.ask() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_who_waits_for_a_question_that_fails_asks_for_itself() -> None:
    answers: list[int | Exception] = [RuntimeError("gone"), 7]

    def question() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    poll = SharedPoll(question)
    with pytest.raises(RuntimeError, match="gone"):
        poll.ask()
    assert poll.ask() == 7


def in_line(poll: SharedPoll, number: int) -> bool:
    """Whether so many wait for somebody else to ask."""
    return poll._next is not None and len(poll._next.turns) == number


def unasked() -> int:
    raise AssertionError("nobody need ask")


def test_who_waits_for_something_else_that_tells_does_not_ask(pool: ThreadPoolExecutor) -> None:
    poll = SharedPoll(unasked)
    poll.begin(another=True).end(1)
    asking = [pool.submit(poll.ask) for _ in range(3)]
    while not in_line(poll, 3):
        pass
    poll.begin(another=False).end(7)
    assert [future.result(PATIENCE_SECONDS) for future in asking] == [7, 7, 7]


def test_who_comes_after_it_began_is_not_answered_by_it(pool: ThreadPoolExecutor) -> None:
    poll = SharedPoll(unasked)
    poll.begin(another=True)
    early = pool.submit(poll.ask)
    while not in_line(poll, 1):
        pass
    first = poll.begin(another=True)
    late = pool.submit(poll.ask)
    while not in_line(poll, 1):
        pass
    first.end(1)
    assert early.result(PATIENCE_SECONDS) == 1
    second = poll.begin(another=True)
    assert not late.done()
    second.end(2)
    assert late.result(PATIENCE_SECONDS) == 2
    first.end(3)
    second.end(4)


def test_who_is_not_told_asks(pool: ThreadPoolExecutor) -> None:
    numbers = iter(range(10, 20))
    poll = SharedPoll(lambda: next(numbers))
    question = poll.begin(another=True)
    asking = [pool.submit(poll.ask) for _ in range(2)]
    while not in_line(poll, 2):
        pass
    question.end()
    poll.begin(another=True).end()
    assert {future.result(PATIENCE_SECONDS) for future in asking} == {10}
    # The next one is still waited for, until there is none.
    late = pool.submit(poll.ask)
    while not in_line(poll, 1):
        pass
    poll.rest()
    assert late.result(PATIENCE_SECONDS) == 11
    assert poll.ask() == 12


def test_who_has_waited_long_enough_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_index, "PATIENCE_SECONDS", 0.01)
    poll = SharedPoll(lambda: 4)
    poll.begin(another=True)
    assert poll.ask() == 4
    # Something that takes that long, and ends at last, has nobody to tell.
    late = poll.begin(another=False)
    assert poll.ask() == 4
    late.end(3)


def test_an_answer_that_comes_late_changes_none_that_was_given(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_index, "PATIENCE_SECONDS", 0.2)
    source = Source()
    poll = SharedPoll(source)
    poll.begin(another=True)
    asking = pool.submit(poll.ask)
    while not in_line(poll, 1):
        pass
    slow = poll.begin(another=True)
    assert source.asked.acquire(timeout=PATIENCE_SECONDS)
    slow.end(0)
    source.may_answer.release()
    assert asking.result(PATIENCE_SECONDS) in (0, 1)
