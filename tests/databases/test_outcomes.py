"""What a command answers with its revision, on all databases."""

from __future__ import annotations

import pytest

from moorage.model.commands import CreateTrait, DeleteAllocations, ReleaseClaims, Released, WriteOutcome
from moorage.model.errors import (
    AllocationsNotFoundError,
    CapacityExceededError,
    UnavailableError,
)
from moorage.rules.decide import RULES, Rule, touch
from moorage.service.committer import Ticket
from moorage.service.facade import Service
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid


def test_a_write_is_answered_with_its_own_revision(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    before = service.revision()
    consumer = new_uuid()
    assert service.outcome(claim(consumer, {provider: {VCPU: 1}}), ASKER) == WriteOutcome(before + 1)
    assert service.outcome(ReleaseClaims((consumer,)), ASKER) == WriteOutcome(
        before + 2, Released((consumer,), ())
    )
    assert service.outcome(CreateTrait("CUSTOM_NEW"), ASKER) == WriteOutcome(before + 3, True)
    assert service.revision() == before + 3


def test_what_writes_nothing_is_answered_with_the_present_revision(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    before, absent = service.revision(), new_uuid()
    assert service.outcome(ReleaseClaims((absent,)), ASKER) == WriteOutcome(before, Released((), (absent,)))
    gone = service.outcome(DeleteAllocations(absent), ASKER)
    assert (gone.revision, type(gone.error)) == (before, AllocationsNotFoundError)
    full = service.outcome(claim(absent, {provider: {VCPU: 9}}), ASKER)
    assert (full.revision, type(full.error)) == (before, CapacityExceededError)
    assert service.revision() == before


def test_each_command_of_a_group_has_a_revision_of_its_own(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    consumers = [new_uuid() for _ in range(4)]
    before = service.revision()
    commands = [claim(consumer, {provider: {VCPU: 3}}) for consumer in consumers]
    tickets = [Ticket(command, ASKER, touch(command), asks_revision=True) for command in commands]
    service._committer._waiting.extend(tickets)
    service._committer._lead()
    assert [ticket.error is None for ticket in tickets] == [True, True, False, False]
    # A refusal has the revision of the state that refused it.
    assert [ticket.revision for ticket in tickets] == [before + 1, before + 2, before + 2, before + 2]


def test_a_write_that_never_gets_through_has_no_revision(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise UnavailableError("gone")

    monkeypatch.setattr(WriteTransaction, "read", lost)
    with pytest.raises(UnavailableError):
        service.outcome(CreateTrait("CUSTOM_NEW"), ASKER)


def test_a_fault_of_the_program_is_raised(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(_state: object, _command: object) -> None:
        raise LookupError

    monkeypatch.setitem(RULES, CreateTrait, Rule(RULES[CreateTrait].touches, fault))  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        service.outcome(CreateTrait("CUSTOM_NEW"), ASKER)
