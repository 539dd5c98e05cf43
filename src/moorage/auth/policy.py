"""What who asks may do. The one question that the wire puts before every operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from moorage.auth.identity import Identity

TOTAL_USAGES = "placement:usages"
"""The one rule that also looks at whose project is asked about."""

ALL_POWERFUL_ROLES = frozenset({"admin", "service"})
"""Roles that may carry out every operation."""

READER = "reader"
"""Role that may see the usages of its own project."""


@dataclass(eq=False)
class ForbiddenError(Exception):
    """Who asks may not do it. ``message`` is for the client."""

    message: str


class Policy(Protocol):
    """Decides whether an operation may be carried out."""

    def authorise(self, identity: Identity, rule: str, project_id: str | None = None) -> None:
        """Return if ``identity`` may do what ``rule`` names, to ``project_id`` if that matters.

        Raises ForbiddenError.
        """
        ...


class BuiltInPolicy:
    """The rules that hold without a policy file.

    Source: Placement's default policies with ``enforce_new_defaults`` off: the roles admin and
    service may do all; a reader may see the usages of its own project; a token of the system
    may do nothing, since every rule is one of the scope "project".
    """

    def authorise(self, identity: Identity, rule: str, project_id: str | None = None) -> None:
        """See ``Policy``. Roles are compared without regard to case."""
        if identity.system_scope is not None:
            # wire: for a wrong scope the message is the bare name of the rule.
            raise ForbiddenError(rule)
        roles = {role.lower() for role in identity.roles}
        if roles & ALL_POWERFUL_ROLES:
            return
        own_project = project_id is not None and project_id == identity.project_id
        if rule == TOTAL_USAGES and READER in roles and own_project:
            return
        raise ForbiddenError(f"Policy does not allow {rule} to be performed.")
