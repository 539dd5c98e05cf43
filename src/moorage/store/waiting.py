"""How long to wait for a database, and what the log says meanwhile."""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy.engine import URL

from moorage.model.errors import MoorageError, UnavailableError, UnusableDatabaseError
from moorage.store.reasons import Reason, reason_of
from moorage.store.settings import StoreSettings

LOG: Final = logging.getLogger(__name__)

TOLD_EVERY_SECONDS: Final = 60
"""How often the log repeats a reason: a wait without end stays visible, and does not fill the log."""


class Waiting:
    """One wait. It logs each new reason at once, and a reason that stays now and then."""

    def __init__(self, settings: StoreSettings, url: URL) -> None:
        self._retries = settings.connect_retries
        self._pause = settings.connect_retry_seconds
        self._url = url
        self._address = url.render_as_string(hide_password=True)
        self._attempts = 0
        self._told: str | None = None
        self._silent_seconds = 0

    def pause_after(self, error: Exception) -> int:
        """Seconds until the next attempt. Raises UnusableDatabaseError if there is none."""
        reason = reason_of(error, self._url)
        self._attempts += 1
        if reason.lasts:
            raise _unusable(reason.what, reason, self._url) from error
        if 0 <= self._retries < self._attempts:
            what = f"{reason.what} (tried {self._attempts} times)"
            raise _unusable(what, reason, self._url) from error
        self._tell(reason)
        return self._pause

    def end(self) -> None:
        """The database is there."""
        if self._attempts:
            LOG.warning("The database %s is there now.", self._address)

    def _tell(self, reason: Reason) -> None:
        self._silent_seconds += self._pause
        if reason.what == self._told and self._silent_seconds < TOLD_EVERY_SECONDS:
            return
        self._told = reason.what
        self._silent_seconds = 0
        bound = f"of {self._retries}" if self._retries >= 0 else "without end"
        LOG.warning(
            "Waiting for the database %s: %s; trying again every %d s (%d, %s).",
            *(self._address, reason, self._pause, self._attempts, bound),
        )


def explained(error: Exception, url: URL) -> Exception:
    """An error that says why the database at ``url`` failed.

    ``error`` itself if no driver's error is below it, or its own words say more.
    """
    if isinstance(error, MoorageError) and type(error) is not UnavailableError:
        return error
    reason = reason_of(error, url)
    return _unusable(reason.what, reason, url) if reason.words else error


def _unusable(what: str, reason: Reason, url: URL) -> UnusableDatabaseError:
    address = url.render_as_string(hide_password=True)
    return UnusableDatabaseError(what, f"{address}: {reason.words}" if reason.words else address)
