"""When a watcher of another worker, or of another host, sees a change.

    python -m benchmarks.seen [--database postgresql] [--watchers 8] [--rate 50] [--seconds 20]

Claims are written at a steady rate through one service. Watchers follow at it, where two workers have them,
and then at a second service on the same database, which stands for another host. Prints when the last of
them has a claim's record, in milliseconds after the answer to the claim, and writes JSON. There is no network
between the hosts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import loader
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.journal import hosts
from benchmarks.services import Moorage
from benchmarks.watcher_clients import watching
from benchmarks.watchers import Watched, latencies, written
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import fresh_database


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    console = Console(width=max(TABLE_WIDTH, Console().width))
    chance, uuids = Random(SEED), list[str]()
    found: dict[str, Any] = {}
    with running_server(options.database), ExitStack() as stack:
        found["run"] = described_machine(options.database, options.output)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(options.database, folder))
        here, there = Moorage(url, folder, 2), Watched(url, folder, 1, options.watchers)
        here.prepare()
        loader.load(url, hosts(chance, uuids), chance)
        for service in (here, there):
            service.start()
            stack.callback(service.stop)
        for name, port in (
            ("another worker", here.port),
            ("another host", there.port),
            ("another host, changes_listen", there.changes_port),
        ):
            with watching(port, options.watchers) as told:
                commits = written(here.port, options.rate, options.seconds, uuids)
            found[name] = latencies(url, commits, told)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"seen-{options.database}.json").write_text(json.dumps(found, indent=1))
    table = Table("watchers of", "records", "last has it: median", "p99", "most")
    for name in list(found)[1:]:
        last = found[name]["last_ms"]
        table.add_row(name, str(found[name]["records"]), *(f"{last[each]:.0f} ms" for each in (50, 99, 100)))
    console.print(table)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.seen", description=__doc__)
    made.add_argument("--database", choices=KINDS, default=POSTGRESQL)
    made.add_argument("--watchers", type=int, default=8, help="few enough for the places of one worker")
    made.add_argument("--rate", type=float, default=50.0, help="claims per second")
    made.add_argument("--seconds", type=float, default=20.0, help="below 60: then a stream ends")
    made.add_argument("--output", type=Path, default=OUTPUT)
    return made


if __name__ == "__main__":
    sys.exit(main())
