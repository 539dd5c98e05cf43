"""Allocation candidates: the ways in which providers can serve a whole request."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from random import Random
from typing import Final

import numpy as np

from moorage.model.errors import SearchLimitError
from moorage.model.requests import CandidateRequest, RequestGroup, SearchResult, SearchSettings
from moorage.search.index.index import Snapshot
from moorage.search.match.answers import (
    PATTERN_STEPS,
    PATTERN_STEPS_PER_VARIABLE,
    Collector,
)
from moorage.search.match.at_random import RandomSearch
from moorage.search.match.beside import show_beside
from moorage.search.match.constraints import Rules
from moorage.search.match.division import Division
from moorage.search.match.drawn import DrawingCollector
from moorage.search.match.filters import InTree, filters_of, meeting_all
from moorage.search.match.outcomes import (
    Asked,
    Kind,
    KnownKinds,
    Memory,
    Outcome,
    Replayed,
    Shape,
)
from moorage.search.match.plan import (
    NO_BOUND,
    OutOfStepsError,
    Survey,
    Work,
    check_names,
)
from moorage.search.match.tree import choices
from moorage.search.match.tree_view import (
    NUMBER_BYTES,
    Neighbours,
    View,
    Views,
)
from moorage.search.match.turns import in_turn

__all__ = ["Work", "find", "providers_matching"]

TREE_STEPS: Final = 40
TREE_STEPS_PER_VARIABLE: Final = 4
ENTRIES_PER_STEP: Final = 16
"""Steps of looking into a tree: a fixed part, a part per variable, and the entries that one step covers."""

OUTCOME_STEPS: Final = 14
VARIABLES_PER_STEP: Final = 2
"""Steps of making an outcome of a choice: a fixed part, and the variables that one step covers."""

MANY_LEFT: Final = 64
"""Where a search may take so many candidates more, it divides all trees of a block by their keys at once."""

FIRST_TREES: Final = 16
"""Trees whose keys are compared at first. Each further time it is eight times as many: often few suffice."""

Found = tuple[View, Iterable[Outcome]]
"""A tree, and ways to serve the request in it."""

Tree = tuple[Survey, int]
"""A tree of a survey's block that may serve the request."""


NO_MEMORY: Final = Memory(0)


def find(
    snapshot: Snapshot,
    request: CandidateRequest,
    settings: SearchSettings,
    random: Random,
    work: Work | None = None,
    memory: Memory | None = None,
) -> SearchResult:
    """Candidates for ``request``, as many as ``settings`` and the request's limit let through.

    The search goes through blocks and trees one after the other, by id of their root. It stops when there are
    enough candidates. With ``settings.randomize`` it counts candidates, and makes those that ``random``
    draws; otherwise the same request on equal snapshots gives the same list. ``work`` counts its steps, if
    given. ``memory`` makes repeated requests faster; it changes neither the answer nor the counted steps.
    Amounts in a request are above 0. Unknown names always raise ResourceClassNotFoundError or
    TraitNotFoundError. Raises SearchLimitError if more steps than ``settings.step_limit`` were needed,
    unless ``settings.truncate``.

    Source: API reference, "List allocation candidates"; the meaning of groups, sharing providers and trees
    was measured on the reference implementation.
    """
    work = work if work is not None else Work()
    work.most = settings.step_limit if settings.step_limit >= 0 else NO_BOUND
    try:
        asked = (memory or NO_MEMORY).plan(snapshot, request, work)
    except OutOfStepsError:
        if not settings.truncate:
            raise SearchLimitError(settings.step_limit) from None
        return SearchResult((), ())
    plan = asked.plan
    search = Search(asked, work, None if memory is None else asked.knowledge.owner)
    bound = bound_of(request, settings)
    collector = Collector(plan, search.forms, bound, work)
    try:
        if settings.randomize:
            collector = drawing = DrawingCollector(plan, search.forms, bound, work)
            RandomSearch(search, drawing).collect(random, settings)
        elif settings.breadth_first and not (snapshot.all_lone and plan.alone_suffices):
            search.collect(search.turns(), collector)
        else:
            search.collect_by_block(collector)
    except OutOfStepsError:
        if not settings.truncate:
            raise SearchLimitError(settings.step_limit) from None
    if request.one_provider_per_tree and request.limit is not None and collector.left <= 0:
        # wire: before 1.29 candidates are counted off only after their providers have been noted.
        most = settings.max_candidates
        show_beside(search, collector, max(0, most - request.limit) if most >= 0 else None)
    return collector.result()


def providers_matching(snapshot: Snapshot, group: RequestGroup) -> list[int]:
    """Ids, ascending, of the providers that satisfy all conditions of ``group`` alone.

    Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names; no provider satisfies an unknown
    ``in_tree`` or aggregate, and all satisfy an unknown forbidden aggregate.
    """
    check_names(snapshot, [group])
    filters = filters_of(
        group, {} if group.in_tree is None else {group.in_tree: InTree.of(snapshot, group.in_tree)}
    )
    found: list[int] = []
    for block in snapshot.blocks:
        if all(step.may_hold(block) for step in filters):
            found += block.ids[meeting_all(block, filters)].tolist()
    return sorted(found)


def bound_of(request: CandidateRequest, settings: SearchSettings) -> int | None:
    """The most candidates that an answer may have; None for all."""
    bounds = [] if request.limit is None else [request.limit]
    if settings.max_candidates >= 0:
        # wire: a bound of 0 is noticed only after the first candidate.
        bounds.append(max(1, settings.max_candidates))
    return min(bounds, default=None)


class Search:
    """One request on its way through the blocks of a snapshot."""

    def __init__(self, asked: Asked, work: Work, owner: object) -> None:
        """``owner`` is the key under which blocks keep findings; with None they keep none."""
        plan, self._knowledge, self._memory = asked
        self.plan = plan
        self.forms = self._knowledge.forms
        self._owner = owner
        self.work = work
        self._solved: dict[Hashable, Replayed] = {}
        self._met: set[Shape] = set()
        self._kinds: dict[bytes, Kind] = {}
        self._views: dict[int, Views] = {}
        self._repeating: set[tuple[str, ...]] = set()
        # With that of the choice where choices are only enumerated.
        self.outcome_steps = 1 + OUTCOME_STEPS + len(plan.variables) // VARIABLES_PER_STEP
        self._tree_steps = 1 + TREE_STEPS + TREE_STEPS_PER_VARIABLE * len(plan.variables)

    @cached_property
    def rules(self) -> Rules:
        """The constraints within a tree."""
        known = self._knowledge.rules
        if known is None:
            known = self._knowledge.rules = Rules.of(self.plan)
        return known

    @property
    def lone(self) -> Kind:
        """Trees of one provider that serves everything."""
        return self._knowledge.lone

    @cached_property
    def known_kinds(self) -> KnownKinds:
        """The kinds that earlier searches have left."""
        return self._memory.kinds_of(self.plan)

    @cached_property
    def neighbours(self) -> Neighbours:
        """Which providers share with which trees."""
        return Neighbours(self.plan, self.work)

    def surveys(self) -> Iterator[Survey]:
        """Surveys of the blocks that may have candidates, in order."""
        for number in range(len(self.plan.snapshot.blocks)):
            survey = self.plan.survey(number, self.work, self._owner)
            if survey is not None:
                yield survey

    def collect_by_block(self, collector: Collector) -> None:
        """Collect from all trees in order: trees of one provider by the block, equal trees together."""
        for survey in self.surveys():
            if survey.settled:
                collector.take_lone(survey, self._knowledge.lone)
            elif self.plan.sharing or self.plan.sharing_alone or self.plan.request.one_provider_per_tree:
                trees = ((survey, tree) for tree in survey.trees.tolist())
                self.collect(map(self.visit, self.worthy(trees, whole=True)), collector)
            else:
                self._collect_alike(survey, collector)
            if collector.left <= 0:
                return

    def _collect_alike(self, survey: Survey, collector: Collector) -> None:
        """Collect from a survey's trees in order, without sharing providers: trees with equal keys together.

        The search looks only into the first tree of each key. Near the limit, it takes a tree candidate by
        candidate.
        """
        begin, window = 0, FIRST_TREES
        if collector.left >= MANY_LEFT:
            begin = self._collect_divided(survey, self.division_of(survey), collector)
        while begin < survey.count and collector.left > 0:
            some: list[int] = survey.trees[begin : begin + window].tolist()
            keys = self._keys(survey, some, begin)
            place = 0
            while place < len(some):
                key, end = keys[place], place + 1
                while end < len(some) and keys[end] == key:
                    end += 1
                place += self._collect_kind(survey, some[place:end], key, collector)
                if collector.left <= 0:
                    return
            begin += window
            window *= 8

    def _keys(self, survey: Survey, trees: list[int], begin: int) -> list[bytes]:
        """Keys of ``trees``, which begin with the tree at place ``begin`` of a survey."""
        if survey.division is None:
            return self._views_of(survey).keys(trees)
        keys = survey.division.keys
        return [keys[code] for code in survey.division.codes[begin : begin + len(trees)].tolist()]

    def _collect_divided(self, survey: Survey, division: Division, collector: Collector) -> int:
        """Take the first trees of a survey at once, as far as their kinds are known whole; returns how many.

        If the steps do not suffice, it takes none.
        """
        keys, most = division.keys, collector.left
        known = [self._whole_kind(key) for key in keys]
        unknown = np.flatnonzero(np.array([kind is None for kind in known])[division.codes])
        codes = division.codes[: unknown[0]] if len(unknown) else division.codes
        ends = np.cumsum(np.array([0 if kind is None else len(kind.outcomes) for kind in known])[codes])
        # The search ends with the tree that reaches the limit.
        count = int(np.searchsorted(ends, most))
        codes = codes[: count + (most in ends[count : count + 1])]
        sizes: list[int] = np.bincount(codes, minlength=len(keys)).tolist()
        steps = 0
        kinds: dict[int, tuple[Kind, int]] = {}
        for code, (kind, size) in enumerate(zip(known, sizes, strict=True)):
            if kind is not None and size:
                kinds[code] = kind, size
                if keys[code] not in self._kinds:
                    steps += self._steps_again(survey, division.firsts[code], kind, collector)
        if not collector.take_divided(survey, codes, kinds, steps):
            return 0
        self._kinds.update({keys[code]: kind for code, (kind, _) in kinds.items()})
        return len(codes)

    def _whole_kind(self, key: bytes) -> Kind | None:
        """The kind of trees with ``key``, if all of their ways are known."""
        kind = self._kinds.get(key) or self.known_kinds.get(key)
        return kind if kind is not None and kind.complete else None

    def _steps_again(self, survey: Survey, tree: int, kind: Kind, collector: Collector) -> int:
        """Steps as if the search had looked into a tree, candidate by candidate, and not known its kind."""
        return kind.steps + self.more_into(survey, tree) + collector.more_singly(kind)

    def _collect_kind(self, survey: Survey, trees: list[int], key: bytes, collector: Collector) -> int:
        """Take some of ``trees``, which all have ``key``; returns how many."""
        kind = self._kinds.get(key)
        # Results of an earlier search count as steps of this one when it first uses them.
        fresh = kind is None
        kind = kind or self.known_kinds.get(key)
        if kind is not None and kind.complete:
            steps = self._steps_again(survey, trees[0], kind, collector) if fresh else 0
            whole = collector.whole_trees(survey, trees, kind, steps)
            if whole:
                self.work.done += steps
                self._kinds[key] = kind
                collector.take_whole(survey, whole, kind)
                return len(whole)
        self._collect_singly((survey, trees[0]), key, None if fresh else kind, collector)
        return 1

    def _collect_singly(self, tree: Tree, key: bytes, kind: Kind | None, collector: Collector) -> None:
        """Take candidates of one tree up to the limit; ``kind`` is what this search has found."""
        view = self.opened(*tree)
        known = self.known_kinds.get(key)
        if kind is not None:
            collector.take(view, kind.outcomes)
        elif known is not None and (known.complete or collector.left <= len(known.outcomes)):
            collector.take(view, known.as_found(self.work))
        else:
            found = Replayed(self.outcomes_of(view), self.work)
            collector.take(view, found)
            kind = Kind.of(found)
            if kind.complete:
                self._kinds[key] = kind
            self.known_kinds.learn(key, kind)

    def collect(self, found: Iterable[Found], collector: Collector) -> None:
        """Take candidates until there are enough."""
        for view, outcomes in found:
            collector.take(view, outcomes)
            if collector.left <= 0:
                return

    def trees(self) -> Iterator[Tree]:
        """Trees in order."""
        return ((survey, tree) for survey in self.surveys() for tree in survey.trees.tolist())

    def turns(self) -> Iterator[Found]:
        """One candidate of each tree in turn."""
        return in_turn(map(self.one_by_one, self.worthy(self.trees())))

    def division_of(self, survey: Survey) -> Division:
        """The trees of a survey, divided by their keys."""
        known = survey.division
        if known is None:
            trees: list[int] = survey.trees.tolist()
            keys = self._views_of(survey).keys(trees)
            if self.plan.sharing:
                keys = [
                    key + self.neighbours.of(survey, tree).number.to_bytes(NUMBER_BYTES)
                    for key, tree in zip(keys, trees, strict=True)
                ]
            known = Division.of(trees, keys)
            survey.divide(known)
        return known

    def worthy(self, trees: Iterator[Tree], *, whole: bool = False) -> Iterator[Tree]:
        """Leave out trees that can only repeat the candidates of another tree.

        Sometimes a tree's own provider can serve nothing except what it shares. Then all lone providers in
        the same aggregates yield the same candidates, and the search visits one of them for all. What a tree
        shares counts only in a search of ``whole`` trees, because otherwise the order would change.
        """
        if not self.plan.sharing_alone:
            yield from trees
            return
        for survey, tree in trees:
            self.work.spend(TREE_STEPS)
            start, stop = survey.block.trees.bounds(tree)
            if stop - start == 1:
                lone = self.neighbours.lone(survey, start)
                aggregates = survey.block.aggregates[start]
                if aggregates in self._repeating and not (lone.has_more if whole else lone.serves):
                    continue
                if lone.has_all if whole else not lone.serves:
                    self._repeating.add(aggregates)
            yield survey, tree

    def _views_of(self, survey: Survey) -> Views:
        views = self._views.get(survey.number)
        if views is None:
            views = self._views[survey.number] = Views(self.plan, survey, self.rules.need)
        return views

    def opened(self, survey: Survey, tree: int) -> View:
        """The view of a tree, with its steps counted. Raises OutOfStepsError."""
        view = self.view(survey, tree)
        self.work.trees += 1
        self.work.spend(self._tree_steps + (view.stop - view.start) // ENTRIES_PER_STEP)
        return view

    def more_into(self, survey: Survey, tree: int) -> int:
        """Additional steps of looking into a tree, compared with taking it whole."""
        start, stop = survey.block.trees.bounds(tree)
        return self._tree_steps - 1 + (stop - start) // ENTRIES_PER_STEP

    def view(self, survey: Survey, tree: int) -> View:
        return self._views_of(survey).at(tree, self.neighbours.of(survey, tree))

    def kinds(self, survey: Survey) -> list[Kind]:
        """The kind of each tree of a survey, without sharing providers: with its first way, if it has any.

        Raises OutOfStepsError.
        """
        if survey.settled:
            self.work.spend(len(survey.trees))
            return [self._knowledge.lone] * len(survey.trees)
        trees: list[int] = survey.trees.tolist()
        return [
            self._kind(survey, tree, key)
            for tree, key in zip(trees, self._views_of(survey).keys(trees), strict=True)
        ]

    def _kind(self, survey: Survey, tree: int, key: bytes) -> Kind:
        known = self._kinds.get(key)
        if known is not None:
            self.work.spend(1)
            return known
        known = self.known_kinds.get(key)
        if known is None or not (known.complete or known.outcomes):
            found = Replayed(self.outcomes_of(self.opened(survey, tree)), self.work)
            next(iter(found), None)
            known = Kind.of(found)
            self.known_kinds.learn(key, known)
        else:
            # Steps count as if the search found it now.
            self.work.spend(1 + self.more_into(survey, tree) + (known.steps_until or (known.steps,))[0])
        for outcome in known.outcomes[:1]:
            self.meet(outcome.form)
        self._kinds[key] = known
        return known

    def meet(self, form: Shape) -> None:
        """Count the steps of a pattern at its first use in this search, even if an earlier search made it."""
        if form not in self._met:
            self._met.add(form)
            self.work.spend(PATTERN_STEPS + PATTERN_STEPS_PER_VARIABLE * len(self.plan.variables))

    def visit(self, tree: Tree) -> Found:
        """The candidates of one tree."""
        view = self.opened(*tree)
        key = view.key
        known = self._solved.get(key)
        if known is None:
            known = self._solved[key] = Replayed(self.outcomes_of(view), self.work)
        return view, known

    def outcome_at(self, survey: Survey, tree: int, offsets: Iterable[int]) -> Outcome:
        """The outcome in which the providers at ``offsets`` of the block serve the variables, one by one."""
        view = self.opened(survey, tree)
        self.work.spend(self.outcome_steps)
        outcome = self.forms.outcome(view, tuple([offset - view.start for offset in offsets]))
        self.meet(outcome.form)
        return outcome

    def one_by_one(self, tree: Tree) -> Iterator[Found]:
        """The candidates of one tree, one at a time."""
        view, outcomes = self.visit(tree)
        for outcome in outcomes:
            yield view, (outcome,)

    def outcomes_of(self, view: View, random: Random | None = None) -> Iterator[Outcome]:
        for choice in choices(view, self.rules, random, self.work):
            self.work.spend(self.outcome_steps)
            yield self.forms.outcome(view, choice)
