"""From the name of a database to a target, for tests and for ``make faults``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.galera import GaleraTarget
from tests.faults.runs import Plan, Report, run
from tests.faults.serving import ServingError
from tests.faults.standby import StandbyTarget
from tests.faults.targets import ServerTarget, SQLiteTarget, Target
from tests.servers.binaries import MARIADB, POSTGRESQL
from tests.servers.session import open_folder, require_binaries
from tests.servers.throwaway import ServerError

SQLITE = "sqlite"
GALERA = "galera"
DATABASES = (SQLITE, POSTGRESQL, MARIADB, GALERA)

STANDBY = "standby"
"""PostgreSQL with a synchronous standby."""


@contextmanager
def opened(database: str) -> Iterator[Target]:
    """A new database of a kind, gone at the end. Raises MissingServerError if it cannot be had."""
    folder = open_folder()
    try:
        if database == SQLITE:
            target: Target = SQLiteTarget(folder)
        elif database == GALERA:
            target = GaleraTarget(folder)
        elif database == STANDBY:
            target = StandbyTarget(folder)
        else:
            require_binaries(database)
            target = ServerTarget(database, folder)
        try:
            yield target
        finally:
            target.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_where_the_harness_holds(database: str, plan: Plan) -> Report:
    """A run on a new database; a second one if something could not be brought back in time in the first,
    which says nothing of the service. Raises what the second one fails with.
    """
    try:
        with opened(database) as target:
            return run(target, plan)
    except (ServerError, ServingError):
        with opened(database) as target:
            return run(target, plan)
