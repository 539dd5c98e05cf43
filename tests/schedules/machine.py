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
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from moorage.model.commands import Command, RenameResourceClass
from moorage.model.errors import OutcomeUnknownError, UnavailableError
from moorage.model.values import Requester
from moorage.service.committer import Ticket
from moorage.service.facade import Service
from moorage.service.live_index import LiveIndex
from moorage.service.verification import verify
from moorage.store.changes import changelog
from moorage.store.store import READ_ATTEMPTS
from tests.databases.index_contents import contents
from tests.databases.prepared import store_on
from tests.databases.together import led
from tests.oracle.account import Account
from tests.oracle.compare import comparable, outcome
from tests.property.strategies_account import BEGINNING, commands, groups
from tests.schedules import content, driver
from tests.schedules.clock import Clock
from tests.schedules.driver import AFTER_COMMIT, COMMIT, CONFLICTS, LOSSES, REFUSALS, Fault, Schedule

MOST_FAULTS = 4
"""Faults that one group meets at the most, those while it is settled included."""

MOST_STATEMENTS = 25
"""About as many as the largest group takes: a fault that comes later strikes at COMMIT."""

SLOW_SECONDS = 20.0
"""Two of these are longer than a write is tried for."""

MOST_ROUNDS = 4
"""Groups written in a row: that is what it is about; the other steps come in between."""

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

    group: Sequence[Command[Any]]
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
        group = data.draw(any_group(self.account), label="group")
        rivals = [
            data.draw(any_group(self.account), label="rival") if fault.meanwhile else () for fault in faults
        ]
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
        self._replay(self._in_order(carried, own, before))
        assert content.of_database(self.raw) == content.of_account(self.account)

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

    def _carry_out(self, process: int, group: Sequence[Command[Any]]) -> Carried:
        names = [f"req-{next(self.numbers)}" for _ in group]
        orders = [(command, Requester(request_id=name)) for command, name in zip(group, names, strict=True)]
        tickets = led(self.services[process], orders)
        return Carried(group, names, tickets, self._revision())

    def _revision(self) -> int:
        return int(self.raw.execute("SELECT revision FROM moorage_revision").fetchone()[0])

    def _check_answers(self, carried: Carried, struck: list[Fault]) -> None:
        """Nobody is sent away who only met what can be tried again in time."""
        patient = sum(fault.seconds for fault in struck) <= SLOW_SECONDS
        if patient and not any(fault.kind in REFUSALS for fault in struck):
            assert not carried.unavailable
            assert not carried.unknown

    def _in_order(self, rivals: list[Carried], own: Carried, before: int) -> list[Carried]:
        """The groups as they were committed; every command at most once, and dense."""
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

        def committed_at(carried: Carried) -> float:
            logged = [first[name] for name in carried.names if name in first]
            if logged:
                return min(logged)
            # It wrote nothing: what it saw is what there was at its last attempt.
            return carried.done_at + 0.5

        for carried in (*rivals, own):
            for name, ticket in zip(carried.names, carried.tickets, strict=True):
                if ticket.error is not None and not isinstance(ticket.error, OutcomeUnknownError):
                    assert name not in first, f"{name} was refused, but applied"
        self.logged = set(first)
        return sorted((*rivals, own), key=committed_at)

    def _replay(self, ordered: list[Carried]) -> None:
        """Every answer is the twin's; what nobody knows has happened if the log says so."""
        for carried in ordered:
            if carried.unavailable:
                continue
            if carried.unknown and not self.logged.intersection(carried.names):
                continue
            for command, ticket in zip(carried.group, carried.tickets, strict=True):
                expected = outcome(self.account.execute, command)
                if not carried.unknown:
                    assert self._answer(ticket) == expected

    @staticmethod
    def _answer(ticket: Ticket) -> tuple[str, Any, str]:
        if ticket.error is None:
            return "done", comparable(ticket.result), ""
        return "refused", type(ticket.error), str(ticket.error)

    def _compare_index(self, service: Service) -> None:
        """The index of a process shows what is in the database now."""
        held = service._index.ask(contents)
        assert held == LiveIndex(self.observer).ask(contents)
