"""A process keeps its locks on the SQLite file, whatever it does with the database."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from moorage.model.commands import CreateTrait
from moorage.service.compactor import SETTLE_SECONDS, Compactor
from moorage.service.facade import Service
from moorage.service.settings import ChangeLogSettings
from moorage.service.tokens import Tokens
from moorage.service.verification import verify
from moorage.store.store import Store
from tests.databases.orders import order
from tests.servers.file_locks import without_locks


def compact(store: Store) -> None:
    """Forget the oldest write."""
    now = [0.0]
    compactor = Compactor(store, ChangeLogSettings(kept_revisions=1, kept_seconds=1e9), lambda: now[0])
    assert compactor.compact() == 0
    now[0] = SETTLE_SECONDS
    assert compactor.compact() > 0


def open_again(store: Store) -> None:
    """As the process does that is over the workers, and as one does that starts."""
    another = Store(store._settings)
    another.migrate()
    another.synchronise_names()
    another.revision()
    another.close()


def test_locks_stay_over_all_that_is_done_with_the_database(
    sqlite_service: Service, sqlite_store: Store
) -> None:
    path = Path(str(sqlite_store.engines.single.url.database))
    deeds: Mapping[str, Callable[[], object]] = {
        "search": sqlite_service.warm_up,
        "write": lambda: [order(sqlite_service, CreateTrait(f"CUSTOM_{number}")) for number in range(3)],
        "read": sqlite_service.traits,
        "readiness": sqlite_service.check_ready,
        "metrics": sqlite_service.totals,
        "schema": sqlite_store.check_schema,
        "adoption": sqlite_store.check_adoptable,
        "tokens": Tokens(sqlite_store).all,
        "verify": lambda: verify(sqlite_store),
        "compaction": lambda: compact(sqlite_store),
        "another store": lambda: open_again(sqlite_store),
        "new connections": sqlite_store.engines.snapshot.dispose,
    }
    for name, deed in deeds.items():
        deed()
        sqlite_service.check_ready()
        assert without_locks([os.getpid()], path) == [], name
    with path.open("rb"):
        """The mistake itself, to see that it shows."""
    assert len(without_locks([os.getpid()], path)) == 1
