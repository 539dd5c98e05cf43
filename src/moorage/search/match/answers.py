"""Answers: collected while a search finds candidates, and kept for equal requests until the data changes.

Candidates are held as runs of the same sort, and summaries as trees of blocks. A block keeps one text for
each tree: a thousand trees are a thousand pieces of an answer, however many providers they have.

A client that starts a hundred servers of one flavor sends the same request a hundred times. With many
clients, several of these requests arrive between two writes. A snapshot never changes, so equal requests have
equal answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, cast

import numpy as np

from moorage.model.cache import MIB, Cache
from moorage.model.requests import (
    Candidate,
    CandidateRequest,
    KeptSummaries,
    Listed,
    Part,
    Pattern,
    PatternedCandidates,
    ProviderSummary,
    Row,
    SearchResult,
    Template,
)
from moorage.model.valueclass import valueclass
from moorage.search.index.block import Block
from moorage.search.index.columns import IntArray, NumberArray
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.outcomes import Forms, Kind, Outcome, Script, Shape
from moorage.search.match.plan import OutOfStepsError, Plan, Survey, Work
from moorage.search.match.runs import RUN_BYTES, UUID_BYTES, RowRun, Run, TreeRun
from moorage.search.match.stages import Stages
from moorage.search.match.tree_view import View

KEPT_BYTES: Final = 256 * MIB
"""Bytes of texts that may be kept with an index: enough for some 600,000 providers. When there are more, all
texts are dropped, and made again when needed."""

TEXT_BYTES: Final = 64
"""Bytes of a text besides its characters."""

SHOWN_BYTES: Final = 300

FEW_ENTRIES: Final = 3
"""Summaries of up to so many entries are made faster one by one."""

Render = Callable[[ProviderSummary], bytes]


@valueclass(frozen=True, slots=True, eq=False)
class Shown:
    """What is shown of a block: the trees with these ``numbers``, or single entries unless ``whole``.

    The numbers ascend, and there is at least one.
    """

    block: Block
    numbers: IntArray
    whole: bool = True

    @property
    def count(self) -> int:
        """How many providers it shows."""
        starts = self.block.trees.starts
        return (
            int((starts[self.numbers + 1] - starts[self.numbers]).sum()) if self.whole else len(self.numbers)
        )

    def summaries(self) -> Iterator[ProviderSummary]:
        """The summaries, in order."""
        for first, last in _stretches(self.numbers):
            if self.whole:
                yield from _summaries(
                    self.block, self.block.trees.bounds(first)[0], self.block.trees.bounds(last)[1]
                )
            else:
                yield from _summaries(self.block, first, last + 1)

    def texts(self, form: str, render: Render) -> tuple[list[bytes], int]:
        """The text of each tree under ``form``, which its block keeps from now on. These are ``whole``.

        The second value is the bytes of texts that the block has not kept before.
        """
        block = self.block
        kept = block.kept.get(form)
        if kept is None:
            kept = block.kept.setdefault(form, [None] * block.trees.count)
        first, last = int(self.numbers[0]), int(self.numbers[-1])
        if last - first < len(self.numbers):
            texts = kept[first : last + 1]
        else:
            texts = [kept[tree] for tree in self.numbers.tolist()]
        fresh = 0
        if not all(texts):
            # No text is empty, so that only a missing one is false.
            missing = [place for place, text in enumerate(texts) if text is None]
            trees = self.numbers[missing]
            for place, tree, text in zip(
                missing, trees.tolist(), _texts_of(block, trees, render), strict=True
            ):
                texts[place] = kept[tree] = text
                fresh += TEXT_BYTES + len(text)
        return cast("list[bytes]", texts), fresh


def _texts_of(block: Block, trees: IntArray, render: Render) -> Iterator[bytes]:
    """The text of each of ``trees``: those of its providers, joined."""
    bounds = block.trees.bounds
    for first, last in _stretches(trees):
        found = _summaries(block, bounds(first)[0], bounds(last)[1])
        for tree in range(first, last + 1):
            start, stop = bounds(tree)
            texts = [render(summary) for summary in islice(found, stop - start)]
            yield texts[0] if len(texts) == 1 else b"".join(texts)


def _summaries(block: Block, start: int, stop: int) -> Iterator[ProviderSummary]:
    """Summaries of all entries from ``start`` up to ``stop``."""
    return (
        map(block.summary, range(start, stop))
        if stop - start <= FEW_ENTRIES
        else block.summaries(start, stop)
    )


class Summaries(KeptSummaries):
    """Entries of some blocks, by (root id, id)."""

    def __init__(self, snapshot: Snapshot, spans: Sequence[Shown]) -> None:
        self._snapshot = snapshot
        self._spans = spans

    def made(self) -> Sequence[ProviderSummary]:
        return [summary for span in self._spans for summary in span.summaries()]

    @property
    def size(self) -> int:
        return sum([SHOWN_BYTES + span.numbers.nbytes for span in self._spans])

    def __len__(self) -> int:
        return sum([span.count for span in self._spans])

    def rendered(self, form: str, render: Render) -> list[bytes]:
        found: list[bytes] = []
        for span in self._spans:
            if not span.whole:
                found += map(render, span.summaries())
                continue
            texts, fresh = span.texts(form, render)
            if fresh:
                self._snapshot.note_kept(fresh, KEPT_BYTES)
            found += texts
        return found


class LoneRun(Run):
    """Candidates of one provider each, which is a tree of its own."""

    def __init__(self, block: Block, entries: IntArray, kind: Kind) -> None:
        self._block = block
        self._entries = entries
        self._kind = kind

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        return RUN_BYTES + self._entries.nbytes + self._kind.size

    def rows(self) -> Iterator[tuple[Shape, Row]]:
        [outcome] = self._kind.outcomes
        for uuid in self._block.uuids[self._entries].tolist():
            yield outcome.form, (uuid,)

    def rendered(self, script: Script) -> list[Part]:
        return script.of_trees([self._kind], self._block, self._entries)


class FoundCandidates(PatternedCandidates):
    """All candidates of an answer."""

    def __init__(self, forms: Forms, runs: Sequence[Run], uuids: int) -> None:
        """``uuids`` is an upper bound on the number of different uuids in all rows."""
        self._forms = forms
        self._runs = runs
        self._uuids = uuids

    def made(self) -> Sequence[Candidate]:
        pattern = self._forms.pattern
        return [pattern(form).candidate(row) for run in self._runs for form, row in run.rows()]

    @property
    def size(self) -> int:
        runs = sum([run.size for run in self._runs])
        return self._forms.weight.size + UUID_BYTES * self._uuids + runs

    def __len__(self) -> int:
        return sum([len(run) for run in self._runs])

    def rendered(self, form: str, template: Callable[[Pattern], Template]) -> list[Part]:
        script = Script(self._forms, form, template)
        found: list[Part] = []
        for run in self._runs:
            found += run.rendered(script)
        if script.made:
            self._forms.weight.add(script.made)
        return found


ROW_STEPS: Final = 10
VARIABLES_PER_STEP: Final = 2
"""Steps of taking and writing a candidate: a fixed part, and the variables that one step covers."""

REPEATED_STEPS: Final = 8
"""Steps of a candidate that was already found in another tree."""

VARIABLES_OF_TEXT_PER_STEP: Final = 3
"""Variables of candidates that one step covers where many candidates are written at once."""

PATTERN_STEPS: Final = 200
PATTERN_STEPS_PER_VARIABLE: Final = 30
"""Steps of making a pattern and its text, once for all its candidates: a fixed part, and one per variable."""


MANY: Final = 1 << 62
"""More candidates than any search can find."""


class Collector:
    """Takes candidates up to ``bound`` (None for all of them). ``left`` is how many more it takes."""

    def __init__(self, plan: Plan, forms: Forms, bound: int | None, work: Work) -> None:
        self._plan = plan
        self._forms = forms
        self.left = MANY if bound is None else bound
        self._work = work
        self._only_giving = plan.request.one_provider_per_tree
        self._runs: list[Run] = []
        self._seen: set[tuple[Shape, Row]] = set()
        self._fruitful: set[tuple[int, int]] = set()
        self._fruitful_at_once = 0
        self._uuids = 0
        # Steps of each candidate, and of each pattern at its first use.
        variables = len(plan.variables)
        self._row_steps = ROW_STEPS + variables // VARIABLES_PER_STEP
        if plan.sharing_alone:
            self._row_steps += REPEATED_STEPS
        self._text_steps = variables // VARIABLES_OF_TEXT_PER_STEP
        self._pattern_steps = PATTERN_STEPS + PATTERN_STEPS_PER_VARIABLE * variables
        self._met: set[Shape] = set()
        # Trees that give resources, and the views of the trees that the search looked into.
        self.touched: set[Place] = set()
        self.views: dict[Place, View] = {}
        # By block: trees to show, or entries where only providers that give resources are shown.
        self._shown: dict[int, set[int]] = defaultdict(set)
        self._shown_at_once: dict[int, list[IntArray | list[int]]] = defaultdict(list)

    def take(self, view: View, outcomes: Iterable[Outcome]) -> None:
        """Take candidates of one tree up to the bound, without those already found in another tree.

        A row and a form determine amounts and mappings. Only candidates that consist of sharing providers can
        occur in two trees, because any other provider is an option in its own tree only.
        """
        uuids: list[bytes] = []
        number, work, row_steps = view.views.survey.number, self._work, self._row_steps
        run = self._runs[-1] if self._runs else None
        for outcome in outcomes:
            if not uuids:
                uuids = view.uuids
                self._uuids += len(uuids)
                self._fruitful.add((number, view.tree))
            row = outcome.pick(uuids)
            if self._plan.sharing_alone:
                if (outcome.form, row) in self._seen:
                    work.spend(REPEATED_STEPS)
                    continue
                self._seen.add((outcome.form, row))
            named = len(row)
            work.placed += named
            work.done += named + row_steps
            if work.done > work.most:
                raise OutOfStepsError
            if outcome.form not in self._met:
                self.meet(outcome.form)
            # Show the providers first: a candidate must not name a provider without a summary.
            self._show(view, outcome)
            if not isinstance(run, RowRun) or run.form != outcome.form:
                run = RowRun(outcome.form)
                self._runs.append(run)
            run.found.append(row)
            self.left -= 1
            if not self.left:
                return

    def _show(self, view: View, outcome: Outcome) -> None:
        number = view.views.survey.number
        if self._only_giving:
            if outcome.inside:
                self.views[number, view.tree] = view
                self.touched.add((number, view.tree))
            self.touched.update(outcome.homes)
            self.show_in_touched(view, outcome)
            return
        if outcome.inside and view.tree not in self._shown[number]:
            self._show_tree(number, view.tree)
        for block, tree in outcome.homes:
            if tree not in self._shown[block]:
                self._show_tree(block, tree)

    def _show_tree(self, number: int, tree: int) -> None:
        ends = self._plan.snapshot.blocks[number].show_ends
        self._work.spend(ends[tree + 1] - ends[tree])
        self._shown[number].add(tree)

    def meet(self, form: Shape) -> None:
        """Count the steps of a pattern at its first use in this search, even if an earlier search made it.

        Raises OutOfStepsError.
        """
        if form not in self._met:
            self._met.add(form)
            self._work.done += self._pattern_steps
            if self._work.done > self._work.most:
                raise OutOfStepsError

    def can_meet(self, forms: frozenset[Shape], steps: int) -> bool:
        """Whether the steps suffice for the patterns of ``forms``, and for ``steps`` more."""
        steps += self._pattern_steps * len(forms - self._met)
        return steps <= self._work.most - self._work.done

    def meet_all(self, forms: frozenset[Shape]) -> None:
        """As ``meet`` for each of ``forms``; the steps suffice."""
        for form in forms - self._met:
            self.meet(form)

    def show_in_touched(self, view: View, outcome: Outcome) -> None:
        """Show the providers that give resources in a candidate, if their trees are ``touched``."""
        number = view.views.survey.number
        if (number, view.tree) in self.touched:
            self._work.spend(len(outcome.inside))
            self._shown[number].update([view.start + node for node in outcome.inside])
        for (block, offset), home in zip(outcome.outside, outcome.homes, strict=True):
            if home in self.touched:
                self._shown[block].add(offset)

    def shows(self, place: Place) -> bool:
        """Whether a provider is shown, where only providers that give resources are."""
        number, offset = place
        return offset in self._shown[number]

    def whole_trees(self, survey: Survey, trees: list[int], kind: Kind, steps: int) -> list[int]:
        """The first of ``trees``, all of ``kind``, that can be taken whole after ``steps`` more steps."""
        if kind.outcomes:
            trees = trees[: self.left // len(kind.outcomes)]
        left = self._work.most - self._work.done
        steps += self._pattern_steps * len(kind.forms - self._met)
        if not trees or left - steps >= self._steps_of(survey, trees, kind):
            return trees
        ends = np.cumsum([self._steps_of(survey, [tree], kind) for tree in trees])
        return trees[: int(np.searchsorted(ends, max(0, left - steps), side="right"))]

    def _steps_of(self, survey: Survey, trees: list[int], kind: Kind) -> int:
        """Steps of taking trees whole."""
        each = 1 + kind.placed + self._extra_of(kind)
        return len(trees) * each + self._to_show(survey, trees, kind)

    def more_singly(self, kind: Kind) -> int:
        """Additional steps of taking a tree's candidates one by one."""
        return len(kind.outcomes) * (self._row_steps - self._text_steps)

    def _extra_of(self, kind: Kind) -> int:
        """Steps for the text of a tree's candidates, besides those for the providers that they name."""
        return len(kind.outcomes) * self._text_steps

    def _to_show(self, survey: Survey, trees: list[int], kind: Kind) -> int:
        if not kind.shows:
            return 0
        return survey.block.steps_to_show(trees)

    def take_whole(self, survey: Survey, trees: list[int], kind: Kind) -> None:
        """Take all candidates of ``trees``, each of which has those of ``kind``. The steps must suffice."""
        count = len(trees)
        work = self._work
        work.trees += count
        work.placed += count * kind.placed
        work.done += self._steps_of(survey, trees, kind)
        if not kind.outcomes:
            return
        for form in kind.forms:
            self.meet(form)
        run = self._runs[-1] if self._runs else None
        if not isinstance(run, TreeRun) or run.block is not survey.block:
            run = TreeRun(survey.block)
            self._runs.append(run)
        run.trees += trees
        run.kinds += [kind] * count
        self._fruitful_at_once += count
        if kind.shows:
            self._shown_at_once[survey.number].append(trees)
        self.left -= count * len(kind.outcomes)

    def take_divided(
        self, survey: Survey, codes: NumberArray, kinds: Mapping[int, tuple[Kind, int]], steps: int
    ) -> bool:
        """Take all candidates of a survey's first trees with ``steps`` more, if the steps suffice.

        ``codes`` are keys in ``kinds`` for each tree. These say how many trees are of a kind. Returns whether
        it has taken them.
        """
        work = self._work
        trees = survey.trees[: len(codes)]
        found = sum([size * len(kind.outcomes) for kind, size in kinds.values()])
        placed = sum([size * kind.placed for kind, size in kinds.values()])
        forms = frozenset[Shape]().union(*[kind.forms for kind, _ in kinds.values()])
        fruitful, shown = np.zeros((2, 1 + max(kinds, default=0)), dtype=np.bool_)
        for code, (kind, _) in kinds.items():
            fruitful[code], shown[code] = bool(kind.outcomes), kind.shows
        shows = trees[shown[codes]]
        # As for trees that are taken in smaller parts.
        steps += len(trees) + placed + self._text_steps * found + int(survey.block.show_steps[shows].sum())
        if not self.can_meet(forms, steps):
            return False
        work.trees += len(trees)
        work.placed += placed
        work.done += steps
        self.meet_all(forms)
        run = TreeRun(survey.block)
        run.trees = trees[fruitful[codes]].tolist()
        run.kinds = [kinds[code][0] for code in codes[fruitful[codes]].tolist()]
        if run.trees:
            self._runs.append(run)
        if len(shows):
            self._shown_at_once[survey.number].append(shows)
        self._fruitful_at_once += len(run.trees)
        self.left -= found
        return True

    def take_lone(self, survey: Survey, kind: Kind) -> None:
        """Take the trees of a survey, each of one provider that serves the whole request.

        Raises OutOfStepsError after the last tree that the steps suffice for.
        """
        work = self._work
        trees = survey.trees
        count = min(self.left, len(trees))
        for form in kind.forms:
            self.meet(form)
        # One for the tree, one for the step into it, one for the provider named.
        each = 3 + self._extra_of(kind)
        affordable = count
        steps = each * count + survey.block.steps_to_show(trees[:count])
        left = work.most - work.done
        if left < steps:
            ends = np.cumsum(each + survey.block.show_steps[trees[:count]])
            affordable = int(np.searchsorted(ends, max(0, left), side="right"))
            steps = int(ends[affordable - 1]) if affordable else 0
        # A copy, unless it is all: a kept answer must not hold memory for entries that it does not show.
        taken = trees if affordable == len(trees) else trees[:affordable].copy()
        work.trees += affordable
        work.steps += affordable
        work.placed += affordable
        work.done += steps
        if affordable:
            self._runs.append(LoneRun(survey.block, taken, kind))
            self._shown_at_once[survey.number].append(taken)
        self._fruitful_at_once += affordable
        self.left -= affordable
        if affordable < count:
            raise OutOfStepsError

    def result(self) -> SearchResult:
        """The answer."""
        return SearchResult(
            FoundCandidates(self._forms, self._runs, self._uuids),
            Summaries(self._plan.snapshot, self._spans()),
            Stages(self._plan.snapshot, self._plan.request, len(self._fruitful) + self._fruitful_at_once),
            found_nothing=not self._runs,
        )

    def _spans(self) -> list[Shown]:
        """What is shown, in order."""
        found: list[Shown] = []
        for number in sorted(self._shown.keys() | self._shown_at_once.keys()):
            block = self._plan.snapshot.blocks[number]
            numbers = _in_order(self._shown[number], self._shown_at_once[number])
            if len(numbers):
                found.append(Shown(block, numbers, whole=block.trees.lone or not self._only_giving))
        return found


def _in_order(some: Iterable[int], at_once: Sequence[IntArray | list[int]]) -> IntArray:
    """The numbers of ``some`` and of ``at_once``, in ascending order, each once.

    No number is twice in ``some``, in two lists of ``at_once``, or twice in one of these.
    """
    ordered = np.array(sorted(some), dtype=np.int64)
    if not at_once:
        return ordered
    parts = [np.asarray(part) for part in at_once]
    if len(ordered):
        return np.unique(np.concatenate([ordered, *parts]))
    numbers = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return numbers if (numbers[1:] > numbers[:-1]).all() else np.sort(numbers)


def _stretches(numbers: IntArray) -> list[tuple[int, int]]:
    """Gapless ranges (first, last) of ``numbers``, which are in order."""
    if not len(numbers):
        return []
    first, last = int(numbers[0]), int(numbers[-1])
    if 1 + last - first == len(numbers):
        return [(first, last)]
    apart = np.flatnonzero(np.diff(numbers) > 1)
    firsts = numbers[np.concatenate([[0], apart + 1])].tolist()
    lasts = numbers[np.append(apart, -1)].tolist()
    return list(zip(firsts, lasts, strict=True))


ANSWER_BYTES: Final = 1_500
"""Bytes of an answer besides its candidates, summaries and texts."""


@valueclass(frozen=True, slots=True, eq=False)
class _KeptAnswer:
    """The result of a search in a snapshot, for a request of ``request_bytes``."""

    snapshot: Snapshot
    found: SearchResult
    request_bytes: int


class KeptAnswers:
    """Answers of up to ``most`` bytes for the snapshot of the latest request. Safe for several threads.

    With 0 bytes none is kept.
    """

    def __init__(self, most: int) -> None:
        self._answers: Cache[Hashable, _KeptAnswer] = Cache(most, _size_of)

    @property
    def size(self) -> int:
        """Bytes of all kept answers."""
        return self._answers.size

    def of(
        self, snapshot: Snapshot, request: CandidateRequest, search: Callable[[], SearchResult]
    ) -> SearchResult:
        """The answer to ``request``: a kept one, or the result of ``search``, which may raise."""
        known = self._answers.get(request.key)
        if known is not None and known.snapshot is snapshot:
            return known.found
        found = search()
        self._answers.put_growing(request.key, _KeptAnswer(snapshot, found, request.size), found.memo)
        return found

    def forget(self) -> None:
        """Drop all answers: the data has changed."""
        self._answers.clear()


def _size_of(_key: Hashable, answer: _KeptAnswer) -> int:
    found = answer.found
    parts = [part.size for part in (found.candidates, found.summaries) if isinstance(part, Listed)]
    return ANSWER_BYTES + answer.request_bytes + sum(parts) + found.memo.size
