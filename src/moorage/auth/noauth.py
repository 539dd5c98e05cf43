"""Authentication that trusts every client: for tests and closed networks.

Source: Placement's ``[api] auth_strategy = noauth2``, observed.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

from moorage.auth.identity import Identity, UnauthorisedError
from moorage.model.cache import KIB, Cache, bytes_of

ADMIN = "admin"
"""The user, and the role, that may do everything."""

_OTHER_HOST: Final = json.dumps(
    {
        "message": "noauth2 answers only requests to an address or name of this machine. Name further hosts "
        "in [moorage] noauth_hosts.",
        "code": "401 Unauthorized",
        "title": "Unauthorized",
    }
).encode()

KNOWN_BYTES: Final = 512 * KIB
"""Bytes of identities that are cached by headers: a cloud has some dozen services."""

Headers = tuple[str, str | None, str | None, str | None]
"""Token, project, roles and system scope that a client names."""


ANY: Final = "*"
"""In a list of names: any host."""


USUAL: Final = ("localhost", "127.0.0.1", "::1")
"""What most requests name. Parsing an address takes longer than the rest of the identity."""


class OwnHosts:
    """Which hosts a request may name: addresses and names of this machine, and additional ``names``.

    A page of another site can have its own name resolve to 127.0.0.1 (DNS rebinding), and then send requests
    here from the browser of a person on this machine. Such requests carry that site's name as their ``Host``.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        machine = socket.gethostname()
        self._names = frozenset(
            name.lower().rstrip(".") for name in (*USUAL, machine, machine.partition(".")[0], *names)
        )

    def has(self, host: str) -> bool:
        """Whether the value of a ``Host`` header, which may have a port, is one of these."""
        name = _without_port(host.strip()).lower().rstrip(".")
        return ANY in self._names or name in self._names or _is_own_address(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_own_address(text: str) -> bool:
    """Whether something can listen at this address: it is one of this machine's."""
    try:
        address = ipaddress.ip_address(text)
        if address.is_loopback:
            return True
        if address.is_unspecified or address.is_multicast:
            return False
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((text, 0))
    except (OSError, ValueError):
        return False
    return True


class NoAuth:
    """Accepts any ``X-Auth-Token: user[:project]``.

    Without a project, the user's name is also the project's. ``X-Project-Id`` overrides both. The user
    ``admin`` has the role ``admin`` and all others have none, unless ``X-Roles`` (separated by commas) says
    otherwise. ``OpenStack-System-Scope`` makes it a token of the system, which has no project unless
    ``X-Project-Id`` gives it one.

    With ``hosts``, a request that names another host is refused.
    """

    def __init__(self, hosts: OwnHosts | None = None) -> None:
        self._hosts = hosts

    def identify(self, environ: Mapping[str, Any]) -> Identity:
        """See ``Authenticator``. Raises UnauthorisedError if there is no token, or for another host."""
        host = environ.get("HTTP_HOST")
        if host and self._hosts is not None and not self._hosts.has(host):
            raise UnauthorisedError(body=_OTHER_HOST)
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if token is None:
            raise UnauthorisedError
        headers = (
            token,
            environ.get("HTTP_X_PROJECT_ID"),
            environ.get("HTTP_X_ROLES"),
            environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE") or None,
        )
        return _KNOWN.of(headers, lambda: _identity(*headers))


_KNOWN: Final = Cache[Headers, Identity](KNOWN_BYTES, bytes_of)


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
