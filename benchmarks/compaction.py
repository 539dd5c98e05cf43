"""What compacting the journal costs: claims per second while a million old records are forgotten.

    python -m benchmarks.compaction [--database postgresql] [--records 1000000] [--turn 3] [--turns 20]

Clients claim in turns: first while nothing is forgotten, then while a process forgets old records as each
process of a service does, for so many turns at most, and then without it again. Prints the medians, and how
many records were forgotten. Writes JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks import claim_clients, loader
from benchmarks.claim_clients import Orders
from benchmarks.clouds import random_uuid
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS
from benchmarks.journal import hosts
from benchmarks.services import Moorage
from moorage.service.compactor import SETTLE_SECONDS, Compactor
from moorage.service.settings import ChangeLogSettings
from moorage.store.settings import StoreSettings
from moorage.store.sql.statements import Insertion, utcnow
from moorage.store.store import Store
from moorage.store.tables import changes, journal, revisions
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database, with_driver

CHUNK: Final = 10_000
QUIET_TURNS: Final = 5
"""Turns without compaction, before it and after it."""

OLD: Final = timedelta(days=40)
COLUMNS: Final = (
    "revision",
    "kind",
    "path",
    "user_id",
    "project_id",
    "request_id",
    "global_request_id",
    "consumer",
    "tree",
    "body",
)


def claimed(consumer: str, tree: str) -> str:
    """The body of a claim's record, as long as most are."""
    names = {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 10}
    used = {name: [100 * amount, 101 * amount] for name, amount in names.items()}
    held = {name: [0, amount] for name, amount in names.items()}
    owner = {"project_id": [None, "p"], "user_id": [None, "u"], "consumer_type": [None, "INSTANCE"]}
    return json.dumps(
        {
            "providers": {tree: {"tree": tree, "generation": [100, 101], "used": used}},
            "consumers": {consumer: {**owner, "generation": [None, 1], "held": {tree: held}}},
        },
        separators=(",", ":"),
    )


def fill(store: Store, count: int, trees: Sequence[str], chance: Random) -> None:
    """Put so many old records before all that is there, and index them."""
    insertion = Insertion(journal, *COLUMNS)
    request = f"req-{random_uuid(chance)}"
    with store.engines.write.begin() as connection:
        for table in (journal, changes):
            connection.execute(table.delete())
        # The change log is empty: whoever is behind builds its index.
        connection.execute(revisions.update().values(revision=count, compacted=count))
    for begin in range(1, count + 1, CHUNK):
        rows = []
        for revision in range(begin, min(begin + CHUNK, count + 1)):
            consumer, tree = random_uuid(chance), chance.choice(trees)
            told = (revision, "allocations.replace", "placement", "u", "p", request, request)
            rows.append((*told, consumer, tree, claimed(consumer, tree)))
        with store.engines.write.begin() as connection:
            insertion.execute(connection, rows)
            connection.execute(
                journal.update().where(journal.c.revision >= begin).values(created_at=utcnow() - OLD)
            )
    while store.index_journal():
        pass


def forget(url: str) -> None:
    """Forget as a service does, as soon as it may. Prints a line once it begins."""
    store, now = Store(StoreSettings(url)), [0.0]
    compactor = Compactor(store, ChangeLogSettings(), lambda: now[0])
    compactor.compact()
    print("begun", flush=True)
    now[0] = SETTLE_SECONDS
    compactor.compact()
    store.close()


@contextmanager
def forgetting(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that forgets what is old."""
    command = [sys.executable, "-m", "benchmarks.compaction", "--forget", url]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        yield process
    finally:
        process.kill()
        process.wait()


class Turns:
    """Turns of claims."""

    def __init__(self, service: Moorage, uuids: tuple[str, ...], options: argparse.Namespace) -> None:
        self._service = service
        self._uuids = uuids
        self._options = options
        self._chance = Random(SEED)

    def take(self) -> dict[str, float]:
        """Figures of one turn."""
        seed, options = self._chance.randrange(2**31), self._options
        cpu = self._service.cpu_seconds()
        told = claim_clients.run(
            Orders(self._service.port, "claim", options.clients, options.turn, seed, self._uuids)
        )
        cpu = self._service.cpu_seconds() - cpu
        return {
            "claims_per_second": told.finished / told.elapsed,
            "cpu_ms_per_claim": cpu / max(1, told.finished) * MILLISECONDS,
        }


def begins(store: Store) -> int:
    """The first revision that the journal has."""
    first = sa.select(sa.func.min(journal.c.revision))
    return store.read(lambda connection: int(connection.execute(first).scalar_one()))


def measured(turns: Turns, store: Store, url: str, most: int) -> dict[str, Any]:
    """Medians of turns with and without compaction."""
    quiet, busy = [turns.take() for _ in range(QUIET_TURNS + 1)][1:], list[dict[str, float]]()
    before = begins(store)
    with forgetting(url) as process:
        begun = time.perf_counter()
        while process.poll() is None and len(busy) < most:
            busy.append(turns.take())
        seconds = time.perf_counter() - begun
    quiet += [turns.take() for _ in range(QUIET_TURNS)]
    if len(busy) > 1:
        # In the last one it may have ended.
        del busy[-1]
    names = ("claims_per_second", "cpu_ms_per_claim")
    return {
        "records": begins(store) - before,
        "seconds": seconds,
        "with": {name: median(turn[name] for turn in busy) for name in names},
        "without": {name: median(turn[name] for turn in quiet) for name in names},
        "turns": {"with": busy, "without": quiet},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    if options.forget:
        forget(options.forget)
        return 0
    console = Console(width=max(TABLE_WIDTH, Console().width))
    chance, uuids = Random(SEED), list[str]()
    with running_server(options.database), ExitStack() as stack:
        found: dict[str, Any] = {"run": described_machine(options.database, options.output)}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(options.database, folder))
        service = Moorage(url, folder, 1)
        service.prepare()
        loader.load(url, hosts(chance, uuids), chance)
        driver_url = url if url.startswith(SQLITE) else with_driver(url).render_as_string(hide_password=False)
        store = Store(StoreSettings(driver_url))
        stack.callback(store.close)
        fill(store, options.records, uuids, chance)
        service.start()
        stack.callback(service.stop)
        found |= measured(Turns(service, tuple(uuids), options), store, driver_url, options.turns)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"compaction-{options.database}.json").write_text(json.dumps(found, indent=1))
    table = Table("compaction", "claims per second", "of without", "CPU per claim")
    for name in ("without", "with"):
        rate = found[name]["claims_per_second"]
        share = rate / found["without"]["claims_per_second"]
        table.add_row(name, f"{rate:,.0f}", f"{share:.3f}", f"{found[name]['cpu_ms_per_claim']:.3f} ms")
    console.print(table)
    console.print(f"{found['records']:,} records forgotten in {found['seconds']:.0f} seconds")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.compaction", description=__doc__)
    made.add_argument("--database", choices=KINDS, default=POSTGRESQL)
    made.add_argument("--records", type=int, default=1_000_000)
    made.add_argument("--turn", type=float, default=3.0, help="seconds")
    made.add_argument("--turns", type=int, default=20, help="with compaction, at most")
    made.add_argument("--forget", metavar="URL", help="only forget what is old in this database")
    made.add_argument("--clients", type=int, default=32)
    made.add_argument("--output", type=Path, default=OUTPUT)
    return made


if __name__ == "__main__":
    sys.exit(main())
