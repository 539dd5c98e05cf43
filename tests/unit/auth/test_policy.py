"""The rules that hold without a policy file."""

from __future__ import annotations

import pytest

from moorage.auth.identity import Identity
from moorage.auth.policy import TOTAL_USAGES, BuiltInPolicy, ForbiddenError

RULE = "placement:resource_providers:list"


def identity(*roles: str, project: str | None = "mine", scope: str | None = None) -> Identity:
    return Identity("somebody", project, frozenset(roles), scope)


def allowed(who: Identity, rule: str, project_id: str | None = None) -> bool:
    try:
        BuiltInPolicy().authorise(who, rule, project_id)
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize("role", ["admin", "service", "Admin"])
@pytest.mark.parametrize("rule", [RULE, TOTAL_USAGES, "placement:reshaper:reshape"])
def test_admin_and_service_may_do_everything(role: str, rule: str) -> None:
    assert allowed(identity("member", role), rule)


def test_nobody_else_may_do_anything_of_that() -> None:
    with pytest.raises(ForbiddenError) as refused:
        BuiltInPolicy().authorise(identity("member", "reader"), RULE)
    assert refused.value.message == f"Policy does not allow {RULE} to be performed."


@pytest.mark.parametrize(
    ("roles", "asked", "answer"),
    [
        (("reader",), "mine", True),
        (("reader",), "another", False),
        (("reader",), None, False),
        (("member",), "mine", False),
        ((), "mine", False),
    ],
)
def test_readers_may_see_the_usages_of_their_own_project(
    roles: tuple[str, ...], asked: str | None, answer: bool
) -> None:
    assert allowed(identity(*roles), TOTAL_USAGES, asked) is answer


def test_a_reader_without_a_project_sees_no_usages() -> None:
    assert not allowed(identity("reader", project=None), TOTAL_USAGES, None)


def test_a_token_of_the_system_may_do_nothing_and_is_told_the_bare_rule() -> None:
    with pytest.raises(ForbiddenError) as refused:
        BuiltInPolicy().authorise(identity("admin", project=None, scope="all"), RULE)
    assert refused.value.message == RULE
