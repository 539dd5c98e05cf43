"""Who stood behind a token a moment ago.

A cached token still costs keystonemiddleware half a millisecond, more than most searches. Clients that
are busy ask many times a second with one token, so it is remembered for about that long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from moorage.auth.identity import Identity
from moorage.model.valueclass import valueclass

REMEMBER_SECONDS: Final = 1.0
"""By so much a revoked token may be taken for good longer than the middleware's cache would take it."""

REMEMBERED_TOKENS: Final = 4096


@valueclass(frozen=True, slots=True)
class _Remembered:
    identity: Identity
    until: float


class TokenMemory:
    """Identities by token, each for ``REMEMBER_SECONDS`` and not beyond the token's own end.

    A token that is good for some requests only (an application credential with access rules), or that
    comes with a service's own token, is never remembered.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, _Remembered] = {}

    def recall(self, token: str) -> Identity | None:
        """Who stood behind it, if that was a moment ago."""
        found = self._known.get(token)
        return found.identity if found is not None and self._clock() < found.until else None

    def remember(self, token: str, identity: Identity, facts: Mapping[str, Any]) -> None:
        """``facts`` is what Keystone has said of the token (``token`` of its answer)."""
        credential = facts.get("application_credential") or {}
        left = self._seconds_left(facts.get("expires_at"))
        if credential.get("access_rules") is not None or facts.get("bind") or left <= 0:
            return
        with self._lock:
            if len(self._known) >= REMEMBERED_TOKENS:
                self._known.clear()
            self._known[token] = _Remembered(identity, self._clock() + min(left, REMEMBER_SECONDS))

    def _seconds_left(self, expires_at: object) -> float:
        try:
            return datetime.fromisoformat(str(expires_at)).timestamp() - self._now()
        except ValueError:
            return 0.0
