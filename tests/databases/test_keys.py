"""Idempotency keys: one effect for each, whatever gets lost and whoever races."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.commands import Command, CreateTrait, DeleteAllocations, ReleaseClaims, WriteOutcome
from moorage.model.errors import CapacityExceededError, KeyReusedError
from moorage.model.keys import IdempotencyKey
from moorage.rules.decide import touch
from moorage.rules.state import Touch
from moorage.service.committer import Ticket
from moorage.service.facade import Service
from moorage.store.sql.texts import COMPRESSED, SHORT
from moorage.store.store import Store
from moorage.store.tables import keys
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import instead_of_commit
from tests.databases.test_lost_commits import happens_and_is_lost, is_lost_before_it_happens
from tests.databases.test_placing import place
from tests.databases.together import held_up


def key(name: str = "k", fingerprint: str = "f", text: str | None = None) -> IdempotencyKey:
    return IdempotencyKey(name, fingerprint, lambda result: text or repr(result))


def ordered(service: Service, command: Command[Any], with_key: IdempotencyKey) -> WriteOutcome[Any]:
    return service.outcome(command, ASKER, with_key)


def kept(store: Store) -> dict[str, str]:
    """Answers as the table has them."""
    with store.engines.single.connect() as connection:
        return {row.id: row.answer for row in connection.execute(sa.select(keys.c.id, keys.c.answer))}


def test_a_request_is_carried_out_once(service: Service) -> None:
    provider, start = add_provider(service, VCPU=8), service.revision()
    first = ordered(service, claim(new_uuid(), {provider: {VCPU: 1}}), key())
    assert first == WriteOutcome(start + 1)
    order(service, CreateTrait("CUSTOM_T"))
    # The command of a replay does not matter: the fingerprint says that the request is the same.
    again = ordered(service, claim(new_uuid(), {provider: {VCPU: 1}}), key())
    assert again == WriteOutcome(start + 1, replayed="None")
    assert service.revision() == start + 2
    assert service.provider_usages(provider).usages == {VCPU: 1}


def test_the_key_of_another_request_is_refused(service: Service) -> None:
    ordered(service, CreateTrait("CUSTOM_T"), key())
    start = service.revision()
    assert type(ordered(service, CreateTrait("CUSTOM_U"), key(fingerprint="g")).error) is KeyReusedError
    assert service.revision() == start


def test_after_a_refusal_the_same_key_may_succeed(service: Service) -> None:
    provider, holder = add_provider(service, VCPU=8), new_uuid()
    order(service, claim(holder, {provider: {VCPU: 8}}))
    wanted = claim(new_uuid(), {provider: {VCPU: 1}})
    assert type(ordered(service, wanted, key()).error) is CapacityExceededError
    order(service, DeleteAllocations(holder))
    assert ordered(service, wanted, key()).error is None
    assert ordered(service, wanted, key()).replayed == "None"


def test_what_wrote_nothing_is_remembered_as_well(service: Service) -> None:
    consumer = new_uuid()
    first = ordered(service, ReleaseClaims((consumer,)), key())
    order(service, claim(consumer, {add_provider(service, VCPU=8): {VCPU: 1}}))
    assert ordered(service, ReleaseClaims((consumer,)), key()).replayed == repr(first.result)
    assert service.generations([consumer])


def test_a_long_answer_is_compressed(service: Service, store: Store) -> None:
    texts = {"short": "x" * SHORT, "long": "äöü€" * SHORT}
    for name, text in texts.items():
        ordered(service, CreateTrait(f"CUSTOM_{name.upper()}"), key(name, text=text))
    found = kept(store)
    assert found["short"] == texts["short"]
    assert found["long"].startswith(COMPRESSED)
    assert len(found["long"]) < SHORT
    for name, text in texts.items():
        assert ordered(service, CreateTrait("CUSTOM_X"), key(name)).replayed == text


def test_the_second_of_a_group_waits_for_the_answer_of_the_first(service: Service) -> None:
    provider, start = add_provider(service, VCPU=8), service.revision()
    outcomes: list[WriteOutcome[Any]] = []
    committer = service._committer

    def run() -> None:
        outcomes.append(ordered(service, claim(new_uuid(), {provider: {VCPU: 1}}), key()))

    threads = [threading.Thread(target=run) for _ in range(8)]
    with held_up(committer):
        for thread in threads:
            thread.start()
        while committer.waiting < len(threads):
            pass
    for thread in threads:
        thread.join()
    assert sorted(outcome.replayed or "" for outcome in outcomes) == ["", *["None"] * 7]
    assert {outcome.revision for outcome in outcomes} == {start + 1}
    assert service.provider_usages(provider).usages == {VCPU: 1}


CLIENTS = 64


def test_of_64_clients_of_two_processes_with_one_key_one_claims(
    store: Store, service: Service, open_service: OpenService
) -> None:
    provider, start = add_provider(service, VCPU=100), service.revision()
    names = ["placed", "gang", "exact"]
    services = [service, open_service(store)]
    revisions: dict[str, set[int]] = {name: set() for name in names}
    fresh: list[str] = []
    begin = threading.Barrier(CLIENTS)

    def claimed(by: Service, name: str) -> WriteOutcome[Any]:
        # Each client names consumers of its own: only one of them may come to hold something.
        if name == "exact":
            return ordered(by, claim(new_uuid(), {provider: {VCPU: 1}}), key(name))
        return by.place(place(*[1] * (3 if name == "gang" else 1)), ASKER, key(name))

    def run(number: int) -> None:
        begin.wait()
        for name in names[number % 3 :] + names[: number % 3]:
            outcome = claimed(services[number % 2], name)
            assert outcome.error is None
            revisions[name].add(outcome.revision)
            if outcome.replayed is None:
                fresh.append(name)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fresh) == sorted(names)
    assert set.union(*revisions.values()) == set(range(start + 1, start + 4))
    assert service.revision() == start + 3
    assert service.provider_usages(provider).usages == {VCPU: 5}


@pytest.mark.parametrize("loss", [happens_and_is_lost, is_lost_before_it_happens])
def test_a_lost_commit_with_a_key_is_one_effect(
    service: Service, monkeypatch: pytest.MonkeyPatch, loss: Any
) -> None:
    provider, start = add_provider(service, VCPU=8), service.revision()
    instead_of_commit(monkeypatch, loss)
    wanted = claim(new_uuid(), {provider: {VCPU: 1}})
    assert ordered(service, wanted, key()) == WriteOutcome(start + 1)
    assert ordered(service, wanted, key()) == WriteOutcome(start + 1, replayed="None")
    assert service.provider_usages(provider).usages == {VCPU: 1}


def test_old_keys_are_forgotten(service: Service, store: Store) -> None:
    ordered(service, CreateTrait("CUSTOM_T"), key())
    present = store.revision()
    assert store.forget_keys(3600, present) == 0
    assert ordered(service, CreateTrait("CUSTOM_T"), key()).replayed == "True"
    # By a clock that is ahead it is old; one that came last is kept nevertheless.
    assert store.forget_keys(-3600, present - 1) == 0
    assert store.forget_keys(-3600, present) == 1
    assert store.forget_keys(-3600, present) == 0
    assert ordered(service, CreateTrait("CUSTOM_T"), key()).replayed is None


def test_what_was_refused_while_it_was_bound_is_still_known_by_its_key(service: Service) -> None:
    ordered(service, CreateTrait("CUSTOM_T"), key())
    committer = service._committer

    class Late(CreateTrait):
        binds_late = True

    class Refusing:
        def of_group(self) -> Any:
            raise CapacityExceededError("anywhere", VCPU)

    committer._binder = Refusing()
    tickets = [
        Ticket(Late("CUSTOM_T"), ASKER, Touch(keys=frozenset((name,))), asks_revision=True, key=key(name))
        for name in ("k", "new")
    ]
    plain = CreateTrait("CUSTOM_PLAIN")
    tickets.append(Ticket(plain, ASKER, touch(plain), asks_revision=True))
    committer._waiting.extend(tickets)
    committer._lead()
    assert [type(ticket.error) for ticket in tickets] == [type(None), CapacityExceededError, type(None)]
    assert getattr(tickets[0].result, "text", None) == "True"
