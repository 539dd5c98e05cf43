"""Waits until a request that found no place may find one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import requests

from moorage.cli.client import explained
from moorage.cli.client.connection import (
    NoAnswerError,
    NotAllowedError,
    RefusedError,
    ServiceConnection,
    ServiceError,
)
from moorage.cli.client.recorded import CHANGES, FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS
from moorage.cli.client.spans import written
from moorage.cli.client.supervision.kernel import boot_clock
from moorage.model.valueclass import valueclass

Json = Mapping[str, Any]
Tell = Callable[[str], None]
Answer = TypeVar("Answer")

LONGEST_WAIT_SECONDS: Final = 25.0
"""How long a service holds an answer without changes: less than usual proxies allow."""

BLIND_WAIT_SECONDS: Final = 5.0
"""Between two attempts of a client that may see no changes at all."""

LEAST_BETWEEN_SECONDS: Final = 0.5
"""Between two attempts, however much changes."""

SHOWN: Final = 3
"""So many of the events that make the request fit are shown."""


@valueclass(frozen=True, slots=True)
class Watched:
    """What may help a request: changes of these classes, in one tree (its root's UUID) if that is given.

    ``project_id`` is the client's own, if it is known, in case that it may see no other changes.
    """

    classes: Collection[str]
    tree: str | None
    project_id: str | None


@dataclass(slots=True)
class Outage:
    """Pauses while a service is away: each is longer than the one before, until it answers again."""

    tell: Tell
    wait: Callable[[float], None] = time.sleep
    _pause: float = FIRST_PAUSE_SECONDS

    @staticmethod
    def is_cause(error: Exception) -> bool:
        """Whether the service may answer later to what it does not answer now."""
        return not isinstance(error, RefusedError) or error.status == requests.codes.unavailable

    def sit_out(self, error: Exception, left: float) -> None:
        """Wait before the next try, ``left`` seconds at most."""
        self.tell(f"{str(error).partition('.')[0]}. The next try is in {self._pause:.0f} s.")
        self.wait(min(self._pause, left))
        self._pause = min(2 * self._pause, MOST_PAUSE_SECONDS)

    def end(self) -> None:
        """The service has answered."""
        self._pause = FIRST_PAUSE_SECONDS


def answered(ask: Callable[[], Answer], until: float | None, tell: Tell) -> Answer:
    """What ``ask`` returns, once the service answers it. Raises what ``ask`` raises if ``until`` comes first.

    ``until`` is a time of ``boot_clock``; None: the service is asked only once.
    """
    outage = Outage(tell)
    while True:
        try:
            return ask()
        except (NoAnswerError, RefusedError) as error:
            left = 0.0 if until is None else until - boot_clock()
            if not outage.is_cause(error) or left <= 0:
                raise
            outage.sit_out(error, left)


def reasons(problem: Json) -> Iterator[str]:
    """Why there is no place, and what must happen until there is one."""
    explanation = problem.get("explanation") or {}
    yield str(explanation.get("summary") or problem["detail"])
    events = explanation.get("unlocked_by") or ()
    for each in events[:SHOWN]:
        yield f"It fits after: {' and '.join(map(explained.event_line, each))}."
    if len(events) > SHOWN:
        yield f"It also fits after {len(events) - SHOWN} other events."


def changed(
    service: ServiceConnection,
    watched: Watched,
    revision: int,
    until: float,
    tell: Tell,
    wait: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until something that may help has changed since ``revision``; False if ``until`` comes first.

    ``until`` is a time of ``boot_clock``. A service that does not answer meanwhile is asked again. Raises
    ServiceError if the service has no changes to show.
    """
    wait(min(LEAST_BETWEEN_SECONDS, max(0.0, until - boot_clock())))
    position: dict[str, str] = {"after": str(revision)}
    sees_all, outage = True, Outage(tell, wait)
    while (left := until - boot_clock()) > 0:
        query = {
            **position,
            "wait": written(int(min(left, LONGEST_WAIT_SECONDS)) + 1.0),
            "frees": ",".join(sorted(watched.classes)),
            "view": "refs",
            "tree": watched.tree if sees_all else None,
            "project_id": None if sees_all else watched.project_id,
        }
        try:
            page = service.get(CHANGES, query)
        except NotAllowedError:
            if not sees_all or watched.project_id is None:
                # Nothing shows changes to this client: only asking again does.
                wait(min(BLIND_WAIT_SECONDS, left))
                return left > BLIND_WAIT_SECONDS
            sees_all = False
            continue
        except (NoAnswerError, RefusedError) as error:
            if isinstance(error, RefusedError) and not outage.is_cause(error):
                return _is_over(error)
            outage.sit_out(error, left)
            continue
        outage.end()
        if page["freed_at"] is not None:
            return True
        position = {"after": str(page["next_after"]), "epoch": page["epoch"]}
    return False


def _is_over(refusal: RefusedError) -> bool:
    """True if the journal does not go on, so that only asking again shows the present state.

    Raises ServiceError for any other refusal.
    """
    if refusal.status == requests.codes.gone:
        return True
    raise ServiceError(f"The service shows no changes, so --wait cannot wait for them: {refusal}")
