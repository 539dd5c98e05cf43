"""What a search has found so far, and the answer that it becomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from moorage.model.answers import Row
from moorage.model.requests import SearchResult
from moorage.search.columns import IntArray
from moorage.search.forms import Forms, Outcome
from moorage.search.memory import Kind
from moorage.search.plan import Plan, Stages, Survey
from moorage.search.runs import FoundCandidates, LoneRun, RowRun, Run, TreeRun
from moorage.search.scene import View
from moorage.search.summaries import Span, Summaries
from moorage.search.work import OutOfStepsError, Work


class Collector:
    """Takes candidates up to ``bound`` (None for all of them)."""

    def __init__(self, plan: Plan, forms: Forms, bound: int | None, work: Work) -> None:
        self._plan = plan
        self._forms = forms
        self._left = bound
        self._work = work
        self._only_giving = plan.request.one_provider_per_tree
        self._runs: list[Run] = []
        self._seen: set[tuple[int, Row]] = set()
        self._fruitful: set[tuple[int, int]] = set()
        self._fruitful_at_once = 0
        # By block: trees to show, or entries where only those that give are shown.
        self._shown: dict[int, set[int]] = defaultdict(set)
        self._shown_at_once: dict[int, list[IntArray | list[int]]] = defaultdict(list)

    @property
    def full(self) -> bool:
        """Whether no more candidates are wanted."""
        return self._left is not None and self._left <= 0

    def take(self, view: View, outcomes: Iterable[Outcome]) -> None:
        """Candidates of one tree until there are enough, unless they were found in another one before.

        A row and a form fix amounts and mappings. Only candidates of sharing providers alone can be
        found in two trees: any other provider is an option in its own tree only.
        """
        uuids: list[bytes] = []
        number, work = view.views.survey.number, self._work
        run = self._runs[-1] if self._runs else None
        for outcome in outcomes:
            if not uuids:
                uuids = view.uuids
                self._fruitful.add((number, view.tree))
            row = outcome.pick(uuids)
            if self._plan.sharing_alone:
                if (outcome.form, row) in self._seen:
                    continue
                self._seen.add((outcome.form, row))
            work.placed += len(row)
            work.check()
            if not isinstance(run, RowRun) or run.number != outcome.form:
                run = RowRun(outcome.form)
                self._runs.append(run)
            run.found.append(row)
            self._show(view, outcome)
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    return

    def _show(self, view: View, outcome: Outcome) -> None:
        number = view.views.survey.number
        if self._only_giving:
            self._shown[number].update([view.start + node for node in outcome.inside])
            for block, offset in outcome.outside:
                self._shown[block].add(offset)
            return
        if outcome.inside:
            self._shown[number].add(view.tree)
        for block, tree in outcome.homes:
            self._shown[block].add(tree)

    def wants_at_most(self, count: int) -> bool:
        """Whether no more than ``count`` candidates are wanted."""
        return self._left is not None and self._left <= count

    def whole_trees(self, kind: Kind, steps: int) -> int | None:
        """How many trees of ``kind`` may be taken whole after ``steps`` more, None for any number."""
        bounds: list[int] = []
        if self._left is not None and kind.outcomes:
            bounds.append(self._left // len(kind.outcomes))
        if self._work.left is not None:
            # One for the tree itself.
            bounds.append(max(0, self._work.left - steps) // (1 + kind.placed))
        return min(bounds, default=None)

    def take_whole(self, survey: Survey, trees: list[int], kind: Kind) -> None:
        """All candidates of ``trees``, each of which has those of ``kind``."""
        count = len(trees)
        self._work.trees += count
        self._work.placed += count * kind.placed
        if not kind.outcomes:
            return
        run = self._runs[-1] if self._runs else None
        if not isinstance(run, TreeRun) or run.block is not survey.block:
            run = TreeRun(survey.block)
            self._runs.append(run)
        run.trees += trees
        run.kinds += [kind] * count
        self._fruitful_at_once += count
        if kind.shows:
            self._shown_at_once[survey.number].append(trees)
        if self._left is not None:
            self._left -= count * len(kind.outcomes)

    def take_lone(self, survey: Survey, kind: Kind) -> None:
        """The trees of a survey, each of one provider that serves everything by itself.

        Raises OutOfStepsError after as many as there are steps for.
        """
        work = self._work
        count = len(survey.trees) if self._left is None else min(self._left, len(survey.trees))
        # One for the tree, one for the step into it, one for the provider named.
        affordable = count if work.left is None else min(count, work.left // 3)
        taken = survey.trees[:affordable]
        work.trees += affordable
        work.steps += affordable
        work.placed += affordable
        if affordable:
            self._runs.append(LoneRun(survey.block, taken, kind))
            self._shown_at_once[survey.number].append(taken)
        self._fruitful_at_once += affordable
        if self._left is not None:
            self._left -= affordable
        if affordable < count:
            raise OutOfStepsError

    def result(self) -> SearchResult:
        """The answer."""
        return SearchResult(
            FoundCandidates(self._forms, self._runs),
            Summaries(self._plan.snapshot, self._spans()),
            Stages(self._plan, len(self._fruitful) + self._fruitful_at_once),
        )

    def _spans(self) -> list[Span]:
        """The entries to show, in order."""
        found: list[Span] = []
        for number in sorted(self._shown.keys() | self._shown_at_once.keys()):
            block = self._plan.snapshot.blocks[number]
            entries = self._only_giving or block.trees.lone
            for first, last in _stretches(self._shown[number], self._shown_at_once[number]):
                start = first if entries else block.trees.bounds(first)[0]
                stop = last + 1 if entries else block.trees.bounds(last)[1]
                found.append((block, start, stop))
        return found


def _stretches(some: set[int], in_order: list[IntArray | list[int]]) -> list[tuple[int, int]]:
    """Numbers without gaps, as first and last ones: those of ``some`` and those of lists, which ascend."""
    if in_order and not some:
        first, last = int(in_order[0][0]), int(in_order[-1][-1])
        if sum(map(len, in_order)) == 1 + last - first:
            return [(first, last)]
    parts = [np.asarray(part) for part in in_order]
    numbers = np.unique(np.concatenate([np.fromiter(some, dtype=np.int64), *parts]))
    if not len(numbers):
        return []
    apart = np.flatnonzero(np.diff(numbers) > 1)
    firsts = numbers[np.concatenate([[0], apart + 1])].tolist()
    lasts = numbers[np.append(apart, -1)].tolist()
    return list(zip(firsts, lasts, strict=True))
