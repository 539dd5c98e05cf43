from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import CreateTrait
from moorage.model.errors import UnavailableError
from moorage.service.facade import Service
from moorage.store import names
from moorage.store.settings import StoreSettings
from moorage.store.sql.engines import WRITERS
from moorage.store.sql.errors import ConnectionLostError, ConstraintError, WriteConflictError
from moorage.store.store import Store
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import order

NOBODY_LISTENS = "postgresql+psycopg://moorage@127.0.0.1:1/moorage?connect_timeout=2"


def a_clock_of_its_own(pauses: list[float]) -> SimpleNamespace:
    """In place of the module ``time``, whose own ``sleep`` other threads of the process call as well."""
    return SimpleNamespace(sleep=pauses.append)


def fails(*faults: type[Exception]) -> Any:
    """A question that ends so at its first askings, and then with their number."""
    left = list(faults)

    def question(_connection: sa.Connection) -> int:
        if left:
            raise left.pop(0)
        return len(faults)

    return question


def test_a_read_is_asked_again_when_its_connection_breaks(sqlite_store: Store) -> None:
    assert sqlite_store.read(fails(ConnectionLostError, WriteConflictError)) == 2
    with pytest.raises(UnavailableError, match="cannot be reached"):
        sqlite_store.read(fails(*[ConnectionLostError] * 3))
    with pytest.raises(KeyError):
        sqlite_store.read(fails(KeyError))


def test_a_database_that_is_there_needs_no_waiting(sqlite_store: Store) -> None:
    sqlite_store.wait_until_reachable()


def test_waiting_ends_after_as_many_attempts_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("moorage.store.store.time", a_clock_of_its_own(pauses))
    store = Store(StoreSettings(NOBODY_LISTENS, connect_retries=2, connect_retry_seconds=3))
    with pytest.raises(UnavailableError, match=r"nothing listens at its address \(tried 3 times\)"):
        store.wait_until_reachable()
    assert pauses == [3, 3]
    # The same reason is told again once it has stood for a minute.
    (line,) = caplog.messages
    assert "nothing listens at its address (" in line
    assert line.endswith("trying again every 3 s (1, of 2).")
    for method in (store.revision, WriteTransaction(store).__enter__):
        with pytest.raises((UnavailableError, ConnectionLostError)):
            method()
    store.close()


def test_waiting_without_a_bound_ends_when_the_database_comes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    store = Store(StoreSettings(NOBODY_LISTENS, connect_retries=-1))
    monkeypatch.setattr("moorage.store.store.time", a_clock_of_its_own(pauses))

    def read(_store: Store, _question: object) -> None:
        if len(pauses) < 20:
            raise UnavailableError("not yet")

    monkeypatch.setattr(Store, "read", read)
    store.wait_until_reachable()
    assert pauses == [10] * 20
    assert [line.rpartition("(")[2] for line in caplog.messages[:-1]] == [
        f"{attempt}, without end)." for attempt in (1, 7, 13, 19)
    ]
    assert caplog.messages[-1].endswith("is there now.")


def test_an_action_that_the_database_leaves_in_the_middle_is_begun_anew(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that starts while its database restarts must not end."""
    pauses: list[float] = []
    monkeypatch.setattr("moorage.store.store.time", a_clock_of_its_own(pauses))
    faults: list[Exception] = [ConnectionLostError(), WriteConflictError(), UnavailableError("some words")]

    def action() -> str:
        if faults:
            raise faults.pop()
        return "done"

    assert sqlite_store.patiently(action) == "done"
    assert len(pauses) == 3
    faults += [ConnectionLostError()] * 20
    with pytest.raises(UnavailableError, match="the connection to it was lost"):
        sqlite_store.patiently(action)
    assert len(faults) == 9


def test_names_are_tried_again_while_others_write_them_and_then_given_up(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    faults: list[Exception] = [ConstraintError(("name",)), WriteConflictError()]
    real = names.synchronise

    def synchronise(connection: sa.Connection, transaction_id: str, *, journals: bool) -> int:
        if faults:
            raise faults.pop()
        return real(connection, transaction_id, journals=journals)

    monkeypatch.setattr(names, "synchronise", synchronise)
    monkeypatch.setattr("moorage.store.store.time", a_clock_of_its_own(pauses))
    assert sqlite_store.synchronise_names() == 0
    assert len(pauses) == 2
    faults += [WriteConflictError()] * 5
    with pytest.raises(UnavailableError, match="others write them too"):
        sqlite_store.synchronise_names()


def test_a_transaction_that_is_left_without_commit_leaves_nothing(
    sqlite_store: Store, sqlite_service: Service
) -> None:
    assert not sqlite_store.was_committed("0" * 32)
    with WriteTransaction(sqlite_store):
        pass
    assert order(sqlite_service, CreateTrait("CUSTOM_T")) is True


def test_no_free_connection_is_told_as_unavailable(sqlite_template: Path) -> None:
    store = Store(StoreSettings(f"sqlite:///{sqlite_template}", pool_timeout_seconds=0))
    with ExitStack() as taken:
        for _ in range(WRITERS):
            taken.enter_context(WriteTransaction(store))
        with pytest.raises(UnavailableError, match="no database connection was free"):
            WriteTransaction(store).__enter__()
    store.close()


def test_a_service_closes_its_store(sqlite_store: Store, sqlite_service: Service) -> None:
    sqlite_service.warm_up()
    sqlite_service.close()
    assert sqlite_store.engines.single.pool.checkedin() == 0  # type: ignore[attr-defined]


def test_the_revision_is_asked_for_another_way_if_the_straight_one_fails(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = sqlite_store.revision()
    monkeypatch.setattr(sqlite_store._poll, "text", "SELECT nothing FROM nowhere")
    assert sqlite_store.revision() == known
