"""The table of tokens."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from moorage.api.placement import application
from moorage.auth.tokens import TokenAuth, issue
from moorage.model.errors import UnavailableError
from moorage.service.facade import Service
from moorage.service.tokens import Tokens
from moorage.store.sql.errors import ConnectionLostError, ConstraintError
from moorage.store.store import Store
from moorage.store.tokens import WRITE_ATTEMPTS, TokenTable
from tests.databases.prepared import OpenStore
from tests.databases.sql_watch import watching
from tests.peer.exchange import Request, call

NOW = 1_800_000_000
LONG = "ü" * 255


def test_a_token_comes_back_as_it_was_given_out(store: Store) -> None:
    tokens = Tokens(store)
    _, plain = issue("service", NOW)
    _, full = issue("reader", NOW + 1, name=LONG, project_id="'; --", expires_at=NOW + 60)
    tokens.add(full)
    tokens.add(plain)
    assert tokens.find(plain.id) == plain
    assert tokens.find(full.id) == full
    assert tokens.find("0" * 16) is None
    assert tokens.all() == [plain, full]


def test_a_token_that_is_taken_back_is_so_for_every_process_and_since_the_first_time(
    store: Store, open_store: OpenStore, prepared_url: str
) -> None:
    here, there = Tokens(store), Tokens(open_store(prepared_url))
    _, record = issue("service", NOW)
    here.add(record)
    assert there.find(record.id) == record
    assert there.revoke(record.id, NOW + 5)
    assert there.revoke(record.id, NOW + 6)
    found = here.find(record.id)
    assert found is not None
    assert found.revoked_at == NOW + 5
    assert not here.revoke("0" * 16, NOW)


@pytest.mark.parametrize("state", ["valid", "revoked", "expired", "unknown"])
def test_a_request_costs_one_statement_for_its_token_and_writes_nothing(
    sqlite_store: Store, sqlite_service: Service, state: str
) -> None:
    tokens = Tokens(sqlite_store)
    text, record = issue("service", NOW, expires_at=NOW + (10 if state == "expired" else 10**9))
    if state != "unknown":
        tokens.add(record)
    if state == "revoked":
        tokens.revoke(record.id, NOW)
    served = application.create(sqlite_service, None, TokenAuth(tokens.find, lambda: NOW + 20))
    asked = Request("GET", "/nothing", headers={"X-Auth-Token": text})
    direct: list[str] = []
    with watching(sqlite_store) as watched, traced(sqlite_store, direct):
        answer = call(served, asked)
    assert answer.status == (404 if state == "valid" else 401)
    assert len(direct) == 1
    assert direct[0].startswith("SELECT")
    assert not watched.commits


class traced:  # noqa: N801 - used like a function
    """What reaches SQLite past SQLAlchemy's events."""

    def __init__(self, store: Store, statements: list[str]) -> None:
        self._engine = store.engines.single
        self._statements = statements

    def __enter__(self) -> None:
        self._engine.dispose()
        with self._engine.connect() as connection:
            raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        self._raw = raw
        self._raw.set_trace_callback(self._statements.append)

    def __exit__(self, *_: object) -> None:
        self._raw.set_trace_callback(None)


def test_a_token_is_found_the_ordinary_way_if_the_short_one_is_closed(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = TokenTable(sqlite_store)
    _, record = issue("service", NOW)
    table.add(record)

    def fail(**_: object) -> Any:
        raise sqlite3.OperationalError("gone")

    monkeypatch.setattr(table._of_id, "rows", fail)
    assert table.find(record.id) == record
    assert table.find("0" * 16) is None


def test_a_token_whose_commit_was_lost_is_not_given_out_twice(sqlite_store: Store) -> None:
    table = TokenTable(sqlite_store)
    _, record = issue("service", NOW)
    table.add(record)
    table.add(record)
    assert table.all() == [record]
    _, other = issue("admin", NOW)
    with pytest.raises(ConstraintError):
        table.add(type(record)(record.id, other.digest, "other", "admin", None, NOW))


def test_a_write_is_done_again_when_its_connection_breaks(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = TokenTable(sqlite_store)
    begin = sqlite_store.engines.write.begin
    left = [ConnectionLostError] * (WRITE_ATTEMPTS - 1)

    def sometimes() -> Any:
        if left:
            raise left.pop()
        return begin()

    monkeypatch.setattr(sqlite_store.engines.write, "begin", sometimes)
    _, record = issue("service", NOW)
    table.add(record)
    assert table.find(record.id) == record
    left.extend([ConnectionLostError] * WRITE_ATTEMPTS)
    with pytest.raises(UnavailableError):
        table.revoke(record.id, NOW)
    assert table.find(record.id) == record
