"""What many watchers of changes cost, and when the last of them has a change.

    python -m benchmarks.watchers [--database postgresql] [--watchers 2000] [--rate 200] [--seconds 15]

First so many clients follow at ``changes_listen``, while claims are written at a steady rate. Then clients
claim as fast as they can, in turns without watchers and with 200 at ``changes_listen``. Prints tables and
writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import claim_clients, loader
from benchmarks.claim_clients import Orders
from benchmarks.client import Connection, request
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS
from benchmarks.journal import hosts
from benchmarks.processes import PROC, cpu_seconds, family, parse_memory
from benchmarks.services import Moorage
from benchmarks.watcher_clients import watching
from benchmarks.writer import CLAIM, TIMEOUT_SECONDS
from moorage.store.tables import journal
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database, with_driver
from tests.servers.ports import free_port

FEW: Final = 200
WRITERS: Final = 8
FILES: Final = 500
"""Descriptors of a process beside those of its watchers."""


class Watched(Moorage):
    """A service with an address for watchers."""

    def __init__(self, database: str, folder: Path, workers: int, watchers: int) -> None:
        super().__init__(database, folder, workers)
        self.changes_port = free_port()
        self._watchers = watchers

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "OS_MOORAGE__CHANGES_LISTEN": f"127.0.0.1:{self.changes_port}",
            "OS_MOORAGE__CHANGES_LISTEN_WATCHERS": str(self._watchers),
        }

    @property
    def changes_process(self) -> int:
        """The process that holds the watchers: the last one that was started."""
        return max(family(self.process_id))


def written(port: int, rate: float, seconds: float, providers: Sequence[str]) -> dict[str, float]:
    """Claim at a steady rate; when each consumer's claim was known to be committed."""
    found: dict[str, float] = {}
    begin = time.perf_counter()

    def write(number: int) -> None:
        connection, chance, step = Connection(port, TIMEOUT_SECONDS), Random(number), WRITERS / rate
        due = begin + number / rate
        while due < begin + seconds:
            time.sleep(max(0.0, due - time.perf_counter()))
            consumer = str(uuid.uuid4())
            body = {
                "allocations": {chance.choice(providers): {"resources": CLAIM}},
                "project_id": "p",
                "user_id": "u",
                "consumer_type": "INSTANCE",
                "consumer_generation": None,
            }
            sent = request("PUT", f"/allocations/{consumer}", json.dumps(body).encode())
            if connection.exchange(sent).status == 204:
                found[consumer] = time.perf_counter()
            due += step

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def latencies(url: str, commits: dict[str, float], told: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds from the answer to a claim until the first and the last watcher had its record."""
    engine = sa.create_engine(url if url.startswith(SQLITE) else with_driver(url))
    with engine.connect() as connection:
        query = sa.select(journal.c.revision, journal.c.consumer, sa.func.length(journal.c.body))
        rows = connection.execute(query.where(journal.c.revision >= told["first"])).all()
    engine.dispose()
    last, first = [], []
    for revision, consumer, _ in rows:
        at = revision - told["first"]
        if consumer in commits and at < len(told["latest"]):
            last.append((told["latest"][at] - commits[consumer]) * MILLISECONDS)
            first.append((told["earliest"][at] - commits[consumer]) * MILLISECONDS)
    return {
        "records": len(last),
        "last_ms": {name: float(np.percentile(last, name)) for name in (50, 99, 100)},
        "first_ms": {name: float(np.percentile(first, name)) for name in (50, 99, 100)},
    }


def memory_of(process: int) -> float:
    """MiB that a process has."""
    return parse_memory((PROC / str(process) / "status").read_text()).now


def many(service: Watched, url: str, uuids: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Figures of many watchers at a steady rate of writes."""
    process = service.changes_process
    before, idle = memory_of(process), 0.0
    with watching(service.changes_port, options.watchers) as told:
        idle = memory_of(process)
        clients = cpu_seconds(told["process"])
        cpu, begin = cpu_seconds(process), time.perf_counter()
        commits = written(service.port, options.rate, options.seconds, uuids)
        elapsed = time.perf_counter() - begin
        cpu = cpu_seconds(process) - cpu
        clients = cpu_seconds(told["process"]) - clients
        busy = memory_of(process)
        time.sleep(1.0)  # the last records are under way
    return {
        "watchers": options.watchers,
        "writes_per_second": len(commits) / elapsed,
        "memory_mib": {"without": before, "idle": idle, "busy": busy},
        "cpu_of_a_core": cpu / elapsed,
        "cpu_of_a_core_of_the_clients": clients / elapsed,
        "load": os.getloadavg()[0],
        **latencies(url, commits, told),
    }


def costs(service: Watched, uuids: tuple[str, ...], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Claims per second without and with few watchers, in turns."""
    found, chance = [], Random(SEED)
    ports = {"none": 0, "changes_listen": service.changes_port}
    for turn in range(options.rounds + 1):
        for name in chance.sample(list(ports), len(ports)):
            with watching(ports[name], FEW if ports[name] else 0):
                before = service.cpu_seconds()
                orders = Orders(
                    service.port, "claim", options.clients, options.turn, chance.randrange(2**31), uuids
                )
                told = claim_clients.run(orders)
                cpu = service.cpu_seconds() - before
            if turn:  # the first one warms up
                found.append(
                    {
                        "watchers": name,
                        "claims_per_second": told.finished / told.elapsed,
                        "cpu_ms_per_claim": cpu / max(1, told.finished) * MILLISECONDS,
                    }
                )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    console = Console(width=max(TABLE_WIDTH, Console().width))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, options.watchers + FILES), hard))
    chance, uuids = Random(SEED), list[str]()
    with running_server(options.database), ExitStack() as stack:
        found: dict[str, Any] = {"run": described_machine(options.database, options.output)}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(options.database, folder))
        service = Watched(url, folder, options.workers, max(FEW, options.watchers))
        service.prepare()
        loader.load(url, hosts(chance, uuids), chance)
        service.start()
        stack.callback(service.stop)
        if options.watchers:
            found["many"] = many(service, url, uuids, options)
        if options.rounds:
            found["costs"] = costs(service, tuple(uuids), options)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"watchers-{options.database}.json").write_text(json.dumps(found, indent=1))
    show(found, console)
    return 0


def show(found: dict[str, Any], console: Console) -> None:
    """Print the tables."""
    if "many" in found:
        console.print_json(json.dumps(found["many"]))
    if "costs" not in found:
        return
    table = Table("watchers", "claims per second", "of none", "CPU per claim", "of none")
    names = ("claims_per_second", "cpu_ms_per_claim")
    middle = {
        kind: [median(row[name] for row in found["costs"] if row["watchers"] == kind) for name in names]
        for kind in dict.fromkeys(row["watchers"] for row in found["costs"])
    }
    for kind, (rate, cpu) in middle.items():
        none_rate, none_cpu = middle["none"]
        table.add_row(
            kind, f"{rate:,.0f}", f"{rate / none_rate:.3f}", f"{cpu:.3f} ms", f"{cpu / none_cpu:.3f}"
        )
    console.print(table)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.watchers", description=__doc__)
    made.add_argument("--database", choices=KINDS, default=POSTGRESQL)
    made.add_argument("--watchers", type=int, default=2_000)
    made.add_argument("--rate", type=float, default=200.0, help="claims per second while many watch")
    made.add_argument("--seconds", type=float, default=15.0)
    made.add_argument("--workers", type=int, default=1)
    made.add_argument("--rounds", type=int, default=4, help="turns of what few watchers cost; 0: none")
    made.add_argument("--turn", type=float, default=4.0, help="seconds of each of them")
    made.add_argument("--clients", type=int, default=32)
    made.add_argument("--output", type=Path, default=OUTPUT)
    return made


if __name__ == "__main__":
    sys.exit(main())
