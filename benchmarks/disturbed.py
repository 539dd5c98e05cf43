"""What clients that claim notice when a worker dies, all workers are replaced, or the database is lost.

    python -m benchmarks.disturbed [--seconds 5] [--only "fail-over"] [--publish]

Moorage runs on PostgreSQL with a synchronous standby. Writes tables and JSON. The exit status is 1 if a
claim was lost or is too many, if a provider is over its capacity, or if there was an answer that the
disturbance does not excuse.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import claim_clients, disturbed_report, loader
from benchmarks.claim_clients import CLOSED, Exchange, Orders, Traffic
from benchmarks.claims import SCENARIOS, Account, Scenario, Site, audit
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.processes import cpu_seconds
from benchmarks.report import publish_section
from benchmarks.services import Moorage
from tests.faults.serving import workers_of
from tests.faults.standby import StandbyTarget
from tests.faults.targets import start_again
from tests.servers.binaries import POSTGRESQL, URL_VARIABLES

PAGE = Path(__file__).parents[1] / "docs" / "reliability" / "disturbances.md"

CLIENTS = 16
WORKERS = 2

PAUSE_SECONDS = 0.1
"""How long a client that was refused waits before it goes on."""

NOTICE_SECONDS = 1.0
"""How long a cluster manager is given to see that the primary is lost. Real ones take longer, which adds."""

CALM_SECONDS = 5.0
"""Of undisturbed traffic, before a disturbance and after it."""

POLL_SECONDS = 0.05
LOOK_SECONDS = 0.5
"""How long workers are looked at to see which of them has most to do: one may have no client at all."""

LONGEST_SECONDS = 600.0
"""How long a disturbance may take."""

TRAFFIC = ("spread", "cycle")
"""Scenarios of ``claims`` with room for all: whoever is refused was disturbed."""

UNAVAILABLE = "503"


@dataclass(frozen=True, slots=True)
class Setting:
    """What can be disturbed."""

    service: Moorage
    database: StandbyTarget


def nothing(setting: Setting) -> None:
    """No disturbance, to compare with."""


def kill_worker(setting: Setting) -> None:
    """The worker that has most to do ends without a word; another takes its place."""
    before = {pid: cpu_seconds(pid) for pid in workers_of(setting.service.process_id)}
    time.sleep(LOOK_SECONDS)
    os.kill(max(before, key=lambda pid: cpu_seconds(pid) - before[pid]), signal.SIGKILL)
    _await(lambda: bool(set(workers_of(setting.service.process_id)) - before.keys()))


def roll_workers(setting: Setting) -> None:
    """All workers are replaced, one after the other."""
    before = set(workers_of(setting.service.process_id))
    os.kill(setting.service.process_id, signal.SIGHUP)
    _await(lambda: not before & set(workers_of(setting.service.process_id)))


def fail_over(setting: Setting) -> None:
    """The primary is lost, the standby takes its place, and a new standby is made."""
    setting.database.fail_over(NOTICE_SECONDS)
    setting.database.pair_up()


def restart_database(setting: Setting) -> None:
    """The primary crashes and is started again at once."""
    setting.database.primary.kill()
    start_again(setting.database.primary)
    setting.database.primary.wait_for_standby()


def _await(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"nothing happened within {LONGEST_SECONDS:g} seconds")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """``excuses`` are the reasons for which requests may be refused."""

    name: str
    about: str
    harm: Callable[[Setting], None]
    excuses: frozenset[str] = frozenset()


DISTURBANCES = (
    Disturbance("nothing", "no disturbance, to compare with", nothing),
    Disturbance(
        "worker killed",
        f"`kill -9` of the busier of {WORKERS} workers; another is started by itself",
        kill_worker,
        frozenset({CLOSED}),
    ),
    Disturbance("workers rolled", "SIGHUP: all workers are replaced, one after the other", roll_workers),
    Disturbance(
        "fail-over",
        f"`kill -9` of the primary; {NOTICE_SECONDS:g} s later the synchronous standby is promoted, "
        "and a new standby is made",
        fail_over,
        frozenset({UNAVAILABLE}),
    ),
    Disturbance(
        "database restarted",
        "`kill -9` of the primary, which is started again at once",
        restart_database,
        frozenset({UNAVAILABLE}),
    ),
)


def figures(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Of one run. Times are in seconds.

    ``silence`` is the longest time in which no client had a success, ``longest`` that of a single request,
    ``refusing`` the time from the first to the last refusal, ``slowest_refusal`` how long a client waited
    until it was refused.
    """
    first, last = min(sent for sent, *_ in exchanges), max(done for _, done, _ in exchanges)
    successes = sorted(done for _, done, outcome in exchanges if not outcome)
    marks = [first, *successes, last]
    refusals = [(sent, done) for sent, done, outcome in exchanges if outcome]
    refused: dict[str, int] = {}
    for *_, outcome in exchanges:
        if outcome:
            claim_clients.count(refused, outcome)
    return {
        "requests": len(exchanges),
        "per_second": round(len(successes) / (last - first), 1),
        "refused": refused,
        "silence": round(max(after - before for before, after in pairwise(marks)), 3),
        "longest": round(
            max((done - sent for sent, done, outcome in exchanges if not outcome), default=0.0), 3
        ),
        "refusing": round(
            max((done for _, done in refusals), default=0.0)
            - min((done for _, done in refusals), default=0.0),
            3,
        ),
        "slowest_refusal": round(max((done - sent for sent, done in refusals), default=0.0), 3),
    }


def unexcused(row: dict[str, Any], excuses: frozenset[str]) -> int:
    """Answers that the disturbance does not explain."""
    return sum(number for what, number in row["refused"].items() if what.rpartition(" ")[2] not in excuses)


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` of traffic before and after each disturbance."""

    seconds: float = CALM_SECONDS
    seed: int = SEED
    clients: int = CLIENTS
    only: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = TRAFFIC

    def disturbances(self) -> list[Disturbance]:
        """Those that are asked for."""
        return [each for each in DISTURBANCES if not self.only or each.name in self.only]


@contextmanager
def opened(folder: Path) -> Iterator[StandbyTarget]:
    """A database with a standby, whose data lie on the disk. Raises MissingServerError, ServerError."""
    # As root, servers run as another user, who has to pass.
    folder.chmod(0o711)
    database = StandbyTarget(folder)
    # Where the machine is described, the database server is asked for its version.
    os.environ[URL_VARIABLES[POSTGRESQL]] = database.primary.url
    try:
        yield database
    finally:
        os.environ.pop(URL_VARIABLES[POSTGRESQL], None)
        database.close()


def run(plan: Plan, console: Console, output: Path) -> dict[str, Any]:
    """All that the plan asks for, on one service. Raises MissingServerError, ServerError."""
    with (
        tempfile.TemporaryDirectory(prefix="moorage-bench-server-") as servers,
        tempfile.TemporaryDirectory(prefix="moorage-bench-") as name,
        opened(Path(servers)) as database,
    ):
        chosen = plan.disturbances()
        described = described_machine(POSTGRESQL, output) | {
            "seed": plan.seed,
            "seconds": plan.seconds,
            "load": round(os.getloadavg()[1], 1),
            "scenarios": {each.name: each.about for each in SCENARIOS if each.name in plan.scenarios},
            "disturbances": {each.name: each.about for each in chosen},
            "clients": plan.clients,
            "workers": WORKERS,
            "pause_seconds": PAUSE_SECONDS,
        }
        service = Moorage(database.url, Path(name), WORKERS)
        service.prepare()
        site = Site(Random(plan.seed))
        loader.load(database.direct_url, site.trees(), Random(plan.seed))
        service.start()
        try:
            setting = Setting(service, database)
            account = Account()
            results = []
            for disturbance in chosen:
                for scenario in SCENARIOS:
                    if scenario.name in plan.scenarios:
                        console.print(f"  {disturbance.name}: {scenario.name}")
                        results.append(_round(plan, setting, disturbance, scenario, site, account))
        finally:
            service.stop()
    return {"run": described, "results": results}


def _round(
    plan: Plan,
    setting: Setting,
    disturbance: Disturbance,
    scenario: Scenario,
    site: Site,
    account: Account,
) -> dict[str, Any]:
    orders = Orders(
        setting.service.port,
        scenario.behaviour,
        plan.clients,
        LONGEST_SECONDS + 2 * plan.seconds,
        # No two rounds may claim for the same consumers.
        plan.seed + 1_000 * SCENARIOS.index(scenario) + 10_000 * DISTURBANCES.index(disturbance),
        site.providers(scenario, plan.clients),
        PAUSE_SECONDS,
        keep_exchanges=True,
    )
    traffic = Traffic(orders)
    try:
        time.sleep(plan.seconds)
        begun = time.perf_counter()
        disturbance.harm(setting)
        ended = time.perf_counter()
        time.sleep(plan.seconds)
    finally:
        told = traffic.end()
    account.add(told)
    row = {"disturbance": disturbance.name, "scenario": scenario.name}
    row |= figures(told.exchanges) | {"disturbed": round(ended - begun, 2)}
    found = audit(setting.database.direct_url, account)
    return row | {"audit": found, "unexcused": unexcused(row, disturbance.excuses)}


def faults(found: dict[str, Any]) -> int:
    """Mistakes of Moorage."""
    return sum(
        row["unexcused"] + sum(row["audit"][name] for name in ("over_capacity", "lost", "phantom"))
        for row in found["results"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    plan = Plan(options.seconds, options.seed, only=tuple(options.only or ()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=max(TABLE_WIDTH, Console().width))
    found = run(plan, console, options.output)
    text = disturbed_report.markdown(found)
    (options.output / "disturbed.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.output / "disturbed.md").write_text(text)
    table = Table(*disturbed_report.HEAD)
    for row in found["results"]:
        table.add_row(*disturbed_report.cells(row))
    console.print(table)
    if options.publish:
        publish_section(found, PAGE, text, ())
    return 1 if faults(found) else 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.disturbed", description=__doc__.partition("\n")[0]
    )
    made.add_argument(
        "--seconds",
        type=float,
        default=CALM_SECONDS,
        help=f"seconds of traffic before and after each disturbance (default: {CALM_SECONDS:g})",
    )
    names = [each.name for each in DISTURBANCES]
    made.add_argument("--only", choices=names, action="append", help="this disturbance (may be repeated)")
    made.add_argument("--seed", type=int, default=SEED, help=f"seed of cloud and choices (default: {SEED})")
    made.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"folder of the results (default: {OUTPUT})"
    )
    made.add_argument("--publish", action="store_true", help=f"put the figures into {PAGE.name} as well")
    return made


if __name__ == "__main__":
    sys.exit(main())
