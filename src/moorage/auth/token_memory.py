"""Identities of tokens that were checked a moment ago.

A cached token still costs keystonemiddleware half a millisecond, more than most searches. Busy clients
send many requests a second with the same token, so it is remembered for about a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from moorage.auth.identity import Identity
from moorage.model.cache import MIB, Cache, bytes_of
from moorage.model.valueclass import valueclass

REMEMBER_SECONDS: Final = 1.0
"""For so long a revoked token may be accepted beyond the time of the middleware's cache."""

REMEMBERED_BYTES: Final = 4 * MIB
"""Tokens and identities, each some kilobytes."""


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
        self._known: Cache[str, _Remembered] = Cache(REMEMBERED_BYTES, bytes_of)

    def recall(self, token: str) -> Identity | None:
        """The identity of a token, if it was checked a moment ago."""
        found = self._known.get(token)
        if found is None:
            return None
        if self._clock() >= found.until:
            self._known.drop(token)
            return None
        return found.identity

    def remember(self, token: str, identity: Identity, facts: Mapping[str, Any]) -> None:
        """``facts`` are Keystone's facts about the token (``token`` of its answer)."""
        credential = facts.get("application_credential") or {}
        left = self._seconds_left(facts.get("expires_at"))
        if credential.get("access_rules") is not None or facts.get("bind") or left <= 0:
            return
        self._known.put(token, _Remembered(identity, self._clock() + min(left, REMEMBER_SECONDS)))

    def _seconds_left(self, expires_at: object) -> float:
        try:
            return datetime.fromisoformat(str(expires_at)).timestamp() - self._now()
        except ValueError:
            return 0.0
