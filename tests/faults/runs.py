"""One run: a database, a service on it, clients, a nemesis, and at the end the audit."""

from __future__ import annotations

import os
import random
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moorage.model.commands import CreateTrait
from moorage.service.settings import CommitSettings
from tests.faults.auditor import Beginning, Verdict, audit, check_readings
from tests.faults.clients import Recorder
from tests.faults.history import History, Outcome
from tests.faults.ledger import current_revision, differences, read_ledger
from tests.faults.serving import Serving, ServingError
from tests.faults.targets import Fault, Target, service_faults
from tests.faults.workload import CONSUMERS, PROVIDERS, Workload, question_paths
from tests.oracle.account import Account

LONGEST_CALM_SECONDS = 1.5
"""Between two faults."""

AFTERMATH_SECONDS = 1.5
"""How long the clients go on after the last fault."""

QUIET_SECONDS = 1.5
"""Nothing is under way any more once the revision has stood still for so long."""

RECOVERY_SECONDS = 60.0
"""After the last fault was taken back, writes must be taken again within this."""

MOST_TOLD = 20
"""Violations that a report shows; one mistake often has hundreds."""

LONGEST_TOLD = 1_500
"""Characters of each."""

CONNECTIONS_TO_FIND_WORKERS = 200
"""The kernel deals connections to workers at random; so many find each of a few."""


SEED = "MOORAGE_FAULTS_SEED"
"""Environment variable with the seed of a run that shall be made again."""


def chosen_seed() -> int:
    """The seed that the environment asks for, or a new one."""
    return int(os.environ.get(SEED) or secrets.randbelow(10**8))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run shall do. ``only`` names the faults to choose from; none: all that there are."""

    seed: int
    seconds: float
    workers: int = 2
    sabotage: str = ""
    only: Sequence[str] | None = None


@dataclass
class Report:
    """What a run did and found."""

    database: str
    seed: int
    seconds: float
    workers: int
    operations: Mapping[str, int]
    faults: Mapping[str, int]
    restarts: int
    revisions: int
    violations: list[str] = field(default_factory=list)
    log: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.database}: {SEED}={self.seed}, {self.seconds:.0f} s, {self.workers} workers",
            f"  operations: {counted(self.operations)}; {self.revisions} revisions",
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
        serving = Serving(target.url, Path(name), plan.workers, plan.sabotage)
        try:
            serving.synchronise()
            serving.start()
            beginning = _beginning(target)
            nemesis, problems = _under_fire(target, serving, history, plan)
            verdict = Verdict()
            if not problems:
                problems = _last_questions(target, serving, history, plan, beginning, verdict)
            if target.comes_back:
                problems += _given_up_early(history)
            return Report(
                target.name,
                plan.seed,
                plan.seconds,
                plan.workers,
                history.counts(),
                nemesis.done,
                serving.restarts,
                verdict.revisions,
                verdict.violations + problems,
                serving.tail(),
            )
        finally:
            serving.kill()


def _given_up_early(history: History) -> list[str]:
    """503s that came before the service had tried for as long as it says that it does."""
    return [
        f"given up early: after {operation.ended - operation.begun:.1f} seconds: {operation}"
        for operation in history.operations
        if operation.outcome is Outcome.TURNED_AWAY
        and operation.ended is not None
        and operation.ended - operation.begun < CommitSettings().deadline_seconds
    ]


def _beginning(target: Target) -> Beginning:
    ledger = read_ledger(target.direct_url)
    return Beginning(ledger.account, ledger.revision)


class Nemesis:
    """Chooses one fault after the other, each once before any comes again."""

    def __init__(
        self, faults: Mapping[str, Fault], seed: int, serving: Serving, only: Sequence[str] | None
    ) -> None:
        self.done: Counter[str] = Counter()
        self._faults = {name: fault for name, fault in faults.items() if only is None or name in only}
        self._dice = random.Random(f"{seed}-nemesis")
        self._serving = serving
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
            while self._faults and not self._stop.wait(self._dice.uniform(0.1, LONGEST_CALM_SECONDS)):
                if not waiting:
                    waiting = self._dice.sample(sorted(self._faults), len(self._faults))
                name = waiting.pop()
                self._faults[name](self._dice)
                self.done[name] += 1
                self._serving.restart_if_ended()
        except BaseException as failure:
            self._failure = failure


def _under_fire(target: Target, serving: Serving, history: History, plan: Plan) -> tuple[Nemesis, list[str]]:
    workload = Workload(history, serving.port, plan.seed)
    workload.prepare()
    serving.armed.touch()
    faults = {**service_faults(serving), **target.faults(serving)}
    nemesis = Nemesis(faults, plan.seed, serving, plan.only)
    workload.start()
    try:
        nemesis.start()
        time.sleep(plan.seconds)
        nemesis.stop()
        target.heal()
        problems = _recovered(serving, history)
        time.sleep(AFTERMATH_SECONDS)
    finally:
        workload.stop()
    return nemesis, problems


def _recovered(serving: Serving, history: History) -> list[str]:
    """Nothing is wrong any more, so that writes must soon be taken."""
    recorder = Recorder(history, serving.port, "recovery", serving.address)
    until = time.monotonic() + RECOVERY_SECONDS
    latest: object = None
    try:
        while time.monotonic() < until:
            try:
                serving.restart_if_ended()
            except ServingError as error:
                return [f"no recovery: {error}"]
            operation = recorder.order(CreateTrait("CUSTOM_RECOVERED"))
            if operation.outcome is Outcome.ACKNOWLEDGED:
                return []
            latest = operation
            time.sleep(0.1)
    finally:
        recorder.close()
    return [f"no recovery: nothing was written within {RECOVERY_SECONDS:.0f} seconds: {latest}"]


def _last_questions(
    target: Target,
    serving: Serving,
    history: History,
    plan: Plan,
    beginning: Beginning,
    verdict: Verdict,
) -> list[str]:
    """Ask every worker for everything, stop the service, and audit. Returns what is wrong beside it."""
    _wait_until_quiet(target.direct_url)
    before = current_revision(target.direct_url)
    last, problems = _ask_all_workers(serving)
    try:
        serving.stop()
    except ServingError as error:
        problems.append(f"stop: {error}")
    ledger = read_ledger(target.direct_url)
    for name, url in target.copies.items():
        copy = read_ledger(url)
        if (copy.revision, copy.entries) != (ledger.revision, ledger.entries):
            problems.append(f"copies: {name} has another change log, up to {copy.revision}")
        problems += [f"copies: {name}: {text}" for text in differences(ledger.account, copy.account)]
    if ledger.revision != before:
        problems.append(f"not quiet: revision {before} became {ledger.revision} while nobody wrote")
    found = audit(history, beginning, ledger)
    verdict.violations, verdict.revisions = found.violations, found.revisions
    account: Account = found.account
    for pid, recorded in last.items():
        wrong = check_readings(account, recorded.readings)
        problems += [f"final answer: worker {pid}: {text}" for text in wrong]
    return problems


def _wait_until_quiet(url: str) -> None:
    revision, since = current_revision(url), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.1)
        if (now := current_revision(url)) != revision:
            revision, since = now, time.monotonic()


def _ask_all_workers(serving: Serving) -> tuple[dict[int, History], list[str]]:
    """Answers to every question by process id of the worker, each asked on a connection to it."""
    asked: dict[int, History] = {}
    for _ in range(CONNECTIONS_TO_FIND_WORKERS):
        if len(asked) == serving.workers:
            break
        history = History()
        recorder = Recorder(history, serving.port, "last", serving.address)
        try:
            pid = recorder.connected_to(serving.worker_of)
            if pid is None or pid in asked:
                continue
            _ask_everything(recorder)
            asked[pid] = history
        finally:
            recorder.close()
    missing = serving.workers - len(asked)
    problems = [f"workers: {missing} of {serving.workers} could not be reached"] if missing else []
    expected = len(question_paths()) + 3 * len(PROVIDERS) + len(CONSUMERS)
    problems += [
        f"final answer: worker {pid} answered {len(history.readings)} of {expected} questions"
        for pid, history in asked.items()
        if len(history.readings) != expected
    ]
    return asked, problems


def _ask_everything(recorder: Recorder) -> None:
    for question, path in question_paths():
        recorder.read(question, path)
    for provider in PROVIDERS:
        for kind in ("inventories", "usages", "allocations"):
            recorder.read((kind, provider), f"/resource_providers/{provider}/{kind}")
    for consumer in CONSUMERS:
        recorder.read(("consumer", consumer), f"/allocations/{consumer}")


OpenTarget = Callable[[Path], Target]
