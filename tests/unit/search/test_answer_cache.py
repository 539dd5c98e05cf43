"""Answers are kept until something changes, and no longer."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest

from moorage.model.cache import MIB
from moorage.model.requests import CandidateRequest, SearchResult
from moorage.search.index.index import Snapshot
from moorage.search.match.answers import KeptAnswers
from tests.unit.search.builders import group, index_of, provider, search

INDEX = index_of(provider(1, {"VCPU": 4}), provider(2, {"VCPU": 4}))


def a_request() -> CandidateRequest:
    return CandidateRequest((group("", {"VCPU": 1}),))


class Asker:
    """Asks, and counts how often it was sought."""

    def __init__(self, most: int = MIB) -> None:
        self.kept = KeptAnswers(most)
        self.searches = 0

    def ask(self, request: CandidateRequest, snapshot: Snapshot | None = None) -> SearchResult:
        asked = INDEX.snapshot() if snapshot is None else snapshot
        return self.kept.of(asked, request, self._searching(request))

    def _searching(self, request: CandidateRequest) -> Callable[[], SearchResult]:
        def seek() -> SearchResult:
            self.searches += 1
            return search(INDEX, request)

        return seek


def test_the_same_request_is_sought_once_in_a_snapshot() -> None:
    asker, request = Asker(), a_request()
    first = asker.ask(request)
    assert asker.ask(request) is first
    assert len(first.candidates) == 2
    assert asker.searches == 1


def test_another_snapshot_has_other_answers_also_if_it_is_an_older_one() -> None:
    asker, request = Asker(), a_request()
    older, newer = (Snapshot((), frozenset(), frozenset()) for _ in range(2))
    first = asker.ask(request, older)
    assert asker.ask(request, newer) is not first
    assert asker.ask(request, older) is not first
    assert asker.searches == 3


def test_an_equal_request_has_the_same_answer_and_a_different_one_its_own() -> None:
    asker = Asker()
    for request in (a_request(), a_request(), CandidateRequest(a_request().groups, limit=1)) * 2:
        asker.ask(request)
    assert asker.searches == 2


def size_of_one() -> int:
    asker = Asker()
    asker.ask(a_request())
    return asker.kept.size


@pytest.mark.parametrize(("room_for", "searches"), [(0, 12), (4, 12), (6, 6)])
def test_only_so_many_bytes_are_kept(room_for: int, searches: int) -> None:
    asker = Asker(room_for * size_of_one() + room_for)
    requests = [CandidateRequest(a_request().groups, limit=2 + number) for number in range(6)]
    for request in requests * 2:
        assert len(asker.ask(request).candidates) == 2
    assert asker.searches == searches
    assert asker.kept.size <= room_for * (size_of_one() + 1)


def test_texts_that_are_made_of_an_answer_count_as_well() -> None:
    asker = Asker()
    found = asker.ask(a_request())
    before = asker.kept.size
    for _ in range(2):
        assert found.memo.of(39, lambda: b"x" * 10_000) == b"x" * 10_000
    assert 10_000 < asker.kept.size - before < 11_000
    found.memo.of(38, lambda: b"x" * 10_000_000)
    assert asker.kept.size == 0


def test_an_answer_that_can_be_asked_for_no_more_is_gone() -> None:
    asker = Asker()
    gone = weakref.ref(asker.ask(a_request()).candidates)
    assert gone() is not None
    asker.kept.forget()
    assert gone() is None, "nothing else holds it, not even it itself"
    assert asker.kept.size == 0


def test_a_refusal_is_not_kept() -> None:
    kept, request = KeptAnswers(MIB), a_request()

    def refuse() -> SearchResult:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            kept.of(INDEX.snapshot(), request, refuse)
    assert len(kept.of(INDEX.snapshot(), request, lambda: search(INDEX, request)).candidates) == 2
