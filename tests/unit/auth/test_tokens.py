"""Tokens of Moorage's own, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.auth.identity import Identity, UnauthorisedError
from moorage.auth.tokens import TokenAuth, id_of, issue
from moorage.model.tokens import TokenRecord
from tests.table import each

NOW = 1_800_000_000


class Known:
    """Knows one token, and counts how often it is asked."""

    def __init__(self, record: TokenRecord | None) -> None:
        self.record = record
        self.asked: list[str] = []

    def __call__(self, token_id: str) -> TokenRecord | None:
        self.asked.append(token_id)
        return self.record if self.record is not None and self.record.id == token_id else None


def identify(known: Known, token: str | None, now: float = NOW) -> Identity:
    environ = {} if token is None else {"HTTP_X_AUTH_TOKEN": token, "HTTP_X_ROLES": "admin"}
    return TokenAuth(known, lambda: now).identify(environ)


def refused(known: Known, token: str | None, now: float = NOW) -> bool:
    with pytest.raises(UnauthorisedError) as error:
        identify(known, token, now)
    assert "X-Auth-Token" in error.value.headers["www-authenticate"]
    return True


@pytest.mark.parametrize(
    ("role", "roles"),
    [
        ("admin", {"admin", "member", "reader"}),
        ("service", {"service"}),
        ("reader", {"reader"}),
        ("member", {"member", "reader"}),
        ("of a newer version", set()),
    ],
)
def test_a_token_stands_for_a_role_a_name_and_a_project(role: str, roles: set[str]) -> None:
    text, record = issue(role, NOW, name="nova", project_id="cloud")
    assert identify(Known(record), text) == Identity("nova", "cloud", frozenset(roles))


def test_a_token_without_a_name_is_called_after_its_role_and_id() -> None:
    _, record = issue("admin", NOW)
    assert record.name == f"admin-{record.id}"
    assert record.project_id is None


def test_what_is_kept_of_a_token_does_not_tell_its_secret() -> None:
    text, record = issue("admin", NOW)
    secret = text.split("_", 2)[2]
    assert secret not in repr(record)
    assert text not in repr(record)
    # What is kept does not get anybody in.
    assert refused(Known(record), f"moorage_{record.id}_{record.digest[:43]}")


def test_no_two_tokens_are_alike() -> None:
    issued = [issue("admin", NOW) for _ in range(100)]
    assert len({text for text, _ in issued}) == len({record.id for _, record in issued}) == 100


@each(
    "token",
    [
        None,
        "",
        "admin",
        "moorage",
        "moorage__",
        "moorage_0123456789abcdef_",
        "moorage_0123456789ABCDEF_" + "x" * 43,
        "moorage_0123456789abcdef_" + "x" * 44,
        "moorage_0123456789abcdef_" + "é" * 43,
        "moorage_0123456789abcdef_" + "x" * 43 + "\n",
        "x" * 10_000,
    ],
)
def test_what_has_not_the_form_of_a_token_is_refused_without_a_question(token: str | None) -> None:
    known = Known(None)
    assert refused(known, token)
    assert known.asked == []


def test_a_token_that_was_never_given_out_or_has_another_secret_is_refused() -> None:
    text, record = issue("admin", NOW)
    other, _ = issue("admin", NOW)
    assert refused(Known(None), text)
    mixed = f"moorage_{record.id}_{other.split('_', 2)[2]}"
    assert refused(Known(record), mixed)


def test_a_token_is_good_until_it_expires_or_is_revoked() -> None:
    text, record = issue("admin", NOW, expires_at=NOW + 10)
    known = Known(record)
    assert identify(known, text, NOW + 9.9).user_id == record.name
    assert refused(known, text, NOW + 10)
    known.record = replace(record, revoked_at=NOW + 1)
    assert refused(known, text, NOW + 2)
    # Each of them was asked anew.
    assert known.asked == [record.id] * 3


def test_the_id_of_a_token_is_found_in_it() -> None:
    text, record = issue("admin", NOW)
    assert id_of(text) == record.id
    assert id_of(record.id) == record.id
    assert id_of("anything") == "anything"
