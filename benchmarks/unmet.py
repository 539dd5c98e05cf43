"""What it costs to keep searches that found nothing: two services in turns, one of which keeps none.

    python -m benchmarks.unmet [--hosts 5000] [--turns 50] [--seconds 0.8]

Prints a table. A turn asks both services the same for so many seconds, one after the other. A disturbed turn
takes more processor time, and never less. So the cost of a round is that of the cheapest quarter of turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean, median

from benchmarks import clouds, loader
from benchmarks.client import Connection, request
from benchmarks.compare import SEED
from benchmarks.databases import KINDS
from benchmarks.processes import family
from benchmarks.report import markdown_table
from benchmarks.services import Moorage
from moorage.api.native.kept_explanations import KeptForms
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.servers.databases import SQLITE, fresh_database

CLIENTS = 4
TIMEOUT_SECONDS = 60.0

TURNS_WITHIN = 40
"""Turns within this process for each turn over HTTP."""

ASKS = 20
"""Different searches that find nothing: each claim makes a new revision, and so each of them a new one."""


class Forgetting(Moorage):
    """Moorage that keeps no searches that found nothing."""

    name = "forgetting"

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"OS_MOORAGE__UNMET_KEPT": "0"}


@dataclass(frozen=True, slots=True)
class Turn:
    """Rounds of all clients in one turn, the seconds that it took, and the service's processor time."""

    rounds: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Rounds a second."""
        return self.rounds / self.seconds

    @property
    def cost(self) -> float:
        """Processor seconds of a round."""
        return self.cpu / self.rounds


Round = Callable[[Connection, Random], None]


def claim(hosts: Sequence[str]) -> Round:
    """A round of one claim by a new consumer."""

    def done(connection: Connection, chance: Random) -> None:
        body = {
            "allocations": {chance.choice(hosts): {"resources": {"VCPU": 1, "MEMORY_MB": 64}}},
            "project_id": f"project-{chance.randrange(20)}",
            "user_id": "user",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        target = f"/allocations/{clouds.random_uuid(chance)}"
        answer = connection.exchange(request("PUT", target, json.dumps(body).encode()))
        # A host may be full.
        assert answer.status in {204, 409}, answer

    return done


def unmet(connection: Connection, chance: Random) -> None:
    """A round of one search that finds nothing."""
    query = f"resources=VCPU:{2 + chance.randrange(ASKS)},MEMORY_MB:100000000&limit=1000"
    answer = connection.exchange(request("GET", f"/allocation_candidates?{query}"))
    assert b'"allocation_requests":[]' in answer.body.replace(b" ", b""), answer


def turn(service: Moorage, rounds: Sequence[Round], seconds: float, chance: Random) -> Turn:
    """Have all clients do ``rounds`` one after the other, again and again, for so many seconds."""
    counts: list[int] = []
    processes = family(service.process_id)
    end = time.monotonic() + seconds

    def work(own: Random) -> None:
        connection, count = Connection(service.port, TIMEOUT_SECONDS), 0
        while time.monotonic() < end:
            for each in rounds:
                each(connection, own)
            count += 1
        connection.close()
        counts.append(count)

    clients = [threading.Thread(target=work, args=(Random(chance.random()),)) for _ in range(CLIENTS)]
    before, begin = cpu_seconds(processes), time.monotonic()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    taken = time.monotonic() - begin
    assert len(counts) == CLIENTS, "a client failed"
    return Turn(sum(counts), taken, cpu_seconds(processes) - before)


def cpu_seconds(processes: Sequence[int]) -> float:
    """Processor time of processes, in the kernel's finest measure."""
    # The clock of a process is a number that its id is part of (clock_getcpuclockid(3)).
    return sum(time.clock_gettime((~process << 3) | 2) for process in processes)


def cheapest(turns: Sequence[Turn]) -> float:
    """Processor seconds of a round in the cheapest quarter of all turns."""
    costs = sorted(each.cost for each in turns)
    return mean(costs[: max(1, len(costs) // 4)])


def row(name: str, ours: Sequence[Turn], others: Sequence[Turn]) -> tuple[str, ...]:
    """A row of the table: a load, and how the sides compare."""
    rates = [one.rate / other.rate for one, other in zip(ours, others, strict=True)]
    return (
        name,
        f"{median(each.rate for each in ours):,.0f}",
        f"{1000 * cheapest(ours):.3f} ms",
        f"{1000 * cheapest(others):.3f} ms",
        f"{cheapest(ours) / cheapest(others):.3f}",
        f"{median(rates):.2f}",
    )


def measure(kind: str, hosts: int, turns: int, seconds: float) -> list[tuple[str, ...]]:
    """Rows of the table."""
    with ExitStack() as stack:
        services: list[Moorage] = []
        urls: list[str] = []
        names: list[list[str]] = []
        for made in (Moorage, Forgetting):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
            url = stack.enter_context(fresh_database(kind, folder))
            service = made(url, folder, workers=1)
            service.prepare()
            trees = list(clouds.flat(hosts, Random(SEED)))
            loader.load(url, trees, Random(SEED))
            service.start()
            stack.callback(service.stop)
            services.append(service)
            urls.append(url)
            names.append([tree[0].uuid for tree in trees])
        met = finding(urls[0], turns)
        both = [[claim(each), unmet] for each in names]
        chance = Random(SEED)
        failing = in_turns(services, both, turns, seconds, chance)
        alone = [turn(services[1], both[1][:1], seconds, chance) for _ in range(turns)]
    return [
        row("a claim and a search that finds nothing, against a claim alone", failing[0], alone),
        row("a claim and a search that finds nothing, kept against not kept", *failing),
        met,
    ]


def finding(url: str, turns: int) -> tuple[str, ...]:
    """A row for searches that find ten candidates: within this process, in turns of milliseconds."""
    store = Store(StoreSettings(url))
    search = SearchSettings(kept_bytes=0)
    services = [
        Service(store, ServiceSettings(search, unmet_kept=kept), unmet_forms=KeptForms())
        for kept in (1000, 0)
    ]
    asks = [CandidateRequest((RequestGroup("", {"VCPU": cores}),), limit=10) for cores in range(1, 9)]
    found: tuple[list[Turn], list[Turn]] = ([], [])
    for number in range(TURNS_WITHIN * turns):
        for side in (0, 1) if number % 2 else (1, 0):
            begin, cpu = time.monotonic(), time.thread_time()
            for ask in asks:
                assert not services[side].candidates(ask).found_nothing
            found[side].append(Turn(len(asks), time.monotonic() - begin, time.thread_time() - cpu))
    store.close()
    return row("a search that finds ten candidates, without HTTP, kept against not kept", *found)


def in_turns(
    services: Sequence[Moorage], rounds: Sequence[Sequence[Round]], turns: int, seconds: float, chance: Random
) -> tuple[list[Turn], list[Turn]]:
    """Turns of two services. Each goes first in every other one, and the first turns do not count."""
    found: tuple[list[Turn], list[Turn]] = ([], [])
    for number in range(turns + 1):
        for side in (0, 1) if number % 2 else (1, 0):
            done = turn(services[side], rounds[side], seconds, chance)
            if number:
                found[side].append(done)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.unmet", description=__doc__.partition("\n")[0])
    made.add_argument("--database", choices=KINDS, default=SQLITE, help="default: sqlite")
    made.add_argument("--hosts", type=int, default=5000, help="default: 5000")
    made.add_argument("--turns", type=int, default=50, help="default: 50")
    made.add_argument("--seconds", type=float, default=0.8, help="of one turn; default: 0.8")
    options = made.parse_args(arguments)
    rows = measure(options.database, options.hosts, options.turns, options.seconds)
    head = ("load", "rounds a second", "processor time", "of the other", "ratio", "ratio of rounds a second")
    print(markdown_table(head, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
