"""Allocation candidates: the ways in which providers can serve a whole request."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from random import Random
from typing import Final, TypeVar

import numpy as np

from moorage.model.errors import SearchLimitError
from moorage.model.requests import CandidateRequest, SearchResult, SearchSettings
from moorage.search.collector import Collector
from moorage.search.forms import Forms, Outcome, Replayed
from moorage.search.memory import Kind, Knowledge, Memory
from moorage.search.plan import Plan, Survey, providers_matching
from moorage.search.rules import Rules
from moorage.search.scene import Neighbours, View, Views
from moorage.search.snapshot import Snapshot
from moorage.search.tree import choices
from moorage.search.work import OutOfStepsError, Work

__all__ = ["Work", "find", "providers_matching"]

ItemT = TypeVar("ItemT")

FIRST_TREES: Final = 16
"""Trees whose keys are compared at first, and eight times as many each time: a limit may be reached soon."""

Found = tuple[View, Iterable[Outcome]]
"""A tree, and ways to serve the request in it."""

Tree = tuple[Survey, int]
"""A tree of a survey's block that is worth a visit."""


def find(
    snapshot: Snapshot,
    request: CandidateRequest,
    settings: SearchSettings,
    random: Random,
    work: Work | None = None,
    memory: Memory | None = None,
) -> SearchResult:
    """Candidates for ``request``, as many as ``settings`` and the request's limit let through.

    Blocks are looked at, and trees looked into, one after the other, by id of their root or in
    random order, and only until there are enough candidates; ``work`` counts that if it is given.
    ``memory`` makes it faster to be asked the same again; it changes neither answer nor count.
    Amounts in a request are above 0. The same request on equal snapshots gives the same list
    unless ``settings.randomize``. Raises ResourceClassNotFoundError, TraitNotFoundError for
    unknown names, whatever else is asked; SearchLimitError if more steps than
    ``settings.step_limit`` were needed, unless ``settings.truncate``.

    Source: API reference, "List allocation candidates"; what groups, sharing providers and
    trees mean is as measured on the reference implementation.
    """
    plan = Plan(snapshot, request)
    work = work if work is not None else Work()
    work.limit = settings.step_limit if settings.step_limit >= 0 else None
    knowledge = (memory or Memory()).of(request, lambda: Forms(request, plan.variables))
    owner = None if memory is None else knowledge.owner
    search = Search(plan, random if settings.randomize else None, work, knowledge, owner)
    collector = Collector(plan, search.forms, _bound(request, settings), work)
    try:
        if settings.breadth_first and not (search.alone_suffices and snapshot.all_lone):
            search.collect(_round_robin(map(search.one_by_one, search.trees())), collector)
        elif settings.randomize:
            search.collect(map(search.visit, search.trees()), collector)
        else:
            search.collect_by_block(collector)
    except OutOfStepsError:
        if not settings.truncate:
            raise SearchLimitError(settings.step_limit) from None
    return collector.result()


def _bound(request: CandidateRequest, settings: SearchSettings) -> int | None:
    """Most candidates that may be answered, None for all."""
    bounds = [] if request.limit is None else [request.limit]
    if settings.max_candidates >= 0:
        # wire: a bound of 0 is noticed only after the first candidate.
        bounds.append(max(1, settings.max_candidates))
    return min(bounds, default=None)


class Search:
    """One request on its way through the blocks of a snapshot."""

    def __init__(
        self, plan: Plan, random: Random | None, work: Work, knowledge: Knowledge, owner: object
    ) -> None:
        """``owner`` is who leaves findings with blocks, None for nobody."""
        self.plan = plan
        self.rules = Rules.of(plan)
        self.forms = knowledge.forms
        self._knowledge = knowledge
        self._owner = owner
        self._random = random
        self._work = work
        self._solved: dict[Hashable, Replayed] = {}
        self._kinds: dict[bytes, Kind] = {}
        self._neighbours = Neighbours(plan)
        self._views: dict[int, Views] = {}
        self._repeating: set[tuple[str, ...]] = set()

    @cached_property
    def alone_suffices(self) -> bool:
        """Whether a tree of one provider gives resources once wherever a survey has it.

        Its traits and its room for each class have been looked at then, and that is all.
        """
        gives = any(variable.demands for variable in self.plan.variables)
        return gives and not (self.plan.sharing or self.rules.bind_one)

    def surveys(self) -> Iterator[Survey]:
        """Surveys of the blocks that may have something, in order."""
        return self.plan.surveys(self._work, self._owner)

    def collect_by_block(self, collector: Collector) -> None:
        """All trees in order; those of one provider are taken by the block, those alike together."""
        for survey in self.surveys():
            if self.alone_suffices and survey.block.trees.lone:
                collector.take_lone(survey, self._knowledge.lone)
            elif self.plan.sharing or self.plan.sharing_alone or self.plan.request.one_provider_per_tree:
                trees = ((survey, tree) for tree in survey.trees.tolist())
                self.collect(map(self.visit, self._worthy(trees)), collector)
            else:
                self._collect_alike(survey, collector)
            if collector.full:
                return

    def _collect_alike(self, survey: Survey, collector: Collector) -> None:
        """All trees of a survey in order, with nobody who shares: trees with one key at once.

        Only what is found in the first of them has to be sought. A tree that is more than what may
        still be taken is taken candidate by candidate.
        """
        trees: list[int] = survey.trees.tolist()
        begin, window = 0, FIRST_TREES
        while begin < len(trees):
            some = trees[begin : begin + window]
            keys = self._views_of(survey).keys(some)
            place = 0
            while place < len(some):
                key, end = keys[place], place + 1
                while end < len(some) and keys[end] == key:
                    end += 1
                place += self._collect_kind(survey, some[place:end], key, collector)
                if collector.full:
                    return
            begin += window
            window *= 8

    def _collect_kind(self, survey: Survey, trees: list[int], key: bytes, collector: Collector) -> int:
        """Take some of ``trees``, which all have ``key``; returns how many."""
        kind = self._kinds.get(key)
        # What an earlier search has found counts as found by this one, too, when it is first used.
        fresh = kind is None
        kind = kind or self._knowledge.kinds.get(key)
        if kind is not None and kind.complete:
            steps = kind.steps if fresh else 0
            whole = trees[: collector.whole_trees(kind, steps)]
            if whole:
                self._work.steps += steps
                self._kinds[key] = kind
                collector.take_whole(survey, whole, kind)
                return len(whole)
        self._collect_singly((survey, trees[0]), key, None if fresh else kind, collector)
        return 1

    def _collect_singly(self, tree: Tree, key: bytes, kind: Kind | None, collector: Collector) -> None:
        """Take candidates of one tree as far as they are wanted; ``kind`` is what this search has found."""
        self._work.trees += 1
        self._work.check()
        view = self._view(*tree)
        known = self._knowledge.kinds.get(key)
        if kind is not None:
            collector.take(view, kind.outcomes)
        elif known is not None and (known.complete or collector.wants_at_most(len(known.outcomes))):
            collector.take(view, known.as_found(self._work))
        else:
            found = Replayed(self._outcomes(view), self._work)
            collector.take(view, found)
            kind = Kind.of(found)
            if kind.complete:
                self._kinds[key] = kind
            self._knowledge.learn(key, kind)

    def collect(self, found: Iterable[Found], collector: Collector) -> None:
        """Take candidates until there are enough."""
        for view, outcomes in found:
            collector.take(view, outcomes)
            if collector.full:
                return

    def trees(self) -> Iterator[Tree]:
        """Trees to visit: in order, or in random order, each order being equally likely."""
        if self._random is None:
            return self._worthy((survey, tree) for survey in self.surveys() for tree in survey.trees.tolist())
        surveys = list(self.surveys())
        ends = np.cumsum([len(survey.trees) for survey in surveys])
        return self._worthy(self._drawn(surveys, ends.tolist(), self._random))

    @staticmethod
    def _drawn(surveys: list[Survey], ends: list[int], random: Random) -> Iterator[Tree]:
        for position in _shuffled(ends[-1] if ends else 0, random):
            number = int(np.searchsorted(ends, position, side="right"))
            survey = surveys[number]
            yield survey, int(survey.trees[position - (ends[number] - len(survey.trees))])

    def _worthy(self, trees: Iterator[Tree]) -> Iterator[Tree]:
        """Leave out trees that can only repeat what was found in another one.

        Where no provider of the tree itself can serve anything, all that is found comes from
        providers that share, and lone providers in the same aggregates find the same: one of
        them is visited for all.
        """
        if not self.plan.sharing_alone:
            yield from trees
            return
        for survey, tree in trees:
            start, stop = survey.block.trees.bounds(tree)
            if stop - start == 1 and self._view(survey, tree).serves_nothing():
                aggregates = survey.block.aggregates[start]
                if aggregates in self._repeating:
                    continue
                self._repeating.add(aggregates)
            yield survey, tree

    def _views_of(self, survey: Survey) -> Views:
        views = self._views.get(survey.number)
        if views is None:
            views = self._views[survey.number] = Views(self.plan, survey, self.rules.need)
        return views

    def _view(self, survey: Survey, tree: int) -> View:
        return self._views_of(survey).at(tree, self._neighbours.of(survey, tree))

    def visit(self, tree: Tree) -> Found:
        """What can be found in one tree."""
        self._work.trees += 1
        self._work.check()
        view = self._view(*tree)
        if self._random is not None:
            return view, self._outcomes(view)
        key = view.key
        known = self._solved.get(key)
        if known is None:
            known = self._solved[key] = Replayed(self._outcomes(view), self._work)
        return view, known

    def one_by_one(self, tree: Tree) -> Iterator[Found]:
        """What can be found in one tree, one at a time."""
        view, outcomes = self.visit(tree)
        for outcome in outcomes:
            yield view, (outcome,)

    def _outcomes(self, view: View) -> Iterator[Outcome]:
        for choice in choices(view, self.rules, self._random, self._work):
            yield self.forms.outcome(view, choice)


def _shuffled(count: int, random: Random) -> Iterator[int]:
    """0 to ``count`` - 1 in random order, at a cost of those that are taken (Fisher and Yates, sparse)."""
    moved: dict[int, int] = {}
    for position in range(count):
        drawn = random.randrange(position, count)
        yield moved.get(drawn, drawn)
        moved[drawn] = moved.pop(position, position)


def _round_robin(sources: Iterable[Iterator[ItemT]]) -> Iterator[ItemT]:
    """One of each source in turn; a source is first touched when its first turn comes."""
    waiting: deque[Iterator[ItemT]] = deque()
    for source in sources:
        for item in source:
            yield item
            waiting.append(source)
            break
    while waiting:
        source = waiting.popleft()
        for item in source:
            yield item
            waiting.append(source)
            break
