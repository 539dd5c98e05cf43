"""Moorage's own tokens, for deployments without Keystone.

A token is ``moorage_<id>_<secret>``. The id finds its row; of the secret, 256 random bits, only the
digest is stored, so that a copy of the database does not give access. A plain SHA-256 is enough for that:
a slow hash is for passwords, which can be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from moorage.auth.identity import Identity, UnauthorisedError
from moorage.auth.permissions import TOKEN_ROLES
from moorage.model.tokens import TokenRecord

MEMBER: Final = "member"

ROLES: Final = ("admin", "service", "reader", MEMBER)
"""Roles that a token can have."""

OF_A_PROJECT: Final = ("reader", MEMBER)
"""Roles that mean nothing without a project."""

ID_BYTES: Final = 8
SECRET_BYTES: Final = 32

_TOKEN: Final = re.compile(r"moorage_(?P<id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})")

_CHALLENGE: Final = {"www-authenticate": 'Token realm="moorage", header="X-Auth-Token"'}

Find = Callable[[str], TokenRecord | None]


def issue(
    role: str,
    now: int,
    *,
    name: str | None = None,
    project_id: str | None = None,
    expires_at: int | None = None,
) -> tuple[str, TokenRecord]:
    """A new token, and the record of it that the database keeps. Times are seconds since 1970."""
    token_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    record = TokenRecord(
        id=token_id,
        digest=_digest(secret),
        name=name or f"{role}-{token_id}",
        role=role,
        project_id=project_id,
        created_at=now,
        expires_at=expires_at,
    )
    return f"moorage_{token_id}_{secret}", record


def id_of(text: str) -> str:
    """The id in a token; anything else is taken for an id."""
    found = _TOKEN.fullmatch(text)
    return found["id"] if found else text


class TokenAuth:
    """Accepts a known token that is not revoked and has not expired.

    Each request with text in the form of a token reads the database, so that a revocation takes
    effect at once in all processes. Nothing is written.
    """

    def __init__(self, find: Find, now: Callable[[], float] = time.time) -> None:
        self._find = find
        self._now = now

    def identify(self, environ: Mapping[str, Any]) -> Identity:
        """See ``Authenticator``. Raises UnauthorisedError, and what ``find`` raises."""
        shown = _TOKEN.fullmatch(environ.get("HTTP_X_AUTH_TOKEN", ""))
        if shown is None:
            raise UnauthorisedError(_CHALLENGE)
        record = self._find(shown["id"])
        if record is None or not hmac.compare_digest(_digest(shown["secret"]), record.digest):
            raise UnauthorisedError(_CHALLENGE)
        if not record.is_valid(self._now()):
            raise UnauthorisedError(_CHALLENGE)
        return Identity(
            user_id=record.name,
            project_id=record.project_id,
            roles=TOKEN_ROLES.get(record.role, frozenset()),
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
