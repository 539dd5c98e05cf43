"""What clients are believed when nothing checks them."""

from __future__ import annotations

import pytest

from moorage.auth.identity import UnauthorisedError
from moorage.auth.noauth import NoAuth


def test_a_request_without_a_token_is_unauthorised() -> None:
    with pytest.raises(UnauthorisedError):
        NoAuth().identify({"HTTP_X_ROLES": "admin"})


def test_the_user_admin_has_the_role_admin_and_a_project_of_the_same_name() -> None:
    identity = NoAuth().identify({"HTTP_X_AUTH_TOKEN": "admin"})
    assert (identity.user_id, identity.project_id) == ("admin", "admin")
    assert identity.roles == {"admin"}
    assert identity.system_scope is None


def test_any_other_user_has_no_roles() -> None:
    identity = NoAuth().identify({"HTTP_X_AUTH_TOKEN": "somebody:somewhere"})
    assert (identity.user_id, identity.project_id) == ("somebody", "somewhere")
    assert identity.roles == frozenset()


@pytest.mark.parametrize(
    ("header", "roles"),
    [("reader", {"reader"}), ("admin, member,reader", {"admin", "member", "reader"}), ("", set())],
)
def test_roles_sent_along_replace_those_of_the_user(header: str, roles: set[str]) -> None:
    identity = NoAuth().identify({"HTTP_X_AUTH_TOKEN": "admin", "HTTP_X_ROLES": header})
    assert identity.roles == roles


def test_a_token_of_the_system_has_no_project() -> None:
    identity = NoAuth().identify({"HTTP_X_AUTH_TOKEN": "admin:p", "HTTP_OPENSTACK_SYSTEM_SCOPE": "all"})
    assert identity.project_id is None
    assert identity.system_scope == "all"


@pytest.mark.parametrize("project", ["elsewhere", ""])
@pytest.mark.parametrize("scope", [{}, {"HTTP_OPENSTACK_SYSTEM_SCOPE": "all"}])
def test_a_project_sent_along_replaces_that_of_the_token(project: str, scope: dict[str, str]) -> None:
    headers = {"HTTP_X_AUTH_TOKEN": "somebody:somewhere", "HTTP_X_PROJECT_ID": project, **scope}
    assert NoAuth().identify(headers).project_id == project


def test_an_empty_token_is_a_user_without_a_name() -> None:
    identity = NoAuth().identify({"HTTP_X_AUTH_TOKEN": ""})
    assert identity.user_id == ""
    assert identity.roles == frozenset()
