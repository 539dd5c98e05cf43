"""Answers that are kept until something changes, for all who ask the same meanwhile.

Whoever starts a hundred servers of one flavor asks a hundred times for the same, and with many clients
several ask between two writes. A snapshot never changes, so that the answer to one of them is the answer
to all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from moorage.model.requests import CandidateRequest, SearchResult
from moorage.search.snapshot import Snapshot


@dataclass(eq=False, slots=True)
class _Shelf:
    """Answers at one snapshot, by the number of their request, which is held so that no other one has it."""

    snapshot: Snapshot | None
    answers: dict[int, tuple[CandidateRequest, SearchResult]] = field(default_factory=dict)
    size: int = 0


class KeptAnswers:
    """Answers at the snapshot that was asked last. Safe for several threads.

    ``most`` bounds the candidates of all answers together, each answer counting as one more; 0 keeps none.
    Requests are told apart as objects, as in ``Memory``.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._shelf = _Shelf(None)

    def of(
        self, snapshot: Snapshot, request: CandidateRequest, search: Callable[[], SearchResult]
    ) -> SearchResult:
        """What ``search`` finds for ``request`` in ``snapshot``. Raises what it raises."""
        shelf = self._shelf
        if shelf.snapshot is not snapshot:
            shelf = self._shelf = _Shelf(snapshot)
        known = shelf.answers.get(id(request))
        if known is not None:
            return known[1]
        found = search()
        size = 1 + len(found.candidates)
        # Two threads may both count before either does: it is a bound of memory, and not to the byte.
        if shelf.size + size <= self._most:
            shelf.size += size
            shelf.answers[id(request)] = request, found
        return found
