"""Permissions as a table: what a book of rules grants each role, without any request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from moorage.auth.identity import Identity
from moorage.auth.policy import Decision, RuleBook, Target
from moorage.auth.rules import OF_A_PROJECT

TOKEN_ROLES: Final[Mapping[str, frozenset[str]]] = {
    "none": frozenset(),
    "reader": frozenset({"reader"}),
    "member": frozenset({"member", "reader"}),
    "admin": frozenset({"admin", "member", "reader"}),
    "service": frozenset({"service"}),
}
"""By role: what a token for it carries, implied roles included. Source: Keystone's default roles."""


class Permission(Enum):
    """What one rule grants a token."""

    YES = "yes"
    OWN_PROJECT = "own project"
    NO = "no"


def permission(book: RuleBook, rule: str, roles: Iterable[str], *, of_system: bool = False) -> Permission:
    """What a token of a project, or of the system, may do with just these roles."""
    identity = Identity(
        user_id="user",
        project_id=None if of_system else "own",
        roles=frozenset(roles),
        system_scope="all" if of_system else None,
    )
    if rule not in OF_A_PROJECT:
        # Everything else belongs to the cloud, so that the project does not matter.
        return Permission.YES if _allows(book, rule, identity) else Permission.NO
    if _allows(book, rule, identity, Target("another")):
        return Permission.YES
    return Permission.OWN_PROJECT if _allows(book, rule, identity, Target("own")) else Permission.NO


def _allows(book: RuleBook, rule: str, identity: Identity, target: Target | None = None) -> bool:
    return book.decide(rule, identity, target) is Decision.ALLOWED
