"""One question to the database for all who want to ask it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Round:
    """A question that is to be asked, and its answer once it has one."""

    answer: int | None = None


class SharedPoll:
    """Asks ``question``, whose answers only grow, for several threads.

    An answer is good for all who had come before the question was asked: whoever comes while
    one is on its way waits for the next one, together with all others who do.
    """

    def __init__(self, question: Callable[[], int]) -> None:
        self._question = question
        self._coming = threading.Lock()
        self._asking = threading.RLock()
        self._next: Round | None = None

    def ask(self) -> int:
        """The answer to a question that was asked after this was called. Raises what it raises."""
        with self._coming:
            if self._next is None:
                self._next = Round()
            mine = self._next
        with self._asking:
            if mine.answer is None:
                with self._coming:
                    # From here on whoever comes is too late for this one. (If it fails, those who
                    # wait for it each ask for themselves: an error is not to be shared.)
                    self._next = None
                mine.answer = self._question()
            return mine.answer
