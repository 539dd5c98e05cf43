"""A health check takes nothing that writers or searches need."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from moorage.service.facade import Service
from moorage.store.settings import StoreSettings
from moorage.store.sql import engines
from moorage.store.sql.engines import WRITERS
from moorage.store.store import Store
from moorage.store.tables import revisions
from tests.databases.sql_watch import watching


def test_it_is_answered_while_all_connections_and_all_locks_are_taken(
    prepared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "SQLITE_BUSY_SECONDS", 0.1)
    store = Store(StoreSettings(prepared_url, max_pool_size=1, max_overflow=0, pool_timeout_seconds=1))
    service = Service(store)
    service.warm_up()
    with ExitStack() as taken:
        taken.callback(store.close)
        for engine in (store.engines.snapshot, store.engines.single):
            taken.enter_context(engine.connect())
        writers = [taken.enter_context(store.engines.write.connect()) for _ in range(WRITERS)]
        writers[0].execute(revisions.update().values(revision=revisions.c.revision))
        taken.enter_context(service._index._changing)
        taken.enter_context(service._index._poll._asking)
        assert service.check_ready() == service._index.revision
        writers[0].rollback()


def test_it_only_reads_and_leaves_the_connections_of_requests_alone(service: Service, store: Store) -> None:
    service.warm_up()
    taken: list[object] = []
    for engine in (store.engines.write, store.engines.snapshot, store.engines.single):
        sa.event.listen(engine, "checkout", lambda *arguments: taken.append(arguments))
    with watching(store) as watched:
        service.check_ready()
    assert not taken
    assert watched.statements
    assert not watched.direct
    assert {statement.split()[0] for statement in watched.statements} <= {"SELECT", "PRAGMA", "DESCRIBE"}
    assert not any("FOR UPDATE" in statement for statement in watched.statements)
    assert watched.commits == 0
