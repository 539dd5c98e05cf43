"""Searches that found nothing, as they are kept."""

from __future__ import annotations

from typing import Final

from moorage.model.valueclass import valueclass

DEFAULT_UNMET_KEPT: Final = 10_000
"""Rows of unmet asks that are kept, the newest."""


@valueclass(frozen=True, slots=True)
class UnmetRecord:
    """One search that found nothing on the snapshot at ``revision``.

    ``ask`` is what it asked for, as text; ``ask_hash`` has 64 hexadecimal digits and is equal for equal asks.
    ``explanation`` is opaque here. ``request_id`` is the service's own id of the request, and
    ``global_request_id`` the id that the client gave it, if any. ``at``: seconds since 1970. ``searches`` is
    1, and one more for each equal search that has no record of its own. ``project_id`` is that of the client;
    None if it had none, or if the search is older than this field.
    """

    ask_hash: str
    ask: str
    verdict: str
    explanation: bytes
    revision: int
    request_id: str
    global_request_id: str | None
    at: int
    searches: int = 1
    project_id: str | None = None


@valueclass(frozen=True, slots=True)
class UnmetFound:
    """The newest record of a request, and the service's ids of others that have the same id of a client."""

    record: UnmetRecord
    others: tuple[str, ...]


@valueclass(frozen=True, slots=True)
class UnmetGroup:
    """All kept searches for the same that had the same verdict.

    ``request_id`` and ``global_request_id`` are those of the newest one, at ``last``; ``first`` is the time
    of the oldest one.
    """

    ask: str
    verdict: str
    searches: int
    first: int
    last: int
    request_id: str
    global_request_id: str | None
