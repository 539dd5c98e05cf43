from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from moorage.service.shared_poll import SharedPoll

PATIENCE_SECONDS = 30.0


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
