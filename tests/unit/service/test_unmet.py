"""The recorder of searches that found nothing: what is explained, counted and kept, and what it costs."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from moorage.api.native.kept_explanations import KeptForms, view
from moorage.model.errors import UnavailableError
from moorage.model.explanations import NO_ROOM, ExplainRequest
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.unmet import UnmetRecord
from moorage.model.values import Requester
from moorage.service import unmet as module
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.service.unmet import (
    BURST_SECONDS,
    MOST_HANDED,
    MOST_ROWS,
    MOST_WAITING,
    NOT_EXPLAINED,
    ROUND_SECONDS,
    SHARE,
    UnmetRecorder,
)
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Store
from moorage.store.unmet import UnmetTable
from tests.databases.orders import add_provider, claim, new_uuid, order
from tests.databases.sql_watch import watching

GLOBAL_ID = "req-11111111-1111-4111-8111-111111111111"


def asked(vcpu: int, limit: int | None = None) -> CandidateRequest:
    return CandidateRequest((RequestGroup("", {"VCPU": vcpu}),), limit=limit)


class Counted:
    """An observer that counts searches by verdict, and needs nothing else of an observer."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()

    def search_unmet(self, verdict: str) -> None:
        self.verdicts[verdict] += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class World:
    """A service on one host with 4 VCPU, of which 3 are held."""

    def __init__(self, store: Store, kept: int = 100) -> None:
        self.observer = Counted()
        self.service = Service(store, ServiceSettings(unmet_kept=kept), self.observer, KeptForms())
        self.host = add_provider(self.service, "host", VCPU=4)
        order(self.service, claim(new_uuid(), {self.host: {"VCPU": 3}}))
        self.table = UnmetTable(store)

    @property
    def recorder(self) -> UnmetRecorder:
        found = self.service._unmet
        assert found is not None
        return found

    def search(self, vcpu: int = 2, request_id: str = "req-1", global_request_id: str = "") -> bool:
        """Search, and return whether there is something."""
        requester = Requester("u", "p", request_id, global_request_id)
        return bool(self.service.candidates(asked(vcpu), requester).candidates)

    def kept(self, request_id: str) -> UnmetRecord:
        found = self.table.find(request_id)
        assert found is not None
        return found.record

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        return {(group.ask, group.verdict): group.searches for group in self.table.groups(0, 100)}


@pytest.fixture
def world(sqlite_store: Store) -> World:
    return World(sqlite_store)


def test_a_search_that_found_nothing_is_explained_on_the_snapshot_that_it_was_asked_of(world: World) -> None:
    then = world.service.explain(asked(2), ExplainRequest(), holders=True)
    assert not world.search(2, "req-1", GLOBAL_ID)
    order(world.service, claim(new_uuid(), {world.host: {"VCPU": 1}}))
    world.service.settle_unmet()
    kept = world.kept("req-1")
    assert kept == world.kept(GLOBAL_ID)
    assert (kept.verdict, kept.revision, kept.global_request_id) == (NO_ROOM, then.revision, GLOBAL_ID)
    assert kept.project_id == "p"
    assert kept.ask == '{"groups":{"":{"resources":{"VCPU":2}}}}'
    # Holders are left out, because the tree has changed since.
    told = replace(then, holders={}, holders_revision=then.revision + 1)
    usual = {"with_holders": True, "with_names": True}
    assert view(kept.explanation, **usual) == view(KeptForms().explanation(told), **usual)
    assert world.observer.verdicts == {NO_ROOM: 1}


def test_what_finds_something_is_handed_to_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[object] = []
    monkeypatch.setattr(UnmetRecorder, "offer", lambda *told: offered.append(told))
    for vcpu, count in ((1, 0), (2, 1), (2, 2), (5, 3)):
        assert world.search(vcpu) is (vcpu == 1)
        assert len(offered) == count
    assert world.service.explain(asked(2), ExplainRequest(), holders=False).explanation.verdict == NO_ROOM
    assert len(offered) == 3


def test_a_search_asks_the_database_nothing_more_if_it_finds_nothing(
    world: World, sqlite_store: Store
) -> None:
    world.search(2)
    with watching(sqlite_store) as watched:
        world.search(2)
        world.search(5)
    assert (watched.statements, watched.commits, len(watched.direct)) == ([], 0, 2)


def test_equal_asks_at_one_revision_are_explained_once_and_found_by_each_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained: list[CandidateRequest] = []
    real = module.UnmetRecorder._explain_together

    def noted(recorder: UnmetRecorder, key: str, searches: list[Any]) -> None:
        explained.append(searches[0].request)
        real(recorder, key, searches)

    monkeypatch.setattr(UnmetRecorder, "_explain_together", noted)
    world.search(2, "req-1")
    world.search(2, "req-2")
    world.service.settle_unmet()
    world.search(2, "req-3")
    world.search(5, "req-4")
    world.service.settle_unmet()
    assert explained == [asked(2), asked(5)]
    assert {world.kept(f"req-{number}").explanation for number in (1, 2, 3)} == {
        world.kept("req-1").explanation
    }
    assert sorted(world.counts.values()) == [1, 3]
    order(world.service, claim(new_uuid(), {world.host: {"VCPU": 1}}))
    world.search(2, "req-5")
    world.service.settle_unmet()
    assert explained == [asked(2), asked(5), asked(2)]
    assert world.kept("req-5").revision == world.kept("req-1").revision + 1


def test_a_limit_makes_no_other_ask_and_clients_of_old_versions_do(world: World) -> None:
    old = CandidateRequest(asked(2).groups, one_provider_per_tree=True)
    for number, request in enumerate((asked(2), asked(2, limit=5), old)):
        world.service.candidates(request, Requester("u", "p", f"req-{number}"))
    world.service.settle_unmet()
    first, second, third = (world.kept(f"req-{number}") for number in range(3))
    assert first.ask_hash == second.ask_hash != third.ask_hash
    assert first.ask == third.ask


def test_one_round_explains_one_ask_and_writes_once_a_second(sqlite_store: Store) -> None:
    world = World(sqlite_store)
    now = [0.0]
    recorder = world.recorder
    recorder._clock, recorder._next_write = (lambda: now[0]), 0.0
    for number in range(3):
        world.search(2 + number, f"req-{number}")
    recorder.settle()
    assert len(world.counts) == 1
    now[0] = 0.5
    recorder.settle()
    assert len(world.counts) == 1
    now[0] = 1.0
    recorder.settle()
    assert len(world.counts) == 3
    assert not recorder.has_work


def test_the_thread_takes_a_small_part_of_a_processor_after_a_burst(world: World) -> None:
    now = [0.0]
    recorder = world.recorder
    recorder._clock, recorder._last_round = (lambda: now[0]), 0.0
    pauses = []
    spent = 0.0
    while now[0] < 1000:
        spent += 0.1
        now[0] += 0.1
        pauses.append(recorder.pause_after(0.1))
        now[0] += pauses[-1]
    assert set(pauses[:9]) == {ROUND_SECONDS}
    assert max(pauses) < 0.1 / SHARE + 1
    assert spent == pytest.approx(BURST_SECONDS + SHARE * now[0], abs=0.2)
    now[0] += 1000
    assert recorder.pause_after(BURST_SECONDS) == ROUND_SECONDS
    assert recorder.pause_after(0.3) == pytest.approx(0.3 / SHARE)


def test_what_comes_beyond_the_queue_is_counted_only(world: World) -> None:
    for number in range(MOST_HANDED + 10):
        world.search(2, f"req-{number}")
    assert world.observer.verdicts == {NOT_EXPLAINED: 10}
    world.service.settle_unmet()
    # Equal searches wait together, and no more of them than asks.
    assert world.observer.verdicts[NO_ROOM] == MOST_WAITING
    assert sum(world.observer.verdicts.values()) == MOST_HANDED + 10
    assert world.table.find(f"req-{MOST_WAITING - 1}") is not None
    assert world.table.find(f"req-{MOST_WAITING}") is None


def test_different_asks_beyond_those_that_may_wait_are_counted_only(world: World) -> None:
    for number in range(MOST_WAITING + 5):
        world.search(2 + number, f"req-{number}")
    world.service.settle_unmet()
    assert len(world.counts) == MOST_WAITING
    assert world.observer.verdicts[NOT_EXPLAINED] == 5


def test_equal_searches_beyond_the_rows_of_a_write_are_added_to_the_first_record(world: World) -> None:
    world.search(2, "req-first")
    world.service.settle_unmet()
    for number in range(MOST_ROWS + 7):
        world.search(2, f"req-{number}")
    world.service.settle_unmet()
    assert list(world.counts.values()) == [1 + MOST_ROWS + 7]
    assert world.kept("req-first").searches == 1 + 7
    assert world.observer.verdicts == {NO_ROOM: 1 + MOST_ROWS + 7}


def test_an_ask_that_waits_in_vain_is_added_to_its_last_record(world: World) -> None:
    world.search(2, "req-first")
    world.service.settle_unmet()
    order(world.service, claim(new_uuid(), {world.host: {"VCPU": 1}}))
    for number in range(MOST_WAITING):
        world.search(3 + number, f"req-{number}")
    world.search(2, "req-late")
    world.service.settle_unmet()
    assert world.kept("req-first").searches == 2
    assert world.table.find("req-late") is None


def test_no_more_are_kept_than_the_setting_says(sqlite_store: Store) -> None:
    world = World(sqlite_store, kept=5)
    for number in range(12):
        world.search(2 + number, f"req-{number}")
        world.service.settle_unmet()
    assert len(world.counts) == 5
    assert world.table.find("req-6") is None
    assert world.table.find("req-7") is not None


def test_with_zero_kept_nothing_is_explained_counted_or_kept(sqlite_store: Store) -> None:
    observer = Counted()
    service = Service(sqlite_store, ServiceSettings(unmet_kept=0), observer, KeptForms())
    service.start_upkeep()
    assert not service.candidates(asked(2), Requester("u", "p", "req-1")).candidates
    service.settle_unmet()
    service.close()
    assert service.unmet_kept == 0
    assert UnmetTable(sqlite_store).groups(0, 10) == []
    assert observer.verdicts == {}


def test_each_unmet_ask_has_one_line_in_the_log_which_counts_equal_ones(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "moorage.service.unmet"):
        world.search(2, "req-1", GLOBAL_ID)
        world.search(2, "req-2")
        world.service.settle_unmet()
        world.search(2, "req-3")
        world.service.settle_unmet()
        order(world.service, claim(new_uuid(), {world.host: {"VCPU": 1}}))
        world.search(2, "req-4")
        world.service.settle_unmet()
    first, second = [
        record.getMessage() for record in caplog.records if record.name == "moorage.service.unmet"
    ]
    assert first == (
        'No candidates, no_room: {"groups":{"":{"resources":{"VCPU":2}}}} (request req-1, global request '
        f"{GLOBAL_ID}, revision {world.kept('req-1').revision}; equal searches since the last such line: 0)"
    )
    assert "req-4" in second
    assert second.endswith("equal searches since the last such line: 2)")


def test_asks_that_the_log_has_yet_to_count_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_UNLOGGED", 2)
    for vcpu in range(2, 12):
        world.search(vcpu, f"req-{vcpu}")
        world.search(vcpu, f"req-{vcpu}")
    world.service.settle_unmet()
    assert len(world.recorder._unlogged) <= 2


def test_an_ask_or_an_explanation_too_long_for_a_row_is_counted_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    world.search(2, "req-1")
    world.search(2, "req-2")
    world.service.settle_unmet()
    assert world.counts == {}
    assert world.observer.verdicts == {NO_ROOM: 2}


@pytest.mark.parametrize("error", [WriteConflictError(), ConnectionLostError(), UnavailableError("down")])
def test_what_cannot_be_written_now_is_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real = UnmetTable.add
    tries: list[object] = []

    def failing(*told: Any) -> None:
        tries.append(told)
        if len(tries) < 3:
            raise error
        real(*told)

    monkeypatch.setattr(UnmetTable, "add", failing)
    world.search(2, "req-1")
    world.service.settle_unmet()
    assert len(tries) == 3
    assert world.kept("req-1").verdict == NO_ROOM


def test_what_the_database_does_not_take_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ValueError("no such row")

    monkeypatch.setattr(UnmetTable, "add", failing)
    world.search(2)
    with pytest.raises(ValueError, match="no such row"):
        world.service.settle_unmet()
    assert not world.recorder.has_work


def test_a_conflict_while_old_records_go_harms_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> bool:
        raise WriteConflictError

    monkeypatch.setattr(UnmetTable, "trim", failing)
    world.search(2, "req-1")
    world.service.settle_unmet()
    assert world.table.find("req-1") is not None


def test_what_cannot_be_explained_is_counted_and_the_next_one_is_explained(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = world.recorder
    real = recorder._explain
    recorder._explain = lambda *_: 1 / 0  # type: ignore[assignment]
    world.search(2, "req-1")
    world.service.settle_unmet()
    recorder._explain = real
    world.search(2, "req-2")
    world.service.settle_unmet()
    assert world.observer.verdicts == {NOT_EXPLAINED: 1, NO_ROOM: 1}
    assert "could not be explained" in caplog.text


def test_what_fits_after_all_is_neither_kept_nor_counted(world: World) -> None:
    """Steps may have ended a search early."""
    snapshot = world.service._index.now()
    for request_id in ("req-1", "req-2"):
        world.recorder.offer(snapshot.revision, snapshot.snapshot, asked(1), Requester("", "", request_id))
        world.service.settle_unmet()
    assert world.counts == {}
    assert world.observer.verdicts == {}


def test_the_thread_explains_what_comes_and_ends_when_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.001)
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.0)
    written = threading.Event()
    real = UnmetTable.add
    failures = iter([True, False])

    def noted(*told: Any) -> None:
        if next(failures, False):
            raise ValueError("once")
        real(*told)
        written.set()

    monkeypatch.setattr(UnmetTable, "add", noted)
    others = set(threading.enumerate())
    world.service.start_upkeep()
    (thread,) = [each for each in set(threading.enumerate()) - others if each.name == "moorage-unmet"]
    assert not world.search(2, "req-lost")
    while "could not be kept" not in caplog.text:
        written.wait(0.01)
    assert not world.search(2, "req-1")
    assert written.wait(20)
    assert world.kept("req-1").verdict == NO_ROOM
    world.service.close()
    thread.join(20)
    assert not thread.is_alive()
