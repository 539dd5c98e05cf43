"""Authentication that believes what it is told: for tests and closed networks.

Source: Placement's ``[api] auth_strategy = noauth2``, observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from moorage.auth.identity import Identity, UnauthorisedError

ADMIN = "admin"
"""The user, and the role, that may do everything."""

KNOWN_CLIENTS: Final = 128
"""Headers of clients whose identity is remembered: a cloud's services are a dozen."""


class NoAuth:
    """Takes ``X-Auth-Token: user[:project]`` at its word.

    Without a project the user's name is the project's; ``X-Project-Id`` counts for more than
    either. The user ``admin`` has the role ``admin`` and all others have none, unless
    ``X-Roles`` (separated by commas) says otherwise. ``OpenStack-System-Scope`` makes it a token
    of the system, which has no project unless ``X-Project-Id`` gives it one.
    """

    def identify(self, environ: Mapping[str, Any]) -> Identity:
        """See ``Authenticator``. Raises UnauthorisedError if there is no token."""
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if token is None:
            raise UnauthorisedError
        return _identity(
            token,
            environ.get("HTTP_X_PROJECT_ID"),
            environ.get("HTTP_X_ROLES"),
            environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE") or None,
        )


@lru_cache(maxsize=KNOWN_CLIENTS)
def _identity(token: str, project_id: str | None, roles: str | None, system_scope: str | None) -> Identity:
    user_id, _, project = token.partition(":")
    own_project = None if system_scope else project or user_id
    return Identity(
        user_id=user_id,
        # wire: even an empty header counts.
        project_id=own_project if project_id is None else project_id,
        roles=_roles(roles, user_id),
        system_scope=system_scope,
    )


def _roles(header: str | None, user_id: str) -> frozenset[str]:
    if header is not None:
        return frozenset(role.strip() for role in header.split(",") if role.strip())
    return frozenset({ADMIN} if user_id == ADMIN else ())
