"""One run: a database, a service on it, clients, a nemesis, and at the end the audit."""

from __future__ import annotations

import os
import random
import secrets
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy.exc import OperationalError

from moorage.model.commands import CreateTrait
from moorage.service.settings import CommitSettings
from moorage.service.verification import verify
from moorage.store.settings import StoreSettings
from moorage.store.sql.errors import PRIMARY_CODE
from moorage.store.store import Store
from tests.faults.auditor import Beginning, Verdict, audit, check_readings
from tests.faults.clients import Recorder
from tests.faults.compaction import Compaction
from tests.faults.fleet import ADDRESSES, Fleet
from tests.faults.history import History, Outcome
from tests.faults.last_questions import ask_all_workers
from tests.faults.lease_auditor import LeaseAudit
from tests.faults.lease_end import end_leases
from tests.faults.ledger import Ledger, current_revision, differences, read_ledger
from tests.faults.mischief import BODIES_STALLED, IMPATIENCE, Fault, Mischief
from tests.faults.service_time import Ticks, TimeWatch
from tests.faults.serving import Serving, ServingError
from tests.faults.targets import KEEPER_PAUSED, LONGEST_KEEPER_PAUSE_SECONDS, Target, service_faults
from tests.faults.watch_auditor import WatchAudit, mirror_faults
from tests.faults.watchers import Watching
from tests.faults.workload import Workload

LONGEST_CALM_SECONDS = 1.5
"""Between two faults."""

AFTERMATH_SECONDS = 1.5
"""How long the clients go on after the last fault."""

QUIET_SECONDS = 1.5
"""Nothing is under way any more once the revision has stood still for so long."""

RECOVERY_SECONDS = 60.0
"""After the last fault was taken back, writes must be taken again within this."""

SABOTAGED_SECONDS = 5.0
"""The same where a fault is built in."""

JOURNAL_COMPACTED = "journal compacted"

UNDISTURBED = "undisturbed"
"""No fault, for ``UNDISTURBED_SECONDS``: leases must end in time."""

UNDISTURBED_SECONDS = 26.0

LOOK_SECONDS = 0.5
"""So often the nemesis looks whether the service has ended by itself."""

LONG_SECONDS = 60.0
"""A run that is as long has faults that take long, and waits in the end until leases have ended by time."""

MOST_TOLD = 20
"""Violations that a report shows; one mistake often has hundreds."""

LONGEST_TOLD = 1_500
"""Characters of each."""

SEED = "MOORAGE_FAULTS_SEED"
"""Environment variable with the seed of a run that shall be made again."""


def chosen_seed(usual: int | None = None) -> int:
    """The seed that the environment asks for, else the usual one, or a new one where none is usual."""
    if asked := os.environ.get(SEED):
        return int(asked)
    return secrets.randbelow(10**8) if usual is None else usual


Service = Serving | Fleet
"""What clients reach at one port."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run shall do. ``only`` names the faults to choose from; none: all that there are."""

    seed: int
    seconds: float
    workers: int = 2
    sabotage: str = ""
    only: Sequence[str] | None = None
    hosts: int = 1

    @property
    def patience_seconds(self) -> float:
        """How long the end of a run waits. Where a fault is built in, what it has spoilt may never end."""
        return SABOTAGED_SECONDS if self.sabotage else RECOVERY_SECONDS


@dataclass
class Report:
    """What a run did and found."""

    database: str
    seed: int
    seconds: float
    workers: int
    hosts: int
    operations: Mapping[str, int]
    faults: Mapping[str, int]
    restarts: int
    revisions: int
    violations: list[str] = field(default_factory=list)
    log: str = ""
    watched: Mapping[str, int] = field(default_factory=dict)
    """What watchers were told."""
    longest_wait: float = 0.0
    """Seconds that a write took which was acknowledged in the end."""

    def __str__(self) -> str:
        made = f"{self.seconds:.0f} s, {self.workers} workers on {self.hosts} hosts"
        lines = [
            f"{self.database}: {SEED}={self.seed}, {made}",
            f"  operations: {counted(self.operations)}; {self.revisions} revisions",
            f"  longest wait for an acknowledgement: {self.longest_wait:.1f} s",
            f"  watchers: {counted(self.watched)}",
            f"  faults: {counted(self.faults)}; the service was started again {self.restarts} times",
            f"  violations: {len(self.violations)}",
            *(f"    {violation[:LONGEST_TOLD]}" for violation in self.violations[:MOST_TOLD]),
        ]
        if self.violations and self.log:
            lines.append(f"  the service's log ends with:\n{self.log}")
        return "\n".join(lines)


def counted(counts: Mapping[str, int]) -> str:
    """``3 acknowledged, 1 refused``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def run(target: Target, plan: Plan) -> Report:
    """Do it all. Raises what the harness itself fails with; what the service does is reported."""
    history = History()
    with tempfile.TemporaryDirectory(prefix="moorage-faults-") as name:
        service = _service(target, plan, Path(name))
        try:
            service.hosts[0].synchronise()
            begun = time.monotonic()
            service.start()
            start_seconds = time.monotonic() - begun
            beginning = _beginning(target)
            watching = Watching((service.address, service.port), plan.seed, beginning.revision)
            compaction = Compaction(target)
            clock = TimeWatch(lambda: target.direct_url)
            clock.start()
            try:
                nemesis, recovered, problems = _under_fire(
                    target, service, history, plan, watching, compaction
                )
                verdict = Verdict()
                ended: Counter[str] = Counter()
                if recovered:
                    by_time = plan.seconds >= LONG_SECONDS
                    patience = plan.patience_seconds
                    problems += _of_damage(
                        lambda: end_leases(target, service.hosts[0], history, by_time, patience)
                    )
                    problems += _of_damage(
                        lambda: _last_questions(
                            target, service, history, beginning, verdict, watching, compaction
                        )
                    )
                    leases = LeaseAudit(
                        history,
                        verdict,
                        watching.moments,
                        Ticks(clock.looks),
                        nemesis.disturbed,
                        start_seconds,
                    )
                    problems += leases.run()
                    ended = leases.ended
            finally:
                clock.stop()
                watching.close()
            if target.comes_back:
                problems += _given_up_early(history)
            return Report(
                target.name,
                plan.seed,
                plan.seconds,
                plan.workers,
                plan.hosts,
                {**history.counts(), **ended},
                nemesis.done,
                service.restarts,
                verdict.revisions,
                verdict.violations + problems,
                service.tail(),
                watching.counts(),
                _longest_wait(history),
            )
        finally:
            service.kill()


def _service(target: Target, plan: Plan, folder: Path) -> Service:
    addresses = ADDRESSES[: plan.hosts]
    hosts = [
        Serving(target.url, folder, plan.workers, plan.sabotage, address=address, environment=IMPATIENCE)
        for address in addresses
    ]
    return hosts[0] if len(hosts) == 1 else Fleet(hosts, folder)


def _longest_wait(history: History) -> float:
    return max(
        (
            operation.ended - operation.begun
            for operation in history.operations
            if operation.outcome is Outcome.ACKNOWLEDGED and operation.ended is not None
        ),
        default=0.0,
    )


def _given_up_early(history: History) -> list[str]:
    """503s that came before the service had tried for as long as it says that it does."""
    return [
        f"given up early: after {operation.ended - operation.begun:.1f} seconds: {operation}"
        for operation in history.operations
        if operation.outcome is Outcome.TURNED_AWAY
        and operation.ended is not None
        # A load balancer that knows of no service has words of its own.
        and "The service cannot answer now" in operation.detail
        and operation.ended - operation.begun < CommitSettings().deadline_seconds
    ]


def _beginning(target: Target) -> Beginning:
    ledger = read_ledger(target.direct_url)
    return Beginning(ledger.account, ledger.revision)


class Nemesis:
    """Chooses one fault after the other, each once before any comes again.

    ``disturbed``: when each did harm, by the clients' clock.
    """

    def __init__(
        self, faults: Mapping[str, Fault], seed: int, service: Service, only: Sequence[str] | None
    ) -> None:
        self.done: Counter[str] = Counter()
        self.disturbed: list[tuple[float, float]] = []
        self._faults = {name: fault for name, fault in faults.items() if only is None or name in only}
        self._dice = random.Random(f"{seed}-nemesis")
        self._serving = service
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nemesis")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """After the fault at hand. Raises what went wrong with a fault itself."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        waiting: list[str] = []
        try:
            while self._faults and not self._pause(self._dice.uniform(0.1, LONGEST_CALM_SECONDS)):
                if not waiting:
                    waiting = self._dice.sample(sorted(self._faults), len(self._faults))
                    # Its harm comes seconds later: it shall come within a short run as well.
                    waiting.sort(key=lambda name: name == BODIES_STALLED)
                name = waiting.pop()
                if name == UNDISTURBED:
                    self._pause(UNDISTURBED_SECONDS)
                else:
                    self._disturb(name)
                self.done[name] += 1
        except BaseException as failure:
            self._failure = failure

    def _pause(self, seconds: float) -> bool:
        """Do nothing but start again what has ended by itself. Whether it is to stop."""
        until = time.monotonic() + seconds
        while (left := until - (looked := time.monotonic())) > 0:
            if self._stop.wait(min(left, LOOK_SECONDS)):
                return True
            if self._serving.restart_if_ended():
                self.disturbed.append((looked, time.monotonic()))
        return self._stop.is_set()

    def _disturb(self, name: str) -> None:
        begun = time.monotonic()
        try:
            self._faults[name](self._dice)
            self._serving.restart_if_ended()
        finally:
            self.disturbed.append((begun, time.monotonic()))


def with_room(faults: Mapping[str, Fault], seconds: float) -> Mapping[str, Fault]:
    """The faults that a run of so many seconds has room for, beside the others."""
    if seconds >= LONG_SECONDS:
        return {**faults, UNDISTURBED: _no_fault}
    has_room = seconds >= 2 * LONGEST_KEEPER_PAUSE_SECONDS
    return {name: fault for name, fault in faults.items() if has_room or name != KEEPER_PAUSED}


def _no_fault(_dice: random.Random) -> None:
    """Stands for ``UNDISTURBED``."""


def _under_fire(
    target: Target,
    service: Service,
    history: History,
    plan: Plan,
    watching: Watching,
    compaction: Compaction,
) -> tuple[Nemesis, bool, list[str]]:
    workload = Workload(history, service.port, plan.seed)
    watching.start()
    workload.prepare()
    service.arm()
    mischief = Mischief(service.hosts)
    faults = {**service_faults(service.hosts), **target.faults(service.hosts), **mischief.faults}
    faults[JOURNAL_COMPACTED] = compaction.compact
    nemesis = Nemesis(with_room(faults, plan.seconds), plan.seed, service, plan.only)
    workload.start()
    try:
        nemesis.start()
        time.sleep(plan.seconds)
        nemesis.stop()
        target.heal()
        mischief.close()
        problems = mischief.problems + _recovered(service, history, plan.patience_seconds)
        recovered = len(problems) == len(mischief.problems)
        problems += _of_damage(lambda: _verified(target))
    finally:
        mischief.close()
        workload.stop()
    return nemesis, recovered, problems


def _of_damage(look: Callable[[], list[str]]) -> list[str]:
    """What ``look`` finds, or that the database is damaged so that nothing can be found in it."""
    try:
        return look()
    except Exception as error:
        if not is_damage(error):
            raise
        return [f"damaged: the database cannot be read: {error}"]


def is_damage(error: BaseException) -> bool:
    """Whether SQLite takes a file for malformed, or for no database at all."""
    codes = {getattr(cause, "sqlite_errorcode", 0) & PRIMARY_CODE for cause in _causes(error)}
    return bool(codes & {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def _causes(error: BaseException) -> list[BaseException]:
    """An error, and those that it was made from by oslo.db and SQLAlchemy."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = getattr(cause, "inner_exception", None) or getattr(cause, "orig", None) or cause.__cause__
    return found


def _verified(target: Target) -> list[str]:
    """What ``moorage verify`` says while the clients go on."""
    store = Store(StoreSettings(target.direct_url))
    try:
        found = verify(store, AFTERMATH_SECONDS)
    finally:
        store.close()
    return [
        f"verify: {check.name}: {finding}"
        for check in found.checks
        for finding in check.findings
        if not finding.warning
    ]


def _recovered(service: Service, history: History, seconds: float) -> list[str]:
    """Nothing is wrong any more, so that writes must be taken within so many seconds."""
    recorder = Recorder(history, service.port, "recovery", service.address)
    until = time.monotonic() + seconds
    latest: object = None
    try:
        while time.monotonic() < until:
            try:
                service.restart_if_ended()
            except ServingError as error:
                return [f"no recovery: {error}"]
            operation = recorder.order(CreateTrait("CUSTOM_RECOVERED"), seconds)
            if operation.outcome is Outcome.ACKNOWLEDGED:
                return []
            latest = operation
            time.sleep(0.1)
    finally:
        recorder.close()
    return [f"no recovery: nothing was written within {seconds:.0f} seconds: {latest}"]


def _last_questions(
    target: Target,
    service: Service,
    history: History,
    beginning: Beginning,
    verdict: Verdict,
    watching: Watching,
    compaction: Compaction,
) -> list[str]:
    """Ask every worker for everything, stop the service, and audit. Returns what is wrong beside it."""
    _wait_until_quiet(target.direct_url)
    before = current_revision(target.direct_url)
    watching.catch_up(before)
    last: dict[int, History] = {}
    problems = watching.problems
    for host in service.hosts:
        asked, missing = ask_all_workers(host)
        last |= asked
        problems += missing
    try:
        service.stop()
    except ServingError as error:
        problems.append(f"stop: {error}")
    ledger = read_ledger(target.direct_url)
    for name, url in target.copies.items():
        copy = _read_copy(url)
        if (copy.revision, copy.entries) != (ledger.revision, ledger.entries):
            problems.append(f"copies: {name} has another change log, up to {copy.revision}")
        problems += [f"copies: {name}: {text}" for text in differences(ledger.account, copy.account)]
    if ledger.revision != before:
        problems.append(f"not quiet: revision {before} became {ledger.revision} while nobody wrote")
    watches = WatchAudit(watching.watchers, history.operations, ledger, compaction.end)
    problems += watches.run(beginning.account)
    watching.moments = watches.moments
    wrong = mirror_faults(watching.mirror, watching.rebuilt, ledger, compaction.end)
    problems += [*wrong, *(f"mirror: {reason}" for reason in watching.reasons if wrong)]
    ledger = replace(ledger, journal={**compaction.kept, **ledger.journal})
    found = audit(history, beginning, ledger, watches.moments)
    verdict.take(found)
    for pid, recorded in last.items():
        wrong = check_readings(found.account, recorded.readings)
        problems += [f"final answer: worker {pid}: {text}" for text in wrong]
    return problems


def _read_copy(url: str) -> Ledger:
    """The ledger of another node, which may still be joining the others after the last fault."""
    until = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            return read_ledger(url)
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def _wait_until_quiet(url: str) -> None:
    revision, since = current_revision(url), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.1)
        if (now := current_revision(url)) != revision:
            revision, since = now, time.monotonic()


OpenTarget = Callable[[Path], Target]
