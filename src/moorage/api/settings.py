"""What an operator can set of the wire."""

from __future__ import annotations

from dataclasses import dataclass

INCOMPLETE_CONSUMER_ID = "00000000-0000-0000-0000-000000000000"
"""Project and user of consumers whose client could not name them (before 1.8)."""

DEFAULT_MAX_BODY_BYTES = 10 * 1024 * 1024
"""Bytes. Far above any honest body (a reshape of a large tree is some 100 kB), far below what
would hurt a worker."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Settings of the wire.

    Source: placement.conf ``[placement] incomplete_consumer_project_id`` and
    ``incomplete_consumer_user_id``. ``max_body_bytes`` is our own: a larger body is 413.
    """

    incomplete_consumer_project_id: str = INCOMPLETE_CONSUMER_ID
    incomplete_consumer_user_id: str = INCOMPLETE_CONSUMER_ID
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
