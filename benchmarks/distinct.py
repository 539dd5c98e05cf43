"""Memory of a worker that is asked something else each time.

    python -m benchmarks.distinct [--searches 200000]

Prints a table: a worker's memory after so many searches, no two of which are alike. The cloud has trees of
200 providers, so that an answer of one candidate has some 60 kB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from urllib.parse import urlencode

from benchmarks import loader
from benchmarks.client import Connection, request
from benchmarks.clouds import HOST, PHYSICAL_NETWORK, Provider, Tree, random_uuid
from benchmarks.compare import SEED
from benchmarks.report import markdown_table
from benchmarks.services import Moorage
from moorage.model.values import Inventory
from tests.servers.databases import SQLITE, fresh_database

TREES = 10
PROVIDERS_PER_TREE = 200

TIMEOUT_SECONDS = 60.0
LINES = 20


def wide_trees(trees: int, chance: Random) -> Iterator[Tree]:
    """Hosts with so many network cards that a tree has ``PROVIDERS_PER_TREE`` providers."""
    for number in range(trees):
        name = f"host-{number:07}"
        card = {"SRIOV_NET_VF": Inventory(64)}
        cards = [
            Provider(random_uuid(chance), f"{name}-card{place}", card, 0, (PHYSICAL_NETWORK,))
            for place in range(PROVIDERS_PER_TREE - 1)
        ]
        yield [Provider(random_uuid(chance), name, HOST), *cards]


def question(number: int) -> str:
    """The query string of a search that no other number has."""
    memory, cores = divmod(number, HOST["VCPU"].total)
    parameters: list[tuple[str, object]] = [("resources", f"VCPU:{1 + cores},MEMORY_MB:{1 + memory}")]
    if number % 2:
        parameters += [("resources_CARD", "SRIOV_NET_VF:1"), ("resources_OTHER", f"SRIOV_NET_VF:{1 + cores}")]
        parameters += [("group_policy", "isolate")]
    return urlencode([*parameters, ("limit", 1 + number % 3)], safe=":,")


def measure(searches: int, folder: Path) -> list[tuple[str, ...]]:
    """Rows of the table."""
    rows: list[tuple[str, ...]] = []
    with fresh_database(SQLITE, folder) as url:
        service = Moorage(url, folder, workers=1)
        service.prepare()
        loader.load(url, wide_trees(TREES, Random(SEED)), Random(SEED))
        service.start()
        connection = Connection(service.port, TIMEOUT_SECONDS)
        try:
            for number in range(searches):
                if number % max(1, searches // LINES) == 0:
                    rows.append((f"{number:,}", f"{service.memory().now:.0f} MiB"))
                answer = connection.exchange(request("GET", f"/allocation_candidates?{question(number)}"))
                assert answer.status == 200, answer
            memory = service.memory()
            rows.append((f"{searches:,}", f"{memory.now:.0f} MiB, {memory.peak:.0f} MiB at the most"))
        finally:
            connection.close()
            service.stop()
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.distinct", description=__doc__.partition("\n")[0]
    )
    made.add_argument("--searches", type=int, default=200_000, help="default: 200000")
    options = made.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder:
        rows = measure(options.searches, Path(folder))
    print(markdown_table(("distinct searches", "worker"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
