"""Who asks: what every way of authentication has to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    ``roles`` are flattened: a role's implied roles are in it. ``system_scope`` is set for a
    token of the whole system ("all"); such a token has no project.
    """

    user_id: str
    project_id: str | None = None
    roles: frozenset[str] = frozenset()
    system_scope: str | None = None


class UnauthorisedError(Exception):
    """The request does not say who asks, or what it says is not true."""


class Authenticator(Protocol):
    """A way to find out who asks."""

    def identify(self, headers: Mapping[str, str]) -> Identity:
        """Identity behind a request's headers, whose names are in lower case with dashes.

        Raises UnauthorisedError.
        """
        ...
