"""What clients that know no nested providers are shown beside candidates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Protocol

from moorage.search.index.index import Place
from moorage.search.match.answers import Collector
from moorage.search.match.outcomes import Outcome
from moorage.search.match.plan import OutOfStepsError, Plan, Survey, Work
from moorage.search.match.tree_view import Neighbours, View, node_of, place_of, root_of


class Searching(Protocol):
    """A search, as far as it is needed here."""

    plan: Plan
    work: Work

    @property
    def neighbours(self) -> Neighbours:
        """Which providers share with which trees."""

    def visit(self, tree: tuple[Survey, int]) -> tuple[View, Iterable[Outcome]]:
        """The candidates of one tree."""


def show_beside(search: Searching, collector: Collector, most: int | None) -> None:
    """Show every provider that gives resources in any candidate, in the trees of the candidates returned.

    Goes through ``most`` candidates (None for all), or until the steps run out.
    """
    with suppress(OutOfStepsError):
        for view, outcome in islice(_beside(search, collector), most):
            collector.show_in_touched(view, outcome)


def _beside(search: Searching, collector: Collector) -> Iterator[tuple[View, Outcome]]:
    """Candidates that may use a provider that should be shown and is not shown yet."""
    for seen in list(collector.views.values()):
        view, outcomes = search.visit((seen.views.survey, seen.tree))
        for outcome in outcomes:
            search.work.spend(1)
            yield view, outcome
    homes = collector.touched - collector.views.keys()
    missing = _sharing_in(search, collector.touched)
    numbers = None if missing else {number for number, _ in homes}
    for survey in search.plan.surveys(search.work, numbers=numbers):
        for tree in survey.trees.tolist():
            if (survey.number, tree) in collector.views:
                continue
            search.work.spend(1 + len(missing))
            missing = {node for node in missing if not collector.shows(place_of(node))}
            if (survey.number, tree) in homes or _may_share(search, survey, tree, missing):
                view, outcomes = search.visit((survey, tree))
                for outcome in outcomes:
                    search.work.spend(1)
                    yield view, outcome


def _sharing_in(search: Searching, trees: Collection[Place]) -> set[int]:
    """Nodes of the sharing providers in ``trees``."""
    distinct = {id(variable.shared): variable.shared for variable in search.plan.variables}
    found: set[int] = set()
    for shared in distinct.values():
        for places in shared.values():
            search.work.spend(len(places))
            found.update(
                [node_of(place) for place in places if root_of(search.plan.snapshot, place) in trees]
            )
    return found


def _may_share(search: Searching, survey: Survey, tree: int, nodes: set[int]) -> bool:
    """Whether one of ``nodes`` shares its inventory with a tree."""
    return bool(nodes) and not nodes.isdisjoint(search.neighbours.of(survey, tree).nodes)
