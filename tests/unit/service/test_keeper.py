"""Service time in virtual time: keepers that are paused, killed and cut off, and a row that answers late.

The keepers are the real ones. Only time, the row and the leases are played. Whatever a keeper waits for takes
some time, in which the others go on, so that each step of one comes between any two steps of another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.model.commands import Command, ExpireLeases
from moorage.model.errors import UnavailableError
from moorage.model.leases import SLACK_MS, ClockFact
from moorage.model.values import Requester
from moorage.service import keeper as keeper_module
from moorage.service.keeper import MOST_ADVANCE_SECONDS, TAKEOVER_SECONDS, TICK_SECONDS, TimeKeeper
from moorage.store.sql.errors import ConnectionLostError

TTL_MS = 4_000
FAR_AWAY = 10**12
LATEST_SECONDS = 10.0
"""How long after its ttl a lease may end, while at least one process serves undisturbed."""


@dataclass
class Trouble:
    """What becomes of one statement: how long it takes before and after it is carried out, and if it is.

    ``lost``: the keeper gets no answer. ``later``: it is carried out so long after that, if the row allows.
    """

    before: float = 0.001
    after: float = 0.001
    lost: bool = False
    happens: bool = True
    later: float | None = None


USUAL = Trouble()


@dataclass
class Played:
    """A lease: renewed at a real time, due by service time, and ended at real times."""

    renewed_at: float
    due: int
    ended: list[float] = field(default_factory=list)


@dataclass
class World:
    """Real time, the row, leases, and processes that look at the row once a second."""

    now: float = 0.0
    ticks: int = 0
    term: int = 0
    name: str = ""
    leases: list[Played] = field(default_factory=list)
    history: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])
    pending: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    depth: int = 0
    goes_on: bool = False

    def pass_time(self, seconds: float, of: Process | None = None) -> None:
        """Others go on meanwhile; a process whose step is under way does not."""
        end = self.now + seconds
        if of is not None:
            of.busy = True
        while self.depth < 40:
            nexts = [(each.next_at, each.act) for each in self.processes if not each.busy]
            coming = sorted([*nexts, *self.pending], key=lambda item: item[0])
            if not coming or coming[0][0] > end:
                break
            at, act = coming[0]
            self.now = max(self.now, at)
            if (at, act) in self.pending:
                self.pending.remove((at, act))
            self.depth += 1
            try:
                act()
            finally:
                self.depth -= 1
        self.now = max(self.now, end)
        if of is not None:
            of.busy = False

    def set(self, known: ClockFact, **values: Any) -> bool:
        """The conditional UPDATE."""
        if (self.ticks, self.term) != (known.ticks, known.term):
            return False
        self.ticks = values.get("ticks", self.ticks)
        self.term = values.get("term", self.term)
        self.name = values.get("name", self.name)
        self.history.append((self.now, self.ticks))
        return True

    def due(self) -> int | None:
        """When the next lease is due. One that others renew in time may keep service time going."""
        waiting = [lease.due for lease in self.leases if not lease.ended]
        return min(waiting, default=FAR_AWAY if self.goes_on else None)

    def renew(self) -> None:
        """A lease whose holder sends its renewal now."""
        self.leases.append(Played(self.now, self.ticks + TTL_MS + SLACK_MS))

    def check_never_early(self) -> None:
        """Between any two moments service time goes on by no more than real time and the slack."""
        least = float("inf")
        for at, ticks in self.history:
            before = least
            least = min(least, self._ticks_before(at) - 1000 * at)
            assert ticks - 1000 * at - min(before, least) <= SLACK_MS + 1, (at, ticks)
        for lease in self.leases:
            assert len(lease.ended) <= 1, "it ended twice"
            for at in lease.ended:
                assert at - lease.renewed_at >= TTL_MS / 1000

    def _ticks_before(self, moment: float) -> int:
        return max([0, *(ticks for at, ticks in self.history if at < moment)])


class Process:
    """A keeper with a steady clock of its own, and the trouble that its statements meet."""

    def __init__(self, world: World, offset: float) -> None:
        self.world, self.offset = world, offset
        self.trouble: list[Trouble] = []
        self.busy = False
        self.next_at = world.now
        self.pause = 0.0
        self.alive = True
        self.keeper = TimeKeeper(self, self, self.execute, steady=self.steady)

    def steady(self) -> float:
        """It began at some time or other, and never jumps."""
        return self.world.now + self.offset

    def act(self) -> None:
        """One turn, a second after the last one has begun, or once a pause is over."""
        self.next_at = self.world.now + TICK_SECONDS + self.pause
        self.pause = 0.0
        if self.alive:
            self.keeper.turn()

    def _ask(self, statement: Callable[[], Any]) -> Any:
        trouble = self.trouble.pop(0) if self.trouble else USUAL
        self.world.pass_time(trouble.before, self)
        answer: Any = None
        if trouble.later is not None:
            self.world.pending.append((self.world.now + trouble.later, statement))
        elif trouble.happens:
            answer = statement()
        self.world.pass_time(trouble.after, self)
        if trouble.lost or trouble.later is not None or not trouble.happens:
            raise ConnectionLostError if trouble.lost else UnavailableError("away")
        return answer

    # The row, as a keeper sees it.

    def look(self) -> ClockFact:
        world = self.world
        found: ClockFact = self._ask(
            lambda: ClockFact(
                world.ticks,
                world.term,
                world.name,
                world.due(),
                False,
            )
        )
        return found

    def advance(self, known: ClockFact, ticks: int) -> bool:
        return bool(self._ask(lambda: self.world.set(known, ticks=ticks)))

    def take_over(self, known: ClockFact, keeper: str) -> bool:
        return bool(self._ask(lambda: self.world.set(known, term=known.term + 1, name=keeper)))

    def due(self, most: int) -> list[str]:
        world = self.world
        found: list[str] = self._ask(
            lambda: [
                str(number)
                for number, lease in enumerate(world.leases)
                if not lease.ended and lease.due <= world.ticks
            ][:most]
        )
        return found

    def execute(self, command: Command[Any], _requester: Requester) -> Any:
        assert isinstance(command, ExpireLeases)

        def expire() -> tuple[str, ...]:
            world, ended = self.world, []
            for uuid in command.leases:
                lease = world.leases[int(uuid)]
                if not lease.ended and lease.due <= world.ticks:
                    lease.ended.append(world.now)
                    ended.append(uuid)
            return tuple(ended)

        return self._ask(expire)

    def ended(self, most: int) -> list[str]:
        assert most
        return []

    def forget(self, before: int) -> int:
        assert before is not None
        return 0

    def take_some(self, uuids: Sequence[str], requester: Requester) -> tuple[int, int]:
        raise AssertionError((uuids, requester))


durations = st.sampled_from([0.0, 0.001, 0.3, 0.6, 1.0, 2.5, 4.0, 7.0, 30.0])
troubles = st.builds(
    Trouble,
    before=durations,
    after=durations,
    lost=st.booleans(),
    happens=st.booleans(),
    later=st.none() | st.sampled_from([0.5, 1.5, 4.0, 12.0]),
)
steps = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0.2, 0.9, 1.1, 3.0, 6.0])),
    st.tuples(st.just("renew"), st.none()),
    st.tuples(st.just("pause"), st.tuples(st.integers(0, 2), st.sampled_from([2.0, 4.5, 8.0, 3_600.0]))),
    st.tuples(st.just("kill"), st.integers(0, 2)),
    st.tuples(st.just("start"), st.integers(0, 2)),
    st.tuples(st.just("trouble"), st.tuples(st.integers(0, 2), st.lists(troubles, max_size=4))),
)
OFFSETS = (0.0, 3_600.0, -3_600.0)
"""Wall clocks and steady clocks of hosts may differ by hours: no two are compared."""


def drama(world: World, script: list[tuple[str, Any]]) -> None:
    for what, given_ in script:
        match what:
            case "pass":
                world.pass_time(given_)
            case "renew":
                world.renew()
            case "pause":
                world.processes[given_[0]].pause += given_[1]
            case "kill":
                world.processes[given_].alive = False
            case "start":
                world.processes[given_] = Process(world, OFFSETS[given_] + world.now)
            case _:
                world.processes[given_[0]].trouble = list(given_[1])


@pytest.mark.unmeasured
@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=25))
def test_no_lease_ends_early_or_twice_or_never(script: list[tuple[str, Any]]) -> None:
    world = World(goes_on=True)
    world.processes = [Process(world, offset) for offset in OFFSETS]
    world.renew()
    drama(world, script)
    # The trouble is over, whatever is still on its way. One more process serves, and no other one is paused.
    for process in world.processes:
        process.trouble, process.pause = [], 0.0
        process.next_at = min(process.next_at, world.now + 40.0)
    world.processes.append(Process(world, 7.0))
    world.pass_time(80.0)
    world.renew()
    last, at = world.leases[-1], world.now
    world.pass_time(TTL_MS / 1000 + LATEST_SECONDS)
    world.check_never_early()
    assert all(lease.ended for lease in world.leases)
    assert last.ended[0] - at <= TTL_MS / 1000 + LATEST_SECONDS


def alone() -> tuple[World, Process]:
    """A process, a lease, and a first term."""
    world = World()
    world.renew()
    world.processes = [Process(world, 0.0)]
    world.pass_time(0.5)
    assert world.term == 1
    return world, world.processes[0]


def test_service_time_keeps_up_with_real_time() -> None:
    world, _ = alone()
    for _ in range(100):
        world.renew()
        world.pass_time(1.0)
    assert 99_000 <= world.ticks <= 100_500


def test_service_time_stands_still_while_no_lease_waits() -> None:
    world, process = alone()
    world.leases[0].ended.append(0.0)
    world.pass_time(60.0)
    assert (world.ticks, world.term) == (0, 1)
    world.renew()
    world.pass_time(3.5)
    assert 1_500 <= world.ticks <= 3_000
    assert (world.name, world.term) == (process.keeper.name, 1)


def test_a_paused_keeper_loses_what_it_has_missed() -> None:
    world, process = alone()
    world.pass_time(2.0)
    before = world.ticks
    process.pause = 30.0
    world.pass_time(32.0)
    assert before + 1_000 <= world.ticks <= before + 1_000 * MOST_ADVANCE_SECONDS + 2_000


def test_one_statement_sets_service_time_forward_by_two_seconds_at_most() -> None:
    world, process = alone()
    world.goes_on = True
    process.pause = 4.0
    world.pass_time(30.0)
    steps = [later - earlier for (_, earlier), (_, later) in pairwise(world.history)]
    assert max(steps) == 1000 * MOST_ADVANCE_SECONDS
    world.check_never_early()


def test_another_process_takes_over_after_five_seconds_and_the_old_one_is_out() -> None:
    world, first = alone()
    second = Process(world, 3_600.0)
    world.processes.append(second)
    world.pass_time(2.0)
    assert world.name == first.keeper.name
    first.pause = 60.0
    world.pass_time(TAKEOVER_SECONDS + 3 * TICK_SECONDS)
    assert (world.name, world.term) == (second.keeper.name, 2)
    world.pass_time(60.0)
    world.renew()
    world.pass_time(5.0)
    assert (world.name, world.term) == (second.keeper.name, 2)


def test_time_in_a_slow_statement_does_not_count() -> None:
    world, process = alone()
    world.pass_time(1.0)
    process.trouble = [USUAL, replace(USUAL, before=3.0)]
    world.pass_time(10.0)
    world.check_never_early()
    assert world.ticks < 9_000


def test_what_a_lost_statement_does_later_does_not_count_twice() -> None:
    world, process = alone()
    world.goes_on = True
    world.pass_time(1.0)
    process.pause = 1.5
    world.pass_time(2.0)
    process.trouble = [USUAL, replace(USUAL, lost=True, later=1.9)]
    world.pass_time(10.0)
    world.check_never_early()


def test_a_new_keeper_counts_from_its_own_beginning() -> None:
    world, first = alone()
    world.goes_on = True
    second = Process(world, 3_600.0)
    world.processes.append(second)
    world.pass_time(2.0)
    first.alive = False
    second.trouble = [USUAL] * 5 + [USUAL, replace(USUAL, before=4.0)]
    world.pass_time(30.0)
    assert world.name == second.keeper.name
    world.check_never_early()


def test_errors_are_told_once_until_they_are_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world, process = alone()
    process.trouble = [replace(USUAL, happens=False)] * 3
    world.pass_time(6.0)
    told = [record.getMessage() for record in caplog.records]
    assert sum("cannot be ended now" in text for text in told) == 1
    assert any("can be looked at again" in text for text in told)


def test_a_fault_of_the_program_does_not_end_the_thread(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, process = alone()
    monkeypatch.setattr(process.keeper, "end_due", lambda: 1 / 0)
    world.pass_time(1.0)
    assert "could not be ended now" in caplog.text
    assert process.keeper.turn() is False


def test_a_started_keeper_looks_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "TICK_SECONDS", 0.001)
    world, process = alone()
    turns: list[bool] = []

    def turn() -> bool:
        turns.append(True)
        if len(turns) == 3:
            process.keeper._stopping.set()
        return len(turns) == 1

    monkeypatch.setattr(process.keeper, "turn", turn)
    monkeypatch.setattr(process.keeper, "_steady", time.monotonic)
    process.keeper.start()
    process.keeper.stop()
    assert world.term == 1
    assert len(turns) <= 3
