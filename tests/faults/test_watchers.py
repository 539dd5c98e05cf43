"""Watchers and their auditor, against a service in this process: what the auditor finds, and what not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from moorage.model.commands import (
    CreateResourceClass,
    CreateTrait,
    DeleteProvider,
    ReleaseClaims,
    RenameResourceClass,
    SetInventories,
    UpdateProvider,
)
from moorage.service.facade import Service
from moorage.service.watching import Watch
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order
from tests.databases.prepared import (
    open_service,
    open_store,
    prepare,
    prepared_databases,
    sqlite_service,
    sqlite_store,
    sqlite_template,
)
from tests.faults import watchers
from tests.faults.leased import LeasedAccount
from tests.faults.ledger import Ledger, read_ledger
from tests.faults.watch_auditor import WatchAudit, mirror_faults
from tests.faults.watchers import BOOKMARK, GONE, ODD, RECORD, Told, Watcher, Watching
from tests.faults.workload import HOSTS, HOT_CONSUMERS
from tests.unit.native_client.conftest import sharing

__all__ = [
    "open_service",
    "open_store",
    "prepare",
    "prepared_databases",
    "sqlite_service",
    "sqlite_store",
    "sqlite_template",
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages come at once, also if nothing passes their filter."""
    monkeypatch.setattr(watchers, "WAIT", "0s")


def write(service: Service) -> None:
    """Changes of all kinds."""
    [host, other, gone] = [add_provider(service, VCPU=8) for _ in range(3)]
    for number, consumer in enumerate(HOT_CONSUMERS):
        order(service, claim(consumer, {host: {VCPU: number + 1}}))
    order(service, claim(HOT_CONSUMERS[0], {other: {VCPU: 1}}, generation=1))
    order(service, CreateResourceClass("CUSTOM_GOLD"))
    order(service, CreateTrait("CUSTOM_FAST"))
    child = add_provider(service, parent=host, CUSTOM_GOLD=4)
    order(service, claim(new_uuid(), {child: {"CUSTOM_GOLD": 1}}))
    order(service, RenameResourceClass("CUSTOM_GOLD", "CUSTOM_SILVER"))
    order(service, UpdateProvider(child, "renamed", other))
    order(service, SetInventories(gone, 1, inventories(DISK_GB=2)))
    order(service, DeleteProvider(gone))
    order(service, ReleaseClaims((HOT_CONSUMERS[1],)))


@contextmanager
def watched(service: Service, store: Store) -> Iterator[tuple[Watching, LeasedAccount]]:
    """Watchers that follow a service, and the account where they began."""
    url = str(store.engines.write.url)
    with sharing(service) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        watching = Watching((host, int(port)), 1, service.revision())
        try:
            yield watching, read_ledger(url).account
        finally:
            watching.close()


def found(watching: Watching, beginning: LeasedAccount, store: Store, compacted: int = 0) -> list[str]:
    """What is wrong once all is quiet."""
    ledger = read_ledger(str(store.engines.write.url))
    watching.catch_up(ledger.revision)
    return [
        *watching.problems,
        *WatchAudit(watching.watchers, [], ledger, compacted).run(beginning),
        *mirror_faults(watching.mirror, watching.rebuilt, ledger, compacted),
    ]


def kinds(violations: list[str]) -> set[str]:
    return {violation.partition(":")[0] for violation in violations}


@pytest.mark.slow
def test_nothing_is_wrong_with_a_sound_service_and_each_fault_in_what_it_told_is_found(
    sqlite_service: Service, sqlite_store: Store
) -> None:
    with watched(sqlite_service, sqlite_store) as (watching, beginning):
        watching.start()
        write(sqlite_service)
        assert found(watching, beginning, sqlite_store) == []
        assert watching.counts()["records"] > 40
        ledger = read_ledger(str(sqlite_store.engines.write.url))
    for kind, spoil in SPOILT.items():
        watchers_then = [replace(watcher, told=list(watcher.told)) for watcher in watching.watchers]
        spoil(watchers_then[0].told, ledger)
        violations = WatchAudit(watchers_then, [], ledger, 5).run(beginning)
        assert kind.partition(",")[0] in kinds(violations), f"{kind}: {violations}"
    foreign = replace(watching.watchers[0], passes=lambda _: False)
    assert "watch filter" in kinds(WatchAudit([foreign], [], ledger, 0).run(beginning))


def _records(told: list[Told]) -> list[int]:
    """Places of the records."""
    return [place for place, each in enumerate(told) if each.what == RECORD]


def _lose(told: list[Told], _: Ledger) -> None:
    del told[_records(told)[3]]


def _swap(told: list[Told], _: Ledger) -> None:
    first, second = _records(told)[3:5]
    told[first], told[second] = told[second], told[first]
    told[:] = [each for each in told if each.what == RECORD]


def _double(told: list[Told], _: Ledger) -> None:
    told.insert(_records(told)[3], told[_records(told)[3]])


def _go_back(told: list[Told], _: Ledger) -> None:
    last = told[_records(told)[-1]]
    told.append(replace(last, what=BOOKMARK, revision=last.revision - 1))


def _go_beyond(told: list[Told], ledger: Ledger) -> None:
    told.append(Told(BOOKMARK, ledger.revision + 1, {}, 0.0))


def _run_ahead(told: list[Told], _: Ledger) -> None:
    place = _records(told)[3]
    told.insert(place, Told(BOOKMARK, told[place].revision, {}, 0.0))


def _make_up(told: list[Told], ledger: Ledger) -> None:
    told.append(replace(told[_records(told)[-1]], revision=ledger.revision + 1))


def _change(**parts: object) -> Callable[[list[Told], Ledger], None]:
    def change(told: list[Told], _: Ledger) -> None:
        place = _records(told)[-1]
        told[place] = replace(told[place], body={**told[place].body, **parts})

    return change


def _gone(**body: object) -> Callable[[list[Told], Ledger], None]:
    def gone(told: list[Told], _: Ledger) -> None:
        told.append(Told(GONE, told[-1].revision, body, 0.0))

    return gone


def _refuse(told: list[Told], _: Ledger) -> None:
    told.append(Told(ODD, told[-1].revision, {"status": 500}, 0.0))


SPOILT: Mapping[str, Callable[[list[Told], Ledger], None]] = {
    "watch reliable": _lose,
    "watch ordered": _swap,
    "watch unique": _double,
    "watch bookmarkable": _go_back,
    "watch bookmarkable, beyond the end": _go_beyond,
    "watch bookmarkable, ahead of its records": _run_ahead,
    "watch atomic": _make_up,
    "watch atomic, of another write": _change(kind="other"),
    "watch atomic, told differently": _change(consumers={}),
    "watch before": _change(traits={"CUSTOM_FAST": [False, True]}),
    "watch resumable": _gone(code="different_history"),
    "watch resumable, nothing was deleted": _gone(code="compacted", compacted=10**6),
    "watch resumable, refused": _refuse,
}
"""Faults in what the first watcher was told, each with the kind that it must be found as."""


@pytest.mark.slow
def test_records_that_were_deleted_may_be_gone_and_the_mirror_is_made_anew(
    sqlite_service: Service, sqlite_store: Store
) -> None:
    with watched(sqlite_service, sqlite_store) as (watching, beginning):
        write(sqlite_service)
        present = sqlite_service.revision()
        sqlite_store.compact_journal(2, 1e9, 0)
        watching.start()
        assert found(watching, beginning, sqlite_store, present - 2) == []
        assert watching.counts()["gones"] == len(watching.watchers)
        ledger = read_ledger(str(sqlite_store.engines.write.url))
        assert kinds(WatchAudit(watching.watchers, [], ledger, 0).run(beginning)) == {"watch resumable"}


def test_a_late_beginning_after_a_cut_is_found(
    sqlite_service: Service, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The silent start of other services: who asks again begins one revision later."""
    real = Watch.follow

    def follow(self: Watch, wanted: Any, *rest: Any) -> Any:
        late = wanted.after < self._store.revision()
        return real(self, replace(wanted, after=wanted.after + late), *rest)

    with watched(sqlite_service, sqlite_store) as (watching, beginning):
        write(sqlite_service)
        monkeypatch.setattr(Watch, "follow", follow)
        watching.start()
        assert kinds(found(watching, beginning, sqlite_store)) == {"watch reliable"}


def test_a_watcher_and_a_mirror_that_stand_still_are_found(
    sqlite_service: Service, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "LAST_SECONDS", 0.0)
    with watched(sqlite_service, sqlite_store) as (watching, beginning):
        watching.start()
        write(sqlite_service)
        watching.catch_up(sqlite_service.revision() + 1)
        ledger = read_ledger(str(sqlite_store.engines.write.url))
        ledger = replace(ledger, revision=ledger.revision + 1)
        told = [*watching.problems, *mirror_faults(watching.mirror, ["mismatch"], ledger, 0)]
        assert kinds(told) == {"watch resumable", "mirror"}
        assert sum("made anew" in text for text in told) == 1
        wrong = mirror_faults(watching.mirror, [], replace(ledger, account=beginning), 0)
        assert any(HOSTS[0] not in text and "should be None" in text for text in wrong)


def test_a_watcher_goes_on_after_whatever_breaks_a_connection() -> None:
    """Nobody at the port, and an answer that is not one."""
    watcher = Watcher("w", ("127.0.0.1", 9), random.Random(1), 5, streams=True)
    watcher.ended.wait = lambda *_: watcher.ended.set()  # type: ignore[method-assign,assignment]
    watcher.run()
    assert (watcher.after, watcher.told, watcher.failure) == (5, [], None)
    watcher._refused(410, b"no JSON")
    watcher._refused(503, b"")
    watcher._refused(500, b"")
    assert [told.what for told in watcher.told] == [GONE, ODD]
