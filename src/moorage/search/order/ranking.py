"""The best candidates for a request, and the best one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np

from moorage.model.cache import MIB, Cache
from moorage.model.errors import SearchLimitError
from moorage.model.orders import MOST_SEED, SCALE, SLOTS, Order, Ranked, Ranking
from moorage.model.requests import (
    DEFAULT_STEP_LIMIT,
    CandidateRequest,
    Row,
    SearchResult,
    SearchSettings,
)
from moorage.model.valueclass import valueclass
from moorage.search.index.block import UUID_LENGTH
from moorage.search.index.columns import FloatArray, IntArray
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.answers import MANY, FoundCandidates, Shown, Summaries
from moorage.search.match.candidates import Search, bound_of
from moorage.search.match.outcomes import Kind, Knowledge, Memory, Outcome, Shape
from moorage.search.match.plan import NO_BOUND, OutOfStepsError, Survey, Work
from moorage.search.match.runs import RowRun
from moorage.search.match.stages import Stages
from moorage.search.match.tree_view import View
from moorage.search.order.chances import Prices
from moorage.search.order.kept import keep_with, kept_with
from moorage.search.order.measure import Measure
from moorage.search.order.options import Options
from moorage.search.order.standing import MOST_BEST, Standing, best_of, kept_length, standing_of
from moorage.search.order.ties import digests, ties

MOST_PLACEMENTS: Final = 1_000
"""Placements of one tree that are scored one by one, where providers share. With more, the answer may lack
the tree's best one, and says so."""

CANDIDATE_STEPS: Final = 14
RANKED_STEPS: Final = 20
"""Steps of listing a candidate, and of making one with its score, and writing it."""

PLACEMENT_STEPS: Final = 200
GIVER_STEPS: Final = 3
"""Steps of scoring a single placement: a fixed part, and one for each provider."""

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
    prices: Prices | None = None,
) -> Ranking:
    """The best ``limit`` candidates (1 or more) for ``request``, whose own limit does not count.

    Each tree is there once, with its best placement, or with each placement if ``all_of_tree``. A placement
    that several trees share is there once. With ``summaries`` the trees that the candidates take from are
    shown. A step is a quarter of a microsecond; a ``step_limit`` below 0 means no bound. ``prices`` are for
    the strategy ``slots``. ``memory`` makes repeated questions faster, and changes neither the answer nor the
    counted steps. Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names of the request,
    SearchLimitError.
    """
    work = Work() if work is None else work
    work.most = step_limit if step_limit >= 0 else NO_BOUND
    try:
        ranker = _Ranker(snapshot, request, order, memory, work, prices)
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
    prices: Prices | None = None,
) -> Ranked | None:
    """The candidate that ``best`` puts first; None if nothing fits. Raises as ``best`` does."""
    found = best(snapshot, request, order, 1, memory=memory, step_limit=step_limit, prices=prices)
    return found.candidates[0] if found.candidates else None


def ordered(
    snapshot: Snapshot,
    request: CandidateRequest,
    order: Order,
    settings: SearchSettings,
    *,
    memory: OrderMemory | None = None,
    work: Work | None = None,
    prices: Prices | None = None,
) -> SearchResult:
    """All candidates for ``request``, the best first, as many as ``settings`` and its limit let through.

    The counterpart of ``find``, for requests of clients that know nested providers. Raises what ``find``
    does, SearchLimitError even if ``settings.truncate``.
    """
    work = Work() if work is None else work
    work.most = settings.step_limit if settings.step_limit >= 0 else NO_BOUND
    bound = bound_of(request, settings)
    try:
        ranker = _Ranker(snapshot, request, order, memory, work, prices)
        return ranker.result(MANY if bound is None else bound)
    except OutOfStepsError:
        raise SearchLimitError(settings.step_limit) from None


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
        prices: Prices | None,
    ) -> None:
        request = request if request.limit is None else replace(request, limit=None)
        self._snapshot = snapshot
        self._order = order
        self._work = work
        requests = NO_MEMORY if memory is None else memory.requests
        asked = requests.plan(snapshot, request, work)
        self._plan, self._knowledge = asked.plan, asked.knowledge
        self._measure = Measure(snapshot, request, order, work, prices)
        self._owner = None if memory is None else memory.owner(self._knowledge, self._measure)
        finder = None if memory is None else self._knowledge.owner
        self._search = Search(asked, work, finder)
        # Blocks keep the finding of a search that comes back for it.
        self._finder = finder if self._measure.prices is not None else None
        self._options = None
        if self._measure.prices is not None:
            self._options = Options(self._search, self._measure.prices)
        self._surveys: dict[int, Survey] = {}

    def best(self, limit: int, *, all_of_tree: bool, summaries: bool) -> Ranking:
        """See ``best``."""
        found, feasible, exact = self._found(limit, all_of_tree)
        return Ranking(
            [self._ranked(each) for each in found],
            feasible,
            exact,
            self._measure.largest,
            self._measure.rare,
            self._summaries(found).made() if summaries else (),
        )

    def result(self, limit: int) -> SearchResult:
        """See ``ordered``."""
        found, feasible, _ = self._found(limit, all_of_tree=True)
        runs: list[RowRun] = []
        for each in found:
            if not runs or runs[-1].form != each.form:
                runs.append(RowRun(each.form))
            runs[-1].found.append(each.row)
        return SearchResult(
            FoundCandidates(self._knowledge.forms, runs, sum([len(each.row) for each in found])),
            self._summaries(found),
            Stages(self._snapshot, self._plan.request, feasible),
            found_nothing=not found,
        )

    def _found(self, limit: int, all_of_tree: bool) -> tuple[list[_Found], int, bool]:
        among = self._order.among_best
        most = max(limit, among) if among > 1 else limit
        found, feasible, exact = (self._shared if self._plan.sharing else self._by_block)(most, all_of_tree)
        if among > 1:
            drawn = sorted(found[:among], key=lambda each: (self._draw(each), each.root))
            found = [*drawn, *found[among:]][:limit]
        return found, feasible, exact

    def _summaries(self, found: Sequence[_Found]) -> Summaries:
        """Summaries of all trees that candidates take from."""
        shown: dict[int, list[int]] = {}
        for number, tree in sorted({tree for each in found for tree in each.trees}):
            self._work.spend(self._snapshot.blocks[number].steps_to_show([tree]))
            shown.setdefault(number, []).append(tree)
        blocks = self._snapshot.blocks
        return Summaries(
            self._snapshot, [Shown(blocks[number], np.array(trees)) for number, trees in shown.items()]
        )

    def _draw(self, found: _Found) -> int:
        uuid = np.array([found.root], dtype=f"S{UUID_LENGTH}")
        [drawn] = ties(digests(uuid), (self._order.seed or 0) + AMONG_STREAM).tolist()
        return int(drawn)

    # Trees that no other tree gives anything

    def _by_block(self, most: int, all_of_tree: bool) -> tuple[list[_Found], int, bool]:
        standings = list(self._standings(most))
        if not standings:
            return [], 0, True
        units = np.concatenate([standing.units for _, standing in standings])
        tied = np.concatenate([standing.ties for _, standing in standings])
        root_ids = np.concatenate([standing.root_ids for _, standing in standings])
        places = best_of(units, tied, root_ids, most)
        ends = np.cumsum([len(standing.units) for _, standing in standings])
        numbers = np.searchsorted(ends, places, side="right")
        of_blocks: dict[int, Iterator[list[_Found]]] = {}
        for number in np.unique(numbers).tolist():
            block, standing = standings[number]
            positions = places[numbers == number] - (int(ends[number]) - len(standing.units))
            of_blocks[number] = self._of_block(block, standing, positions, most if all_of_tree else 1)
        found: list[_Found] = []
        feasible = sum([standing.feasible for _, standing in standings])
        if self._options is not None and all_of_tree:
            # Placements of a tree differ, but none is better than its best one.
            ranks = zip(tied[places].tolist(), root_ids[places].tolist(), strict=True)
            every = [
                ((-each.units, *rank), each)
                for number, rank in zip(numbers.tolist(), ranks, strict=True)
                for each in next(of_blocks[number])
            ]
            every.sort(key=itemgetter(0))
            return [each for _, each in every[:most]], feasible, self._options.exact
        for number in numbers.tolist():
            # The best trees of a block come in the order of all.
            found += next(of_blocks[number])
            if len(found) >= most:
                break
        return found[:most], feasible, self._options is None or self._options.exact

    def _standings(self, most: int) -> Iterator[tuple[int, Standing]]:
        """Numbers of the blocks that have a tree for the request, each with its standing."""
        for number, block in enumerate(self._snapshot.blocks):
            known: Standing | None = None
            if self._owner is not None:
                known = kept_with(block, self._owner)
            if known is not None and known.suffices(most):
                self._work.spend(known.steps)
            else:
                known = standing_of(
                    self._search,
                    self._measure,
                    number,
                    kept_length(most),
                    self._work,
                    self._options,
                    self._owner,
                    self._finder,
                )
                if self._owner is not None and len(known.trees) <= MOST_BEST:
                    keep_with(block, self._owner, known, known.size)
            if known.feasible:
                yield number, known

    def _of_block(
        self, number: int, standing: Standing, positions: IntArray, most: int
    ) -> Iterator[list[_Found]]:
        """Placements of each of some trees of a standing, ``most`` of a tree at most."""
        block = self._snapshot.blocks[number]
        trees = standing.trees[positions]
        roots: list[bytes] = block.uuids[block.trees.roots[trees]].tolist()
        units: list[int] = standing.units[positions].tolist()
        tied = [_shown(tie) for tie in standing.ties[positions].tolist()]
        parts = _by_tree({name: values[positions] for name, values in standing.parts.items()})
        spans = block.trees.bounds

        def placements(
            tree: int, ways: Iterable[_Way], root: bytes, score: int, told: dict[str, float], tie: int
        ) -> list[_Found]:
            start, stop = spans(tree)
            uuids: list[bytes] = [root] if stop - start == 1 else block.uuids[start:stop].tolist()
            return [
                _Found(
                    outcome.form,
                    outcome.pick(uuids),
                    root,
                    score - more,
                    {**told, SLOTS: told[SLOTS] - more / SCALE} if more else told,
                    tie,
                    ((number, tree),) if outcome.inside else (),
                )
                for outcome, more in ways
            ]

        ways = self._ways(number, standing, positions, most)
        return map(placements, trees.tolist(), ways, roots, units, parts, tied)

    def _ways(
        self, number: int, standing: Standing, positions: IntArray, most: int
    ) -> Iterable[Iterable[_Way]]:
        """Ways of some trees of a standing, ``most`` of each at most, the best first.

        Each with what it costs more than the best one of its tree.
        """
        options = self._options
        trees: list[int] = standing.trees[positions].tolist()
        if options is None:
            kinds = [standing.kinds[position] for position in positions.tolist()]
            return map(
                lambda tree, kind: [(outcome, 0) for outcome in self._outcomes(number, tree, kind, most)],
                trees,
                kinds,
            )
        survey = self._surveyed(number)
        if most > 1:
            return map(partial(self._every_way, options, survey, most), trees)
        order = np.argsort(standing.trees[positions])
        chosen = options.best(survey, standing.trees[positions[order]])
        self._work.spend(sum([CANDIDATE_STEPS + len(outcome.positions) for outcome in chosen]))
        return [((chosen[place], 0),) for place in np.argsort(order).tolist()]

    def _every_way(self, options: Options, survey: Survey, most: int, tree: int) -> list[_Way]:
        some = options.every(survey, tree)[:most]
        counted = self._counted([outcome for outcome, _ in some])
        return [(outcome, cost - some[0][1]) for outcome, (_, cost) in zip(counted, some, strict=True)]

    def _outcomes(self, number: int, tree: int, kind: Kind, most: int) -> Iterable[Outcome]:
        """Ways of a tree that has one, ``most`` at most, with their steps counted."""
        if most == 1:
            self._work.spend(CANDIDATE_STEPS + len(kind.outcomes[0].positions))
            return kind.outcomes[:1]
        if len(kind.outcomes) >= most or kind.complete:
            return self._counted(kind.outcomes[:most])
        return self._counted(islice(self._search.visit((self._surveyed(number), tree))[1], most))

    def _counted(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """The same outcomes, with the steps of listing them counted."""
        for outcome in outcomes:
            self._search.meet(outcome.form)
            self._work.spend(CANDIDATE_STEPS + len(outcome.positions))
            yield outcome

    def _surveyed(self, number: int) -> Survey:
        """The survey of a block that has trees for the request."""
        known = self._surveys.get(number)
        if known is None:
            known = self._plan.survey(number, self._work, self._finder)
            assert known is not None, "a block with a standing has trees"
            self._surveys[number] = known
        return known

    # Trees that other trees give something

    def _shared(self, most: int, all_of_tree: bool) -> tuple[list[_Found], int, bool]:
        placements: list[_Placement] = []
        feasible, exact = 0, True
        for survey in self._search.surveys():
            for tree in survey.trees.tolist():
                view, outcomes = self._search.visit((survey, tree))
                some = list(self._counted(islice(outcomes, MOST_PLACEMENTS + 1)))
                exact = exact and len(some) <= MOST_PLACEMENTS
                feasible += bool(some)
                placements += self._scored(view, some[:MOST_PLACEMENTS])
        placements.sort(key=lambda placement: placement.rank)
        trees: set[Place] = set()
        rows: set[tuple[Shape, Row]] = set()
        found: list[_Found] = []
        for placement in placements:
            if len(found) == most:
                break
            one, row = placement.found, (placement.found.form, placement.found.row)
            if row in rows or (placement.tree in trees and not all_of_tree):
                continue
            trees.add(placement.tree)
            rows.add(row)
            found.append(one)
        return found, feasible, exact

    def _scored(self, view: View, outcomes: Sequence[Outcome]) -> Iterator[_Placement]:
        """The placements of one tree with their scores."""
        if not outcomes:
            return
        block, tree = view.views.survey.block, np.array([view.tree])
        [tie] = self._measure.ties(block, tree).tolist()
        uuids = view.uuids
        home = (view.views.survey.number, view.tree)
        offset = int(block.trees.roots[view.tree])
        root, root_id = bytes(block.uuids[offset]), int(block.ids[offset])
        wishes = len(self._order.prefer) + len(self._order.avoid)
        self._work.spend(wishes + sum([len(block.traits[at]) for at in range(view.start, view.stop)]))
        lacking = self._measure.lacking(block, view.tree)
        for outcome in outcomes:
            self._work.spend(PLACEMENT_STEPS + wishes + GIVER_STEPS * len(outcome.positions))
            pattern = self._knowledge.forms.pattern(outcome.form)
            beyond = self._measure.beyond(view, outcome, pattern, lacking)
            costs = None
            if self._options is not None:
                costs = np.array([self._options.placement_cost(view, outcome)])
            scores = self._measure.scores(block, tree, beyond, costs)
            [units] = scores.units.tolist()
            parts = {name: float(values[0]) for name, values in scores.parts.items()}
            gives = (*(home for _ in outcome.inside[:1]), *outcome.homes)
            found = _Found(outcome.form, outcome.pick(uuids), root, units, parts, _shown(tie), gives)
            yield _Placement((-units, tie, root_id), home, found)

    def _ranked(self, found: _Found) -> Ranked:
        self._work.spend(RANKED_STEPS + GIVER_STEPS * len(found.row))
        candidate = self._knowledge.forms.pattern(found.form).candidate(found.row)
        return Ranked(candidate, found.root.decode(), found.units / SCALE, found.parts, found.tie)


def _by_tree(parts: Mapping[str, FloatArray]) -> list[dict[str, float]]:
    """The parts of each tree's score."""
    (first, values), *others = [(name, values.tolist()) for name, values in parts.items()]
    found: list[dict[str, float]] = [{first: value} for value in values]
    for name, more in others:
        for each, value in zip(found, more, strict=True):
            each[name] = value
    return found


def _shown(tie: int | bytes) -> int:
    """A tie as candidates show it: 0 where a name decides."""
    return tie if isinstance(tie, int) else 0


_Way = tuple[Outcome, int]
"""A way of a tree, and how many units it scores less than the best one."""


class _Found(NamedTuple):
    """A candidate: pattern and row, root of its tree, score in units, and the trees that it takes from."""

    form: Shape
    row: Row
    root: bytes
    units: int
    parts: Mapping[str, float]
    tie: int
    trees: tuple[Place, ...]


@valueclass(frozen=True, slots=True)
class _Placement:
    """A placement of a tree: ``rank`` is (less the units of its score, tie, id of the root)."""

    rank: tuple[int, int | bytes, int]
    tree: Place
    found: _Found
