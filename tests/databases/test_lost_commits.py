from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    CreateProvider,
    CreateTrait,
    UpdateProvider,
)
from moorage.model.errors import (
    CapacityExceededError,
    OutcomeUnknownError,
    UnavailableError,
)
from moorage.rules.decide import decide
from moorage.rules.state import Touch
from moorage.service.facade import Service
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Store
from moorage.store.tables import aggregates
from moorage.store.transaction import Write, WriteTransaction
from tests.databases.orders import (
    ASKER,
    VCPU,
    add_provider,
    claim,
    new_uuid,
    order,
)
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import (
    CommitMethod,
    before_statement,
    end_session,
    instead_of_commit,
    last_logged,
)
from tests.databases.together import together


def happens_and_is_lost(real: CommitMethod, transaction: WriteTransaction, writer: Any) -> None:
    real(transaction, writer)
    raise ConnectionLostError


def is_lost_before_it_happens(_real: CommitMethod, _transaction: WriteTransaction, _writer: Any) -> None:
    raise ConnectionLostError


def conflicts(_real: CommitMethod, _transaction: WriteTransaction, _writer: Any) -> None:
    raise WriteConflictError


def test_a_lost_commit_that_happened_is_answered_and_not_done_again(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, uuid, start = add_provider(service, VCPU=4), new_uuid(), store.revision()
    commits = instead_of_commit(monkeypatch, happens_and_is_lost)
    answers = together(
        service,
        claim(new_uuid(), {provider: {VCPU: 3}}),
        claim(new_uuid(), {provider: {VCPU: 3}}),
        CreateProvider(uuid, "new"),
    )
    assert len(commits) == 1
    assert isinstance(answers[1], CapacityExceededError)
    assert getattr(answers[2], "uuid", None) == uuid
    assert service.provider_usages(provider).usages == {VCPU: 3}
    assert service.provider(provider).generation == 2
    assert store.revision() == last_logged(store) == start + 2


def test_a_lost_commit_that_did_not_happen_is_done_once(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider, start = add_provider(service, VCPU=4), store.revision()
    commits = instead_of_commit(monkeypatch, is_lost_before_it_happens, conflicts, is_lost_before_it_happens)
    with caplog.at_level(logging.WARNING):
        order(service, claim(new_uuid(), {provider: {VCPU: 3}}))
    assert len(commits) == 4
    assert caplog.messages == ["A COMMIT got lost; it had not happened."] * 2
    assert service.provider_usages(provider).usages == {VCPU: 3}
    assert store.revision() == start + 1


def test_names_of_a_lost_commit_are_not_remembered_for_what_they_are_not(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids of rows that were rolled back go to others: they must not be used."""
    provider, kept = add_provider(service), new_uuid()
    commits = instead_of_commit(monkeypatch, is_lost_before_it_happens)
    add_provider(service, aggregates=(new_uuid(),))
    assert len(commits) > 1
    order(service, UpdateProvider(provider, "other"))
    add_provider(service, aggregates=(kept,))
    known = store.read(lambda connection: connection.execute(sa.select(aggregates.c.uuid)).scalars().all())
    assert kept in known


@contextmanager
def staying_away(
    monkeypatch: pytest.MonkeyPatch, answers: Sequence[Exception | None]
) -> Iterator[list[None]]:
    """Have the settling of lost COMMITs fail so; None asks the database."""
    real = Store.was_committed
    asked: list[None] = []

    def was_committed(store: Store, transaction_id: str) -> bool:
        fault = answers[min(len(asked), len(answers) - 1)]
        asked.append(None)
        if fault is not None:
            raise fault
        return real(store, transaction_id)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "was_committed", was_committed)
        yield asked


@pytest.mark.parametrize("happens", [True, False])
def test_nobody_is_told_how_a_commit_ended_while_it_is_on_its_way(store: Store, happens: bool) -> None:
    """The server may still be at it when the client's connection has gone."""
    touch, command = Touch(trait_names=frozenset(("CUSTOM_T",))), CreateTrait("CUSTOM_T")
    told: list[bool] = []
    asking = threading.Thread(target=lambda: told.append(store.was_committed("t" * 32)))
    with WriteTransaction(store) as transaction:
        state = transaction.read(touch)
        changes = decide(state, command)
        state.apply(changes)
        writer = transaction.write(state, [Write(changes.kind, frozenset(), True, ASKER)], "t" * 32)
        asking.start()
        asking.join(0.2)
        assert told == []
        if happens:
            transaction.commit(writer)
    asking.join()
    assert told == [happens]


def test_settling_waits_for_the_database_to_come_back(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead_of_commit(monkeypatch, happens_and_is_lost)
    faults = [ConnectionLostError(), WriteConflictError(), UnavailableError("away"), ValueError(), None]
    start = store.revision()
    with staying_away(monkeypatch, faults) as asked:
        assert order(service, CreateTrait("CUSTOM_T")) is True
    assert len(asked) == 5
    assert store.revision() == start + 1


def test_an_outcome_that_cannot_be_settled_is_told_as_unknown(
    store: Store, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = open_service(store, deadline_seconds=0)
    instead_of_commit(monkeypatch, happens_and_is_lost)
    with staying_away(monkeypatch, [ConnectionLostError()]), pytest.raises(OutcomeUnknownError):
        order(service, CreateTrait("CUSTOM_T"))
    assert order(service, CreateTrait("CUSTOM_T")) is False


def test_a_connection_that_the_server_ends_at_commit_is_settled(
    server_store: Store, server_service: Service
) -> None:
    provider, start = add_provider(server_service, VCPU=4), server_store.revision()
    ended: list[None] = []

    def on_commit(connection: sa.Connection) -> None:
        if not ended:
            ended.append(None)
            end_session(server_store, connection)

    sa.event.listen(server_store.engines.write, "commit", on_commit)
    order(server_service, claim(new_uuid(), {provider: {VCPU: 3}}))
    assert ended
    assert server_service.provider_usages(provider).usages == {VCPU: 3}
    assert server_store.revision() == start + 1


@pytest.mark.parametrize("beginning", ["SELECT", "INSERT INTO allocations", "UPDATE moorage_revision"])
def test_a_connection_that_the_server_ends_before_commit_costs_nothing(
    server_store: Store, server_service: Service, beginning: str
) -> None:
    provider, start = add_provider(server_service, VCPU=4), server_store.revision()
    with before_statement(
        server_store.engines.write, beginning, lambda connection: end_session(server_store, connection)
    ) as met:
        order(server_service, claim(new_uuid(), {provider: {VCPU: 3}}))
    assert met
    assert server_service.provider_usages(provider).usages == {VCPU: 3}
    assert server_store.revision() == start + 1


def test_a_commit_that_never_reaches_the_database_leaves_nothing_open(store: Store, service: Service) -> None:
    """The transaction would still be there when its connection is used again."""
    provider, start = add_provider(service, VCPU=4), store.revision()
    failures: list[Exception] = [WriteConflictError(), ConnectionLostError()]

    def on_commit(_connection: sa.Connection) -> None:
        if failures:
            raise failures.pop()

    sa.event.listen(store.engines.write, "commit", on_commit)
    order(service, claim(new_uuid(), {provider: {VCPU: 3}}))
    sa.event.remove(store.engines.write, "commit", on_commit)
    assert not failures
    assert service.provider_usages(provider).usages == {VCPU: 3}
    assert store.revision() == start + 1


def test_a_commit_that_happened_is_not_denied_for_how_its_connection_ends(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sa.Connection.close
    ends: list[None] = []

    def close(connection: sa.Connection) -> None:
        real(connection)
        if connection.engine is sqlite_store.engines.write:
            ends.append(None)
            raise RuntimeError("it does not want to go")

    monkeypatch.setattr(sa.Connection, "close", close)
    assert order(sqlite_service, CreateTrait("CUSTOM_T")) is True
    assert ends
