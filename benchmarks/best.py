"""What a client waits for the best candidates, on varied hosts, after each change of the account.

    python -m benchmarks.best [--database postgresql ...] [--hosts 100000] [--turns 400] [--strategy pack ...]

One worker serves. In each turn a client of Placement claims something of one host, and then another client
asks for the best places: for one flavor again and again, or for flavors drawn from a hundred. The time is
that of the second request, from its first byte sent to the last byte of the answer. Prints a table; the exit
status is 1 if a request fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from benchmarks import loader
from benchmarks.client import Answer, Connection, request
from benchmarks.clouds import Tree, flavors, random_uuid
from benchmarks.compare import SEED
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS, percentile
from benchmarks.placing import varied
from benchmarks.report import markdown_table
from benchmarks.services import Moorage
from moorage.model.orders import PACK, SLOTS, STRATEGIES
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import fresh_database

USUAL_HOSTS: Final = 100_000
USUAL_TURNS: Final = 400

UNMEASURED: Final = 20
"""First turns of a row, in which the service makes what it keeps for later ones."""

PATIENCE_SECONDS: Final = 60.0

LIMITS: Final = (10, 1_000)
FLAVORS: Final = (1, 100)
"""How many flavors are drawn from."""

HELD: Final = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}
"""What each change claims."""

COLUMNS: Final = ("Database", "Order", "Flavors", "Limit", "p50", "p99")


class FailedError(Exception):
    """A request failed."""


class Clients:
    """One that claims, and one that asks for the best places."""

    def __init__(self, port: int, hosts: Sequence[str], chance: Random) -> None:
        self._writer = Connection(port, PATIENCE_SECONDS)
        self._asker = Connection(port, PATIENCE_SECONDS)
        self._hosts = hosts
        self._chance = chance

    def change(self) -> None:
        """Claim something of one host. Raises FailedError."""
        body = {
            "allocations": {self._chance.choice(self._hosts): {"resources": HELD}},
            "project_id": "project",
            "user_id": "user",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        path = f"/allocations/{random_uuid(self._chance)}"
        _succeeded(self._writer.exchange(request("PUT", path, orjson.dumps(body))))

    def ask(self, amounts: Mapping[str, int], strategy: str, limit: int) -> float:
        """The seconds of a search for the best places. Raises FailedError."""
        body = {
            "ask": {"groups": {"": {"resources": amounts}}},
            "order": {"strategy": strategy},
            "limit": limit,
        }
        sent = request("POST", "/moorage/v1/candidates", orjson.dumps(body))
        answer = _succeeded(self._asker.exchange(sent))
        if not orjson.loads(answer.body)["candidates"]:
            raise FailedError("A search found nothing.")
        return answer.seconds

    def seconds(
        self, strategy: str, kinds: Sequence[Mapping[str, int]], limit: int, turns: int
    ) -> list[float]:
        """Those of all searches of a row, each after a change, in ascending order. Raises FailedError."""
        found = []
        for turn in range(UNMEASURED + turns):
            self.change()
            seconds = self.ask(self._chance.choice(kinds), strategy, limit)
            if turn >= UNMEASURED:
                found.append(seconds)
        return sorted(found)


def _succeeded(answer: Answer) -> Answer:
    if answer.status >= 300:
        raise FailedError(f"{answer.status}: {answer.body.decode(errors='replace')}")
    return answer


def rows(database: str, options: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """The rows of one database. Raises FailedError."""
    with running_server(database), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(database, folder))
        service = Moorage(url, folder, 1)
        service.prepare()
        trees: list[Tree] = [*varied(options.hosts, Random(SEED))]
        loader.load(url, trees, Random(SEED))
        service.start()
        stack.callback(service.stop)
        # Every second host is free, so that there is room for all changes.
        clients = Clients(service.port, [tree[0].uuid for tree in trees[::2]], Random(SEED + 1))
        kinds = flavors(max(FLAVORS), Random(SEED))
        for strategy, count, limit in product(options.strategy or [PACK, SLOTS], FLAVORS, LIMITS):
            times = clients.seconds(strategy, kinds[:count], limit, options.turns)
            told = [f"{percentile(times, each) * MILLISECONDS:.1f} ms" for each in (50, 99)]
            yield database, f"`{strategy}`", count, f"{limit:,}", *told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    found: list[tuple[Any, ...]] = []
    try:
        for database in options.database or [POSTGRESQL]:
            found += rows(database, options)
    except FailedError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    sys.stdout.write(markdown_table(COLUMNS, [tuple(map(str, row)) for row in found]) + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.best", description=__doc__)
    several = "may be given several times"
    made.add_argument(
        "--database", choices=KINDS, action="append", help=f"{several}; {POSTGRESQL} by default"
    )
    made.add_argument("--hosts", type=int, default=USUAL_HOSTS)
    made.add_argument("--turns", type=int, default=USUAL_TURNS)
    made.add_argument(
        "--strategy", choices=STRATEGIES, action="append", help=f"{several}; {PACK} and {SLOTS}"
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
