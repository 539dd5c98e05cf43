"""What a service tells its observer, and what it is asked by those who watch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from moorage.model.errors import SchemaError, UnavailableError
from moorage.model.values import ClassTotal
from moorage.service.facade import Service
from moorage.service.observer import Setback, Stage
from moorage.store.migrations.adoption import VERSION_TABLE
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Store
from moorage.store.transaction import WriteTransaction
from tests.databases.orders import DISK, VCPU, add_provider, claim, new_uuid, order, uuids_with_room
from tests.databases.prepared import OpenService


class Recorder:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.stages: Counter[Stage] = Counter()
        self.revisions: list[tuple[int, int]] = []
        self.builds = 0
        self.groups: list[tuple[int, int]] = []
        self.setbacks: list[Setback] = []

    def stage_ended(self, stage: Stage, seconds: float) -> None:
        assert seconds >= 0
        self.stages[stage] += 1

    def index_changed(self, revision: int, providers: int) -> None:
        self.revisions.append((revision, providers))

    def index_built(self, seconds: float) -> None:
        assert seconds >= 0
        self.builds += 1

    def group_ended(self, commands: int, waiting: int, seconds: float) -> None:
        assert seconds >= 0
        self.groups.append((commands, waiting))

    def report_received(self, source: str, suspect: int) -> None:
        pass

    def finding_acted_on(self, kind: str, action: str, *, done: bool) -> None:
        pass

    def search_unmet(self, verdict: str) -> None:
        pass

    def watchers_changed(self, more: int) -> None:
        pass

    def watcher_dropped(self) -> None:
        pass

    def leases_renewed(self, count: int) -> None:
        pass

    def leases_expired(self, count: int) -> None:
        pass

    def group_set_back(self, reason: Setback) -> None:
        self.setbacks.append(reason)


def test_searches_and_writes_are_told_of(store: Store, open_service: OpenService) -> None:
    recorder = Recorder()
    service = Service(store, observer=recorder)
    service.warm_up()
    assert (recorder.builds, recorder.revisions) == (1, [(store.revision(), 0)])
    host = add_provider(service, VCPU=4)
    written = len(recorder.groups)
    assert written
    assert set(recorder.groups) == {(1, 0)}
    recorder.stages.clear()
    assert uuids_with_room(service, VCPU, 1) == {host}
    assert recorder.stages[Stage.POLL] == recorder.stages[Stage.SEARCH] == 1
    assert recorder.stages[Stage.CATCH_UP] == 1
    assert recorder.revisions[-1] == (store.revision(), 1)
    # Writes of others, here of another service, are told of when they are taken over.
    order(open_service(store), claim(new_uuid(), {host: {VCPU: 1}}))
    assert len(recorder.groups) == written
    uuids_with_room(service, VCPU, 1)
    uuids_with_room(service, VCPU, 1)
    assert recorder.revisions[-1] == (store.revision(), 1)
    assert (recorder.builds, recorder.setbacks) == (1, [])


@pytest.mark.parametrize(
    ("error", "reason"),
    [(WriteConflictError, Setback.CONFLICT), (ConnectionLostError, Setback.CONNECTION)],
)
def test_what_is_done_again_is_told_with_its_reason(
    error: type[Exception], reason: Setback, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    service = Service(sqlite_store, observer=recorder)
    honest, failures = WriteTransaction.read, [error()]

    def failing(self: WriteTransaction, *arguments: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return honest(self, *arguments, **more)

    monkeypatch.setattr(WriteTransaction, "read", failing)
    add_provider(service, "host")
    assert recorder.setbacks == [reason]


def test_totals_are_those_of_all_providers(service: Service) -> None:
    assert service.totals() == []
    first = add_provider(service, VCPU=4, DISK_GB=10)
    second = add_provider(service, VCPU=4)
    order(service, claim(new_uuid(), {first: {VCPU: 3, DISK: 4}, second: {VCPU: 1}}))
    totals = {total.name: total for total in service.totals()}
    assert totals == {VCPU: ClassTotal(VCPU, 2, 8, 4), DISK: ClassTotal(DISK, 1, 10, 4)}
    service.warm_up()
    assert service.revision() == service.check_ready()


def test_a_service_is_not_ready_on_another_schema(sqlite_store: Store) -> None:
    service = Service(sqlite_store)
    with pytest.raises(UnavailableError, match="the index is not built yet"):
        service.check_ready()
    service.warm_up()
    assert service.check_ready() == sqlite_store.revision()
    with sqlite_store.engines.write.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="9999"):
        service.check_ready()
