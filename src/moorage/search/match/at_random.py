"""A search in random order: it counts candidates, and makes those that it draws.

What counting has found of a block stays with the block: which kinds its trees are of, and how many candidates
they have. So a later search only adds up the blocks, and looks at the trees that it draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from moorage.model.requests import Row, SearchSettings
from moorage.search.match.answers import REPEATED_STEPS
from moorage.search.match.division import Census, Division
from moorage.search.match.drawing import (
    MOST,
    CountedPortion,
    FoundPortion,
    LonePortion,
    NumberedWays,
    Pool,
    TreesPortion,
    UncountedError,
    Ways,
    leave_first,
)
from moorage.search.match.drawn import DrawingCollector
from moorage.search.match.outcomes import MOST_OUTCOMES_OF_KIND, Kind, Outcome, Replayed, Shape
from moorage.search.match.plan import OutOfStepsError, Survey
from moorage.search.match.tree import numbered
from moorage.search.match.tree_view import NODES_PER_STEP, View
from moorage.search.match.turns import shuffled

if TYPE_CHECKING:
    from moorage.search.match.candidates import Found, Search, Tree

COUNTED_STEPS: Final = 6
"""Steps of counting a candidate that was found, besides those of finding it."""

NUMBER_STEPS: Final = 4
"""Steps of making a choice from its number, besides one for each variable."""

COUNTING_STEPS: Final = 1_100_000
"""Steps of counting candidates at most, if a limit is set: half of the default limit of a search."""


class RandomSearch:
    """A search that gives ``collector`` candidates in random order."""

    def __init__(self, search: Search, collector: DrawingCollector) -> None:
        self._search = search
        self._plan = search.plan
        self._work = search.work
        self._collector = collector
        self._ways: dict[bytes, Ways] = {}
        # Kinds whose steps this search has counted.
        self._met: set[Kind] = set()

    def collect(self, random: Random, settings: SearchSettings) -> None:
        """Collect candidates in random order, each as likely as any other.

        If some candidates are enough, and counting takes too many steps, the search draws trees instead.
        Raises OutOfStepsError.
        """
        work, collector = self._work, self._collector
        most = work.most
        if self._plan.request.limit is not None or settings.truncate:
            # Leave steps for a search without counting.
            work.most = work.done + min(COUNTING_STEPS, (most - work.done) // 2)
        try:
            pool = self._pool(settings)
        except (OutOfStepsError, UncountedError):
            if work.done > most:
                raise
            pool = None
        finally:
            work.most = most
        if pool is None:
            self._search.collect(self._from_random_trees(random), collector)
        elif pool.portions:
            # A candidate takes a step at least: more of them would be drawn in vain.
            pool.draw(min(collector.left, 1 + most - work.done), random, collector)

    def _pool(self, settings: SearchSettings) -> Pool:
        """All candidates, up to the bound that the settings name. Raises OutOfStepsError, UncountedError."""
        search = self._search
        most = MOST if settings.max_candidates < 0 else max(1, settings.max_candidates)
        if self._plan.sharing_alone:
            found = (
                search.turns()
                if settings.breadth_first
                else map(search.visit, search.worthy(search.trees(), whole=True))
            )
            return Pool([FoundPortion([*islice(self._different(found), most)])])
        portions: list[CountedPortion] = []
        count = 0
        for survey in search.surveys():
            portions.append(LonePortion(survey, search.lone) if survey.settled else self._counted(survey))
            count += portions[-1].count
            if count > MOST:
                raise UncountedError
            if count >= most and not settings.breadth_first:
                break
        if count > most:
            leave_first(portions, most, breadth_first=settings.breadth_first)
        return Pool(portions)

    def _different(self, found: Iterable[Found]) -> Iterator[tuple[View, Outcome]]:
        """Candidates without those that were found in an earlier tree."""
        seen: set[tuple[Shape, Row]] = set()
        for view, outcomes in found:
            uuids = view.uuids
            for outcome in outcomes:
                self._work.spend(REPEATED_STEPS)
                self._collector.meet(outcome.form)
                row = outcome.pick(uuids)
                if (outcome.form, row) not in seen:
                    seen.add((outcome.form, row))
                    yield view, outcome

    def _counted(self, survey: Survey) -> CountedPortion:
        """The trees of a survey, with their candidates counted: once for all trees with equal keys."""
        self._work.spend(survey.count)
        division = self._search.division_of(survey)
        again = self._counted_again(division)
        if again is not None:
            return TreesPortion(survey, division, again, partial(self._search.view, survey))
        ways = [
            self._ways_in(survey, tree, key) for key, tree in zip(division.keys, division.firsts, strict=True)
        ]
        self._remember(survey, division, ways)
        return TreesPortion(survey, division, ways, partial(self._search.view, survey))

    def _counted_again(self, division: Division) -> list[Kind] | None:
        """The kinds of the keys of a division that an earlier search has counted; None if none has.

        Counts steps as if this search counted. None also if they may not suffice.
        """
        census = division.census
        if census is None or census.serial != self._search.known_kinds.serial:
            return None
        found = self._search.known_kinds.at(census.numbers.tolist())
        fresh = [(kind, steps) for kind, steps in found if kind not in self._met]
        if fresh:
            forms = frozenset[Shape]().union(*[kind.forms for kind, _ in fresh])
            steps = sum([steps for _, steps in fresh])
            if not self._collector.can_meet(forms, steps):
                return None
            self._work.trees += len(fresh)
            self._work.done += steps
            self._collector.meet_all(forms)
            self._met.update([kind for kind, _ in fresh])
        return [kind for kind, _ in found]

    def _remember(self, survey: Survey, division: Division, ways: list[Ways]) -> None:
        """Keep with a block what was counted, if later searches know all of its kinds."""
        kinds = [some for some in ways if isinstance(some, Kind) and some.remembered]
        if self._plan.sharing or len(kinds) < len(ways):
            return
        steps = [
            self._counting_steps(survey, tree, kind)
            for tree, kind in zip(division.firsts, kinds, strict=True)
        ]
        known = self._search.known_kinds
        count = sum([kind.count * size for kind, size in zip(kinds, division.sizes, strict=True)])
        survey.divide(division.counted(Census(known.serial, known.numbers_of(kinds, steps), count)))

    def _counting_steps(self, survey: Survey, tree: int, kind: Kind) -> int:
        """Steps of counting the ways of a kind."""
        return 1 + self._search.more_into(survey, tree) + kind.steps + COUNTED_STEPS * kind.count

    def _ways_in(self, survey: Survey, tree: int, key: bytes) -> Ways:
        """The ways in which trees with ``key`` serve the request. ``tree`` is one of them."""
        found = self._ways.get(key)
        if found is None:
            found = self._ways[key] = self._ways_found(survey, tree, key)
        return found

    def _ways_found(self, survey: Survey, tree: int, key: bytes) -> Ways:
        search, work, collector = self._search, self._work, self._collector
        known = None if self._plan.sharing else search.known_kinds.get(key)
        if known is not None and known.complete:
            if known not in self._met:
                self._met.add(known)
                work.trees += 1
                work.spend(self._counting_steps(survey, tree, known))
                for form in known.forms:
                    collector.meet(form)
            return known
        view = search.opened(survey, tree)
        plain = numbered(view, search.rules)
        if plain is not None and plain.count > MOST_OUTCOMES_OF_KIND:
            work.spend(plain.nodes // NODES_PER_STEP)
            steps = search.outcome_steps + NUMBER_STEPS + len(self._plan.variables)
            return NumberedWays(search.forms, view, plain, work, steps)
        found = Replayed(search.outcomes_of(view), work)
        for outcome in found:
            work.spend(COUNTED_STEPS)
            collector.meet(outcome.form)
        kind = Kind.of(found)
        if not self._plan.sharing:
            search.known_kinds.learn(key, kind)
            self._met.add(kind)
        return kind

    def _from_random_trees(self, random: Random) -> Iterator[Found]:
        """Candidates of trees in random order, in random order within each."""
        search = self._search
        surveys = list(search.surveys())
        ends = np.cumsum([len(survey.trees) for survey in surveys]).tolist()

        def trees() -> Iterator[Tree]:
            for position in shuffled(ends[-1] if ends else 0, random):
                number = int(np.searchsorted(ends, position, side="right"))
                survey = surveys[number]
                yield survey, int(survey.trees[position - (ends[number] - len(survey.trees))])

        for survey, tree in search.worthy(trees()):
            view = search.opened(survey, tree)
            yield view, search.outcomes_of(view, random)
