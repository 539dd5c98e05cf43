"""Candidates that were drawn at random: each with its place in the answer, and written in these places."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from moorage.model.cache import PLACE_BYTES
from moorage.model.requests import Part, Row
from moorage.model.valueclass import valueclass
from moorage.search.index.block import UUID_LENGTH, Block, UuidArray
from moorage.search.index.columns import IntArray
from moorage.search.match.answers import Collector
from moorage.search.match.outcomes import Forms, Outcome, Script, Shape, of_rows
from moorage.search.match.plan import OutOfStepsError, Plan, Survey, Work
from moorage.search.match.runs import POINTER_BYTES, ROW_BYTES, RUN_BYTES, Run
from moorage.search.match.tree_view import View

FEW_AT_ONCE: Final = 16
"""Up to so many candidates of a block are taken faster one by one."""


class DrawnRun(Run):
    """Candidates in random order: each has a place from 0 up to ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._many: dict[Shape, list[tuple[IntArray, UuidArray]]] = defaultdict(list)
        self._single: dict[Shape, list[tuple[int, Row]]] = defaultdict(list)
        self._count = 0

    def add(self, form: Shape, places: IntArray, rows: UuidArray) -> None:
        """Add candidates of a form: for each its place and a row of uuids."""
        self._many[form].append((places, rows))
        self._count += len(places)

    def add_one(self, form: Shape, place: int, row: Row) -> None:
        """Add one candidate of a form."""
        self._single[form].append((place, row))
        self._count += 1

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        many = [places.nbytes + rows.nbytes for some in self._many.values() for places, rows in some]
        single = [len(row) for some in self._single.values() for _, row in some]
        each = ROW_BYTES + PLACE_BYTES
        return RUN_BYTES + sum(many) + each * (len(many) + len(single)) + POINTER_BYTES * sum(single)

    def rows(self) -> Iterator[tuple[Shape, Row]]:
        found: list[tuple[Shape, Row] | None] = [None] * self._most
        for form, places, rows in self._all():
            for place, row in zip(places.tolist(), rows.tolist(), strict=True):
                found[place] = form, tuple(row)
        return (item for item in found if item is not None)

    def rendered(self, script: Script) -> list[Part]:
        if not self._many:
            ordered = sorted(
                [(place, form, row) for form, some in self._single.items() for place, row in some]
            )
            return [script.stencil(form).of_one(row) for _, form, row in ordered]
        if len(self._many.keys() | self._single.keys()) == 1:
            return of_rows(script.stencil(next(self._all())[0]), self._in_order(), apart=False)
        found: list[Part | None] = [None] * self._most
        for form, places, rows in self._all():
            texts = of_rows(script.stencil(form), rows, apart=True)
            for place, text in zip(places.tolist(), texts, strict=True):
                found[place] = text
        return [text for text in found if text is not None]

    def _all(self) -> Iterator[tuple[Shape, IntArray, UuidArray]]:
        """Form, places and rows of all candidates."""
        for form, some in self._many.items():
            for places, rows in some:
                yield form, places, rows
        for form, single in self._single.items():
            rows = np.array([row for _, row in single], dtype=f"S{UUID_LENGTH}")
            yield form, np.array([place for place, _ in single]), rows

    def _in_order(self) -> UuidArray:
        """The rows of candidates of one form by their places."""
        places, rows = zip(*[(places, rows) for _, places, rows in self._all()], strict=True)
        ordered: UuidArray = np.empty((self._most, rows[0].shape[1]), dtype=rows[0].dtype)
        for some, alike in zip(places, rows, strict=True):
            ordered[some] = alike
        # Some places are empty if the steps did not suffice.
        return ordered if self._count == self._most else ordered[np.sort(np.concatenate(places))]


@valueclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Candidates of one block that were drawn: for each its tree, its place in the answer, and its outcome.

    ``codes`` are numbers in ``outcomes``. ``steps`` are those of each candidate besides text and providers.
    """

    trees: IntArray
    places: IntArray
    outcomes: Sequence[Outcome]
    codes: IntArray
    steps: int

    def first(self, count: int) -> Drawn:
        """The first ``count`` of them."""
        return Drawn(self.trees[:count], self.places[:count], self.outcomes, self.codes[:count], self.steps)

    def named(self) -> IntArray:
        """How many providers each of them names."""
        return np.array([len(outcome.positions) for outcome in self.outcomes], dtype=np.int64)[self.codes]

    def distinct(self, count: int, block: Block) -> IntArray:
        """The trees of the first ``count`` of them in ascending order, each once."""
        marked = np.zeros(block.trees.count, dtype=np.bool_)
        marked[self.trees[:count]] = True
        return np.flatnonzero(marked)

    def rows(self, block: Block) -> Iterator[tuple[Shape, IntArray, UuidArray]]:
        """For each form the places of its candidates, and a row of uuids for each of them."""
        starts = block.trees.starts[self.trees]
        numbers: dict[Shape, int] = {}
        forms = np.array([numbers.setdefault(outcome.form, len(numbers)) for outcome in self.outcomes])
        for form, number in numbers.items():
            alike = forms == number
            positions = np.array(
                [outcome.positions for outcome in self.outcomes if outcome.form == form], dtype=np.int64
            )
            some: slice | IntArray = slice(None)
            codes = self.codes
            if len(positions) < len(forms):
                some = np.flatnonzero(alike[codes])
                codes = (np.cumsum(alike) - 1)[codes[some]]
            yield form, self.places[some], block.uuids[starts[some][:, np.newaxis] + positions[codes]]


class DrawingCollector(Collector):
    """Takes candidates in any order, each with its place in the answer."""

    def __init__(self, plan: Plan, forms: Forms, bound: int | None, work: Work) -> None:
        super().__init__(plan, forms, bound, work)
        self.alone = not (plan.sharing or plan.request.one_provider_per_tree)
        """Whether candidates name only providers of their own trees, all of which are shown."""
        self._drawn = DrawnRun(0)

    def begin_draw(self, count: int) -> None:
        """From now on take up to ``count`` candidates that were drawn."""
        self._drawn = DrawnRun(count)

    def take_drawn(self, survey: Survey, drawn: Drawn) -> None:
        """Take candidates of one block that name only providers of their own trees.

        No other candidates of this block are taken. Raises OutOfStepsError after the last candidate that the
        steps suffice for.
        """
        for outcome in drawn.outcomes:
            self.meet(outcome.form)
        if len(drawn.trees) <= FEW_AT_ONCE:
            outcomes = [drawn.outcomes[code] for code in drawn.codes.tolist()]
            self.take_few(survey, drawn.trees.tolist(), drawn.places.tolist(), outcomes, drawn.steps)
        else:
            self._take_many(survey, drawn)

    def take_few(
        self,
        survey: Survey,
        trees: Sequence[int],
        places: Sequence[int],
        outcomes: Sequence[Outcome],
        steps: int = 0,
    ) -> None:
        """As ``take_drawn``, one candidate after the other: for each its tree, its place and its outcome."""
        block, shown, each = survey.block, self._shown[survey.number], steps + self._text_steps
        for tree, place, outcome in zip(trees, places, outcomes, strict=True):
            self.meet(outcome.form)
            row = outcome.pick(block.uuids[slice(*block.trees.bounds(tree))].tolist())
            self._work.placed += len(row)
            self._work.spend(each + len(row))
            if outcome.inside and tree not in shown:
                self._work.trees += 1
                self._show_tree(survey.number, tree)
            self._fruitful.add((survey.number, tree))
            self._add_one(outcome.form, place, row)

    def _take_many(self, survey: Survey, drawn: Drawn) -> None:
        work = self._work
        wanted, left = len(drawn.trees), work.most - work.done
        named = drawn.named()
        shows = any(outcome.inside for outcome in drawn.outcomes)
        each = drawn.steps + self._text_steps

        def steps_of(count: int) -> int:
            shown = survey.block.show_steps[drawn.distinct(count, survey.block)] if shows else 0
            return each * count + int(named[:count].sum()) + int(np.sum(shown))

        taken, count, steps = drawn, wanted, steps_of(wanted)
        if steps > left:
            count = max(0, bisect_right(range(wanted), left, key=steps_of) - 1)
            taken, steps = drawn.first(count), steps_of(count)
        work.done += steps
        work.placed += int(named[:count].sum())
        if count:
            trees = taken.distinct(count, survey.block)
            work.trees += len(trees)
            run = self._run_of_draw()
            for form, places, rows in taken.rows(survey.block):
                run.add(form, places, rows)
            self.left -= count
            self._fruitful_at_once += len(trees)
            if shows:
                self._shown_at_once[survey.number].append(trees)
        if count < wanted:
            raise OutOfStepsError

    def take_one_drawn(self, place: int, view: View, outcome: Outcome) -> None:
        """Take one candidate."""
        row = outcome.pick(view.uuids)
        self._work.placed += len(row)
        self._work.spend(len(row) + self._row_steps)
        self.meet(outcome.form)
        self._fruitful.add((view.views.survey.number, view.tree))
        self._show(view, outcome)
        self._add_one(outcome.form, place, row)

    def _add_one(self, form: Shape, place: int, row: Row) -> None:
        self._uuids += len(row)
        self._run_of_draw().add_one(form, place, row)
        self.left -= 1

    def _run_of_draw(self) -> DrawnRun:
        if not len(self._drawn):
            self._runs.append(self._drawn)
        return self._drawn
