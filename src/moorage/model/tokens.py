"""Moorage's own tokens, for deployments without Keystone."""

from __future__ import annotations

from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class TokenRecord:
    """What the database keeps of a token; it does not keep the secret.

    ``id`` is the public part of the token, ``digest`` the SHA-256 of its secret in hexadecimal digits.
    ``name`` stands for the user. Times are seconds since 1970 in UTC; ``expires_at`` None: the token does not
    expire; ``revoked_at`` None: it was not revoked.
    """

    id: str
    digest: str
    name: str
    role: str
    project_id: str | None
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def is_valid(self, now: float) -> bool:
        """Whether the token is accepted at the time ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
