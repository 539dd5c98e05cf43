"""What a search has found so far, and the answer that it becomes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final

import numpy as np

from moorage.model.answers import KeptSummaries, PatternedCandidates, Row
from moorage.model.requests import ProviderSummary, SearchResult
from moorage.search.block import Block
from moorage.search.columns import NONE, IntArray
from moorage.search.forms import Forms, Outcome
from moorage.search.plan import Plan, Stages, Survey
from moorage.search.scene import View
from moorage.search.snapshot import Snapshot
from moorage.search.work import OutOfStepsError, Work

KEPT_BYTES: Final = 256 * 1024 * 1024
"""What writers of summaries may leave with an index, in bytes: all of some 600,000 providers. When
it is more, all of it goes and is made again as it is asked for."""


class Collector:
    """Takes candidates up to ``bound`` (None for all of them)."""

    def __init__(self, plan: Plan, forms: Forms, bound: int | None, work: Work) -> None:
        self._plan = plan
        self._forms = forms
        self._left = bound
        self._work = work
        self._only_giving = plan.request.one_provider_per_tree
        self._runs: list[tuple[int, list[Row]]] = []
        self._seen: set[tuple[int, Row]] = set()
        self._fruitful: set[tuple[int, int]] = set()
        self._fruitful_lone = 0
        # By block: trees to show, or entries where only those that give are shown.
        self._shown: dict[int, set[int]] = defaultdict(set)
        self._shown_lone: dict[int, IntArray] = {}

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
        form, rows = self._runs[-1] if self._runs else (NONE, [])
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
            if outcome.form != form:
                form, rows = outcome.form, []
                self._runs.append((form, rows))
            rows.append(row)
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

    def take_lone(self, survey: Survey, form: int) -> None:
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
        self._runs.append((form, list(zip(survey.block.uuids[taken].tolist(), strict=True))))
        self._shown_lone[survey.number] = taken
        self._fruitful_lone += affordable
        if self._left is not None:
            self._left -= affordable
        if affordable < count:
            raise OutOfStepsError

    def result(self) -> SearchResult:
        """The answer."""
        return SearchResult(
            PatternedCandidates(self._forms.patterns, self._runs),
            Summaries(self._plan.snapshot, self._offsets()),
            Stages(self._plan, len(self._fruitful) + self._fruitful_lone),
        )

    def _offsets(self) -> list[tuple[Block, list[int]]]:
        """Blocks with the offsets of the entries to show, in order."""
        found: list[tuple[Block, list[int]]] = []
        for number in sorted(self._shown.keys() | self._shown_lone.keys()):
            block = self._plan.snapshot.blocks[number]
            places = sorted(
                self._shown[number].union(self._shown_lone.get(number, np.empty(0, np.int64)).tolist())
            )
            if not (self._only_giving or block.trees.lone):
                places = list(chain.from_iterable(range(*block.trees.bounds(tree)) for tree in places))
            found.append((block, places))
        return found


class Summaries(KeptSummaries):
    """Entries of some blocks, by (root id, id)."""

    def __init__(self, snapshot: Snapshot, places: Sequence[tuple[Block, list[int]]]) -> None:
        self._snapshot = snapshot
        self._places = places

    def made(self) -> Sequence[ProviderSummary]:
        return [block.summary(offset) for block, offsets in self._places for offset in offsets]

    def __len__(self) -> int:
        return sum(len(offsets) for _, offsets in self._places)

    def rendered(self, form: str, render: Callable[[ProviderSummary], bytes]) -> list[bytes]:
        found: list[bytes] = []
        for block, offsets in self._places:
            kept = block.kept.setdefault(form, [None] * len(block))
            fresh = 0
            for offset in offsets:
                text = kept[offset]
                if text is None:
                    text = kept[offset] = render(block.summary(offset))
                    fresh += len(text)
                found.append(text)
            if fresh:
                self._snapshot.note_kept(fresh, KEPT_BYTES)
        return found
