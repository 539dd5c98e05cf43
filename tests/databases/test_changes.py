"""Pages of the journal: exact, or an error; and clients that wait for the next record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from moorage.model.commands import (
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    RenameResourceClass,
    ReplaceAllocations,
    SetInventories,
    UpdateProvider,
)
from moorage.model.errors import BusyError, CompactedError, DifferentHistoryError, UnavailableError
from moorage.model.journal import ChangePage, ChangeSelection, HistoryPage
from moorage.model.values import Requester
from moorage.service import watching
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.service.watching import Hub, Watch
from moorage.store.store import Store
from moorage.store.tables import journal
from tests.databases.orders import VCPU, add_provider, claim, inventories, new_uuid, order

ALL = ChangeSelection(0, 5_000)
WAITERS = ServiceSettings().changes_waiters


def after(revision: int | None, **wanted: object) -> ChangeSelection:
    return replace(ALL, after=revision, **wanted)  # type: ignore[arg-type]


def page(service: Service, wanted: ChangeSelection, epoch: str | None = None, wait: float = 0) -> ChangePage:
    found = service.changes(wanted, epoch, wait)
    assert isinstance(found, ChangePage)
    return found


def revisions_of(found: ChangePage) -> list[int]:
    return [change.revision for change in found.changes]


def make_traits(service: Service, number: int) -> None:
    for _ in range(number):
        order(service, CreateTrait(f"CUSTOM_{new_uuid().upper().replace('-', '_')}"))


def test_pages_follow_each_other_without_gap_or_repetition(store: Store, service: Service) -> None:
    start = store.revision()
    make_traits(service, 5)
    found: list[int] = []
    wanted = after(start, limit=2)
    while True:
        told = page(service, wanted)
        found += revisions_of(told)
        assert (told.epoch, told.revision) == (store.epoch(), start + 5)
        assert told.next_after == found[-1]
        assert told.more == (told.next_after < start + 5)
        if not told.more:
            break
        wanted = replace(wanted, after=told.next_after)
    assert found == list(range(start + 1, start + 6))
    assert page(service, after(start + 5)) == ChangePage(store.epoch(), start + 5, start + 5, False, ())
    assert page(service, after(None)).next_after == start + 5


def test_filters_leave_out_records_and_still_go_on(service: Service) -> None:
    left, right, consumer = add_provider(service, VCPU=8), add_provider(service, VCPU=8), new_uuid()
    order(service, CreateResourceClass("CUSTOM_A"))
    start = service.revision()
    order(service, claim(consumer, {left: {VCPU: 1}}, project_id="red"))
    order(service, claim(new_uuid(), {right: {VCPU: 1}}, project_id="blue"))
    order(service, UpdateProvider(right, "below", left))
    order(service, RenameResourceClass("CUSTOM_A", "CUSTOM_B"))
    order(service, DeleteAllocations(consumer))
    claimed, other, moved, renamed, released = range(start + 1, start + 6)
    for wanted, found in (
        (after(start, consumer=consumer), [claimed, renamed, released]),
        (after(start, project_id="red"), [claimed, renamed, released]),
        (after(start, project_id="blue"), [other, renamed]),
        (after(start, tree=left), [claimed, moved, renamed, released]),
        (after(start, tree=right), [other, moved, renamed]),
        (after(start, kinds=frozenset(("allocations",))), [claimed, other, released]),
        (after(start, kinds=frozenset(("provider.update", "no.kind"))), [moved]),
        (after(start, tree=right, kinds=frozenset(("allocations.replace",))), [other]),
    ):
        told = page(service, wanted)
        assert revisions_of(told) == found, wanted
        assert told.next_after == start + 5
    assert page(service, after(start, tree=new_uuid(), kinds=frozenset(("allocations",)))) == ChangePage(
        page(service, after(start)).epoch, start + 5, start + 5, False, ()
    )


def test_what_makes_room_is_a_filter_and_is_told_of_other_projects_too(service: Service) -> None:
    left, right, consumer = add_provider(service, VCPU=8), add_provider(service, VCPU=8), new_uuid()
    start = service.revision()
    order(service, claim(consumer, {left: {VCPU: 1}}, project_id="red"))
    order(service, DeleteAllocations(consumer))
    order(service, SetInventories(right, None, inventories(VCPU=9)))
    claimed, released, grown = range(start + 1, start + 4)
    vcpu, disk = frozenset((VCPU,)), frozenset(("DISK_GB",))
    for wanted, found, freed_at in (
        (after(start, frees=vcpu), [released, grown], released),
        (after(start, frees=disk), [grown], grown),
        (after(start, frees=vcpu, tree=right), [grown], grown),
        (after(start, frees=vcpu, project_id="red"), [released], released),
        (after(start, frees=vcpu, project_id="blue"), [], released),
        (after(start, frees=vcpu, kinds=frozenset(("inventory",))), [grown], released),
        (after(grown, frees=vcpu), [], None),
        (after(start), [claimed, released, grown], None),
    ):
        told = page(service, wanted)
        assert (revisions_of(told), told.freed_at, told.next_after) == (found, freed_at, grown), wanted


def test_a_client_waits_for_room_that_another_project_gives_back(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=8), new_uuid()
    start = store.revision()
    wanted = after(start, project_id="blue", frees=frozenset((VCPU,)))
    thread, answers = waiting(lambda: page(service, wanted, None, 20))
    until_waiting(service, 1)
    order(Service(store), claim(consumer, {provider: {VCPU: 1}}, project_id="red"))
    order(Service(store), DeleteAllocations(consumer))
    thread.join(10)
    [told] = answers
    assert isinstance(told, ChangePage)
    assert (told.changes, told.freed_at) == ((), start + 2)


def test_a_page_looks_through_a_bounded_number_of_records(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "READ_TOGETHER", 2)
    monkeypatch.setattr(watching, "MOST_READ", 4)
    start = sqlite_service.revision()
    make_traits(sqlite_service, 10)
    told = page(sqlite_service, after(start, kinds=frozenset(("allocations",))))
    assert (told.next_after, told.more, told.changes) == (start + 4, True, ())
    told = page(sqlite_service, after(start, limit=3))
    assert revisions_of(told) == [start + 1, start + 2, start + 3]


@pytest.mark.parametrize("left", [1, 3, 5])
def test_what_was_compacted_is_an_error_at_every_boundary(left: int, store: Store, service: Service) -> None:
    make_traits(service, 5)
    present = store.revision()
    while store.compact_journal(left, 1e9, 0):
        pass
    boundary = present - left
    assert revisions_of(page(service, after(boundary))) == list(range(boundary + 1, present + 1))
    with pytest.raises(CompactedError) as refused:
        page(service, after(boundary - 1))
    assert (refused.value.compacted, refused.value.restart_after) == (boundary, present)


def test_a_record_that_is_missing_in_the_middle_or_at_the_end_is_an_error_too(
    store: Store, service: Service
) -> None:
    start = store.revision()
    make_traits(service, 5)

    def lose(revision: int) -> None:
        with store.engines.write.begin() as connection:
            connection.execute(journal.delete().where(journal.c.revision == revision))

    lose(start + 3)
    told = page(service, after(start))
    assert (revisions_of(told), told.next_after, told.more) == ([start + 1, start + 2], start + 2, True)
    with pytest.raises(CompactedError) as refused:
        page(service, after(start + 2))
    assert refused.value.compacted == start + 3
    lose(start + 5)
    assert revisions_of(page(service, after(start + 3))) == [start + 4]
    with pytest.raises(CompactedError) as refused:
        page(service, after(start + 4))
    assert refused.value.compacted == start + 5


def test_another_history_or_a_revision_that_is_still_to_come_is_an_error(
    store: Store, service: Service
) -> None:
    epoch, present = store.epoch(), store.revision()
    assert page(service, after(present), epoch).epoch == epoch
    with pytest.raises(DifferentHistoryError):
        page(service, after(present + 1))
    begun = store.new_history()
    with pytest.raises(DifferentHistoryError) as refused:
        page(service, after(present), epoch)
    assert refused.value.epoch == begun
    # Without an epoch a client sees that a new history has begun, whatever its filter.
    [change] = page(service, after(present, consumer=new_uuid())).changes
    assert change.kind == "history.new"


def test_a_history_that_ends_between_two_reads_of_one_page_is_an_error(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "READ_TOGETHER", 2)
    start = sqlite_store.revision()
    make_traits(sqlite_service, 4)
    real = Store.changes

    def changes(store: Store, *wanted: int) -> object:
        found = real(store, *wanted)
        store.new_history()
        return found

    monkeypatch.setattr(Store, "changes", changes)
    with pytest.raises(DifferentHistoryError):
        page(sqlite_service, after(start))


def waiting(ask: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    answers: list[object] = []

    def wait() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread, answers


def until_waiting(service: Service, clients: int) -> None:
    for _ in range(1000):
        if service._watch._free._value == WAITERS - clients:
            break
        threading.Event().wait(0.01)


def test_clients_wait_for_a_write_of_another_process_that_passes_their_filter(
    store: Store, service: Service
) -> None:
    provider, consumer = add_provider(service, VCPU=8), new_uuid()
    start = store.revision()
    waits = [
        waiting(lambda wanted=wanted: page(service, wanted, None, 20))  # type: ignore[misc]
        for wanted in (after(start), after(None), after(start, consumer=consumer))
    ]
    until_waiting(service, len(waits))
    make_traits(Service(store), 1)
    for thread, _ in waits[:2]:
        thread.join(10)
    assert waits[2][0].is_alive()
    order(Service(store), claim(consumer, {provider: {VCPU: 1}}))
    waits[2][0].join(10)
    first, second, third = (answers[0] for _, answers in waits)
    assert isinstance(first, ChangePage)
    assert isinstance(second, ChangePage)
    assert isinstance(third, ChangePage)
    assert revisions_of(first)[0] == revisions_of(second)[0] == start + 1
    assert revisions_of(third) == [start + 2]


def test_when_the_time_is_over_the_page_is_empty_and_goes_on_from_the_present(
    sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = sqlite_service.revision()
    seen, real, now = threading.Event(), Watch.page, [0.0]

    def read(watch: Watch, *arguments: Any) -> ChangePage:
        found = real(watch, *arguments)
        if found.next_after == start + 2:
            seen.set()
        return found

    def monotonic() -> float:
        # The time is over once both writes have been looked at, and not before.
        now[0] += 2 * LONG if seen.is_set() else 0
        return now[0]

    monkeypatch.setattr(Watch, "page", read)
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=monotonic))
    thread, answers = waiting(
        lambda: page(sqlite_service, after(start, kinds=frozenset(("allocations",))), None, LONG)
    )
    make_traits(sqlite_service, 2)
    thread.join()
    [told] = answers
    assert isinstance(told, ChangePage)
    assert (told.changes, told.next_after) == ((), start + 2)


def test_too_many_waiting_clients_are_refused_and_none_waits_once_all_is_ending(sqlite_store: Store) -> None:
    ending = threading.Event()
    service = Service(sqlite_store, ServiceSettings(changes_waiters=2), ending=ending)
    waits = [waiting(lambda: page(service, after(None), None, 20)) for _ in range(3)]
    for _ in range(1000):
        if any(answers for _, answers in waits):
            break
        threading.Event().wait(0.01)
    [refused] = [answers[0] for _, answers in waits if answers]
    assert isinstance(refused, BusyError)
    assert page(service, after(None)).changes == ()
    ending.set()
    for thread, _ in waits:
        thread.join(10)
        assert not thread.is_alive()
    assert page(service, after(None), None, 20).changes == ()


LONG = 1_000_000.0
"""Seconds: without an end of its own, a wait would hang the test."""


def test_a_client_that_goes_gives_its_place_to_another(sqlite_store: Store) -> None:
    service = Service(sqlite_store, ServiceSettings(changes_waiters=1))
    gone = threading.Event()
    thread, answers = waiting(lambda: service.changes(after(None), None, LONG, gone.is_set))
    while service._watch._free.acquire(blocking=False):
        service._watch._free.release()
        threading.Event().wait(0.001)
    gone.set()
    thread.join()
    assert isinstance(answers[0], ChangePage)
    assert service.changes(after(None), None, LONG, gone.is_set) == answers[0]


def test_a_stream_ends_when_its_client_has_gone(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", LONG)
    service = Service(sqlite_store, ServiceSettings(changes_waiters=1))
    gone = threading.Event()
    following = service.follow(after(None), None, gone.is_set)
    assert isinstance(next(following), ChangePage)
    threading.Timer(0.01, gone.set).start()
    assert list(following) == []
    with pytest.raises(BusyError):
        service.follow(after(None), None)
    following.close()
    service.follow(after(None), None).close()


def test_a_thread_that_cannot_look_leaves_that_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int | Exception] = [UnavailableError("away"), 7]

    def look() -> int:
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    hub = Hub(look, threading.Event())
    waits = [waiting(lambda: hub.wait(6, 20)) for _ in range(2)]
    for thread, _ in waits:
        thread.join(10)
    answers = sorted((answers[0] for _, answers in waits), key=repr)
    assert answers[0] is True
    assert isinstance(answers[1], UnavailableError)
    assert not hub.wait(7, 0)


def test_each_record_comes_once_while_others_write(store: Store, service: Service) -> None:
    start, writers = store.revision(), [Service(store) for _ in range(2)]
    threads = [threading.Thread(target=make_traits, args=(writer, 10)) for writer in writers]
    for thread in threads:
        thread.start()
    watch, found, reached = Watch(store, 1, threading.Event()), list[int](), start
    while len(found) < 20:
        told = watch.changes(after(reached, limit=7), None, 10)
        assert isinstance(told, ChangePage)
        found += revisions_of(told)
        reached = told.next_after
    for thread in threads:
        thread.join()
    assert found == list(range(start + 1, start + 21))
    assert all(later == earlier + 1 for earlier, later in pairwise(found))


def test_the_body_is_the_record_as_it_was_written(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    start = service.revision()
    asker = Requester("u", "p", "req-1", "req-2", "placement")
    service.execute(claim(new_uuid(), {provider: {VCPU: 1}}), asker)
    [change] = page(service, after(start)).changes
    assert (change.user_id, change.project_id, change.path) == ("u", "p", "placement")
    assert (change.request_id, change.global_request_id) == ("req-1", "req-2")
    assert orjson.loads(change.body)["providers"][provider]["used"] == {VCPU: [0, 1]}


def seen(found: HistoryPage) -> list[int]:
    return [change.revision for change in found.changes]


def test_the_history_of_a_consumer_is_paged_from_the_newest_back(store: Store, service: Service) -> None:
    provider, consumer = add_provider(service, VCPU=8), new_uuid()
    start = store.revision()
    for amount in (1, 2):
        order(service, claim(consumer, {provider: {VCPU: amount}}))
        order(service, claim(new_uuid(), {provider: {VCPU: 1}}))
    both = tuple(claim(uuid, {provider: {VCPU: 1}}).claims[0] for uuid in (consumer, new_uuid()))
    order(service, ReplaceAllocations(both))
    wanted = [start + 5, start + 3, start + 1]
    whole = service.history_of_consumer(consumer, None, 100)
    assert (whole.revision, whole.next_before, seen(whole)) == (start + 5, None, wanted)
    assert whole.begins <= start + 1
    pages, before = list[int](), None
    for _ in wanted:
        told = service.history_of_consumer(consumer, before, 1)
        pages += seen(told)
        before = told.next_before
    assert pages == wanted
    assert before is None
    assert seen(service.history_of_consumer(new_uuid(), None, 1)) == []


def test_the_history_of_a_provider_is_that_of_its_tree_without_the_others(
    store: Store, service: Service
) -> None:
    root, other = add_provider(service, VCPU=8), add_provider(service)
    start = store.revision()
    child = add_provider(service, "child", root, VCPU=4)
    order(service, claim(new_uuid(), {child: {VCPU: 1}}))
    order(service, claim(new_uuid(), {root: {VCPU: 1}}))
    order(service, UpdateProvider(child, "child", other))
    order(service, claim(new_uuid(), {child: {VCPU: 1}}))
    created, set_, claimed, _, moved, again = range(start + 1, start + 7)
    assert seen(service.history_of_provider(child, None, None, 9)) == [again, moved]
    assert seen(service.history_of_provider(child, root, None, 9)) == [moved, claimed, set_, created]
    assert seen(service.history_of_provider(child, root, moved, 1)) == [claimed]
    begun = store.new_history()
    assert begun
    assert seen(service.history_of_provider(other, None, None, 1)) == [again + 1]


def test_a_deleted_root_keeps_its_history_and_long_histories_are_read_in_parts(
    sqlite_store: Store, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "READ_TOGETHER", 2)
    monkeypatch.setattr(watching, "MOST_READ", 4)
    gone = add_provider(sqlite_service)
    child = add_provider(sqlite_service, "child", gone)
    for total in (1, 2, 3):
        order(sqlite_service, SetInventories(child, None, inventories(VCPU=total)))
    order(sqlite_service, DeleteProvider(child))
    order(sqlite_service, DeleteProvider(gone))
    deleted = sqlite_store.revision()
    first = sqlite_service.history_of_provider(gone, None, None, 9)
    assert (seen(first), first.next_before) == ([deleted], deleted - 3)
    second = sqlite_service.history_of_provider(gone, None, first.next_before, 9)
    assert (seen(second), second.next_before) == ([deleted - 6], None)
    assert seen(sqlite_service.history_of_provider(child, gone, None, 1)) == [deleted - 1]


def test_without_records_a_history_begins_with_the_next_write(sqlite_store: Store) -> None:
    with sqlite_store.engines.write.begin() as connection:
        connection.execute(journal.delete())
    told = Service(sqlite_store).history_of_consumer(new_uuid(), None, 1)
    assert (told.begins, told.changes) == (sqlite_store.revision() + 1, ())


def test_a_stream_says_how_far_it_is_and_why_it_ends(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.01)
    ending = threading.Event()
    service = Service(sqlite_store, ending=ending)
    start = sqlite_store.revision()
    stream = service.follow(after(start), None)
    first = next(stream)
    assert isinstance(first, ChangePage)
    assert first.changes == ()
    make_traits(service, 1)
    second = next(stream)
    assert isinstance(second, ChangePage)
    assert revisions_of(second) == [start + 1]
    ending.set()
    assert list(stream) == ["stopping"]
    stream.close()
    stream.close()
    assert service._watch._free._value == WAITERS


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (CompactedError(1, 2), "compacted"),
        (DifferentHistoryError("e"), "different_history"),
        (UnavailableError("away"), "again"),
    ],
)
def test_a_stream_that_cannot_go_on_says_why(
    error: Exception, end: str, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.01)
    stream = sqlite_service.follow(after(None), None)
    next(stream)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(Store, "changes", fails)
    assert list(stream) == [end]


def test_a_stream_ends_after_so_many_bytes(sqlite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_BYTES", 10)
    start = sqlite_service.revision()
    make_traits(sqlite_service, 3)
    told = list(sqlite_service.follow(after(start, limit=1), None))
    assert isinstance(told[0], ChangePage)
    assert told[1:] == ["again"]
    monkeypatch.setattr(watching, "MOST_BYTES", 10_000)
    stream = sqlite_service.follow(after(start, limit=1), None)
    found = [next(stream) for _ in range(3)]
    assert [revisions_of(page)[0] for page in found if isinstance(page, ChangePage)] == [
        start + 1,
        start + 2,
        start + 3,
    ]
