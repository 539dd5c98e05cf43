"""The follower: keeps an index that no request asks at most a second behind the database.

A request catches the index up itself. Without requests the changes would pile up, and the first request after
a quiet time would wait for all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Final, Protocol

from moorage.model.errors import UnavailableError
from moorage.store.sql.errors import ConnectionLostError

LOG = logging.getLogger(__name__)

FOLLOW_SECONDS: Final = 1.0
"""How long an index stays as it is without a request."""

MOST_PAUSE_SECONDS: Final = 30.0
"""Longest pause while the database cannot be reached. Each failure doubles the pause."""

END_SECONDS: Final = 1.0
"""How long ``stop`` waits for a look that is under way."""


class Followed(Protocol):
    """An index that the follower keeps up."""

    @property
    def asked_at(self) -> float:
        """When a request has last asked, as ``perf_counter`` counts."""
        ...

    def follow(self) -> None:
        """Catch up. Raises UnavailableError, ConnectionLostError."""
        ...

    def recognise(self) -> None:
        """Look whether the database still has what the index has read. Raises as ``follow``."""
        ...


class Follower:
    """Catches an index up from a thread of its own, once it is started. Every process has one.

    While nothing changes, a look costs one read of the revision. Requests put it off. They do not put off the
    second read, of the last write that is known. A fork takes no thread along.
    """

    def __init__(self, index: Followed, clock: Callable[[], float] = perf_counter) -> None:
        self._index = index
        self._clock = clock
        self._looked_at = clock()
        self._pause = FOLLOW_SECONDS
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, which ends with the process, or with ``stop``."""
        self._thread = threading.Thread(target=self._run, name="moorage-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no further look, and wait for one that is under way, for ``END_SECONDS`` at most."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    @property
    def waiting_time(self) -> float:
        """Seconds until the next look is due: a request puts it off."""
        return max(self._looked_at, self._index.asked_at) + self._pause - self._clock()

    def look(self) -> None:
        """Catch the index up. Logs an error once, until it is over, and never raises."""
        try:
            self._index.follow()
        except Exception as error:  # noqa: BLE001 - it is logged, and the next look comes
            self._failed(error)
        else:
            if self._pause > FOLLOW_SECONDS:
                LOG.info("The index follows the database again.")
            self._pause = FOLLOW_SECONDS
        self._looked_at = self._clock()

    def recognise(self) -> None:
        """Look whether the database is still the one that the index has read. Never raises: see ``look``."""
        try:
            self._index.recognise()
        except Exception as error:  # noqa: BLE001 - what keeps it from looking, ``look`` says
            LOG.debug("The last write that is known could not be looked up: %r.", error)

    def _failed(self, error: Exception) -> None:
        first, self._pause = self._pause == FOLLOW_SECONDS, min(2 * self._pause, MOST_PAUSE_SECONDS)
        if not first or self._ending.is_set():
            LOG.debug("The index still cannot follow the database: %r.", error)
        elif isinstance(error, UnavailableError | ConnectionLostError):
            LOG.warning("The index cannot follow the database now, and will try again: %s.", error)
        else:
            LOG.error("The index cannot follow the database now, and will try again.", exc_info=error)

    def _run(self) -> None:
        while not self._ending.wait(min(FOLLOW_SECONDS, max(0.0, self.waiting_time))):
            self.recognise()
            if self.waiting_time <= 0:
                self.look()
