from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import (
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteProvider,
    RenameResourceClass,
    SetInventories,
    SetTraits,
)
from moorage.model.errors import (
    CapacityExceededError,
    MoorageError,
    ProviderExistsError,
    ProviderNotFoundError,
    UnavailableError,
)
from moorage.service.facade import Service
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Store
from moorage.store.tables import changes
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import (
    VCPU,
    add_provider,
    claim,
    inventories,
    new_uuid,
    order,
    uuids_with_room,
)
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import (
    before_statement,
    last_logged,
    watching,
)
from tests.databases.together import kinds, together


def test_orders_that_wait_are_committed_together(store: Store, service: Service) -> None:
    start = store.revision()
    with watching(store) as watched:
        together(service, *(CreateProvider(new_uuid(), f"name {number}") for number in range(12)))
    assert watched.commits == 1
    assert store.revision() == start + 12
    query = sa.select(changes.c.transaction_id).distinct().where(changes.c.revision > start)
    assert len(store.read(lambda connection: connection.execute(query).all())) == 1


def test_a_group_is_no_larger_than_the_settings_say(store: Store, open_service: OpenService) -> None:
    service = open_service(store, group_size=5)
    with watching(store) as watched:
        together(service, *(CreateProvider(new_uuid(), f"name {number}") for number in range(12)))
    assert watched.commits == 3


def test_a_group_sees_what_its_earlier_orders_did(service: Service) -> None:
    provider, consumer, other = new_uuid(), new_uuid(), new_uuid()
    answers = together(
        service,
        CreateProvider(provider, "one"),
        SetInventories(provider, 0, inventories(VCPU=4)),
        claim(consumer, {provider: {VCPU: 3}}, None),
        claim(other, {provider: {VCPU: 2}}, None),
        claim(consumer, {provider: {VCPU: 2}}, 1),
        claim(other, {provider: {VCPU: 2}}, None),
    )
    assert kinds(answers)[2:] == [type(None), CapacityExceededError, type(None), type(None)]
    assert service.provider_usages(provider).usages == {VCPU: 4}
    assert service.provider(provider).generation == 4
    assert service.consumer_allocations(consumer).generation == 2


def test_a_refused_order_does_not_spoil_its_neighbours(store: Store, service: Service) -> None:
    taken, free = new_uuid(), new_uuid()
    start = store.revision()
    answers = together(
        service,
        CreateProvider(taken, "taken"),
        CreateProvider(new_uuid(), "taken"),
        DeleteProvider(new_uuid()),
        SetInventories(taken, 7, {}),
        CreateProvider(free, "free"),
    )
    assert isinstance(answers[1], ProviderExistsError)
    assert isinstance(answers[2], ProviderNotFoundError)
    assert isinstance(answers[3], MoorageError)
    assert service.provider(taken).name == "taken"
    assert service.provider(free).name == "free"
    assert store.revision() == start + 2


def test_a_provider_goes_and_comes_again_within_a_group(service: Service) -> None:
    first, second = add_provider(service, "first", VCPU=4), add_provider(service, "second", VCPU=4)
    answers = together(
        service,
        DeleteProvider(first),
        CreateProvider(first, "first"),
        DeleteProvider(second),
        CreateProvider(new_uuid(), "second"),
        CreateProvider(second, "third"),
    )
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert service.provider_inventories(first).inventories == {}
    assert service.provider(second).name == "third"
    assert uuids_with_room(service, VCPU, 1) == set()


def test_a_rename_of_a_class_has_a_transaction_to_itself(store: Store, service: Service) -> None:
    order(service, CreateResourceClass("CUSTOM_OLD"))
    provider = new_uuid()
    with watching(store) as watched:
        answers = together(
            service,
            CreateProvider(provider, "one"),
            SetInventories(provider, 0, inventories(CUSTOM_OLD=4)),
            RenameResourceClass("CUSTOM_OLD", "CUSTOM_NEW"),
            claim(new_uuid(), {provider: {"CUSTOM_NEW": 1}}),
            RenameResourceClass("CUSTOM_NEW", "CUSTOM_NEWER"),
            claim(new_uuid(), {provider: {"CUSTOM_NEWER": 1}}),
        )
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert watched.commits == 5
    assert service.provider_usages(provider).usages == {"CUSTOM_NEWER": 2}


FAULTS = (WriteConflictError, ConnectionLostError)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", ["read", "write"])
def test_a_conflict_or_a_lost_connection_is_tried_again_unseen(
    store: Store, service: Service, step: str, fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = add_provider(service, VCPU=4)
    start, real, failures = store.revision(), getattr(WriteTransaction, step), [fault(), fault()]

    def failing(transaction: WriteTransaction, *arguments: Any) -> Any:
        result = real(transaction, *arguments)
        if failures:
            raise failures.pop()
        return result

    monkeypatch.setattr(WriteTransaction, step, failing)
    answers = together(
        service,
        claim(new_uuid(), {provider: {VCPU: 3}}),
        claim(new_uuid(), {provider: {VCPU: 3}}),
        CreateTrait("CUSTOM_T"),
    )
    assert failures == []
    assert kinds(answers) == [type(None), CapacityExceededError, bool]
    assert service.provider_usages(provider).usages == {VCPU: 3}
    assert store.revision() == last_logged(store) == start + 2


def test_conflicts_without_end_are_told_after_the_deadline(
    store: Store, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = open_service(store, deadline_seconds=0)
    attempts: list[None] = []

    def conflict(_transaction: WriteTransaction, *_: Any) -> None:
        attempts.append(None)
        raise WriteConflictError

    with monkeypatch.context() as patch:
        patch.setattr(WriteTransaction, "write", conflict)
        with pytest.raises(UnavailableError, match="kept losing"):
            order(service, CreateTrait("CUSTOM_T"))
    assert attempts == [None]
    assert order(service, CreateTrait("CUSTOM_T")) is True


# Rows that only the database sees


def test_names_that_the_database_holds_equal_are_refused_one_by_one(store: Store, service: Service) -> None:
    """MariaDB's collation does not tell case; the other databases do."""
    add_provider(service, "Berth")
    one, two, three = new_uuid(), new_uuid(), new_uuid()
    answers = together(
        service, CreateProvider(one, "first"), CreateProvider(two, "BERTH"), CreateProvider(three, "third")
    )
    assert service.provider(one).name == "first"
    assert service.provider(three).name == "third"
    if store.engines.write.dialect.name == "mysql":
        assert isinstance(answers[1], ProviderExistsError)
        assert (answers[1].uuid, answers[1].name) == (None, "BERTH")
        with pytest.raises(ProviderNotFoundError):
            service.provider(two)
    else:
        assert service.provider(two).name == "BERTH"


def test_two_orders_of_a_group_with_names_held_equal_each_get_their_answer(
    store: Store, service: Service
) -> None:
    one, two, three = new_uuid(), new_uuid(), new_uuid()
    answers = together(
        service,
        CreateProvider(one, "quay"),
        CreateProvider(two, "QUAY"),
        CreateProvider(three, "pier"),
        DeleteProvider(new_uuid()),
    )
    assert service.provider(one).name == "quay"
    assert service.provider(three).name == "pier"
    assert isinstance(answers[3], ProviderNotFoundError)
    if store.engines.write.dialect.name == "mysql":
        assert isinstance(answers[1], ProviderExistsError)
    else:
        assert service.provider(two).name == "QUAY"


def test_a_row_that_another_process_wrote_meanwhile_is_read_and_decided_on(
    server_store: Store, server_service: Service, open_service: OpenService
) -> None:
    other = open_service(server_store)
    with (
        before_statement(
            server_store.engines.write,
            "INSERT INTO resource_providers",
            lambda _: order(other, CreateProvider(new_uuid(), "wanted by both")),
        ),
        pytest.raises(ProviderExistsError) as refused,
    ):
        order(server_service, CreateProvider(new_uuid(), "wanted by both"))
    assert (refused.value.uuid, refused.value.name) == (None, "wanted by both")


def test_a_consumer_that_moves_while_it_is_read_is_read_again(
    server_store: Store, server_service: Service, open_service: OpenService
) -> None:
    """What it holds is read before it is locked, so that providers are locked first."""
    places = [add_provider(server_service, VCPU=4) for _ in range(3)]
    consumer, other = new_uuid(), open_service(server_store)
    order(server_service, claim(consumer, {places[0]: {VCPU: 1}}))

    def move(_connection: sa.Connection) -> None:
        order(other, claim(consumer, {places[1]: {VCPU: 2}}))

    # First into a provider that the order does not touch, then into one that its neighbour does.
    for neighbour in (CreateTrait("CUSTOM_T"), SetTraits(places[1], None, frozenset())):
        order(server_service, claim(consumer, {places[0]: {VCPU: 1}}))
        with before_statement(server_store.engines.write, "SELECT resource_providers.id", move) as met:
            answers = together(server_service, claim(consumer, {places[2]: {VCPU: 3}}), neighbour)
        assert met
        assert not [answer for answer in answers if isinstance(answer, Exception)]
        assert [server_service.provider_usages(place).usages[VCPU] for place in places] == [0, 0, 3]
