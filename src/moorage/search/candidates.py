"""Allocation candidates: the ways in which providers can serve a whole request."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from typing import TypeVar

import numpy as np

from moorage.model.requests import (
    Candidate,
    CandidateRequest,
    ProviderSummary,
    SearchResult,
    SearchSettings,
    Stage,
)
from moorage.search.columns import NONE, IntArray
from moorage.search.groups import Plan, plan_request, providers_matching
from moorage.search.index import Index
from moorage.search.tree import Choice, Rules, Work, solutions

__all__ = ["Work", "find", "providers_matching"]

ItemT = TypeVar("ItemT")


def find(
    index: Index,
    request: CandidateRequest,
    settings: SearchSettings,
    random: Random,
    work: Work | None = None,
) -> SearchResult:
    """Candidates for ``request``, as many as ``settings`` and the request's limit let through.

    Trees are looked into one after the other, by id of their root or in random order, and
    only until there are enough candidates; ``work`` counts that if it is given. Amounts in a
    request are above 0. The same request on the same index gives the same list unless
    ``settings.randomize``. Raises ResourceClassNotFoundError, TraitNotFoundError for unknown
    names, whatever else is asked.

    Source: API reference, "List allocation candidates"; what groups, sharing providers and
    trees mean is as measured on the reference implementation.
    """
    plan = plan_request(index, request)
    if not plan.anchors.any():
        return SearchResult((), (), tuple(plan.stages))
    done = work if work is not None else Work()
    rules = Rules.of(request, plan)
    anchors = _anchors(index, plan)
    fruitful: set[int] = set()

    def choices_at(anchor: int) -> Iterator[Choice]:
        for choice in solutions(index, plan, rules, anchor, random if settings.randomize else None, done):
            fruitful.add(anchor)
            yield choice

    order = (
        (int(anchors[position]) for position in _shuffled(len(anchors), random))
        if settings.randomize
        else iter(anchors.tolist())
    )
    sources = (choices_at(anchor) for anchor in order)
    found = _round_robin(sources) if settings.breadth_first else itertools.chain.from_iterable(sources)
    choices = list(itertools.islice(_unique(index, plan, found), _bound(request, settings)))
    stages = (*plan.stages, Stage(None, "all groups together", len(fruitful)))
    return SearchResult(
        tuple(_candidates(index, request, plan, choices)),
        tuple(_summaries(index, request, plan, choices)),
        stages,
    )


def _bound(request: CandidateRequest, settings: SearchSettings) -> int | None:
    """Most candidates that may be answered, None for all."""
    bounds = [] if request.limit is None else [request.limit]
    if settings.max_candidates >= 0:
        # wire: a bound of 0 is noticed only after the first candidate.
        bounds.append(max(1, settings.max_candidates))
    return min(bounds, default=None)


def _anchors(index: Index, plan: Plan) -> IntArray:
    """Slots of the anchors worth visiting, by id.

    Where no provider of the tree itself can serve anything, all that is found comes from
    providers that share, and lone providers in the same aggregates find the same: one of
    them is visited for all.
    """
    anchors = np.flatnonzero(plan.anchors)
    anchors = anchors[np.argsort(index.ids[anchors], kind="stable")]
    if not plan.sharing_alone:
        return anchors
    serving = index.no_provider()
    for variable in plan.variables:
        serving |= variable.own
    alike = (index.every_lone_root() & ~index.roots_of(serving))[anchors]
    _, first = np.unique(index.aggregate_codes[anchors[alike]], return_index=True)
    visited = ~alike
    visited[np.flatnonzero(alike)[first]] = True
    return anchors[visited]


def _unique(index: Index, plan: Plan, choices: Iterable[Choice]) -> Iterator[Choice]:
    """Leave out what was there before, at another anchor.

    A choice fixes amounts and mappings. Only one made of sharing providers alone can be found
    at two anchors: any other provider is an option in its own tree only.
    """
    if not plan.sharing_alone:
        yield from choices
        return
    seen: set[Choice] = set()
    for choice in choices:
        if all(index.is_sharing(slot) for slot in choice):
            if choice in seen:
                continue
            seen.add(choice)
        yield choice


def _candidates(
    index: Index, request: CandidateRequest, plan: Plan, choices: Iterable[Choice]
) -> Iterator[Candidate]:
    uuids: dict[int, str] = {}
    for choice in choices:
        allocations: dict[str, dict[str, int]] = {}
        mappings: dict[str, dict[str, None]] = {group.suffix: {} for group in request.groups}
        for variable, slot in zip(plan.variables, choice, strict=True):
            uuid = uuids.get(slot)
            if uuid is None:
                uuid = uuids[slot] = index.uuid_at(slot)
            mappings[variable.suffix][uuid] = None
            if variable.demands:
                amounts = allocations.setdefault(uuid, {})
                for name, amount in variable.demands:
                    amounts[name] = amounts.get(name, 0) + amount
        yield Candidate(allocations, {suffix: tuple(found) for suffix, found in mappings.items()})


def _summaries(
    index: Index, request: CandidateRequest, plan: Plan, choices: Iterable[Choice]
) -> Iterator[ProviderSummary]:
    giving = {
        slot
        for choice in choices
        for variable, slot in zip(plan.variables, choice, strict=True)
        if variable.demands
    }
    shown = giving
    if not request.one_provider_per_tree:
        roots = {int(index.root_slot[slot]) for slot in giving}
        shown = {member for root in roots for member in index.members(root)}
    slots = sorted(shown, key=index.ids.__getitem__)
    for slot, resources in zip(slots, index.amounts(slots), strict=True):
        parent = index.parent_slot(slot)
        yield ProviderSummary(
            uuid=index.uuid_at(slot),
            parent_uuid=None if parent == NONE else index.uuid_at(parent),
            root_uuid=index.uuid_at(int(index.root_slot[slot])),
            resources=resources,
            traits=index.traits_at(slot),
        )


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
