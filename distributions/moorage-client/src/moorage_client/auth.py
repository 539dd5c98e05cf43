"""How a client says on whose behalf it asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, Protocol

TOKEN_HEADER = "X-Auth-Token"  # noqa: S105 - the name of a header


class Auth(Protocol):
    """Gives the headers of a request."""

    def headers(self) -> Mapping[str, str]:
        """Headers for the next request."""
        ...

    def renew(self) -> bool:
        """Get a new token after a refusal (401); False if there is none."""
        ...


class Token:
    """A token of Keystone, or one of Moorage's own.

    ``token`` is its text, or a function that gives one. The client calls the function once, and again after
    the service has refused the token: ``Token(session.get_token)`` of a keystoneauth session works so.
    """

    def __init__(self, token: str | Callable[[], str | None]) -> None:
        self._get = None if isinstance(token, str) else token
        self._token = token if isinstance(token, str) else None

    def headers(self) -> Mapping[str, str]:
        """See ``Auth``."""
        if self._token is None:
            self.renew()
        return {} if self._token is None else {TOKEN_HEADER: self._token}

    def renew(self) -> bool:
        """See ``Auth``."""
        if self._get is None:
            return False
        before, self._token = self._token, self._get()
        return self._token not in (None, before)


class NoAuth:
    """For a service with ``auth_strategy = noauth2``, which trusts every client.

    ``admin`` may do everything. Other users have the roles that ``roles`` names.
    """

    def __init__(
        self, user: str = "admin", project: str | None = None, roles: tuple[str, ...] | None = None
    ) -> None:
        self._headers = {TOKEN_HEADER: user if project is None else f"{user}:{project}"}
        if roles is not None:
            self._headers["X-Roles"] = ",".join(roles)

    def headers(self) -> Mapping[str, str]:
        """See ``Auth``."""
        return self._headers

    def renew(self) -> bool:
        """See ``Auth``."""
        return False
