"""Settings of the Placement API."""

from __future__ import annotations

from dataclasses import field

from moorage.api.http.settings import Limits
from moorage.model.valueclass import valueclass

INCOMPLETE_CONSUMER_ID = "00000000-0000-0000-0000-000000000000"
"""Project and user of consumers whose client could not name them (before 1.8)."""


@valueclass(frozen=True, slots=True)
class ApiSettings:
    """Settings of the Placement API.

    Source: placement.conf ``[placement] incomplete_consumer_project_id`` and ``incomplete_consumer_user_id``.
    ``limits`` are Moorage's own: ``[moorage] max_…``.
    """

    incomplete_consumer_project_id: str = INCOMPLETE_CONSUMER_ID
    incomplete_consumer_user_id: str = INCOMPLETE_CONSUMER_ID
    limits: Limits = field(default_factory=Limits)
