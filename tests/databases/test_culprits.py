"""A command that only the database refuses costs the other commands of its group one more attempt at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    Batch,
    Command,
    CreateProvider,
    CreateTrait,
    DeleteProvider,
    UpdateProvider,
)
from moorage.model.errors import (
    EqualNameError,
    OutcomeUnknownError,
    ProviderExistsError,
    UnavailableError,
    UnstorableError,
)
from moorage.service.committer import CONSTRAINT_ATTEMPTS, Committer
from moorage.service.facade import Service
from moorage.store.sql.errors import ConstraintError
from moorage.store.store import Store
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService, Prepare, store_on
from tests.databases.sql_watch import before_statement, watching
from tests.databases.together import kinds, led, together


@contextmanager
def attempts(service: Service) -> Iterator[list[list[Command[Any]]]]:
    """The commands of each transaction that is tried meanwhile."""
    tried: list[list[Command[Any]]] = []
    real = Committer._attempt

    def attempt(committer: Committer, group: Any, transaction_id: str) -> Any:
        if committer is service._committer:
            tried.append([ticket.command for ticket in group])
        return real(committer, group, transaction_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Committer, "_attempt", attempt)
        yield tried


def counted(tried: list[list[Command[Any]]]) -> Counter[int]:
    """How often each command was tried, by its identity."""
    return Counter(id(command) for group in tried for command in group)


def honest(number: int) -> list[CreateProvider]:
    return [CreateProvider(uuid := new_uuid(), f"honest {uuid}") for _ in range(number)]


def holds_equal(store: Store) -> bool:
    """MariaDB's usual collation ignores case, and spaces at the end."""
    return store.engines.write.dialect.name == "mysql"


def test_names_held_equal_to_one_that_is_there_are_refused_at_the_first_attempt(
    store: Store, service: Service
) -> None:
    provider = add_provider(service, "Bérth", VCPU=10)
    consumer = new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 1}}))
    names = ("BÉRTH", "berth", "Bérth  ", "bérth")
    hostile = [CreateProvider(new_uuid(), name) for name in names]
    others = honest(3)
    with attempts(service) as tried:
        answers = together(
            service,
            others[0],
            *hostile,
            claim(consumer.upper(), {provider: {VCPU: 2}}, None),
            *others[1:],
            UpdateProvider(provider, "BERTH"),
        )
    assert set(counted(tried).values()) == {1}
    assert [service.provider(each.uuid).name for each in others] == [each.name for each in others]
    assert service.provider(provider).name == "BERTH"
    if holds_equal(store):
        assert kinds(answers[1:6]) == [ProviderExistsError] * 4 + [EqualNameError]
        assert [vars(answer) for answer in answers[1:5]] == [{"uuid": None, "name": name} for name in names]
        assert service.provider_usages(provider).usages == {VCPU: 1}
    else:
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert service.provider_usages(provider).usages == {VCPU: 3}


def test_names_held_equal_cost_one_statement_however_many_they_are(store: Store, service: Service) -> None:
    for name in ("berth", "quay", "pier", "lock"):
        add_provider(service, name)

    def statements(*names: str) -> int:
        with watching(store) as watched:
            together(service, *(CreateProvider(new_uuid(), name) for name in names), *honest(1))
        return len(watched)

    alone = statements(new_uuid())
    few, many = statements("BERTH", new_uuid()), statements("Berth", "Quay", "Pier", "Lock", new_uuid())
    if holds_equal(store):
        assert alone + 1 == few == many


def test_a_name_is_free_once_the_one_held_equal_has_gone(service: Service) -> None:
    """Also within one command."""
    old, renamed, new = add_provider(service, "berth"), add_provider(service, "quay"), new_uuid()
    order(
        service,
        Batch(
            (
                DeleteProvider(old),
                CreateProvider(new, "BERTH"),
                UpdateProvider(renamed, "pier"),
            )
        ),
    )
    order(service, UpdateProvider(new, "Berth"))
    order(service, CreateProvider(new_uuid(), "QUAY"))
    assert service.provider(new).name == "Berth"


def test_a_consumer_is_free_once_the_one_held_equal_has_gone(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=10), new_uuid()
    order(service, claim(consumer, {provider: {VCPU: 1}}))
    again = claim(consumer.upper(), {provider: {VCPU: 2}}, None)
    if holds_equal(store):
        with pytest.raises(EqualNameError):
            order(service, again)
        order(service, claim(consumer.upper(), {}))
    order(service, claim(consumer, {}))
    order(service, again)
    assert service.provider_usages(provider).usages == {VCPU: 2}


def test_new_names_that_look_alike_cost_no_attempt(store: Store, service: Service) -> None:
    """The second one waits for the next group, where the first one is seen."""
    others, provider, consumer = honest(4), add_provider(service, VCPU=10), new_uuid()
    pairs = [CreateProvider(new_uuid(), name) for name in ("quay", "QUAY", "pier", "PIER ")]
    claims = [claim(each, {provider: {VCPU: 1}}, None) for each in (consumer, consumer.upper())]
    with attempts(service) as tried:
        answers = together(service, others[0], *pairs[:2], *others[1:3], *pairs[2:], *claims, others[3])
    assert set(counted(tried).values()) == {1}
    assert len(tried) == (2 if holds_equal(store) else 1)
    refused = [ProviderExistsError, ProviderExistsError, EqualNameError] if holds_equal(store) else []
    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == refused
    assert all(service.provider(each.uuid) for each in others)


def test_names_that_are_held_equal_but_do_not_look_alike_cost_the_others_one_more_attempt(
    store: Store, service: Service
) -> None:
    others = honest(4)
    pair = [CreateProvider(new_uuid(), name) for name in ("quay", "qu\u200bay")]
    with attempts(service) as tried:
        together(service, *others[:2], *pair, *others[2:])
    assert max(counted(tried).values()) <= 2
    assert all(service.provider(each.uuid) for each in others)


def test_projects_users_and_types_held_equal_or_written_meanwhile_cost_no_attempt(
    store: Store, service: Service, open_service: OpenService
) -> None:
    provider, other = add_provider(service, VCPU=30), open_service(store)

    def orders(*words: str) -> list[Command[Any]]:
        return [
            claim(
                new_uuid(),
                {provider: {VCPU: 1}},
                project_id=f"project {word}",
                user_id=f"user {word}",
                consumer_type="TYPE",
            )
            for word in words
        ]

    with attempts(service) as tried:
        together(service, *orders("a", "A", "b", "B "))
    assert len(tried) == 1
    if store.engines.serializes_writes:
        return
    with (
        before_statement(
            store.engines.write, "INSERT INTO projects", lambda _: order(other, orders("c")[0])
        ) as met,
        attempts(service) as tried,
    ):
        together(service, *orders("c", "C", "d"))
    assert met
    # The other claim raised the provider's generation, which is a conflict.
    assert len(tried) <= 2
    assert service.provider_usages(provider).usages == {VCPU: 8}


class FaultError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "answer", "tries"),
    [
        (ConstraintError(("name",)), ProviderExistsError, 1 + CONSTRAINT_ATTEMPTS),
        (ConstraintError(("uuid",)), ProviderExistsError, 1 + CONSTRAINT_ATTEMPTS),
        (ConstraintError(()), EqualNameError, 1 + CONSTRAINT_ATTEMPTS),
        (UnstorableError(), UnstorableError, 2),
        (OverflowError("a number is too large for a driver"), OverflowError, 2),
        (FaultError(), FaultError, 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_whatever_one_command_meets_costs_the_others_of_its_group_one_more_attempt(
    sqlite_service: Service,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    answer: type[Exception],
    tries: int,
) -> None:
    others, culprits = honest(6), honest(2)
    real = WriteTransaction.write

    def write(transaction: WriteTransaction, after: Any, *rest: Any) -> Any:
        if any(culprit.uuid in after.providers for culprit in culprits):
            raise error
        return real(transaction, after, *rest)

    monkeypatch.setattr(WriteTransaction, "write", write)
    with attempts(sqlite_service) as tried:
        tickets = [*others[:3], culprits[0], *others[3:], culprits[1]]
        answers = outcomes(sqlite_service, tickets)
    assert [type(given) for given in answers if isinstance(given, Exception)] == [answer, answer]
    assert type(answers[3]) is type(answers[7]) is answer
    tries_of = counted(tried)
    assert [tries_of[id(each)] for each in others] == [2] * 6
    assert [tries_of[id(each)] for each in culprits] == [tries] * 2
    assert all(sqlite_service.provider(each.uuid) for each in others)


def outcomes(service: Service, commands: list[CreateProvider]) -> list[object]:
    """Results and errors of commands that one leader, in this thread, finds waiting."""
    return [ticket.error or ticket.result for ticket in led(service, [(each, ASKER) for each in commands])]


@pytest.mark.parametrize("error", [UnavailableError("the disk is full"), OutcomeUnknownError("it is away")])
def test_a_database_that_does_not_work_is_not_asked_once_for_each_command(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def write(*_: Any) -> None:
        raise error

    monkeypatch.setattr(WriteTransaction, "write", write)
    with attempts(sqlite_service) as tried:
        assert outcomes(sqlite_service, honest(5)) == [error] * 5
    assert len(tried) == 1


@pytest.mark.databases
@pytest.mark.parametrize("charset", ["latin1", "utf8mb3"])
def test_text_that_a_column_has_no_characters_for_is_refused_alone(prepare: Prepare, charset: str) -> None:
    """Placement makes its tables so on MariaDB."""
    store = store_on(prepare("mariadb"))
    service = Service(store)
    columns = {"resource_providers": "name VARCHAR(200)", "projects": "external_id VARCHAR(255)"}
    with store.engines.write.begin() as connection:
        for table, column in columns.items():
            connection.exec_driver_sql(
                f"ALTER TABLE {table} MODIFY {column} CHARACTER SET {charset} NOT NULL"
            )
    try:
        provider, others = add_provider(service, VCPU=10), honest(2)
        with attempts(service) as tried:
            answers = together(
                service,
                others[0],
                CreateProvider(new_uuid(), "\U0001f6a2"),
                claim(new_uuid(), {provider: {VCPU: 1}}, project_id="\U0001f6a2"),
                claim(new_uuid(), {provider: {VCPU: 2}}, project_id="harbour"),
                CreateTrait("CUSTOM_T"),
                others[1],
            )
        assert kinds(answers)[1:3] == [UnstorableError, UnstorableError]
        assert not [answer for answer in answers[3:] if isinstance(answer, Exception)]
        assert len(tried) == 1 + len(answers)
        assert service.provider_usages(provider).usages == {VCPU: 2}
    finally:
        service.close()
        with sa.create_engine(prepare("mariadb")).begin() as connection:
            for table, column in columns.items():
                connection.exec_driver_sql(f"ALTER TABLE {table} MODIFY {column} CHARACTER SET utf8mb4")
