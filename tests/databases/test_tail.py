"""The newest records in memory: without a gap, bounded, and begun anew where they cannot go on."""

from __future__ import annotations

import pytest

from moorage.model.commands import CreateTrait
from moorage.service import tail as tail_module
from moorage.service.facade import Service
from moorage.service.tail import Tail
from moorage.store.store import Store
from tests.databases.orders import order
from tests.databases.sql_watch import watching


def make(service: Service, *names: str) -> None:
    for name in names:
        order(service, CreateTrait(f"CUSTOM_{name}"))


def revisions(tail: Tail, after: int, most: int = 100) -> list[int]:
    return [change.revision for change in tail.changes(after, most).changes]


def test_it_begins_at_the_present_and_has_what_comes(sqlite_store: Store, sqlite_service: Service) -> None:
    tail, start = Tail(sqlite_store, 100_000), sqlite_store.revision()
    assert (tail.epoch, tail.revision, tail.has(start)) == ("", -1, False)
    assert tail.look()
    assert (tail.epoch, tail.revision) == (sqlite_store.epoch(), start)
    assert not tail.look()
    make(sqlite_service, "A", "B", "C")
    assert tail.look()
    with watching(sqlite_store) as watched:
        assert revisions(tail, start) == [start + 1, start + 2, start + 3]
        assert revisions(tail, start + 1, 1) == [start + 2]
        assert revisions(tail, start + 3) == []
    assert not watched.statements
    # What it lacks comes from the database.
    assert revisions(tail, start - 1) == [start, start + 1, start + 2, start + 3]
    assert tail.bytes_after(start - 1) is None
    assert tail.bytes_after(start + 3) == 0
    behind = [tail.bytes_after(after) for after in (start, start + 1, start + 2)]
    assert behind == sorted(behind, reverse=True)  # type: ignore[type-var]


def test_it_forgets_the_oldest(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "BYTES_OF_RECORD", 1_000_000)
    monkeypatch.setattr(tail_module, "READ_TOGETHER", 2)
    tail, start = Tail(sqlite_store, 4_000_000), sqlite_store.revision()
    tail.look()
    make(sqlite_service, *(str(number) for number in range(9)))
    tail.look()
    assert tail.revision == start + 9
    assert not tail.has(start)
    assert tail.has(start + 7)
    assert revisions(tail, start + 7) == [start + 8, start + 9]
    assert revisions(tail, start) == list(range(start + 1, start + 10))


def test_it_begins_anew_after_too_much_and_in_another_history(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "MOST_MISSED", 2)
    tail = Tail(sqlite_store, 100_000)
    tail.look()
    make(sqlite_service, "A", "B", "C")
    tail.look()
    present = sqlite_store.revision()
    assert (tail.revision, tail.has(present), tail.has(present - 1)) == (present, True, False)
    before = tail.epoch
    sqlite_store.new_history()
    tail.look()
    assert tail.epoch == sqlite_store.epoch() != before
    assert not tail.has(present)
