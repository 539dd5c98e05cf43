"""What was measured, and the figures that are made of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

MILLISECONDS = 1_000

TIME_OUT = "time-out"
NOT_ASKED = "not asked"
"""What went wrong with a query, or why it was left out: it had timed out on a smaller cloud."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an answer holds. ``fingerprint`` is the same for the same candidates in any order."""

    candidates: int
    fingerprint: str


@dataclass(slots=True)
class Measured:
    """The answers of one service to one query.

    ``seconds`` has one entry per answer, ``cpu_seconds`` is the service's processor time for all of
    them (None where other requests were mixed in). ``trouble`` says why there is nothing or no more;
    ``silent_seconds`` is how long an answer was waited for in vain. ``first_seconds`` is the time of the
    very first answer, which is not among the others: nothing had been kept for it from an earlier one.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: float | None = 0.0
    body_bytes: int = 0
    content: Content | None = None
    trouble: str = ""
    silent_seconds: float | None = None
    first_seconds: float | None = None
    writes: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float | None:
        """In seconds; None without an answer."""
        return percentile(self.seconds, 50) if self.seconds else None

    def figures(self) -> dict[str, Any]:
        """For the report, in milliseconds."""
        told: dict[str, Any] = {"samples": len(self.seconds)}
        if self.first_seconds is not None:
            told["first_ms"] = round(self.first_seconds * MILLISECONDS, 3)
        if self.seconds:
            told |= {
                "median_ms": round(percentile(self.seconds, 50) * MILLISECONDS, 3),
                "p99_ms": round(percentile(self.seconds, 99) * MILLISECONDS, 3),
                "body_bytes": self.body_bytes,
            }
            if self.cpu_seconds is not None:
                told["cpu_ms"] = round(self.cpu_seconds / len(self.seconds) * MILLISECONDS, 3)
        if self.content is not None:
            told["candidates"] = self.content.candidates
        if self.trouble:
            told["trouble"] = self.trouble
        if self.writes:
            told["writes"] = self.writes
        return told


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all values do not exceed. Raises ValueError without any."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def content_of(bodies: Sequence[bytes]) -> Content:
    """What the answers to requests for candidates hold, with the mean number of candidates."""
    count = 0
    digest = hashlib.sha256()
    for body in bodies:
        candidates = orjson.loads(body)["allocation_requests"]
        count += len(candidates)
        for text in sorted(map(canonical, candidates)):
            digest.update(text)
    return Content(round(count / len(bodies)), digest.hexdigest())


def canonical(candidate: Mapping[str, Any]) -> bytes:
    """A candidate as text; neither the order of keys nor that of the mappings' lists counts."""
    mappings = {suffix: sorted(uuids) for suffix, uuids in candidate["mappings"].items()}
    return orjson.dumps({**candidate, "mappings": mappings}, option=orjson.OPT_SORT_KEYS)


def agreement(one: Content | None, other: Content | None, *, limited: bool) -> bool | None:
    """Whether two answers say the same; None unless there are two.

    Which candidates a limit keeps is left to the service, so that only their number counts then.
    """
    if one is None or other is None:
        return None
    return one.candidates == other.candidates if limited else one == other


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """How often ``ours`` goes into ``theirs``; None unless there are both."""
    return None if ours is None or theirs is None else round(theirs / ours, 2)
