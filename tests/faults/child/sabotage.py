"""Faults built into the service on purpose, to see that the auditor catches each of them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LATE_SECONDS = 0.1
"""How long after its answer a write is committed that was acknowledged too early."""

EVERY = 20
"""One of so many COMMITs, or change log entries, meets the fault."""


Armed = Callable[[], bool]


def build_in(name: str, signal: Path) -> None:
    """Replace a part of the service by one that is wrong as soon as the file ``signal`` is there."""
    SABOTAGES[name](signal.exists)


def skip_the_capacity_check(armed: Armed) -> None:
    """Whatever is asked for fits."""
    from moorage.rules import capacity

    real = capacity.has_room
    vars(capacity)["has_room"] = lambda *arguments: armed() or real(*arguments)


def acknowledge_before_commit(armed: Armed) -> None:
    """Decide, answer, and commit a moment later."""
    from moorage.rules.decide import decide, touch
    from moorage.service.committer import Committer
    from moorage.store.transaction import WriteTransaction

    real = Committer.execute

    def execute(self: Committer, command: Any, requester: Any) -> Any:
        if not armed():
            return real(self, command, requester)
        with WriteTransaction(self._store) as transaction:
            result = decide(transaction.read(touch(command)), command).result

        def later() -> None:
            time.sleep(LATE_SECONDS)
            try:
                real(self, command, requester)
            except Exception:
                return

        threading.Thread(target=later).start()
        return result

    Committer.execute = execute  # type: ignore[method-assign]


def lose_a_row_of_the_change_log(armed: Armed) -> None:
    """The counter counts a write that the log does not have."""
    from moorage.store.changes.counter import CURRENT
    from moorage.store.sql import statements
    from moorage.store.tables import changes

    real, numbers = statements.send, itertools.count(1)

    def send(connection: Any, planned: Any) -> list[Any]:
        answers = real(connection, planned)
        if armed() and next(numbers) % EVERY == 0:
            last = CURRENT.scalar_subquery()
            connection.execute(changes.delete().where(changes.c.revision == last))
        return answers

    statements.send = send


def apply_twice_after_a_lost_commit(armed: Armed) -> None:
    """Some COMMITs happen and get lost, and whoever asks is told that they did not happen."""
    from moorage.store.sql.errors import ConnectionLostError
    from moorage.store.store import Store
    from moorage.store.transaction import WriteTransaction

    real, numbers = WriteTransaction.commit, itertools.count(1)

    def commit(self: WriteTransaction, writer: Any) -> None:
        real(self, writer)
        if armed() and next(numbers) % EVERY == 0:
            raise ConnectionLostError

    WriteTransaction.commit = commit  # type: ignore[method-assign]
    Store.was_committed = lambda *_: False  # type: ignore[method-assign]


def forget_to_catch_up(armed: Armed) -> None:
    """The index stays where it was for some of the searches."""
    from moorage.service.live_index import LiveIndex

    real, numbers = LiveIndex.ask_at, itertools.count(1)

    def ask_at(self: LiveIndex, question: Callable[[Any], Any]) -> tuple[int, Any]:
        state = self._state
        if armed() and state is not None and next(numbers) % 2:
            return state.revision, question(state.snapshot)
        return real(self, question)

    LiveIndex.ask_at = ask_at  # type: ignore[method-assign]


def forget_the_keys(armed: Armed) -> None:
    """No answer is remembered: what is sent again is carried out again."""
    from moorage.store import transaction

    real = vars(transaction)["plan_keys"]
    vars(transaction)["plan_keys"] = lambda *arguments: [] if armed() else real(*arguments)


def claim_half_a_gang(armed: Armed) -> None:
    """Of claims that must have places together, those that can have one are granted."""
    from dataclasses import replace

    from moorage.service.placing import Placement

    real = Placement.of

    def of(self: Placement, command: Any, decision: Any) -> Any:
        return real(self, replace(command, least=1) if armed() else command, decision)

    Placement.of = of  # type: ignore[method-assign]


def leave_a_row_after_a_refusal(armed: Armed) -> None:
    """A placed claim that is refused leaves its consumer behind."""
    from moorage.service.facade import Service
    from moorage.store.sql.engines import Engines
    from moorage.store.tables import consumers, projects, users

    real = Service.place

    def place(self: Service, command: Any, *rest: Any) -> Any:
        outcome = real(self, command, *rest)
        if armed() and outcome.error is not None:
            engines: Engines = self._store.engines
            with engines.write.begin() as connection:
                owners: list[Any] = [
                    connection.execute(table.select()).first() for table in (projects, users)
                ]
                if all(owners):
                    row = {"uuid": command.claims[0].consumer, "generation": 1}
                    row |= {"project_id": owners[0].id, "user_id": owners[1].id}
                    connection.execute(consumers.insert().prefix_with("OR IGNORE"), row)
        return outcome

    Service.place = place  # type: ignore[assignment, method-assign]


def lose_a_change(armed: Armed) -> None:
    """A page of changes lacks one that it goes on after."""
    from dataclasses import replace

    from moorage.service.watching import Watch

    real, numbers = Watch.page, itertools.count(1)

    def page(self: Watch, *arguments: Any) -> Any:
        found = real(self, *arguments)
        if armed() and found.changes and next(numbers) % EVERY == 0:
            return replace(found, changes=found.changes[1:])
        return found

    Watch.page = page  # type: ignore[assignment, method-assign]


def lose_the_locks_on_the_file(armed: Armed) -> None:
    """A thread that waits for a body closes a duplicate of every descriptor."""
    import os
    from contextlib import suppress

    from moorage.serve.body_slots import Body

    real = Body._wait

    def wait(self: Body, future: Any) -> None:
        for descriptor in Path("/proc/self/fd").iterdir() if armed() else ():
            with suppress(OSError):
                os.close(os.dup(int(descriptor.name)))
        real(self, future)

    Body._wait = wait  # type: ignore[method-assign]


def let_time_run(armed: Armed) -> None:
    """Service time runs away, so that leases end before their time."""
    from moorage.service import keeper
    from moorage.store.leases import LeaseTable

    real = LeaseTable.advance

    def advance(self: LeaseTable, known: Any, ticks: int) -> bool:
        return real(self, known, ticks + 5_000 if armed() else ticks)

    LeaseTable.advance = advance  # type: ignore[method-assign]
    vars(keeper)["TICK_SECONDS"] = 0.2


def quarantine_nothing(armed: Armed) -> None:
    """Whatever a lease says, time takes its claims away; and time runs, so that it shows soon."""
    from dataclasses import replace

    from moorage.model.leases import OnExpiry
    from moorage.rules import leases

    let_time_run(armed)
    real = vars(leases)["_expired"]

    def expired(lease: Any, ticks: int) -> Any:
        return real(replace(lease, on_expiry=OnExpiry.RELEASE) if armed() else lease, ticks)

    vars(leases)["_expired"] = expired


SABOTAGES: Mapping[str, Callable[[Armed], None]] = {
    built.__name__: built
    for built in (
        skip_the_capacity_check,
        acknowledge_before_commit,
        lose_a_row_of_the_change_log,
        apply_twice_after_a_lost_commit,
        forget_to_catch_up,
        lose_the_locks_on_the_file,
        lose_a_change,
        forget_the_keys,
        claim_half_a_gang,
        leave_a_row_after_a_refusal,
        quarantine_nothing,
    )
}
