"""Two processes on one database that fails on order, beside the account's slow twin.

Everything happens in one thread and is drawn by hypothesis, so that a failing schedule is shrunk to the
few faults that matter and comes again. Each command carries a request id of its own: the change log
then tells which were carried out, how often, and in which order.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from moorage.model.commands import Command, PlaceClaims, RenameResourceClass
from moorage.model.errors import KeyReusedError, OutcomeUnknownError, UnavailableError
from moorage.model.keys import RememberedAnswer
from moorage.model.values import Requester
from moorage.service.binding import touch_of
from moorage.service.committer import Ticket
from moorage.service.facade import Service
from moorage.service.live_index import LiveIndex
from moorage.service.verification import verify
from moorage.store.changes import changelog
from moorage.store.sql.texts import unpacked_text
from moorage.store.store import READ_ATTEMPTS
from tests.databases.index_contents import contents
from tests.databases.prepared import store_on
from tests.oracle.account import Account
from tests.oracle.compare import comparable, outcome
from tests.property.strategies_account import BEGINNING, commands, groups
from tests.schedules import content, driver
from tests.schedules.clock import Clock
from tests.schedules.driver import AFTER_COMMIT, COMMIT, CONFLICTS, LOSSES, REFUSALS, Fault, Schedule
from tests.schedules.native import Sent, misplaced, sent, text_of, unfounded

MOST_FAULTS = 4
"""Faults that one group meets at the most, those while it is settled included."""

MOST_STATEMENTS = 25
"""About as many as the largest group takes: a fault that comes later strikes at COMMIT."""

SLOW_SECONDS = 20.0
"""Two of these are longer than a write is tried for."""

MOST_ROUNDS = 4
"""Groups written in a row: that is what it is about; the other steps come in between."""

MOST_LED = 200
"""Groups by which all claims of one group are decided. Most often the next one decides what one puts off."""

MOST_EARLIER = 6
"""Earlier requests with keys that may be sent again."""

PROCESSES = st.sampled_from([0, 1])


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    """What one transaction may meet."""
    place = draw(st.sampled_from([COMMIT, AFTER_COMMIT]) | st.integers(0, MOST_STATEMENTS))
    seconds = draw(st.sampled_from([0.0] * 4 + [SLOW_SECONDS]))
    if place == AFTER_COMMIT:
        return Fault(draw(st.sampled_from(sorted(LOSSES))), place, seconds, draw(st.booleans()))
    kind = draw(st.sampled_from(sorted(CONFLICTS)) | st.sampled_from(sorted(LOSSES)) | refusals | st.none())
    return Fault(kind, place, seconds, draw(st.booleans()))


refusals = st.sampled_from(sorted(REFUSALS))
bad_luck = st.lists(faults(), max_size=MOST_FAULTS)


def any_group(account: Account) -> st.SearchStrategy[tuple[Command[Any], ...]]:
    """Up to five commands at once; what must stand alone stands alone."""
    alone = commands(account, (RenameResourceClass,)).map(lambda command: (command,))
    several = groups(account, most=5)
    return st.one_of(several, several, several, several, alone)


@dataclass(slots=True)
class Carried:
    """A group that was carried out: by whom, and how it was answered."""

    group: Sequence[Sent]
    names: list[str]
    tickets: list[Ticket]
    done_at: int

    @property
    def unavailable(self) -> bool:
        """Whether the group was told that it did not happen, for no reason of its own."""
        return any(type(ticket.error) is UnavailableError for ticket in self.tickets)

    @property
    def unknown(self) -> bool:
        """Whether the group was told that nobody knows."""
        return any(isinstance(ticket.error, OutcomeUnknownError) for ticket in self.tickets)


@dataclass(frozen=True, slots=True)
class Done:
    """A command with its answer, and the revision at which it was done or refused."""

    sent: Sent
    ticket: Ticket
    at: int


class Stage:
    """A file and the stores on it, kept for many machines: making engines costs more than a schedule."""

    def __init__(self, template: Path, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self._template = template
        self.observer = store_on(f"sqlite:///{path}")
        self.stores = [store_on(f"sqlite:///{path}") for _ in range(2)]
        self.plans = [Schedule(self.clock) for _ in self.stores]
        for store, plan in zip(self.stores, self.plans, strict=True):
            driver.put_under(store.engines, plan)

    def set(self) -> None:
        """The file as it is at the beginning, and nobody who remembers another one."""
        self.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        shutil.copy(self._template, self.path)
        self.observer.forget()
        for process in range(len(self.stores)):
            self.restart(process)

    def restart(self, process: int) -> None:
        """All that a process knew goes."""
        self.stores[process].close()
        self.stores[process].forget()
        self.plans[process].forget()
        self.plans[process].struck.clear()

    def close(self) -> None:
        """Close all connections."""
        for store in (self.observer, *self.stores):
            store.close()


def writes() -> Any:
    """A rule that writes."""

    @rule(data=st.data(), rounds=st.integers(1, MOST_ROUNDS))
    def write(self: Machine, data: st.DataObject, rounds: int) -> None:
        """Some groups of commands, one after the other, by either process."""
        for _ in range(rounds):
            process = data.draw(PROCESSES, label="process")
            self.write_once(data, process, data.draw(bad_luck, label="bad luck"))

    return write


class Machine(RuleBasedStateMachine):
    """See the module. ``stage`` is set by whoever runs it, and serves one machine after the other."""

    stage: ClassVar[Stage]
    schedules: ClassVar[int] = 0
    struck: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.stage.set()
        self.patches = pytest.MonkeyPatch()
        for module in ("service.committer", "store.store", "store.nouns.consumers"):
            self.patches.setattr(f"moorage.{module}.time", self.stage.clock)
        self.account = Account()
        for command in BEGINNING:
            self.account.execute(command)
        self.numbers = count()
        self.sent: list[Sent] = []
        self.remembered: dict[str, tuple[str, str]] = {}
        self.raw = sqlite3.connect(self.stage.path, isolation_level=None)
        self.observer = self.stage.observer
        self.plans = self.stage.plans
        self.services = [Service(store) for store in self.stage.stores]
        for service in self.services:
            service.warm_up()

    def teardown(self) -> None:
        try:
            for service in self.services:
                self._compare_index(service)
            found = verify(self.observer)
            assert found.differences == 0, [str(it) for check in found.checks for it in check.findings]
        finally:
            self.raw.close()
            self.patches.undo()

    # What happens.

    # Rules are chosen evenly, and most of what happens shall be writes.
    write, write_too, write_more, write_on = writes(), writes(), writes(), writes()

    def write_once(self, data: st.DataObject, process: int, faults: list[Fault]) -> None:
        """A group of commands, each of whose attempts may fail, while the other process writes too."""
        type(self).schedules += 1
        group = self.drawn(data, "group")
        rivals = [self.drawn(data, "rival") if fault.meanwhile else () for fault in faults]
        before = self._revision()
        carried: list[Carried] = []
        plan = self.plans[process]
        plan.writes.extend(faults)
        waiting = deque(rival for rival in rivals if rival)
        plan.meanwhile = lambda: carried.append(self._carry_out(1 - process, waiting.popleft()))
        own = self._carry_out(process, group)
        type(self).struck += len(plan.struck)
        self._check_answers(own, plan.struck)
        plan.struck.clear()
        plan.forget()
        self._replay(self._in_order((*carried, own), before), before)
        assert content.of_database(self.raw) == content.of_account(self.account)

    def drawn(self, data: st.DataObject, label: str) -> tuple[Sent, ...]:
        """A group of commands."""
        number = next(self.numbers)
        plain = any_group(self.account)
        group = plain.flatmap(lambda found: sent(self.account, found, self.sent[-MOST_EARLIER:], number))
        found: tuple[Sent, ...] = data.draw(group, label=label)
        self.sent += [each for each in found if each.key is not None]
        return found

    @rule(process=PROCESSES, bad_luck=st.lists(faults(), max_size=READ_ATTEMPTS - 1))
    def search(self, process: int, bad_luck: list[Fault]) -> None:
        """A question to the index, which catches up over connections that fail less often than it tries."""
        self.plans[process].reads.extend(bad_luck)
        try:
            self._compare_index(self.services[process])
        except UnavailableError:
            # A refusal is not worth a retry.
            assert any(fault.kind in REFUSALS for fault in self.plans[process].struck)
        self.plans[process].struck.clear()
        self.plans[process].forget()

    @rule(process=PROCESSES)
    def restart(self, process: int) -> None:
        """A process is killed, and another takes its place."""
        self.stage.restart(process)
        self.services[process] = Service(self.stage.stores[process])
        self.services[process].warm_up()

    @rule(behind=st.integers(0, 10))
    def compact(self, behind: int) -> None:
        """The change log forgets: an index that is further behind must be built anew."""
        with self.observer.engines.write.begin() as connection:
            compacted = self.raw.execute("SELECT compacted FROM moorage_revision").fetchone()[0]
            changelog.compact(connection, max(compacted, changelog.current(connection) - behind))

    # What must hold.

    def _carry_out(self, process: int, group: Sequence[Sent]) -> Carried:
        names = [f"req-{next(self.numbers)}" for _ in group]
        committer = self.services[process]._committer
        tickets = [
            Ticket(
                each.command,
                Requester(request_id=name),
                touch_of(each.command, key),
                asks_revision=True,
                key=key,
            )
            for each, name in zip(group, names, strict=True)
            for key in [each.idempotency_key()]
        ]
        committer._waiting.extend(tickets)
        # What the first group puts off leads the next one. Nothing may be put off without end.
        led = count()
        while committer._waiting:
            assert next(led) < MOST_LED, "claims are put off without end"
            committer._waiting[0].wake.acquire(blocking=False)
            committer._lead()
        assert all(ticket.answered for ticket in tickets)
        return Carried(group, names, tickets, self._revision())

    def _revision(self) -> int:
        return int(self.raw.execute("SELECT revision FROM moorage_revision").fetchone()[0])

    def _check_answers(self, carried: Carried, struck: list[Fault]) -> None:
        """Nobody is sent away who only met what can be tried again in time."""
        patient = sum(fault.seconds for fault in struck) <= SLOW_SECONDS
        if patient and not any(fault.kind in REFUSALS for fault in struck):
            assert not carried.unavailable
            assert not carried.unknown

    def _in_order(self, carried: Sequence[Carried], before: int) -> list[Done]:
        """The commands as they were committed; every command at most once, and dense."""
        rows = self.raw.execute(
            "SELECT revision, position, request_id FROM moorage_changes WHERE revision > ? "
            "ORDER BY revision, position",
            (before,),
        ).fetchall()
        first: dict[str, int] = {}
        for revision, position, name in rows:
            assert first.setdefault(name, revision) == revision, f"{name} was applied twice"
            assert position == 0 or (revision, position - 1, name) in rows
        assert sorted(first.values()) == list(range(before + 1, self._revision() + 1)), "not dense"
        found: list[tuple[tuple[int, bool, int], Done]] = []
        for each in carried:
            for request, name, ticket in zip(each.group, each.names, each.tickets, strict=True):
                unknown = isinstance(ticket.error, OutcomeUnknownError)
                if ticket.error is not None and not unknown:
                    assert name not in first, f"{name} was refused, but applied"
                if type(ticket.error) is UnavailableError or (unknown and name not in first):
                    continue
                seen = ticket.revision if ticket.revision is not None else each.done_at
                at = first.get(name, seen)
                found.append(((at, name not in first, len(found)), Done(request, ticket, at)))
        return [done for _, done in sorted(found, key=lambda item: item[0])]

    def _replay(self, ordered: Sequence[Done], before: int) -> None:
        """Every answer is the twin's; what nobody knows has happened if the log says so."""
        past = {before: deepcopy(self.account)}
        refused: list[tuple[Done, Account]] = []
        for done in ordered:
            sent, ticket = done.sent, done.ticket
            known = None if sent.key is None else self.remembered.get(sent.key)
            if known is not None:
                self._check_known(known, done)
            elif isinstance(sent.command, PlaceClaims):
                if ticket.error is None or isinstance(ticket.error, OutcomeUnknownError):
                    assert sent.key is not None
                    text = self._kept(sent.key)
                    if ticket.error is None:
                        assert text == text_of(ticket.result)
                    self.remembered[sent.key] = repr(sent.command), text
                    fault = misplaced(self.account, sent.command, text)
                    assert fault is None, fault
                else:
                    refused.append((done, deepcopy(self.account)))
            else:
                expected = outcome(self.account.execute, sent.command)
                if not isinstance(ticket.error, OutcomeUnknownError):
                    assert self._answer(ticket) == expected
                if sent.key is not None and expected[0] == "done":
                    self.remembered[sent.key] = repr(sent.command), self._kept(sent.key)
            past[done.at] = deepcopy(self.account)
        for done, at in refused:
            assert isinstance(done.sent.command, PlaceClaims)
            assert done.ticket.error is not None
            wrong = unfounded(done.sent.command, done.ticket.error, at, past)
            assert wrong is None, wrong

    def _check_known(self, known: tuple[str, str], done: Done) -> None:
        """The answer to a key that was used before."""
        command, text = known
        ticket = done.ticket
        if command != repr(done.sent.command):
            assert isinstance(ticket.error, KeyReusedError | OutcomeUnknownError), ticket
        elif ticket.error is None:
            assert isinstance(ticket.result, RememberedAnswer), ticket
            assert ticket.result.text == text
        else:
            assert isinstance(ticket.error, OutcomeUnknownError), ticket

    def _kept(self, key: str) -> str:
        """What the database remembers under a key."""
        row = self.raw.execute("SELECT answer FROM moorage_keys WHERE id = ?", (key,)).fetchone()
        assert row is not None, f"{key} was used, but is not there"
        return unpacked_text(row[0])

    @staticmethod
    def _answer(ticket: Ticket) -> tuple[str, Any, str]:
        if ticket.error is None:
            return "done", comparable(ticket.result), ""
        return "refused", type(ticket.error), str(ticket.error)

    def _compare_index(self, service: Service) -> None:
        """The index of a process shows what is in the database now."""
        held = service._index.ask(contents)
        assert held == LiveIndex(self.observer).ask(contents)
