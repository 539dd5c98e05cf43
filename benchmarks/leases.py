"""Leases: renewals per second, how long 10,000 claims take to expire, and what that costs other claims.

    python -m benchmarks.leases [--database postgresql] [--seconds 5] [--claims 10000] [--clients 16]

Prints a table and writes JSON. The other claims run before the expiry and during it, over the same service.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import claim_clients, loader
from benchmarks.claim_clients import Orders
from benchmarks.claims import AMPLE
from benchmarks.clouds import Provider, Tree, random_uuid
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.services import Moorage
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import fresh_database

HOSTS: Final = 1_000
BATCH: Final = 100
"""Leases of one request for renewals, and claims of one request for claims."""

HELD: Final = 2_000
"""Leases that are renewed."""

TTL: Final = "5s"
"""Of the lease that expires. It is renewed each second until its claims are made."""

LONGEST_SECONDS: Final = 120.0
PAUSE_SECONDS: Final = 0.1


class Caller:
    """One connection to the native API."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The body of a success."""
        headers = {"X-Auth-Token": "admin", "Content-Type": "application/json", "Accept": "application/json"}
        content = None if body is None else json.dumps(body)
        self._connection.request(method, f"/moorage/v1{path}", content, headers)
        answer = self._connection.getresponse()
        told = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {told}")
        return told


def hosts(chance: Random, uuids: list[str]) -> Iterator[Tree]:
    """Providers with room for all claims; their uuids are known once they were taken from here."""
    for number in range(HOSTS):
        uuids.append(random_uuid(chance))
        yield [Provider(uuids[-1], f"host-{number:05}", AMPLE)]


def in_threads(count: int, act: Callable[[int], int]) -> int:
    """The sum of what ``act`` returns in so many threads."""
    with ThreadPoolExecutor(count) as pool:
        return sum(pool.map(act, range(count)))


def granted(caller: Caller, **parts: object) -> str:
    """A new lease."""
    return str(caller.ask("POST", "/leases", {"owner": "benchmark", **parts})["lease"])


def renewals(port: int, clients: int, seconds: float) -> dict[str, float]:
    """Leases that clients renew per second, ``BATCH`` in each request."""
    caller = Caller(port)
    leases = [granted(caller, ttl="1h") for _ in range(HELD)]
    batches = [leases[start : start + BATCH] for start in range(0, HELD, BATCH)]
    end = time.perf_counter() + seconds

    def act(number: int) -> int:
        own, renewed = Caller(port), 0
        while time.perf_counter() < end:
            number = (number + clients) % len(batches)
            renewed += len(own.ask("POST", "/leases/renewals", {"leases": batches[number]})["renewed"])
        return renewed

    begun = time.perf_counter()
    count = in_threads(clients, act)
    return {"per_second": count / (time.perf_counter() - begun)}


def expiry(port: int, uuids: Sequence[str], claims: int, others: Callable[[], float]) -> dict[str, float]:
    """How long the claims of one lease take to go, once it is due, and the rate of others meanwhile."""
    caller = Caller(port)
    lease = granted(caller, ttl=TTL, on_expiry="release")
    made = threading.Event()

    def renew() -> None:
        own = Caller(port)
        while not made.wait(1):
            own.ask("POST", "/leases/renewals", {"leases": [lease]})

    renewer = threading.Thread(target=renew)
    renewer.start()
    try:
        for start in range(0, claims, BATCH):
            allocations = {uuids[start // BATCH % len(uuids)]: {"resources": {"VCPU": 1}}}
            entry = {"allocations": allocations, "project_id": "p", "count": BATCH, "lease": lease}
            caller.ask("POST", "/claims", {"claims": [entry], "explain": "never"})
        before = others()
    finally:
        made.set()
        renewer.join()
    while caller.ask("GET", f"/leases/{lease}")["state"] == "active":
        time.sleep(PAUSE_SECONDS)
    begun = time.perf_counter()
    rates: list[float] = []
    measuring = threading.Thread(target=lambda: rates.append(others()))
    measuring.start()
    while caller.ask("GET", f"/leases/{lease}")["claims"]:
        if time.perf_counter() - begun > LONGEST_SECONDS:
            raise RuntimeError("the claims did not go")
        time.sleep(PAUSE_SECONDS)
    seconds = time.perf_counter() - begun
    measuring.join()
    return {"seconds": seconds, "others_before": before, "others_meanwhile": rates[0]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    console = Console(width=max(TABLE_WIDTH, Console().width))
    found: dict[str, Any] = {}
    chance, uuids = Random(SEED), list[str]()
    with running_server(options.database), ExitStack() as stack:
        found["run"] = described_machine(options.database, options.output)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(options.database, folder))
        service = Moorage(url, folder, 1)
        service.prepare()
        loader.load(url, hosts(chance, uuids), chance)
        service.start()
        stack.callback(service.stop)

        def others() -> float:
            seed = chance.randrange(2**31)
            orders = Orders(service.port, "claim", options.clients, options.seconds, seed, tuple(uuids))
            told = claim_clients.run(orders)
            return told.finished / told.elapsed

        others()
        found["renewals"] = renewals(service.port, options.renewers, options.seconds)
        found["expiry"] = expiry(service.port, uuids, options.claims, others)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"leases-{options.database}.json").write_text(json.dumps(found, indent=1))
    show(found, options.claims, console)
    return 0


def show(found: dict[str, Any], claims: int, console: Console) -> None:
    """Print the table."""
    table = Table("what", "figure")
    table.add_row(f"renewals per second, {BATCH} in a request", f"{found['renewals']['per_second']:,.0f}")
    table.add_row(f"seconds until {claims:,} claims are gone", f"{found['expiry']['seconds']:.1f}")
    table.add_row("other claims per second before", f"{found['expiry']['others_before']:,.0f}")
    table.add_row("other claims per second meanwhile", f"{found['expiry']['others_meanwhile']:,.0f}")
    console.print(table)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.leases", description=__doc__)
    made.add_argument("--database", choices=KINDS, default=POSTGRESQL)
    made.add_argument("--seconds", type=float, default=5.0)
    made.add_argument("--claims", type=int, default=10_000)
    made.add_argument("--clients", type=int, default=16)
    made.add_argument("--renewers", type=int, default=4)
    made.add_argument("--output", type=Path, default=OUTPUT)
    return made


if __name__ == "__main__":
    sys.exit(main())
