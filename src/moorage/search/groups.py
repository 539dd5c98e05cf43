"""What each group of a request leaves: filters over all providers at once.

A group becomes variables: a suffixed one is one variable (one provider serves all of it), the
unsuffixed one is a variable per resource class. A variable says which providers can serve it,
in their own tree and, for providers that share, at which other trees (anchors). Whatever
concerns several variables at once is left to the search within one tree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from moorage.model.errors import ResourceClassNotFoundError, TraitNotFoundError
from moorage.model.requests import CandidateRequest, RequestGroup, Stage
from moorage.model.values import SHARING_TRAIT
from moorage.search.columns import IntArray, Mask
from moorage.search.index import Index

UNSUFFIXED: Final = ""

Demand = tuple[str, int]
"""A resource class and the amount of it that is asked for, in its unit."""


@dataclass(frozen=True, slots=True)
class Variable:
    """Something that one provider has to serve.

    ``own`` are the providers that can serve it in their own tree. ``shared`` maps an aggregate
    to the slots, by id, of sharing providers that can serve it in every tree that has a
    provider in that aggregate.
    """

    suffix: str
    demands: tuple[Demand, ...]
    own: Mask
    shared: dict[str, list[int]]


@dataclass(slots=True)
class Plan:
    """What is left of a request once each group has been looked at on its own.

    ``anchors`` are the roots of trees in which every variable has a provider. ``cover`` are
    the providers that have a trait of each OR of the unsuffixed group's required ones: those
    that serve it must together be in all of these.
    """

    anchors: Mask
    variables: list[Variable] = field(default_factory=list)
    cover: list[Mask] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    @property
    def sharing(self) -> bool:
        """Whether a sharing provider can serve something in another tree."""
        return any(variable.shared for variable in self.variables)

    @property
    def sharing_alone(self) -> bool:
        """Whether sharing providers may be able to serve everything, and so at several anchors."""
        return all(variable.shared for variable in self.variables)

    def note(self, group: str | None, step: str, left: Mask) -> None:
        """Record how many are left after a step."""
        self.stages.append(Stage(group, step, int(np.count_nonzero(left))))


def check_names(
    index: Index,
    groups: Iterable[RequestGroup],
    root_required: frozenset[str] = frozenset(),
    root_forbidden: frozenset[str] = frozenset(),
) -> None:
    """Refuse names that do not exist, wherever in a request they are.

    Raises ResourceClassNotFoundError for the first unknown class, else TraitNotFoundError for
    all unknown traits.
    """
    traits = set(root_required | root_forbidden)
    for group in groups:
        for resource_class in group.resources:
            if resource_class not in index.resource_class_names:
                raise ResourceClassNotFoundError(resource_class)
        traits.update(group.forbidden, *group.required)
    unknown = traits - index.trait_names
    if unknown:
        raise TraitNotFoundError(", ".join(sorted(unknown)))


def providers_matching(index: Index, group: RequestGroup) -> list[int]:
    """Ids, ascending, of the providers that satisfy everything in ``group`` by themselves.

    Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names; an unknown
    ``in_tree`` or aggregate is satisfied by nobody, an unknown forbidden aggregate by all.
    """
    check_names(index, [group])
    left = _matching(index, group, Plan(index.no_provider()))
    return sorted(index.ids[: index.size][left].tolist())


def plan_request(index: Index, request: CandidateRequest) -> Plan:
    """Look at each group of ``request`` on its own; stops at the first that leaves no tree.

    Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names.
    """
    check_names(index, request.groups, request.root_required, request.root_forbidden)
    plan = Plan(index.every_root())
    for name in sorted(request.root_required):
        plan.anchors &= index.with_any_trait([name])
        plan.note(None, f"root_required {name}", plan.anchors)
    for name in sorted(request.root_forbidden):
        plan.anchors &= ~index.with_any_trait([name])
        plan.note(None, f"root_forbidden {name}", plan.anchors)
    for group in request.groups:
        if group.suffix == UNSUFFIXED:
            plan.anchors &= _unsuffixed_anchors(index, group, plan)
            plan.note(None, "unsuffixed group", plan.anchors)
        else:
            plan.anchors &= _suffixed_anchors(index, group, plan)
            plan.note(None, f"group {group.suffix}", plan.anchors)
        if not plan.anchors.any():
            break
    return plan


def _suffixed_anchors(index: Index, group: RequestGroup, plan: Plan) -> Mask:
    """Add the group's variable to ``plan``; returns the roots of trees in which it has a provider."""
    own = _matching(index, group, plan)
    anchors = index.roots_of(own)
    sharing = _sharing(index, own)
    if len(sharing):
        anchors = anchors | index.roots_reached_by(sharing)
    shared = _by_aggregate(index, sharing)
    plan.variables.append(Variable(group.suffix, tuple(group.resources.items()), own, shared))
    return anchors


def _unsuffixed_anchors(index: Index, group: RequestGroup, plan: Plan) -> Mask:
    """Add a variable per class to ``plan``; returns the roots of trees in which all have providers."""
    may_share = group.in_tree is None
    allowed = index.every_provider()
    if group.in_tree is not None:
        allowed &= index.in_tree_of(group.in_tree)
        plan.note(group.suffix, f"in_tree {group.in_tree}", allowed)
    if group.forbidden:
        allowed &= ~index.with_any_trait(group.forbidden)
        plan.note(group.suffix, f"forbidden {_joined(group.forbidden)}", allowed)
    anchors = index.every_root()
    members = allowed
    if group.member_of:
        # Membership of a root counts for its whole tree, but not for what is shared with it.
        within = _in_all(index, group.member_of)
        members = allowed & within
        allowed = allowed & _with_trees(index, within)
        plan.note(group.suffix, f"member_of {_every(group.member_of)}", allowed)
    if group.forbidden_aggregates:
        banned = index.in_any_aggregate(group.forbidden_aggregates)
        anchors &= ~banned
        members = members & ~banned
        allowed = allowed & ~_with_trees(index, banned)
        plan.note(group.suffix, f"not member_of {_joined(group.forbidden_aggregates)}", allowed)
    anyone = index.no_provider()
    sharing_anyone = index.no_provider()
    for resource_class, amount in group.resources.items():
        room = index.with_room(resource_class, amount)
        own = room & allowed
        plan.note(group.suffix, f"{resource_class}:{amount}", own)
        sharing = _sharing(index, room & members if may_share else index.no_provider())
        anchors &= _reached(index, own, sharing)
        shared = _by_aggregate(index, sharing)
        plan.variables.append(Variable(group.suffix, ((resource_class, amount),), own, shared))
        anyone |= own
        sharing_anyone[sharing] = True
    for names in group.required:
        having = index.with_any_trait(names)
        anchors &= _reached(index, anyone & having, np.flatnonzero(sharing_anyone & having))
        plan.cover.append(having)
        plan.note(group.suffix, f"required {_either(names)}", anyone & having)
    return anchors


def _with_trees(index: Index, providers: Mask) -> Mask:
    """``providers`` and all providers of trees whose root is one of them."""
    return providers | (providers[index.root_slot[: index.size]] & index.every_provider())


def _matching(index: Index, group: RequestGroup, plan: Plan) -> Mask:
    """Providers that satisfy everything in ``group`` by themselves."""
    left = index.every_provider()
    for resource_class, amount in group.resources.items():
        left &= index.with_room(resource_class, amount)
        plan.note(group.suffix, f"{resource_class}:{amount}", left)
    for names in group.required:
        left &= index.with_any_trait(names)
        plan.note(group.suffix, f"required {_either(names)}", left)
    if group.forbidden:
        left &= ~index.with_any_trait(group.forbidden)
        plan.note(group.suffix, f"forbidden {_joined(group.forbidden)}", left)
    if group.member_of:
        left &= _in_all(index, group.member_of)
        plan.note(group.suffix, f"member_of {_every(group.member_of)}", left)
    if group.forbidden_aggregates:
        left &= ~index.in_any_aggregate(group.forbidden_aggregates)
        plan.note(group.suffix, f"not member_of {_joined(group.forbidden_aggregates)}", left)
    if group.in_tree is not None:
        left &= index.in_tree_of(group.in_tree)
        plan.note(group.suffix, f"in_tree {group.in_tree}", left)
    return left


def _in_all(index: Index, member_of: Sequence[frozenset[str]]) -> Mask:
    """Providers that are in one aggregate of each set."""
    members = index.every_provider()
    for aggregates in member_of:
        members &= index.in_any_aggregate(aggregates)
    return members


def _sharing(index: Index, providers: Mask) -> IntArray:
    """Slots of those of ``providers`` that share, by id."""
    slots = np.flatnonzero(providers & index.with_any_trait([SHARING_TRAIT]))
    return slots[np.argsort(index.ids[slots], kind="stable")]


def _reached(index: Index, own: Mask, sharing: IntArray) -> Mask:
    """Roots of trees that ``own`` are in, and of those that ``sharing`` share with."""
    anchors = index.roots_of(own)
    return anchors | index.roots_reached_by(sharing) if len(sharing) else anchors


def _by_aggregate(index: Index, sharing: IntArray) -> dict[str, list[int]]:
    """Aggregate to the sharing providers that are in it, by id."""
    found: dict[str, list[int]] = defaultdict(list)
    for slot in sharing.tolist():
        for uuid in dict.fromkeys(index.aggregates_at(slot)):
            found[uuid].append(slot)
    return dict(found)


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _either(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _every(sets: Iterable[frozenset[str]]) -> str:
    return " and ".join(_either(names) for names in sets)
