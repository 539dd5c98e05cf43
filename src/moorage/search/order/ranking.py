"""The best candidates for a request, and the best one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import numpy as np

from moorage.model.cache import MIB, Cache
from moorage.model.errors import SearchLimitError
from moorage.model.orders import MOST_SEED, SCALE, Order, Ranked, Ranking
from moorage.model.requests import DEFAULT_STEP_LIMIT, CandidateRequest, ProviderSummary, Row
from moorage.model.valueclass import valueclass
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.candidates import Search
from moorage.search.match.outcomes import Knowledge, Memory, Outcome
from moorage.search.match.plan import NO_BOUND, OutOfStepsError, Survey, Work
from moorage.search.match.tree_view import View
from moorage.search.order.kept import keep_with, kept_with
from moorage.search.order.measure import Measure
from moorage.search.order.standing import Standing, best_of, kept_length, standing_of
from moorage.search.order.ties import as_uuids, digests, ties

MOST_PLACEMENTS: Final = 1_000
"""Placements of one tree that are scored one by one, where providers share. With more, the answer may lack
the tree's best one, and says so."""

CANDIDATE_STEPS: Final = 40
"""Steps of making a ranked candidate, and of writing it."""

PLACEMENT_STEPS: Final = 200
"""Steps of scoring a single placement."""

OWNERS_BYTES: Final = 4 * MIB
"""Bytes of what is known of requests and orders."""

AMONG_STREAM: Final = MOST_SEED + 1
"""Makes the numbers by which ``among_best`` draws different from the ties of the same seed."""


class OrderMemory:
    """What is known of the latest requests and orders. Safe for several threads."""

    def __init__(self, requests: Memory, most: int = OWNERS_BYTES) -> None:
        """``requests`` is what searches know of requests."""
        self.requests = requests
        self._owners: Cache[Hashable, Owner] = Cache(most, lambda _key, owner: owner.size)

    @property
    def size(self) -> int:
        """Bytes of what it holds itself."""
        return self._owners.size

    def owner(self, knowledge: Knowledge, measure: Measure) -> Owner:
        """The key under which blocks keep standings for a request and a measure."""
        key = knowledge.owner, measure.key
        return self._owners.of(key, lambda: Owner(measure.order.size + measure.size))


class Owner:
    """Stands for a request and an order in blocks, so that they hold nothing else of these."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


def best(
    snapshot: Snapshot,
    request: CandidateRequest,
    order: Order,
    limit: int,
    *,
    all_of_tree: bool = False,
    summaries: bool = False,
    memory: OrderMemory | None = None,
    step_limit: int = DEFAULT_STEP_LIMIT,
    work: Work | None = None,
) -> Ranking:
    """The best ``limit`` candidates (1 or more) for ``request``, whose own limit does not count.

    Each tree is there once, with its best placement, or with each placement if ``all_of_tree``. A placement
    that several trees share is there once. With ``summaries`` the trees that the candidates take from are
    shown. A step is a quarter of a microsecond; a ``step_limit`` below 0
    means no bound. ``memory`` makes repeated questions faster, and changes neither the answer nor the counted
    steps. Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names of the request,
    SearchLimitError.
    """
    work = Work() if work is None else work
    work.most = step_limit if step_limit >= 0 else NO_BOUND
    try:
        ranker = _Ranker(snapshot, request, order, memory, work)
        return ranker.best(limit, all_of_tree=all_of_tree, summaries=summaries)
    except OutOfStepsError:
        raise SearchLimitError(step_limit) from None


def first(
    snapshot: Snapshot,
    request: CandidateRequest,
    order: Order,
    *,
    memory: OrderMemory | None = None,
    step_limit: int = DEFAULT_STEP_LIMIT,
) -> Ranked | None:
    """The candidate that ``best`` puts first; None if nothing fits. Raises as ``best`` does."""
    found = best(snapshot, request, order, 1, memory=memory, step_limit=step_limit).candidates
    return found[0] if found else None


NO_MEMORY: Final = Memory(0)


class _Ranker:
    """One request and one order, on their way through the blocks of a snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        request: CandidateRequest,
        order: Order,
        memory: OrderMemory | None,
        work: Work,
    ) -> None:
        request = request if request.limit is None else replace(request, limit=None)
        self._snapshot = snapshot
        self._order = order
        self._work = work
        requests = NO_MEMORY if memory is None else memory.requests
        self._plan, self._knowledge = requests.plan(snapshot, request, work)
        self._measure = Measure(snapshot, request, order, work)
        self._owner = None if memory is None else memory.owner(self._knowledge, self._measure)
        finder = None if memory is None else self._knowledge.owner
        self._search = Search(self._plan, work, self._knowledge, finder)

    def best(self, limit: int, *, all_of_tree: bool, summaries: bool) -> Ranking:
        """See ``best``."""
        among = self._order.among_best
        most = max(limit, among) if among > 1 else limit
        found, feasible, exact = (self._shared if self._plan.sharing else self._by_block)(most, all_of_tree)
        if among > 1:
            drawn = sorted(found[:among], key=lambda each: (self._draw(each.ranked), each.ranked.root))
            found = [*drawn, *found[among:]][:limit]
        return Ranking(
            [each.ranked for each in found],
            feasible,
            exact,
            self._measure.largest,
            self._measure.rare,
            self._summaries(found) if summaries else (),
        )

    def _summaries(self, found: Sequence[_Found]) -> Sequence[ProviderSummary]:
        """Summaries of all trees that candidates take from."""
        told: list[ProviderSummary] = []
        for number, tree in sorted({tree for each in found for tree in each.trees}):
            block = self._snapshot.blocks[number]
            self._work.spend(block.steps_to_show([tree]))
            told += block.summaries(*block.trees.bounds(tree))
        return told

    def _draw(self, ranked: Ranked) -> int:
        [drawn] = ties(digests(as_uuids([ranked.root])), self._order.seed + AMONG_STREAM).tolist()
        return int(drawn)

    # Trees that no other tree gives anything

    def _by_block(self, most: int, all_of_tree: bool) -> tuple[list[_Found], int, bool]:
        standings = list(self._standings(most))
        if not standings:
            return [], 0, True
        units = np.concatenate([standing.units for _, standing in standings])
        tied = np.concatenate([standing.ties for _, standing in standings])
        root_ids = np.concatenate([standing.root_ids for _, standing in standings])
        ends = np.cumsum([len(standing.units) for _, standing in standings])
        found: list[_Found] = []
        for place in best_of(units, tied, root_ids, most).tolist():
            number = int(np.searchsorted(ends, place, side="right"))
            survey, standing = standings[number]
            position = place - (int(ends[number]) - len(standing.units))
            found += self._of_tree(survey, standing, position, most - len(found) if all_of_tree else 1)
            if len(found) >= most:
                break
        return found, sum([standing.feasible for _, standing in standings]), True

    def _standings(self, most: int) -> Iterator[tuple[Survey, Standing]]:
        """Surveys of the blocks that have a tree for the request, each with its standing."""
        for survey in self._search.surveys():
            known: Standing | None = None
            if self._owner is not None:
                known = kept_with(survey.block, self._owner)
            if known is not None and known.suffices(most):
                self._work.spend(known.steps)
            else:
                known = standing_of(self._search, self._measure, survey, kept_length(most), self._work)
                if self._owner is not None:
                    keep_with(survey.block, self._owner, known, known.size)
            if known.feasible:
                yield survey, known

    def _of_tree(self, survey: Survey, standing: Standing, position: int, most: int) -> Iterator[_Found]:
        """Placements of a tree of a standing, ``most`` at most."""
        tree = int(standing.trees[position])
        start, stop = survey.block.trees.bounds(tree)
        uuids: list[bytes] = survey.block.uuids[start:stop].tolist()
        root = uuids[int(survey.block.trees.roots[tree]) - start].decode()
        parts = {name: float(values[position]) for name, values in standing.parts.items()}
        score, tie = int(standing.units[position]) / SCALE, int(standing.ties[position])
        kind = standing.kinds[position]
        outcomes: Iterable[Outcome] = kind.outcomes[:most]
        if len(kind.outcomes) < most and not kind.complete:
            outcomes = self._search.visit((survey, tree))[1]
        for outcome in islice(outcomes, most):
            self._work.spend(CANDIDATE_STEPS + len(outcome.positions))
            candidate = self._knowledge.forms.patterns[outcome.form].candidate(outcome.pick(uuids))
            trees = ((survey.number, tree),) if outcome.inside else ()
            yield _Found(Ranked(candidate, root, score, parts, tie), trees)

    # Trees that other trees give something

    def _shared(self, most: int, all_of_tree: bool) -> tuple[list[_Found], int, bool]:
        placements: list[_Placement] = []
        feasible, exact = 0, True
        for survey in self._search.surveys():
            for tree in survey.trees.tolist():
                view, outcomes = self._search.visit((survey, tree))
                some = list(islice(outcomes, MOST_PLACEMENTS + 1))
                exact = exact and len(some) <= MOST_PLACEMENTS
                feasible += bool(some)
                placements += self._scored(view, some[:MOST_PLACEMENTS])
        placements.sort(key=lambda placement: placement.rank)
        trees: set[Place] = set()
        rows: set[tuple[int, Row]] = set()
        found: list[_Found] = []
        for placement in placements:
            if len(found) == most:
                break
            if placement.row in rows or (placement.tree in trees and not all_of_tree):
                continue
            trees.add(placement.tree)
            rows.add(placement.row)
            found.append(self._ranked(placement))
        return found, feasible, exact

    def _scored(self, view: View, outcomes: Sequence[Outcome]) -> Iterator[_Placement]:
        """The placements of one tree with their scores."""
        if not outcomes:
            return
        block, tree = view.views.survey.block, np.array([view.tree])
        [tie] = self._measure.ties(block, tree).tolist()
        uuids = view.uuids
        root_id = int(block.ids[block.trees.roots[view.tree]])
        for outcome in outcomes:
            self._work.spend(PLACEMENT_STEPS)
            beyond = self._measure.beyond(view, outcome, self._knowledge.forms.patterns[outcome.form])
            scores = self._measure.scores(block, tree, beyond)
            [units] = scores.units.tolist()
            yield _Placement(
                (-units, tie, root_id),
                (view.views.survey.number, view.tree),
                (outcome.form, outcome.pick(uuids)),
                (*((view.views.survey.number, view.tree) for _ in outcome.inside[:1]), *outcome.homes),
                {name: float(values[0]) for name, values in scores.parts.items()},
            )

    def _ranked(self, placement: _Placement) -> _Found:
        form, row = placement.row
        number, tree = placement.tree
        block = self._snapshot.blocks[number]
        self._work.spend(CANDIDATE_STEPS + len(row))
        ranked = Ranked(
            self._knowledge.forms.patterns[form].candidate(row),
            bytes(block.uuids[block.trees.roots[tree]]).decode(),
            -placement.rank[0] / SCALE,
            placement.parts,
            placement.rank[1],
        )
        return _Found(ranked, placement.gives)


@valueclass(frozen=True, slots=True)
class _Found:
    """A candidate, and the trees that it takes from."""

    ranked: Ranked
    trees: tuple[Place, ...]


@valueclass(frozen=True, slots=True)
class _Placement:
    """A placement of a tree: ``rank`` is (less the units of its score, tie, id of the root).

    ``gives`` are the trees that it takes from.
    """

    rank: tuple[int, int, int]
    tree: Place
    row: tuple[int, Row]
    gives: tuple[Place, ...]
    parts: Mapping[str, float]
