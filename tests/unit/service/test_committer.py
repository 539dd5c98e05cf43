from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from moorage.model.commands import (
    Batch,
    Command,
    CreateProvider,
    CreateTrait,
)
from moorage.model.errors import (
    EqualNameError,
    OutcomeUnknownError,
    ProviderExistsError,
    UnavailableError,
)
from moorage.rules.decide import RULES, touch
from moorage.service import committer as committer_module
from moorage.service.committer import Ticket
from moorage.service.facade import Service
from moorage.store.sql.errors import ConstraintError, WriteConflictError
from moorage.store.store import Store
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import (
    ASKER,
    new_uuid,
    order,
)
from tests.databases.prepared import OpenService
from tests.databases.together import held_up, kinds


def test_what_does_not_find_room_in_the_queue_is_sent_away(
    sqlite_store: Store, open_service: OpenService
) -> None:
    service = open_service(sqlite_store, queue_length=2)
    committer = service._committer
    with held_up(committer):
        threads = [
            threading.Thread(target=order, args=(service, CreateTrait(f"CUSTOM_{number}")))
            for number in range(2)
        ]
        for thread in threads:
            thread.start()
        while len(committer._waiting) < 2:
            time.sleep(0.001)
        with pytest.raises(UnavailableError, match="too many writes are waiting"):
            order(service, CreateTrait("CUSTOM_3"))
    for thread in threads:
        thread.join()
    assert order(service, CreateTrait("CUSTOM_3")) is True
    assert order(service, CreateTrait("CUSTOM_1")) is False


def test_pauses_grow_up_to_the_longest(sqlite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [WriteConflictError()] * 10
    pauses: list[float] = []
    real = WriteTransaction.read

    def read(transaction: WriteTransaction, touch: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(transaction, touch)

    monkeypatch.setattr(WriteTransaction, "read", read)
    # Not the module's own: threads that others have left behind sleep as well.
    clock = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic, perf_counter=time.perf_counter)
    monkeypatch.setattr("moorage.service.committer.time", clock)
    assert order(sqlite_service, CreateTrait("CUSTOM_T")) is True
    assert len(pauses) == 10
    longest = [min(0.005 * 2**number, 0.5) for number in range(10)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


def test_a_constraint_that_no_name_explains_is_told_as_a_name_held_equal(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constraint(columns: tuple[str, ...]) -> None:
        def write(_transaction: WriteTransaction, *_: Any) -> None:
            raise ConstraintError(columns)

        monkeypatch.setattr(WriteTransaction, "write", write)

    constraint(())
    with pytest.raises(EqualNameError):
        order(sqlite_service, CreateTrait("CUSTOM_T"))
    constraint(("uuid",))
    uuid = new_uuid()
    with pytest.raises(ProviderExistsError) as refused:
        order(sqlite_service, Batch((CreateTrait("CUSTOM_T"), CreateProvider(uuid, "name"))))
    assert (refused.value.uuid, refused.value.name) == (uuid, None)
    constraint(("name",))
    with pytest.raises(ProviderExistsError) as refused:
        order(sqlite_service, Batch((CreateProvider(uuid, "name"),)))
    assert (refused.value.uuid, refused.value.name) == (None, "name")


def test_others_may_be_quicker_with_the_same_rows_several_times_in_a_row(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First a project, then its user, then the consumer: none of them is a name held equal."""
    met = [ConstraintError(("external_id",)), ConstraintError(("external_id",)), ConstraintError(("uuid",))]
    real = WriteTransaction.write

    def write(transaction: WriteTransaction, *arguments: Any) -> Any:
        if met:
            raise met.pop(0)
        return real(transaction, *arguments)

    monkeypatch.setattr(WriteTransaction, "write", write)
    assert order(sqlite_service, CreateTrait("CUSTOM_T")) is True
    assert not met


def test_a_fault_of_the_program_is_answered_and_logged_and_the_next_order_succeeds(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class FaultError(Exception):
        pass

    def fault(*_: Any) -> Any:
        raise FaultError

    with monkeypatch.context() as patch:
        patch.setattr(WriteTransaction, "write", fault)
        answers = faults_of(sqlite_service, CreateTrait("CUSTOM_A"), CreateTrait("CUSTOM_B"))
        assert kinds(answers) == [FaultError, FaultError]
        assert "A group of 2 writes failed." in caplog.messages
    with monkeypatch.context() as patch:
        patch.setitem(RULES, CreateTrait, RULES[CreateTrait]._replace(decide=fault))
        assert kinds(faults_of(sqlite_service, CreateTrait("CUSTOM_A"))) == [FaultError]
        assert "A CreateTrait could not be decided." in caplog.messages
    assert order(sqlite_service, CreateTrait("CUSTOM_A")) is True


def faults_of(service: Service, *commands: Command[Any]) -> list[Exception | None]:
    committer = service._committer
    tickets = [Ticket(command, ASKER, touch(command)) for command in commands]
    committer._waiting.extend(tickets)
    committer._lead()
    return [ticket.error for ticket in tickets]


def outcome_of(service: Service, command: Command[Any]) -> object:
    try:
        return order(service, command)
    except UnavailableError as refusal:
        return refusal


def in_background(service: Service, command: Command[Any]) -> tuple[threading.Thread, list[object]]:
    outcomes: list[object] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(service, command)))
    thread.start()
    return thread, outcomes


def test_what_nobody_took_in_time_is_refused_and_never_done(
    sqlite_store: Store, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "GRACE_SECONDS", 0.0)
    service = open_service(sqlite_store, deadline_seconds=0)
    with held_up(service._committer):
        thread, outcomes = in_background(service, CreateTrait("CUSTOM_T"))
        thread.join()
        assert [type(outcome) for outcome in outcomes] == [UnavailableError]
        assert not service._committer._waiting
    assert order(service, CreateTrait("CUSTOM_T")) is True


def test_what_a_leader_took_that_never_returns_has_an_unknown_outcome(
    sqlite_store: Store, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "GRACE_SECONDS", 0.0)
    service = open_service(sqlite_store, deadline_seconds=0)
    begun, may_end = threading.Event(), threading.Event()
    real = WriteTransaction.read

    def read(transaction: WriteTransaction, touch: Any) -> Any:
        begun.set()
        may_end.wait()
        return real(transaction, touch)

    monkeypatch.setattr(WriteTransaction, "read", read)
    with held_up(service._committer):
        monkeypatch.setattr(committer_module, "GRACE_SECONDS", 30.0)
        first, first_outcomes = in_background(service, CreateTrait("CUSTOM_A"))
        while not service._committer._waiting:
            time.sleep(0.001)
        monkeypatch.setattr(committer_module, "GRACE_SECONDS", 0.5)
        second, second_outcomes = in_background(service, CreateTrait("CUSTOM_B"))
        while len(service._committer._waiting) < 2:
            time.sleep(0.001)
    begun.wait()
    second.join()
    may_end.set()
    first.join()
    assert first_outcomes == [True]
    assert [type(outcome) for outcome in second_outcomes] == [OutcomeUnknownError]
    assert order(service, CreateTrait("CUSTOM_B")) is False


def test_who_is_woken_just_when_his_patience_ends_leads_all_the_same(sqlite_service: Service) -> None:
    """Between the end of the wait and the look at what has come, an answer or the lead may come."""
    committer = sqlite_service._committer
    leading = Ticket(CreateTrait("CUSTOM_A"), ASKER, touch(CreateTrait("CUSTOM_A")), leads=True)
    committer._wait_no_longer(leading)
    answered = Ticket(CreateTrait("CUSTOM_A"), ASKER, touch(CreateTrait("CUSTOM_A")))
    answered.answer(True, None)
    committer._wait_no_longer(answered)


def test_a_full_disk_at_commit_is_told_at_once_and_not_tried_again(
    sqlite_service: Service, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[None] = []

    def commit(_transaction: WriteTransaction, _writer: Any) -> None:
        commits.append(None)
        raise UnavailableError("the database refused to work")

    with monkeypatch.context() as patch:
        patch.setattr(WriteTransaction, "commit", commit)
        with pytest.raises(UnavailableError, match="refused to work"):
            order(sqlite_service, CreateTrait("CUSTOM_T"))
    assert len(commits) == 1
    assert order(sqlite_service, CreateTrait("CUSTOM_T")) is True
