"""What the journal costs: claims per second with each of its modes, in turns, on one database.

    python -m benchmarks.journal [--database postgresql] [--seconds 4] [--rounds 4] [--clients 32]

Prints a table and writes JSON. All three services run all the time, and take turns. So the machine's other
work disturbs all of them alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import claim_clients, loader
from benchmarks.claim_clients import Orders
from benchmarks.claims import AMPLE
from benchmarks.clouds import Provider, Tree, random_uuid
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS
from benchmarks.services import Moorage
from moorage.model.journal import JournalMode
from moorage.store.tables import journal
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database, with_driver

HOSTS: Final = 1_000


class Journalling(Moorage):
    """A service with one mode of the journal."""

    def __init__(self, database: str, folder: Path, mode: JournalMode) -> None:
        super().__init__(database, folder, 1)
        self.mode = mode

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"OS_MOORAGE__JOURNAL": self.mode.value}


def hosts(chance: Random, uuids: list[str]) -> Iterator[Tree]:
    """Providers with room for all claims; their uuids are known once they were taken from here."""
    for number in range(HOSTS):
        uuids.append(random_uuid(chance))
        yield [Provider(uuids[-1], f"host-{number:05}", AMPLE)]


def measured(service: Journalling, orders: Orders) -> dict[str, Any]:
    """Figures of one turn."""
    before = service.cpu_seconds()
    told = claim_clients.run(orders)
    cpu = service.cpu_seconds() - before
    return {
        "mode": service.mode.value,
        "claims_per_second": told.finished / told.elapsed,
        "cpu_ms_per_claim": cpu / max(1, told.finished) * MILLISECONDS,
        "refused": told.refused,
    }


def record_bytes(url: str) -> dict[str, float]:
    """Bytes of a claim's record; on PostgreSQL also those that the table takes, indexes included."""
    engine = sa.create_engine(url if url.startswith(SQLITE) else with_driver(url))
    with engine.connect() as connection:
        body = sa.select(sa.func.avg(sa.func.length(journal.c.body)))
        claims = body.where(journal.c.kind == "allocations.replace", journal.c.body.like("%held%"))
        found = {"body": float(connection.execute(claims).scalar_one() or 0)}
        if engine.dialect.name == "postgresql":
            size = sa.select(sa.func.pg_total_relation_size(journal.name), sa.func.count(journal.c.revision))
            total, rows = connection.execute(size).one()
            found["in_table"] = total / rows
    engine.dispose()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    console = Console(width=max(TABLE_WIDTH, Console().width))
    found: dict[str, Any] = {"turns": []}
    chance, uuids = Random(SEED), list[str]()
    with running_server(options.database), ExitStack() as stack:
        found["run"] = described_machine(options.database, options.output)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(options.database, folder))
        services = [Journalling(url, folder, mode) for mode in JournalMode]
        services[0].prepare()
        loader.load(url, hosts(chance, uuids), chance)
        for service in services:
            service.start()
            stack.callback(service.stop)
        for turn in range(options.rounds + 1):
            for service in chance.sample(services, len(services)):
                seed = chance.randrange(2**31)
                orders = Orders(service.port, "claim", options.clients, options.seconds, seed, tuple(uuids))
                row = measured(service, orders)
                if turn:  # the first one warms up
                    found["turns"].append(row)
        found["bytes"] = record_bytes(url)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"journal-{options.database}.json").write_text(json.dumps(found, indent=1))
    show(found, console)
    return 0 if not any(row["refused"] for row in found["turns"]) else 1


def show(found: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table("journal", "claims per second", "of off", "CPU per claim", "of off")
    middle = {
        mode: [
            median(row[name] for row in found["turns"] if row["mode"] == mode.value)
            for name in ("claims_per_second", "cpu_ms_per_claim")
        ]
        for mode in JournalMode
    }
    off_rate, off_cpu = middle[JournalMode.OFF]
    for mode, (rate, cpu) in middle.items():
        table.add_row(
            mode.value,
            f"{rate:,.0f}",
            f"{rate / off_rate:.3f}",
            f"{cpu:.3f} ms",
            f"{cpu / off_cpu:.3f}",
        )
    console.print(table)
    console.print(", ".join(f"{name} {size:.0f} bytes" for name, size in found["bytes"].items()))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    made.add_argument("--database", choices=KINDS, default=POSTGRESQL)
    made.add_argument("--seconds", type=float, default=4.0)
    made.add_argument("--rounds", type=int, default=4)
    made.add_argument("--clients", type=int, default=32)
    made.add_argument("--output", type=Path, default=OUTPUT)
    return made


if __name__ == "__main__":
    sys.exit(main())
