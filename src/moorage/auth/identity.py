"""Who asks: what every way of authentication has to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Identity(NamedTuple):
    """Who asks.

    ``roles`` are flattened: a role's implied roles are in it. ``system_scope`` is set for a
    token of the whole system ("all"), ``domain_id`` for one of a domain; neither has a project.
    The ``service_…`` fields tell of the service that asks in the name of a user, if it has shown
    a token of its own beside the user's. Policies may look at all of this.
    """

    user_id: str
    project_id: str | None = None
    roles: frozenset[str] = frozenset()
    system_scope: str | None = None
    domain_id: str | None = None
    user_domain_id: str | None = None
    project_domain_id: str | None = None
    is_admin_project: bool = True
    service_user_id: str | None = None
    service_user_domain_id: str | None = None
    service_project_id: str | None = None
    service_project_domain_id: str | None = None
    service_roles: frozenset[str] = frozenset()


@dataclass(eq=False)
class UnauthorisedError(Exception):
    """The request does not say who asks, or what it says is not true.

    ``headers`` go with the answer, and tell where a token is to be had. ``body`` is JSON, where
    whoever vouches for tokens answers in words of its own.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class UnreachableError(Exception):
    """Whoever vouches for tokens cannot be asked, so that nobody knows who asks."""


class Authenticator(Protocol):
    """A way to find out who asks."""

    def identify(self, environ: Mapping[str, Any]) -> Identity:
        """Identity behind a request, which is given as its WSGI environment (PEP 3333).

        Raises UnauthorisedError, UnreachableError.
        """
        ...
