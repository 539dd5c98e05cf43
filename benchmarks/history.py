"""What reading the journal costs: earlier states, pages of changes and histories, in this process.

    python -m benchmarks.history [--database postgresql] [--claims 20000] [--turns 25]

Prints a table. Half of the claims are of all hosts alike, and then the other half of one host alone. The
service answers in this process, without a network. A disturbed answer takes longer, and never shorter: each
figure is the least of all turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.clouds import random_uuid
from benchmarks.compare import SEED
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS
from benchmarks.report import markdown_table
from moorage.model.commands import Claim, Command, CreateProvider, ReplaceAllocations, SetInventories
from moorage.model.values import Inventory, Requester
from moorage.service.facade import Service
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.databases.together import led
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database, with_driver
from tests.unit.api.native.client import NativeClient

HOSTS: Final = 100
GROUP: Final = 32
"""Claims that one transaction writes."""

ASKER: Final = Requester("user", "project", f"req-{'0' * 36}", f"req-{'1' * 36}", "placement")
INVENTORIES: Final = {
    "VCPU": Inventory(1_000_000),
    "MEMORY_MB": Inventory(1_000_000_000),
    "DISK_GB": Inventory(100_000_000),
}
HELD: Final = {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 10}


class Cloud:
    """Hosts with a child each, and a journal of claims."""

    def __init__(self, store: Store, claims: int) -> None:
        self.service = Service(store)
        self._chance = Random(SEED)
        self.hosts = [self._host(number) for number in range(HOSTS)]
        self.begin = self.service.revision()
        self.consumer = self._claim(self.hosts, claims // 2)
        self.middle = self.service.revision()
        self._claim(self.hosts[:1], claims - claims // 2)
        while store.index_journal():
            pass

    def _host(self, number: int) -> str:
        uuid = random_uuid(self._chance)
        commands: tuple[Command[Any], ...] = (
            CreateProvider(uuid, f"host-{number}"),
            SetInventories(uuid, 0, INVENTORIES),
            CreateProvider(random_uuid(self._chance), f"device-{number}", uuid),
        )
        for command in commands:
            self.service.execute(command, ASKER)
        return uuid

    def _claim(self, hosts: Sequence[str], count: int) -> str:
        """Claims, of which the first one's consumer is returned."""
        consumers = [random_uuid(self._chance) for _ in range(count)]
        for start in range(0, count, GROUP):
            group = [
                ReplaceAllocations(
                    (Claim(uuid, {self._chance.choice(hosts): HELD}, "project", "user", None, "INSTANCE"),)
                )
                for uuid in consumers[start : start + GROUP]
            ]
            led(self.service, [(command, ASKER) for command in group])
        return consumers[0]


def paths(cloud: Cloud) -> dict[str, str]:
    """What is asked, by name."""
    hot, cold = cloud.hosts[:2]
    return {
        "a tree before all claims": f"/trees/{cold}?at={cloud.begin}",
        "a tree before half of them, none its own": f"/trees/{cold}?at={cloud.middle}",
        "a tree before half of them, all its own": f"/trees/{hot}?at={cloud.middle}",
        "a claim before half of them": f"/claims/{cloud.consumer}?at={cloud.middle}",
        "a page of 1,000 changes": f"/changes?after={cloud.middle}&limit=1000",
        "the history of a provider, 100 changes": f"/providers/{hot}/history",
        "the history of a consumer": f"/claims/{cloud.consumer}/history",
    }


def least(ask: Callable[[], object], turns: int) -> tuple[float, float]:
    """The least time and the least processor time of an answer, in milliseconds."""
    walls, processor = [], []
    for _ in range(turns):
        begun, used = time.perf_counter(), time.process_time()
        ask()
        walls.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    return min(walls) * MILLISECONDS, min(processor) * MILLISECONDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    rows = []
    with running_server(options.database), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(options.database, folder))
        if not url.startswith(SQLITE):
            url = with_driver(url).render_as_string(hide_password=False)
        store = Store(StoreSettings(url))
        stack.callback(store.close)
        store.migrate()
        store.synchronise_names()
        cloud = Cloud(store, options.claims)
        client = NativeClient(cloud.service)
        for name, path in paths(cloud).items():
            assert client.get(f"/moorage/v1{path}").status == 200, path
            wall, processor = least(lambda path=path: client.get(f"/moorage/v1{path}"), options.turns)  # type: ignore[misc]
            rows.append((name, f"{wall:.1f} ms", f"{processor:.1f} ms"))
    sys.stdout.write(markdown_table(("Question", "Time", "Processor time"), rows) + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    made.add_argument("--database", choices=KINDS, default=POSTGRESQL)
    made.add_argument("--claims", type=int, default=20_000)
    made.add_argument("--turns", type=int, default=25)
    return made


if __name__ == "__main__":
    sys.exit(main())
