"""What is in use is not added up again for every claim, and never taken for other than it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from moorage.model.commands import DeleteAllocations, SetInventories
from moorage.model.errors import CapacityExceededError
from moorage.service.facade import Service
from moorage.store.nouns import consumers
from moorage.store.store import Store
from moorage.store.tables import allocations, resource_providers
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order
from tests.databases.prepared import OpenService


@pytest.fixture
def provider(service: Service) -> str:
    """With room for eight."""
    return add_provider(service, VCPU=8)


@pytest.fixture
def other_service(prepared_url: str, open_service: OpenService) -> Service:
    """Another process, as far as the database can tell."""
    return open_service(prepared_url)


@contextmanager
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of how many providers each statement asks for the use."""
    real = consumers.FACTS.rows
    found: list[int] = []

    def rows(connection: sa.Connection, **values: list[object]) -> list[object]:
        found.append(len(values["used"]))
        return real(connection, **values)

    with monkeypatch.context() as patch:
        patch.setattr(consumers.FACTS, "rows", rows)
        yield found


def take(service: Service, provider: str, amount: int = 1) -> str:
    consumer = new_uuid()
    order(service, claim(consumer, {provider: {VCPU: amount}}, None))
    return consumer


def test_a_sum_is_asked_for_once(service: Service, provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with asked(monkeypatch) as found:
        consumer = take(service, provider, 3)
        order(service, DeleteAllocations(consumer))
        take(service, provider, 5)
        with pytest.raises(CapacityExceededError):
            take(service, provider, 4)
        take(service, provider, 3)
    assert found == [1, 0, 0, 0, 0]


def test_a_write_that_is_no_claim_ends_the_memory(
    service: Service, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(service, provider, 5)
    with asked(monkeypatch) as found:
        order(service, SetInventories(provider, None, inventories(VCPU=10)))
        take(service, provider, 5)
    assert found[-1] == 1


def test_what_another_process_claims_is_seen(
    service: Service, provider: str, other_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(service, provider, 3)
    taken = take(other_service, provider, 5)
    with pytest.raises(CapacityExceededError):
        take(service, provider)
    order(other_service, DeleteAllocations(taken))
    with asked(monkeypatch) as found:
        take(service, provider, 5)
    with pytest.raises(CapacityExceededError):
        take(other_service, provider)
    assert found == [1], "where others write the memory is not even tried"


def test_a_database_error_ends_the_memory(
    store: Store, service: Service, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(service, provider, 3)
    with pytest.raises(RuntimeError), WriteTransaction(store):
        raise RuntimeError
    with asked(monkeypatch) as found:
        take(service, provider, 5)
    assert found == [1]


def by_hand(statement: sa.Executable) -> Callable[[Store], None]:
    """Past everything that counts revisions."""

    def act(store: Store) -> None:
        with store.engines.snapshot.begin() as connection:
            connection.execute(statement)

    return act


def test_a_generation_that_another_program_raised_ends_the_memory(
    store: Store, service: Service, provider: str
) -> None:
    take(service, provider, 3)
    table = resource_providers
    by_hand(allocations.update().values(used=8))(store)
    by_hand(table.update().where(table.c.uuid == provider).values(generation=table.c.generation + 1))(store)
    with pytest.raises(CapacityExceededError):
        take(service, provider)


def test_what_was_changed_by_hand_is_seen_after_a_while(
    store: Store, service: Service, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(service, provider, 3)
    by_hand(allocations.update().values(used=8))(store)
    monkeypatch.setattr(consumers, "LONGEST_SECONDS", -1.0)
    with pytest.raises(CapacityExceededError):
        take(service, provider)


def test_a_store_that_forgets_forgets_what_is_in_use(
    store: Store, service: Service, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(service, provider, 3)
    store.forget()
    with asked(monkeypatch) as found:
        take(service, provider)
    assert found == [1]
