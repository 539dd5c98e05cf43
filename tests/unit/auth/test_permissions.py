"""The table of who may do what."""

from __future__ import annotations

from moorage.auth.permissions import TOKEN_ROLES, Permission, permission
from moorage.auth.policy import default_policy
from moorage.auth.rules import RESHAPE, TOTAL_USAGES
from tests.table import each

RULE = "placement:traits:list"


@each(
    ("role", "rule", "found"),
    [
        ("admin", RULE, Permission.YES),
        ("service", RULE, Permission.YES),
        ("member", RULE, Permission.NO),
        ("none", RULE, Permission.NO),
        ("admin", TOTAL_USAGES, Permission.YES),
        ("member", TOTAL_USAGES, Permission.OWN_PROJECT),
        ("reader", TOTAL_USAGES, Permission.OWN_PROJECT),
        ("none", TOTAL_USAGES, Permission.NO),
        ("admin", RESHAPE, Permission.NO),
        ("service", RESHAPE, Permission.YES),
    ],
)
def test_a_token_has_the_permissions_of_its_role(role: str, rule: str, found: Permission) -> None:
    book = default_policy().book()
    assert permission(book, rule, TOKEN_ROLES[role]) is found
    assert permission(book, rule, TOKEN_ROLES[role], of_system=True) is Permission.NO
