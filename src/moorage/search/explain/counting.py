"""In which trees a request can be served: what explanations need of the search."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import field, replace
from random import Random
from typing import Final

import numpy as np

from moorage.model.cache import MIB, Cache
from moorage.model.errors import SearchLimitError
from moorage.model.requests import Candidate, CandidateRequest, SearchSettings
from moorage.model.valueclass import valueclass
from moorage.search.explain.bare import BareGroup, prepared
from moorage.search.explain.terms import Wanted
from moorage.search.index.columns import IntArray, Mask
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.answers import Collector
from moorage.search.match.candidates import NO_MEMORY, Search, find
from moorage.search.match.constraints import Rules
from moorage.search.match.plan import OutOfStepsError, Plan, Survey, Work
from moorage.search.match.tree import choices
from moorage.search.match.tree_view import Neighbours, Views

TERM_STEPS: Final = 4
"""Steps of making a request of some terms, for each of them."""

TREE_STEPS: Final = 2
VIEW_STEPS: Final = 20
"""Steps of looking whether a tree is like a known one, without and with providers that share."""

SERVED_BYTES: Final = 4 * MIB
"""Bytes of the answers that a ground keeps. Several parts of an explanation ask the same question."""

Known = dict[Hashable, bool]
"""Whether trees with a key serve a request."""

Served = tuple[int, IntArray]
"""Number of a block, and the trees of it that serve a request."""

Question = tuple[CandidateRequest, frozenset[str]]
"""A request, and the classes whose amounts need not fit together on one provider."""


def _size_of(question: Question, served: Sequence[Served]) -> int:
    return question[0].size + sum([trees.nbytes for _, trees in served])


@valueclass(frozen=True, slots=True)
class Ground:
    """The trees that are asked: all of a snapshot, or the one ``at`` a (number of the block, tree).

    ``served`` keeps which of them serve the requests of one explanation.
    """

    snapshot: Snapshot
    at: Place | None = None
    served: Cache[Question, Sequence[Served]] = field(
        default_factory=lambda: Cache(SERVED_BYTES, _size_of), compare=False, repr=False
    )

    @property
    def trees(self) -> int:
        """How many there are."""
        return 1 if self.at is not None else sum([block.trees.count for block in self.snapshot.blocks])

    def emptied(self, classes: Collection[str]) -> Ground:
        """The same trees with nothing of some classes in use."""
        return Ground(self.snapshot.emptied(classes), self.at)


def serving(ground: Ground, wanted: Wanted, work: Work) -> Iterator[Served]:
    """Trees that serve ``wanted``, block by block, without empty blocks. Raises OutOfStepsError.

    The ground remembers them once a caller has taken all.
    """
    work.spend(TERM_STEPS * wanted.terms)
    question = wanted.request, wanted.apart
    known = ground.served.get(question)
    if known is None:
        found: list[Served] = []
        for some in _searched(ground, wanted, work):
            found.append(some)
            yield some
        ground.served.put(question, found)
    else:
        work.spend(len(known))
        yield from known


def _searched(ground: Ground, wanted: Wanted, work: Work) -> Iterator[Served]:
    """As ``serving``. The search looks into one tree of those that are equal for the request."""
    plan = Plan(ground.snapshot, wanted.request, work, prepare=prepared)
    plan.contested = {name: most for name, most in plan.contested.items() if name not in wanted.apart}
    if any(isinstance(group, BareGroup) for group in plan.groups):
        plan.cover = []
    rules = Rules.of(plan)
    neighbours = Neighbours(plan, work)
    known: Known = {}
    for survey in plan.surveys(work, numbers=None if ground.at is None else [ground.at[0]]):
        if ground.at is not None:
            survey.leave(survey.trees[survey.trees == ground.at[1]])
        trees = survey.trees
        if survey.block.trees.lone and not plan.sharing:
            trees = _alone(plan, survey)
        elif rules.makers and len(trees):
            trees = trees[_among(plan, rules, neighbours, survey, known, work)]
        if len(trees):
            yield survey.number, trees


def count(ground: Ground, wanted: Wanted, work: Work) -> int:
    """How many trees serve ``wanted``. Raises OutOfStepsError."""
    return sum([len(trees) for _, trees in serving(ground, wanted, work)])


def exists(ground: Ground, wanted: Wanted, work: Work) -> bool:
    """Whether any tree serves ``wanted``. Raises OutOfStepsError."""
    return any(True for _ in serving(ground, wanted, work))


def candidates(ground: Ground, request: CandidateRequest, most: int, work: Work) -> Sequence[Candidate]:
    """The first ``most`` candidates for a request, one of each tree in turn. Raises OutOfStepsError."""
    asked = replace(request, limit=most)
    if ground.at is None:
        how = SearchSettings(breadth_first=True, step_limit=max(0, work.most - work.done))
        try:
            return find(ground.snapshot, asked, how, Random(0)).candidates  # noqa: S311 (nothing is drawn)
        except SearchLimitError:
            raise OutOfStepsError from None
    known = NO_MEMORY.plan(ground.snapshot, asked, work)
    search = Search(known, work, None)
    collector = Collector(known.plan, search.forms, most, work)
    for survey in known.plan.surveys(work, numbers=[ground.at[0]]):
        trees = [(survey, tree) for tree in survey.trees.tolist() if tree == ground.at[1]]
        search.collect(map(search.visit, trees), collector)
    return collector.result().candidates


def _alone(plan: Plan, survey: Survey) -> IntArray:
    """Trees of one provider that serve the whole request: what several groups take must fit together."""
    if plan.isolated:
        return survey.trees[:0]
    trees = survey.trees
    for name, most in plan.contested.items():
        trees = trees[survey.block.rooms(name)[trees] >= most]
    return trees


def _among(
    plan: Plan, rules: Rules, neighbours: Neighbours, survey: Survey, known: Known, work: Work
) -> Mask:
    """Which trees of a survey can serve the whole request. Raises OutOfStepsError."""
    work.spend((VIEW_STEPS if plan.sharing else TREE_STEPS) * len(survey.trees))
    views = Views(plan, survey, rules.need)
    listed: list[int] = survey.trees.tolist()
    if plan.sharing:
        seen = [views.at(tree, neighbours.of(survey, tree)) for tree in listed]
        keys: list[Hashable] = [view.key for view in seen]
    else:
        keys = [*views.keys(listed)]
    for position, key in enumerate(keys):
        if key not in known:
            view = views.at(listed[position], neighbours.of(survey, listed[position]))
            known[key] = next(iter(choices(view, rules, None, work)), None) is not None
    return np.array([known[key] for key in keys], dtype=np.bool_)
