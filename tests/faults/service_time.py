"""Service time as the audit sees it: the row of the clock, looked at over and over with SQL of its own."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

LOOK_SECONDS = 0.2
"""Pause between two looks."""

ANSWER_SECONDS = 30
"""A node that has hung up on its cluster may never answer. Then it is asked again."""

STOP_SECONDS = ANSWER_SECONDS + 5.0

UNSEEN_SECONDS = 2.5
"""Service time may make up for so much real time at once: two seconds of a late keeper, and a statement."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the clock, from ``begun`` to ``ended``: seconds of the clients' monotonic clock."""

    begun: float
    ended: float
    ticks: int
    term: int


@dataclass
class TimeWatch:
    """Looks at service time from a thread of its own. ``url`` may lead elsewhere from look to look."""

    url: Callable[[], str]
    looks: list[Look] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._run, name="service-time", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A look that a database never answers is left alone."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        engines: dict[str, Engine] = {}
        while not self._ended.wait(LOOK_SECONDS):
            url = self.url()
            # A database that is away says nothing, and one that is paused says it late.
            with suppress(SQLAlchemyError):
                if url not in engines:
                    engines[url] = engine_of(url)
                self.looks.append(look(engines[url]))


def engine_of(url: str) -> Engine:
    """Whose connections have no transaction to give up, and say nothing if they break."""
    patience = {"read_timeout": ANSWER_SECONDS} if make_url(url).get_backend_name() == "mysql" else {}
    return create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        connect_args=patience,
    )


def look(engine: Engine) -> Look:
    """Raises SQLAlchemyError."""
    begun = time.monotonic()
    with engine.connect() as connection:
        if engine.dialect.name == "mysql":
            # A node that has become the writer may still have to apply what the last one has acknowledged.
            connection.execute(text("SET SESSION wsrep_sync_wait = 1"))
        begun = time.monotonic()
        ticks, term = connection.execute(text("SELECT ticks, term FROM moorage_clock")).one()
    return Look(begun, time.monotonic(), int(ticks), int(term))


class Ticks:
    """What service time can have been at a moment."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self._looks = sorted(looks, key=lambda each: each.ended)
        self._ends = [each.ended for each in self._looks]
        self._begins = [each.begun for each in self._looks]
        highest = 0
        self._highest = [highest := max(highest, each.ticks) for each in self._looks]

    def least(self, moment: float) -> int | None:
        """It was no less than that. None: nothing is known."""
        place = bisect_left(self._ends, moment)
        return self._highest[place - 1] if place else None

    def most(self, moment: float) -> int | None:
        """It was no more than that. None: nothing is known."""
        place = bisect_right(self._begins, moment)
        return self._looks[place].ticks if place < len(self._looks) else None

    def faults(self) -> list[str]:
        """Where service time went back, or ran faster than real time."""
        found = []
        for one, next_ in zip(self._looks, self._looks[1:], strict=False):
            if next_.begun > one.ended and (next_.ticks < one.ticks or next_.term < one.term):
                found.append(f"service time went from {one} to {next_}")
        fastest = None
        for each in self._looks:
            if fastest is not None:
                passed = each.ended - fastest.begun + UNSEEN_SECONDS
                if (each.ticks - fastest.ticks) / 1000 > passed:
                    found.append(f"service time ran from {fastest} to {each} within {passed:.1f} seconds")
            # The one from which on least time has been counted.
            if fastest is None or each.ticks / 1000 - each.begun < fastest.ticks / 1000 - fastest.begun:
                fastest = each
        return found
