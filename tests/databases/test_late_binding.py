"""Commands that choose what they touch when their group begins, on the index as the last group left it."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from moorage.model.commands import Command, CreateTrait
from moorage.model.errors import CapacityExceededError, UnavailableError
from moorage.model.valueclass import valueclass
from moorage.rules.capacity import has_room
from moorage.rules.decide import RULES, Rule, decide
from moorage.rules.state import Touch
from moorage.service.binding import Bind
from moorage.service.committer import Committer
from moorage.service.facade import Service
from moorage.service.live_index import LiveIndex
from moorage.service.settings import CommitSettings
from moorage.store.sql.errors import WriteConflictError
from moorage.store.store import Store
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order, uuids_with_room
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import watching
from tests.databases.together import kinds, led, together


@valueclass(frozen=True, slots=True)
class ClaimAnywhere(Command[None]):
    """Claim VCPU of the first provider, by uuid, that has room."""

    binds_late: ClassVar[bool] = True

    consumer: str
    amount: int


class FirstWithRoom:
    """Binds to a claim of the first provider that has room, after what the same group was bound to."""

    def __init__(self, index: LiveIndex) -> None:
        self._index = index
        self.groups = 0
        self.trouble: Exception | None = None

    def of_group(self) -> Bind:
        """Raises ``trouble``, if there is any."""
        self.groups += 1
        if self.trouble is not None:
            raise self.trouble
        rooms = {
            record.uuid: (inventory, used)
            for record in self._index.now().snapshot.records()
            for _, inventory, used in record.inventories
        }
        chosen: dict[str, int] = {}

        def bind(command: Command[Any], _refused: frozenset[int]) -> Command[Any]:
            assert isinstance(command, ClaimAnywhere)
            for uuid, (inventory, used) in sorted(rooms.items()):
                if has_room(inventory, used + chosen.get(uuid, 0), command.amount):
                    chosen[uuid] = chosen.get(uuid, 0) + command.amount
                    return claim(command.consumer, {uuid: {VCPU: command.amount}})
            raise CapacityExceededError("anywhere", VCPU)

        return bind


def known(command: ClaimAnywhere) -> Touch:
    """What is known before it is bound."""
    return Touch(consumers=frozenset((command.consumer,)))


@pytest.fixture
def binder(store: Store, service: Service, monkeypatch: pytest.MonkeyPatch) -> FirstWithRoom:
    """The binder of ``service``, which knows the command of this module from now on."""
    monkeypatch.setitem(RULES, ClaimAnywhere, Rule(known, decide))
    binder = FirstWithRoom(service._index)
    service._committer = Committer(store, CommitSettings(), audience=service._index, binder=binder)
    return binder


def holding(service: Service, consumer: str) -> set[str]:
    return set(service.consumer_allocations(consumer).providers)


def test_a_command_that_binds_late_is_carried_out_as_what_it_is_bound_to(
    service: Service, binder: FirstWithRoom
) -> None:
    provider = add_provider(service, VCPU=8)
    consumer = new_uuid()
    assert order(service, ClaimAnywhere(consumer, 5)) is None
    assert holding(service, consumer) == {provider}
    assert uuids_with_room(service, VCPU, 4) == set()


def test_it_sees_the_claims_of_the_group_before_it_without_reading_them(
    store: Store, service: Service, binder: FirstWithRoom
) -> None:
    first, second = sorted(add_provider(service, VCPU=8) for _ in range(2))
    service.warm_up()
    order(service, claim(new_uuid(), {first: {VCPU: 7}}))
    consumer = new_uuid()
    with watching(store) as watched:
        order(service, ClaimAnywhere(consumer, 2))
    assert holding(service, consumer) == {second}
    # It asks for the revision, and for nothing else.
    assert len(watched.direct) == 1


def test_the_leader_knows_the_last_group_even_if_it_was_woken_by_it(
    service: Service, binder: FirstWithRoom, store: Store
) -> None:
    first, second = sorted(add_provider(service, VCPU=8) for _ in range(2))
    service._committer = Committer(store, CommitSettings(group_size=1), None, service._index, binder)
    consumers = [new_uuid() for _ in range(4)]
    assert together(service, *(ClaimAnywhere(consumer, 4) for consumer in consumers)) == [None] * 4
    assert binder.groups == 4
    assert [holding(service, consumer) for consumer in consumers] == [{first}, {first}, {second}, {second}]


def test_it_sees_what_other_processes_committed(
    store: Store, service: Service, binder: FirstWithRoom, open_service: OpenService
) -> None:
    first, second = sorted(add_provider(service, VCPU=8) for _ in range(2))
    service.warm_up()
    order(open_service(store), claim(new_uuid(), {first: {VCPU: 8}}))
    consumer = new_uuid()
    order(service, ClaimAnywhere(consumer, 1))
    assert holding(service, consumer) == {second}


def test_a_refusal_while_binding_answers_only_its_own_ticket(service: Service, binder: FirstWithRoom) -> None:
    provider = add_provider(service, VCPU=8)
    fits, too_much, fits_too = (ClaimAnywhere(new_uuid(), amount) for amount in (3, 6, 5))
    plain = new_uuid()
    commands = (CreateTrait("CUSTOM_T"), fits, too_much, fits_too, claim(plain, {provider: {VCPU: 1}}))
    tickets = led(service, [(command, ASKER) for command in commands])
    # Late commands are decided first, so what was bound to all that is left gets it.
    refusals = [type(None), type(None), CapacityExceededError, type(None), CapacityExceededError]
    assert kinds([ticket.error for ticket in tickets]) == refusals
    assert tickets[0].result is True
    assert [holding(service, each.consumer) for each in (fits, too_much, fits_too)] == [
        {provider},
        set(),
        {provider},
    ]


def test_if_no_index_can_be_had_the_other_commands_of_the_group_are_carried_out(
    service: Service, binder: FirstWithRoom
) -> None:
    add_provider(service, VCPU=8)
    binder.trouble = UnavailableError("no index")
    late = [ClaimAnywhere(new_uuid(), 1) for _ in range(2)]
    tickets = led(service, [(command, ASKER) for command in (late[0], CreateTrait("CUSTOM_T"), late[1])])
    assert kinds([ticket.error for ticket in tickets]) == [UnavailableError, type(None), UnavailableError]
    assert tickets[1].result is True


def test_a_fault_of_the_program_while_binding_is_answered_and_logged(
    service: Service,
    binder: FirstWithRoom,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fault(_command: object, _refused: object) -> None:
        raise LookupError

    monkeypatch.setattr(binder, "of_group", lambda: fault)
    commands = (ClaimAnywhere(new_uuid(), 1), CreateTrait("CUSTOM_T"))
    tickets = led(service, [(command, ASKER) for command in commands])
    assert kinds([ticket.error for ticket in tickets]) == [LookupError, type(None)]
    assert "A ClaimAnywhere could not be bound." in caplog.messages


def test_a_group_that_is_tried_again_is_bound_again(
    service: Service, binder: FirstWithRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_provider(service, VCPU=8)
    failures = [WriteConflictError(), WriteConflictError()]
    real = WriteTransaction.read

    def read(transaction: WriteTransaction, touch: Touch) -> Any:
        if failures:
            raise failures.pop()
        return real(transaction, touch)

    monkeypatch.setattr(WriteTransaction, "read", read)
    order(service, ClaimAnywhere(new_uuid(), 1))
    assert binder.groups == 3


def test_without_a_binder_a_command_that_binds_late_is_a_fault_of_the_program(
    store: Store, service: Service, binder: FirstWithRoom
) -> None:
    service._committer = Committer(store, CommitSettings())
    with pytest.raises(TypeError):
        order(service, ClaimAnywhere(new_uuid(), 1))
