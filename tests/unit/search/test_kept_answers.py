"""Answers are kept until something changes, and no longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moorage.model.requests import CandidateRequest, SearchResult
from moorage.search.kept import KeptAnswers
from moorage.search.snapshot import Snapshot
from tests.unit.search.builders import group, index_of, provider, search

INDEX = index_of(provider(1, {"VCPU": 4}), provider(2, {"VCPU": 4}))


def a_request() -> CandidateRequest:
    return CandidateRequest((group("", {"VCPU": 1}),))


class Asker:
    """Asks, and counts how often it was sought."""

    def __init__(self, most: int = 100) -> None:
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


def test_an_equal_request_is_another_one() -> None:
    asker = Asker()
    requests = [a_request(), a_request()]
    for request in requests * 2:
        asker.ask(request)
    assert asker.searches == 2


@pytest.mark.parametrize(("most", "searches"), [(0, 4), (2, 4), (3, 3), (5, 3), (6, 2)])
def test_only_so_many_candidates_are_kept(most: int, searches: int) -> None:
    asker = Asker(most)
    requests = [a_request(), a_request()]
    for request in requests * 2:
        assert len(asker.ask(request).candidates) == 2
    assert asker.searches == searches


def test_a_refusal_is_not_kept() -> None:
    kept, request = KeptAnswers(100), a_request()

    def refuse() -> SearchResult:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            kept.of(INDEX.snapshot(), request, refuse)
    assert len(kept.of(INDEX.snapshot(), request, lambda: search(INDEX, request)).candidates) == 2
