"""What a region needs: database, start, memory of a worker and connections, for a number of hosts.

    python -m benchmarks.sizing [--database postgresql] [--hosts 100000]

Prints a table. Hosts of the first cloud are one provider each, and 95 % of them are full; those of the second
are trees of seven providers that hold nothing, of which nothing is claimed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa

from benchmarks import claim_clients, clouds, loader
from benchmarks.claim_clients import Orders
from benchmarks.claim_report import rate
from benchmarks.client import Connection, request
from benchmarks.clouds import Cloud
from benchmarks.compare import SEED
from benchmarks.databases import KINDS, running_server
from benchmarks.report import markdown_table
from benchmarks.services import Moorage
from moorage.store.tables import allocations
from tests.servers.binaries import POSTGRESQL
from tests.servers.databases import SQLITE, fresh_database

HEAD = (
    "cloud",
    "providers",
    "allocations",
    "database",
    "ready after",
    "worker",
    "worker after searches and claims",
    "search, claim and free per second",
    "connections",
)

FULL, TREES = "full hosts", "trees of seven"
CLOUDS: dict[str, Cloud] = {FULL: clouds.full, TREES: clouds.nested}

CLIENTS = 64
"""More than a worker works on at a time, so that it opens all the connections that it ever needs."""

SECONDS = 10.0

TIMEOUT_SECONDS = 60.0
MIB = 1 << 20

# What a database takes on the disk with its indexes, and who is connected to it, by kind of database.
SIZES = {
    SQLITE: "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    POSTGRESQL: "SELECT pg_database_size(current_database())",
    "mariadb": (
        "SELECT sum(data_length + index_length) FROM information_schema.tables "
        "WHERE table_schema = database()"
    ),
}
CONNECTIONS = {
    POSTGRESQL: (
        "SELECT count(*) - 1 FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend'"
    ),
    "mariadb": "SELECT count(*) - 1 FROM information_schema.processlist WHERE db = database()",
}


def measure(kind: str, name: str, hosts: int, folder: Path) -> tuple[str, ...]:
    """One row of the table."""
    folder.mkdir()
    with fresh_database(kind, folder) as url:
        service = Moorage(url, folder, workers=1)
        service.prepare()
        providers = loader.load(url, CLOUDS[name](hosts, Random(SEED)), Random(SEED))
        held, size = (
            ask(url, sa.select(sa.func.count()).select_from(allocations)),
            ask(url, sa.text(SIZES[kind])),
        )
        seconds = service.start()
        try:
            warm_up(service.port)
            fresh = service.memory().now
            busy = ("-", "-", "-")
            if name == FULL:
                told = claim_clients.run(Orders(service.port, "cycle", CLIENTS, SECONDS, SEED, ()))
                busy = (
                    f"{service.memory().now:.0f} MiB",
                    rate(told.finished / told.elapsed),
                    str(ask(url, sa.text(CONNECTIONS[kind]))) if kind in CONNECTIONS else "-",
                )
        finally:
            service.stop()
    return (
        name,
        f"{providers:,}",
        f"{held:,}",
        f"{size / MIB:,.0f} MiB",
        f"{seconds:.0f} s",
        f"{fresh:.0f} MiB",
        *busy,
    )


def warm_up(port: int) -> None:
    """The first answer of a worker is that of one that has its index."""
    connection = Connection(port, TIMEOUT_SECONDS)
    try:
        answer = connection.exchange(request("GET", "/allocation_candidates?resources=VCPU:1&limit=1"))
        assert answer.status == 200, answer
    finally:
        connection.close()


def ask(url: str, question: sa.Select[Any] | sa.TextClause) -> int:
    """The number that a query answers."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return int(connection.scalar(question) or 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__.partition("\n")[0])
    made.add_argument("--database", choices=KINDS, default=POSTGRESQL, help="default: postgresql")
    made.add_argument("--hosts", type=int, default=100_000, help="default: 100000")
    made.add_argument("--cloud", choices=list(CLOUDS), action="append", help="this one (may be repeated)")
    options = made.parse_args(arguments)
    with running_server(options.database), tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder:
        rows = [
            measure(options.database, name, options.hosts, Path(folder) / str(number))
            for number, name in enumerate(options.cloud or CLOUDS)
        ]
    print(markdown_table(HEAD, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
