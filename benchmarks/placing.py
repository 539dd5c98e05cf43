"""Claims per second that the service places itself, on varied hosts of which half are partly in use.

    python -m benchmarks.placing [--database postgresql ...] [--hosts 10000 ...] [--seconds 6]
        [--strategy pack ...]

Clients ask for flavors, drawn from a hundred, one claim at a time or many in one request, and for the best
place by each strategy named. Each database with each number of hosts is a run of its own: it prints a table
and writes JSON. The exit status is 1 if a request fails, or if ``moorage verify`` finds a fault afterwards.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import claim_clients, loader
from benchmarks.claim_clients import Orders
from benchmarks.clouds import Provider, Tree, random_uuid
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS, percentile
from benchmarks.services import Moorage
from moorage.model.orders import PACK, STRATEGIES
from moorage.model.values import Inventory
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import fresh_database

HOSTS: Final = (
    {"VCPU": Inventory(64), "MEMORY_MB": Inventory(262_144), "DISK_GB": Inventory(4_000)},
    {"VCPU": Inventory(128), "MEMORY_MB": Inventory(524_288), "DISK_GB": Inventory(8_000)},
    {"VCPU": Inventory(32), "MEMORY_MB": Inventory(524_288), "DISK_GB": Inventory(2_000)},
)
"""Hosts of three kinds, one provider each."""

USUAL_HOSTS: Final = 10_000

ROWS: Final = (("one by one", "place", 1), ("one by one", "place", 64), ("100 at once", "place_many", 8))
"""What clients do, and how many of them."""


def varied(hosts: int, chance: Random) -> Iterator[Tree]:
    """Hosts of all kinds in turn; every second one has consumers of different sizes."""
    for number in range(hosts):
        kind = HOSTS[number % len(HOSTS)]
        parts = [chance.choice((8, 16, 32)) for _ in range(chance.randrange(1, 5))] if number % 2 else []
        held = tuple({name: each.total // part for name, each in kind.items()} for part in parts)
        yield [Provider(random_uuid(chance), f"host-{number:07}", kind, held=held)]


def verified(service: Moorage) -> bool:
    """Whether the account is without a fault."""
    command = [sys.executable, "-m", "moorage", "verify", "--database", service.database]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0


def measured(
    service: Moorage, strategy: str, behaviour: str, clients: int, seconds: float, seed: int
) -> dict[str, Any]:
    """Figures of one row: what clients do by a strategy, and how many of them."""
    before = service.cpu_seconds()
    order = {"strategy": strategy}
    told = claim_clients.run(Orders(service.port, behaviour, clients, seconds, seed, (), order=order))
    cpu = service.cpu_seconds() - before
    times = sorted(told.seconds[claim_clients.CLAIMING])
    return {
        "behaviour": behaviour,
        "strategy": strategy,
        "clients": clients,
        "placed_per_second": told.finished / told.elapsed,
        "p50_ms": percentile(times, 50) * MILLISECONDS,
        "p99_ms": percentile(times, 99) * MILLISECONDS,
        "cpu_ms_per_claim": cpu / max(1, told.finished) * MILLISECONDS,
        "refused": told.refused,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    console = Console(width=max(TABLE_WIDTH, Console().width))
    sound = True
    for database, hosts in product(options.database or [POSTGRESQL], options.hosts or [USUAL_HOSTS]):
        found = run(database, hosts, options)
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / f"placing-{database}-{hosts}.json"
        path.write_text(json.dumps(found, indent=1))
        console.print(f"{database}, {hosts:,} hosts")
        show(found, console)
        sound &= found["sound"] and not any(row["refused"] for row in found["results"])
    return 0 if sound else 1


def run(database: str, hosts: int, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of all rows on one database with one number of hosts."""
    found: dict[str, Any] = {"results": []}
    with running_server(database), ExitStack() as stack:
        found["run"] = described_machine(database, options.output)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(database, folder))
        service = Moorage(url, folder, 1)
        service.prepare()
        loader.load(url, varied(hosts, Random(SEED)), Random(SEED))
        service.start()
        stack.callback(service.stop)
        rows = product(options.strategy or [PACK], ROWS)
        for number, (strategy, (name, behaviour, clients)) in enumerate(rows):
            told = measured(service, strategy, behaviour, clients, options.seconds, SEED + number)
            found["results"].append({"row": name, "hosts": hosts, **told})
        found["sound"] = verified(service)
    return found


def show(found: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table(
        "claims",
        "strategy",
        "clients",
        "hosts",
        "placed per second",
        "p50",
        "p99",
        "CPU per claim",
        "refused",
    )
    for row in found["results"]:
        table.add_row(
            row["row"],
            row["strategy"],
            str(row["clients"]),
            f"{row['hosts']:,}",
            f"{row['placed_per_second']:,.0f}",
            f"{row['p50_ms']:.1f} ms",
            f"{row['p99_ms']:.1f} ms",
            f"{row['cpu_ms_per_claim']:.3f} ms",
            str(row["refused"] or "none"),
        )
    console.print(table)
    console.print(f"The account is {'sound' if found['sound'] else 'NOT sound'}.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.placing", description=__doc__)
    several = "may be given several times"
    made.add_argument(
        "--database", choices=KINDS, action="append", help=f"{several}; {POSTGRESQL} by default"
    )
    made.add_argument("--hosts", type=int, action="append", help=f"{several}; {USUAL_HOSTS} by default")
    made.add_argument("--strategy", choices=STRATEGIES, action="append", help=f"{several}; {PACK} by default")
    made.add_argument("--seconds", type=float, default=6.0)
    made.add_argument("--output", type=Path, default=OUTPUT)
    return made


if __name__ == "__main__":
    sys.exit(main())
