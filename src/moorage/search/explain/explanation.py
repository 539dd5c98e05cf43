"""Why a request finds nothing on a snapshot, or what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from moorage.model.errors import ProviderNotFoundError
from moorage.model.explanations import (
    CUT_SHORT,
    FITS,
    FREED,
    IN_TREE,
    MEMBER_OF,
    NEVER_FITS,
    NO_ROOM,
    NOBODY_OFFERS,
    REQUIRED,
    ROOM,
    ROOT_REQUIRED,
    TOGETHER,
    AskTerm,
    CountedTerm,
    ExplainRequest,
    Explanation,
    FunnelStep,
    Miss,
    Relaxation,
    UnlockingEvent,
)
from moorage.model.requests import DEFAULT_STEP_LIMIT, Candidate, CandidateRequest
from moorage.search.explain.copies import placed
from moorage.search.explain.counting import Ground, candidates, serving
from moorage.search.explain.facts import home_of
from moorage.search.explain.misses import Misses
from moorage.search.explain.relaxing import Relaxations
from moorage.search.explain.rows import Rows
from moorage.search.explain.terms import Terms
from moorage.search.index.index import Snapshot
from moorage.search.match.plan import NO_BOUND, OutOfStepsError, Work, check_names

OFFER_STEPS: Final = 10
"""Steps of looking in one block whether any provider meets a term."""

ValueT = TypeVar("ValueT")

KEPT_PART: Final = 8
"""The part of the steps, one in so many, that is kept for the nearest trees, and as much for relaxations."""


def explain(
    snapshot: Snapshot,
    request: CandidateRequest,
    how: ExplainRequest | None = None,
    *,
    step_limit: int = DEFAULT_STEP_LIMIT,
) -> Explanation:
    """The explanation of ``request``, in ``step_limit`` steps (a quarter of a microsecond each).

    A limit below 0 means no bound. Where the steps end early, ``exact`` is False: counts are lower bounds,
    and what was not reached is missing. Raises ResourceClassNotFoundError or TraitNotFoundError for unknown
    names, ProviderNotFoundError for an unknown provider to look at.
    """
    how = how or ExplainRequest()
    check_names(snapshot, request.groups, request.root_required, request.root_forbidden)
    at = None
    if how.at is not None:
        at = home_of(snapshot, how.at)
        if at is None:
            raise ProviderNotFoundError(how.at)
    work = Work(step_limit if step_limit >= 0 else NO_BOUND)
    return _Explainer(Ground(snapshot, at), Terms.of(request), how, work).explanation()


class _Explainer:
    """Explains one request."""

    def __init__(self, ground: Ground, terms: Terms, how: ExplainRequest, work: Work) -> None:
        self._ground = ground
        self._emptied = ground.emptied({term.resource_class for term in terms.all})
        self._terms = terms
        self._how = how
        self._work = work
        # What comes after the counts has steps of its own.
        self._kept = work.most // KEPT_PART
        work.most -= 2 * self._kept
        self._exact = True
        self._notes: list[str] = []
        self._rows = Rows.of(ground, self._emptied, terms, work)
        if self._rows is not None and not self._rows.complete:
            self._exact = False

    def explanation(self) -> Explanation:
        terms = self._terms
        feasible = self._count(self._ground, terms.all) or 0
        nobody = self._nobody_offers()
        verdict, empty = self._verdict(feasible, terms.all)
        also: tuple[str, ...] = ()
        if nobody and self._ground.at is None:
            rest = terms.but(*nobody)
            other = self._verdict(self._count(self._ground, rest) or 0, rest)[0]
            verdict, also = NOBODY_OFFERS, () if other == FITS else (other,)
        elif self._how.count > 1 and verdict in {FITS, NO_ROOM}:
            verdict = self._verdict_of_copies()
        constraints = tuple(map(self._counted, terms.all))
        funnel = tuple(self._funnel())
        chosen: Sequence[Candidate] = ()
        nearest: list[Miss] = []
        relaxations: list[Relaxation] = []
        if verdict == FITS:
            most = 1 + self._how.alternatives
            self._work.most += 2 * self._kept
            chosen = self._tried(lambda: candidates(self._ground, terms.request, most, self._work), ())
        elif feasible:
            self._notes.append("the nearest trees and relaxations are those of one, and one fits")
        else:
            self._work.most += self._kept
            nearest = self._tried(self._nearest, [])
            ended = self._work.done > self._work.most
            self._work.most += self._kept
            relaxations = self._tried(lambda: self._relaxations(constraints), [])
            self._exact &= not ended and self._work.done <= self._work.most
        return Explanation(
            verdict=verdict,
            also=also,
            exact=self._exact,
            feasible=feasible,
            trees=self._ground.trees,
            empty_cloud=empty,
            constraints=constraints,
            funnel=funnel,
            nearest=tuple(nearest),
            relaxations=tuple(relaxations),
            unlocked_by=tuple(_unlocking(nearest)),
            chosen=next(iter(chosen), None),
            alternatives=tuple(chosen[1:]),
            notes=tuple(self._notes),
            count=self._how.count,
        )

    def _nobody_offers(self) -> list[AskTerm]:
        """Terms that no provider meets: all of them, or as many as the steps last for."""
        snapshot = self._ground.snapshot
        found: list[AskTerm] = []
        try:
            for term in self._terms.all:
                self._work.spend(OFFER_STEPS * len(snapshot.blocks))
                if not _offered(snapshot, term):
                    found.append(term)
        except OutOfStepsError:
            self._exact = False
        return found

    def _verdict(self, feasible: int, terms: Sequence[AskTerm]) -> tuple[str, int | None]:
        """What holds for some terms that ``feasible`` trees serve, and how many would with nothing in use."""
        decided = self._exact
        empty = self._count(self._emptied, terms)
        if feasible:
            return FITS, empty
        if empty and decided:
            return NO_ROOM, empty
        return NEVER_FITS if self._exact else CUT_SHORT, empty

    def _verdict_of_copies(self) -> str:
        """The verdict for all copies of an ask."""
        count = self._how.count
        try:
            now = placed(self._ground, self._terms, count, self._work)
            if now.least >= count:
                return FITS
            if now.most < count:
                empty = placed(self._emptied, self._terms, count, self._work)
                if empty.least >= count:
                    return NO_ROOM
                if empty.most < count:
                    return NEVER_FITS
        except OutOfStepsError:
            pass
        self._exact = False
        self._notes.append(f"whether {count} fit was not decided")
        return CUT_SHORT

    def _count(self, ground: Ground, terms: Sequence[AskTerm]) -> int | None:
        """Trees that serve ``terms``: as far as the steps last, None if they have ended before."""
        if self._rows is not None:
            return self._rows.count(terms, emptied=ground is self._emptied)
        if not self._exact:
            return None
        found = 0
        try:
            for _, trees in serving(ground, self._terms.wanted(terms), self._work):
                found += len(trees)
        except OutOfStepsError:
            self._exact = False
        return found

    def _counted(self, term: AskTerm) -> CountedTerm:
        if self._rows is None and not self._exact:
            return CountedTerm(term, None, None, None)
        return CountedTerm(
            term,
            alone=None if term.kind == TOGETHER else self._count(self._ground, [term]),
            without=self._count(self._ground, self._terms.but(term)),
            empty_cloud=self._count(self._emptied, [term]) if term.kind == ROOM else None,
        )

    def _funnel(self) -> Iterator[FunnelStep]:
        for number, term in enumerate(self._terms.all, 1):
            left = self._count(self._ground, self._terms.all[:number])
            if left is None:
                return
            yield FunnelStep(term.id, left)

    def _tried(self, work: Callable[[], ValueT], otherwise: ValueT) -> ValueT:
        """What ``work`` finds; ``otherwise`` if the steps end before."""
        try:
            return work()
        except OutOfStepsError:
            self._exact = False
        return otherwise

    def _nearest(self) -> list[Miss]:
        if not self._how.nearest:
            return []
        misses = Misses(self._ground, self._terms, self._work)
        found = misses.nearest(self._how.nearest)
        if not misses.proven:
            self._notes.append("other trees may be as near as the nearest ones")
        return found

    def _relaxations(self, constraints: Sequence[CountedTerm]) -> list[Relaxation]:
        # A lower bound does not say that a term is not worth changing.
        hopeless = [counted.term for counted in constraints if self._exact and not counted.without]
        rows = self._rows if self._exact else None
        relaxations = Relaxations(self._ground, self._terms, self._work, rows)
        found, note = relaxations.found(hopeless, self._how.relaxations)
        if note:
            self._notes.append(note)
        return found


def _unlocking(nearest: Sequence[Miss]) -> list[tuple[UnlockingEvent, ...]]:
    """The events of each miss that has any; first those that only free something."""
    lists = dict.fromkeys([miss.events for miss in nearest if miss.events])
    return sorted(lists, key=lambda events: any(event.event != FREED for event in events))


def _offered(snapshot: Snapshot, term: AskTerm) -> bool:
    """Whether some provider has the class, one of the traits or aggregates, or is the tree that a term
    names."""
    if term.kind == ROOM:
        return any(term.resource_class in block.columns for block in snapshot.blocks)
    if term.kind in {REQUIRED, ROOT_REQUIRED}:
        found = [block.traits.having_any(term.traits) for block in snapshot.blocks]
    elif term.kind == MEMBER_OF:
        found = [block.aggregates.having_any(term.aggregates) for block in snapshot.blocks]
    elif term.kind == IN_TREE:
        return home_of(snapshot, term.in_tree) is not None
    else:
        return True
    return any(mask is not None and bool(mask.any()) for mask in found)
