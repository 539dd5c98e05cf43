"""The indexer asks the database only when there may be something to index."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from moorage.model.errors import UnavailableError
from moorage.service import indexer as indexer_module
from moorage.service.indexer import Indexer
from moorage.store.changes.subjects import SEGMENT
from moorage.store.sql.errors import WriteConflictError


class Journal:
    """Stands for a store: what ``index_journal`` does, in turn."""

    def __init__(self, *turns: bool | Exception) -> None:
        self.turns = list(turns)
        self.asked = 0
        self.done = threading.Event()

    def index_journal(self) -> bool:
        self.asked += 1
        turn = self.turns.pop(0) if self.turns else False
        if isinstance(turn, Exception):
            raise turn
        if not self.turns:
            self.done.set()
        return turn


def indexer_of(journal: Journal, revision: Callable[[], int | None]) -> Indexer:
    return Indexer(journal, revision)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer_module, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(indexer_module, "SEGMENT_PAUSE_SECONDS", 0.0)


def test_it_asks_at_the_start_and_when_another_segment_has_begun() -> None:
    revision: list[int | None] = [None]
    journal = Journal(True, True, False, True, False)
    indexer = indexer_of(journal, lambda: revision[0])
    looks = []
    for present in (None, 7, SEGMENT - 1, SEGMENT, SEGMENT + 5):
        revision[0] = present
        looks.append((indexer.look(), journal.asked))
    assert looks == [(2, 3), (0, 3), (0, 3), (1, 5), (0, 5)]


def test_it_leaves_to_another_process_what_that_one_has_begun() -> None:
    journal = Journal(True, WriteConflictError())
    indexer = indexer_of(journal, lambda: SEGMENT)
    assert (indexer.look(), indexer.look(), journal.asked) == (1, 0, 2)


def test_looks_go_on_whatever_happens_until_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(UnavailableError("away"), ValueError("odd"), True, False)
    indexer = indexer_of(journal, lambda: SEGMENT)
    indexer.start()
    assert journal.done.wait(30)
    indexer.stop()
    assert caplog.messages == ["The journal could not be indexed."]
    assert indexer.look() == 0
