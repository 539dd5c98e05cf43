"""The identity behind a request: what every way of authentication has to establish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol


class Identity(NamedTuple):
    """The user, project and roles behind a request.

    ``roles`` are flattened: a role's implied roles are in it. ``system_scope`` is set for a
    token of the whole system ("all"), ``domain_id`` for one of a domain; neither has a project.
    The ``service_…`` fields describe a service that acts for a user, if it sent a token of its own
    beside the user's. Policies may look at all of this.
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
    """The request carries no token, or one that is not valid.

    ``headers`` go with the answer and say where to get a token. ``body`` is JSON where the identity
    service answers in its own words.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class UnreachableError(Exception):
    """The identity service cannot be reached, so that no token can be checked."""


class Authenticator(Protocol):
    """A way to establish the identity behind a request."""

    def identify(self, environ: Mapping[str, Any]) -> Identity:
        """Identity behind a request, which is given as its WSGI environment (PEP 3333).

        Raises UnauthorisedError, UnreachableError.
        """
        ...
