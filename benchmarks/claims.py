"""Claims per second, Moorage beside the reference, on the same kind of database in the same run.

    python -m benchmarks.claims [--database postgresql] [--seconds 4] [--workers 1] [--publish]

Writes tables and JSON. The exit status is 1 if Moorage made a mistake: a provider over its capacity, a
claim lost or too many, a conflict that no client caused, an answer of 500 and more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import claim_clients, claim_report, loader
from benchmarks.claim_clients import Orders, Told
from benchmarks.clouds import Provider, Tree, random_uuid
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS, percentile, ratio
from benchmarks.report import publish_section
from benchmarks.services import Moorage, Reference, Service
from benchmarks.writer import CLAIM
from moorage.model.values import Inventory
from moorage.store.tables import allocations, inventories, resource_classes, resource_providers
from tests.servers.databases import SQLITE, fresh_database

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "claims.md"

PROVIDERS = 1_000
HOT_PROVIDERS = 8
"""One for each number of clients and of workers, so that no run meets what another has claimed."""

SCARCE_PROVIDERS = 4
ROOM_OF_SCARCE = 8
"""Claims that a scarce provider has room for: fewer than clients want."""

AMPLE = {name: Inventory(amount * 1_000_000) for name, amount in CLAIM.items()}
SCARCE = {name: Inventory(amount * ROOM_OF_SCARCE) for name, amount in CLAIM.items()}

REFERENCE_PATIENCE = 2.0
"""The reference gets so many times as long: it answers too seldom for a figure otherwise."""

ORDERS = (DEFAULT, RANDOM) = ("default", "random")
"""Of candidates: with ``randomize_allocation_candidates``, which large deployments set, and without."""

CYCLE_PATIENCE = 6.0
"""The same for whole cycles, of which 64 clients finish few in ten seconds."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What clients do, how many of them, and where they claim.

    ``patience``: how many times as long the reference gets. ``searches``: whether clients search, so that
    there is a row for each order of candidates.
    """

    name: str
    about: str
    behaviour: str
    clients: tuple[int, ...]
    few_clients: tuple[int, ...]
    patience: float = REFERENCE_PATIENCE
    searches: bool = False


SCENARIOS = (
    Scenario("hot", "all claims on one provider", "claim", (1, 16, 32, 64), (32,)),
    Scenario("spread", f"claims on {PROVIDERS:,} providers", "claim", (1, 16, 64), (64,)),
    Scenario(
        "cycle",
        f"search among {PROVIDERS:,} providers (limit=10), claim one of the candidates, free it",
        "cycle",
        (1, 16, 64),
        (16,),
        CYCLE_PATIENCE,
        searches=True,
    ),
    Scenario(
        "scarce",
        f"more claims on {SCARCE_PROVIDERS} providers than they have room for",
        "compete",
        (32,),
        (32,),
    ),
)


@dataclass(slots=True)
class Site:
    """A cloud for the benchmark: where each scenario claims."""

    chance: Random
    spread: list[str] = field(default_factory=list)
    hot: list[str] = field(default_factory=list)
    scarce: list[str] = field(default_factory=list)

    def trees(self) -> Iterator[Tree]:
        """All providers; they are known once they were taken from here."""
        for name, inventory, number, uuids in (
            ("spread", AMPLE, PROVIDERS, self.spread),
            ("hot", AMPLE, HOT_PROVIDERS, self.hot),
            ("scarce", SCARCE, SCARCE_PROVIDERS, self.scarce),
        ):
            for position in range(number):
                uuids.append(random_uuid(self.chance))
                yield [Provider(uuids[-1], f"{name}-{position:05}", inventory)]

    def providers(self, scenario: Scenario, clients: int) -> list[str]:
        """Those that are claimed from."""
        if scenario.name == "hot":
            return [self.hot[scenario.clients.index(clients)]]
        return self.scarce if scenario.name == "scarce" else self.spread


@dataclass(slots=True)
class Account:
    """What the clients of one service hold, over all its runs."""

    held: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def add(self, told: Told) -> None:
        """Take over what a run ended with."""
        self.held |= told.held
        self.unknown |= set(told.unknown)


def audit(url: str, account: Account) -> dict[str, int]:
    """Compare a database with what clients were told: all figures are 0 if all is well.

    ``over_capacity``: inventories with more in use than they have. ``lost``: acknowledged claims that
    are not there, or not as they were acknowledged. ``phantom``: what is held although nobody was told so.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    used = (
        sa.select(
            allocations.c.resource_provider_id,
            allocations.c.resource_class_id,
            sa.func.sum(allocations.c.used).label("used"),
        )
        .group_by(allocations.c.resource_provider_id, allocations.c.resource_class_id)
        .subquery()
    )
    room = (inventories.c.total - inventories.c.reserved) * inventories.c.allocation_ratio
    over = (
        sa.select(sa.func.count())
        .select_from(inventories)
        .join(
            used,
            sa.and_(
                used.c.resource_provider_id == inventories.c.resource_provider_id,
                used.c.resource_class_id == inventories.c.resource_class_id,
            ),
        )
        .where(used.c.used > room)
    )
    rows = (
        sa.select(
            allocations.c.consumer_id, resource_providers.c.uuid, resource_classes.c.name, allocations.c.used
        )
        .join(resource_providers, allocations.c.resource_provider_id == resource_providers.c.id)
        .join(resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
    )
    with engine.connect() as connection:
        over_capacity = connection.scalar(over) or 0
        present: dict[str, set[tuple[str, str, int]]] = {}
        for consumer, provider, name, amount in connection.execute(rows):
            present.setdefault(consumer, set()).add((provider, name, amount))
    wanted = {
        consumer: {(provider, name, amount) for name, amount in CLAIM.items()}
        for consumer, provider in account.held.items()
    }
    return {
        "over_capacity": over_capacity,
        "lost": sum(present.get(consumer) != items for consumer, items in wanted.items()),
        "phantom": len(present.keys() - wanted.keys() - account.unknown),
        "unknown": len(account.unknown),
    }


def figures(told: Told, cpu_seconds: float) -> dict[str, Any]:
    """Of one run of one service, for the report."""
    done = sum(map(len, told.seconds.values()))
    found: dict[str, Any] = {
        "per_second": round(told.finished / told.elapsed, 2),
        "requests": done,
        "cpu_ms": round(cpu_seconds / done * MILLISECONDS, 3) if done else None,
        "refused": dict(told.refused),
    }
    for kind, seconds in told.seconds.items():
        if seconds:
            found[f"{kind}_p50_ms"] = round(percentile(seconds, 50) * MILLISECONDS, 2)
            found[f"{kind}_p99_ms"] = round(percentile(seconds, 99) * MILLISECONDS, 2)
    return found


def rate_ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    """How often Moorage succeeds for each time that the reference does; None if either never did."""
    if not ours.get("per_second") or not theirs.get("per_second"):
        return None
    return round(float(ours["per_second"] / theirs["per_second"]), 1)


def mistakes(row: dict[str, Any]) -> int:
    """Answers in a run of Moorage that there should not have been."""
    refused = row.get(Moorage.name, {}).get("refused", {})
    return sum(count for reason, count in refused.items() if not reason.endswith(" full"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of this benchmark does.

    ``seconds`` per turn of a service with a scenario and a number of clients, ``turns`` of each of them: a
    shared machine is now faster, now slower, and neither service shall have only the one or the other.
    ``orders`` are those of candidates.
    """

    kind: str
    seconds: float
    turns: int
    seed: int
    workers: tuple[int, ...]
    scenarios: tuple[str, ...]
    clients: tuple[int, ...]
    services: tuple[type[Service], ...]
    orders: tuple[str, ...] = ORDERS

    def numbers(self, scenario: Scenario, workers: int) -> tuple[int, ...]:
        """Of clients. With several workers only the most telling ones are tried."""
        chosen = scenario.clients if workers == self.workers[0] else scenario.few_clients
        return tuple(number for number in scenario.clients if number in self.clients) or chosen


@dataclass(slots=True)
class Entrant:
    """A service with an order of candidates, where its clients claim, and what they hold."""

    service: Service
    order: str
    site: Site
    account: Account = field(default_factory=Account)


class Contest:
    """Both services with the same cloud, each on a database of its own for each order of candidates."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self._plan = plan
        self._workers = workers
        self._entrants: list[Entrant] = []

    def run(self, console: Console) -> dict[str, Any]:
        """``results`` and ``audits`` for the report."""
        results = []
        with tempfile.TemporaryDirectory(prefix="moorage-bench-") as name, ExitStack() as stack:
            for order in self._plan.orders:
                for kind in self._plan.services:
                    self._prepare(kind, order, Path(name) / f"{kind.name}-{order}", stack)
            for scenario in SCENARIOS:
                if scenario.name in self._plan.scenarios:
                    for clients in self._plan.numbers(scenario, self._workers):
                        console.print(f"  {scenario.name}: {clients} clients, {self._workers} workers")
                        results += self._round(scenario, clients)
            audits: list[dict[str, Any]] = [
                {"workers": self._workers, "order": order}
                | {
                    each.service.name: audit(each.service.database, each.account)
                    for each in self._entrants
                    if each.order == order
                }
                for order in self._plan.orders
            ]
        return {"results": results, "audits": audits}

    def _prepare(self, kind: type[Service], order: str, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        url = stack.enter_context(fresh_database(self._plan.kind, folder))
        service = kind(url, folder, self._workers, randomize=order == RANDOM)
        stack.callback(service.stop)
        service.prepare()
        site = Site(Random(self._plan.seed))
        loader.load(url, site.trees(), Random(self._plan.seed))
        service.start()
        self._entrants.append(Entrant(service, order, site))

    def _round(self, scenario: Scenario, clients: int) -> list[dict[str, Any]]:
        """A row for each order, if clients search; all entrants have their turns one after the other."""
        orders = self._plan.orders if scenario.searches else self._plan.orders[:1]
        entrants = [each for each in self._entrants if each.order in orders]
        in_all = {(each.service.name, each.order): Told() for each in entrants}
        cpu_seconds = dict.fromkeys(in_all, 0.0)
        seed = self._plan.seed + clients + 1_000 * self._workers + 10_000 * SCENARIOS.index(scenario)
        for turn in range(self._plan.turns):
            for each in entrants:
                service, key = each.service, (each.service.name, each.order)
                patience = scenario.patience if service.name == Reference.name else 1.0
                asked = Orders(
                    service.port,
                    scenario.behaviour,
                    clients,
                    self._plan.seconds * patience,
                    seed + 100_000 * turn,
                    each.site.providers(scenario, clients),
                )
                before = service.cpu_seconds()
                told = claim_clients.run(asked)
                cpu_seconds[key] += service.cpu_seconds() - before
                in_all[key].add(told)
                each.account.add(told)
        rows = []
        for order in orders:
            row: dict[str, Any] = {"scenario": scenario.name, "clients": clients, "workers": self._workers}
            row["order"] = order if scenario.searches else None
            row |= {
                key[0]: figures(told, cpu_seconds[key]) for key, told in in_all.items() if key[1] == order
            }
            rows.append(compared(row))
        return rows


def compared(row: dict[str, Any]) -> dict[str, Any]:
    """``row`` with the ratios of its services."""
    ours, theirs = (row.get(each.name, {}) for each in (Moorage, Reference))
    row["ratio"] = rate_ratio(ours, theirs)
    row["p99_ratio"] = ratio(ours.get("claim_p99_ms"), theirs.get("claim_p99_ms"))
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    plan = Plan(
        options.database,
        options.seconds,
        options.turns,
        options.seed,
        tuple(options.workers or (1, 2)),
        tuple(options.only or (each.name for each in SCENARIOS)),
        tuple(options.clients or ()),
        (Moorage,) if options.without_reference else (Moorage, Reference),
        tuple(options.order or ORDERS),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(width=max(TABLE_WIDTH, Console().width))
    found: dict[str, Any] = {"run": {}, "results": [], "audits": []}
    with running_server(plan.kind):
        found["run"] = described_machine(plan.kind, options.output) | {
            "seed": plan.seed,
            "seconds": plan.seconds,
            "turns": plan.turns,
            "load": round(os.getloadavg()[1], 1),
            "scenarios": {each.name: each.about for each in SCENARIOS if each.name in plan.scenarios},
        }
        for workers in plan.workers:
            told = Contest(plan, workers).run(console)
            found["results"] += told["results"]
            found["audits"] += told["audits"]
            write(found, options.output)
    show(found, console)
    if options.publish:
        publish_section(found, PAGE, claim_report.markdown(found), ())
    faults = sum(map(mistakes, found["results"]))
    faults += sum(
        each[Moorage.name][name] for each in found["audits"] for name in ("over_capacity", "lost", "phantom")
    )
    return 1 if faults else 0


def positive(text: str) -> int:
    """A number from 1 on. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__.partition("\n")[0])
    made.add_argument("--database", choices=KINDS, default=SQLITE, help="kind of database (default: sqlite)")
    made.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help="seconds of a turn, per scenario and number of clients (default: 2); the reference gets twice "
        "as many, and six times as many for cycles",
    )
    made.add_argument(
        "--turns",
        type=positive,
        default=1,
        help="how often each service has its turn, after the other one; figures are of all its turns "
        "(default: 1)",
    )
    names = [scenario.name for scenario in SCENARIOS]
    made.add_argument("--only", choices=names, action="append", help="this scenario (may be repeated)")
    made.add_argument("--clients", type=int, action="append", help="this many clients (may be repeated)")
    made.add_argument(
        "--workers", type=int, action="append", help="worker processes per service (default: 1, then 2)"
    )
    made.add_argument(
        "--order", choices=ORDERS, action="append", help="order of candidates (default: both, in turns)"
    )
    made.add_argument("--seed", type=int, default=SEED, help=f"seed of cloud and choices (default: {SEED})")
    made.add_argument("--without-reference", action="store_true", help="measure Moorage alone")
    made.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"folder of the results (default: {OUTPUT})"
    )
    made.add_argument("--publish", action="store_true", help=f"put the figures into {PAGE.name} as well")
    return made


def write(found: dict[str, Any], folder: Path) -> None:
    """``claims.json`` and ``claims.md``, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "claims.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "claims.md").write_text(claim_report.markdown(found))


def show(found: dict[str, Any], console: Console) -> None:
    """The tables, on the terminal."""
    for head, rows in claim_report.tables(found):
        table = Table(*head)
        for cells in rows:
            table.add_row(*cells)
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
