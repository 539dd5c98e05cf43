"""How often certificates are read for connections to MariaDB and MySQL."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from pymysql.connections import Connection

from moorage.store.sql.mysql_connections import VERIFYING_NOTHING, connected

OPTIONS = [{"ssl_verify_cert": True}, {"ssl_ca": None}, {"ssl": {"ca": None}}, {"ssl_disabled": True}]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Connections that reach no server."""
    reached: list[Connection] = []
    monkeypatch.setattr(Connection, "connect", lambda self: reached.append(self))
    return reached


def test_connections_that_verify_nothing_share_a_context_and_do_without_encryption_if_they_must(
    made: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "create_default_context", None)
    assert [connected(host="h") for _ in range(3)] == made
    [context] = {each.ctx for each in made}
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert [each._ssl_required for each in made] == [False] * 3


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ", ".join(options))
def test_what_options_say_of_encryption_is_left_to_pymysql(
    options: dict[str, Any], made: list[Connection]
) -> None:
    theirs = Connection(defer_connect=True, **options)
    ours = connected(**options)
    assert made == [ours]
    assert (ours.ssl, ours._ssl_required) == (theirs.ssl, theirs._ssl_required)
    assert getattr(ours, "ctx", None) is not VERIFYING_NOTHING
