"""How long it takes to move a database of Placement to Moorage, and back.

``python -m benchmarks.adoption --database postgresql --hosts 100000``: lets the reference make its
schema, fills it with full hosts, and takes the times of each step of docs/how-to/migrate-from-placement.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from benchmarks import clouds, loader
from benchmarks.client import Connection, request
from benchmarks.databases import KINDS, running_server, version
from benchmarks.services import Moorage, Reference, Service
from tests.servers.databases import fresh_database

SEARCH = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:1024&limit=10"
TIMEOUT_SECONDS = 600.0


def seconds_to_search(service: Service) -> float:
    """From the start of a service to its first answer to a search."""
    begin = time.perf_counter()
    service.start()
    connection = Connection(service.port, TIMEOUT_SECONDS)
    try:
        answer = connection.exchange(request("GET", SEARCH))
        assert answer.status == 200, answer
    finally:
        connection.close()
        service.stop()
    return time.perf_counter() - begin


def measure(kind: str, hosts: int, folder: Path) -> None:
    """Take the times and print them."""
    with running_server(kind), fresh_database(kind, folder) as url:
        reference, moorage = Reference(url, folder, workers=1), Moorage(url, folder, workers=1)
        reference.prepare()
        providers = loader.load(url, clouds.full(hosts, Random(1)), Random(2))
        print(f"{version(url)}: {providers} providers")
        for name in ("moorage db sync", "moorage db sync again"):
            begin = time.perf_counter()
            moorage.prepare()
            tell(name, time.perf_counter() - begin)
        for service in (moorage, reference):
            tell(
                f"{service.name}, from its start to its first answer to a search", seconds_to_search(service)
            )


def tell(name: str, seconds: float) -> None:
    print(f"{seconds:8.1f} s  {name}", flush=True)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=KINDS, default="postgresql")
    parser.add_argument("--hosts", type=int, default=100_000)
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        measure(told.database, told.hosts, Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
