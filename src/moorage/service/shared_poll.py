"""One question to the database for all who want to ask it at the same time.

And none at all where this process learns the answer anyway: groups of writes read the revision, raise it,
and commit what they raised it to. Each of these tells it to all who had come before it began.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

PATIENCE_SECONDS: Final = 0.03
"""How long is waited for a write that tells the answer: two or three times as long as it takes under load."""


@dataclass(eq=False, slots=True)
class Round:
    """A question that is to be asked, and its answer once it has one.

    ``turns`` are locks of those who wait for somebody else to ask it; each is released once.
    """

    answer: int | None = None
    turns: list[threading.Lock] = field(default_factory=list)


class Question:
    """Something else that tells the answer, to all who had come before it was begun."""

    def __init__(self, end: Callable[[Round, int | None], None], taken: Round | None) -> None:
        self._end = end
        self._round = taken

    def end(self, answer: int | None = None) -> None:
        """What it told; None if it did not, so that those who wait ask. Ending it again does nothing."""
        ended, self._round = self._round, None
        if ended is not None:
            self._end(ended, answer)


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
        self._expects = False

    def ask(self) -> int:
        """The answer to a question that was asked after this was called. Raises what it raises."""
        turn: threading.Lock | None = None
        with self._coming:
            if self._next is None:
                self._next = Round()
            mine = self._next
            if self._expects:
                turn = threading.Lock()
                turn.acquire()
                mine.turns.append(turn)
        # Whoever has no patience left asks, be it that somebody else does so at the same time.
        if turn is not None and turn.acquire(timeout=PATIENCE_SECONDS) and mine.answer is not None:
            return mine.answer
        with self._asking:
            if mine.answer is None:
                with self._coming:
                    # From here on whoever comes is too late for this one. (If it fails, those who
                    # wait for it each ask for themselves: an error is not to be shared.)
                    if self._next is mine:
                        self._next = None
                self._end(mine, self._question())
            assert mine.answer is not None, "a round that has ended with an answer has it"
            return mine.answer

    def begin(self, *, another: bool) -> Question:
        """Something that will tell the answer begins now. ``another``: and something else after it will.

        Those who come from now on wait for that one then, if not for longer than ``PATIENCE_SECONDS``.
        """
        with self._coming:
            taken, self._next = self._next, None
            self._expects = another
        return Question(self._end, taken)

    def rest(self) -> None:
        """Nothing of that kind is on its way any more: whoever waits for it has to ask."""
        self.begin(another=False).end()

    def _end(self, ended: Round, answer: int | None) -> None:
        with self._coming:
            if ended.answer is None:
                ended.answer = answer
            turns, ended.turns = ended.turns, []
        for turn in turns:
            turn.release()
