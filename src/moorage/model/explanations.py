"""Why a request for allocation candidates finds nothing, or what it finds: the answer as values.

A request is the sum of its terms: each says one thing that an answer must meet. All counts are of trees, and
do not depend on the order of the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Final

from moorage.model.requests import Candidate
from moorage.model.valueclass import valueclass

ROOM: Final = "room"
REQUIRED: Final = "required"
FORBIDDEN: Final = "forbidden"
MEMBER_OF: Final = "member_of"
NOT_MEMBER_OF: Final = "not_member_of"
IN_TREE: Final = "in_tree"
ROOT_REQUIRED: Final = "root_required"
ROOT_FORBIDDEN: Final = "root_forbidden"
TOGETHER: Final = "together"
"""Kinds of terms. The last one holds between groups, and its ``rule`` says how."""

ISOLATED_RULE: Final = "isolate"
SUBTREE_RULE: Final = "same_subtree"
SUM_RULE: Final = "sum"
LONE_RULE: Final = "one_provider_per_tree"
"""Rules between groups: no two suffixed groups on one provider, one ancestor for several groups, amounts
of one class that add up on one provider, and one provider of each tree at most."""

FITS: Final = "fits"
NO_ROOM: Final = "no_room"
NEVER_FITS: Final = "never_fits"
NOBODY_OFFERS: Final = "nobody_offers"
CUT_SHORT: Final = "cut_short"
"""Verdicts. ``nobody_offers``: no provider of the cloud has a class, trait, aggregate or tree.
``never_fits``: no tree, not even with nothing in use. ``no_room``: some tree, if nothing were in use.
``cut_short``: the steps ended before a decision."""

MIN_UNIT: Final = "min_unit"
MAX_UNIT: Final = "max_unit"
STEP_SIZE: Final = "step_size"
"""Units of an inventory that an amount may not meet."""

FREED: Final = "freed"
CAPACITY_RAISED: Final = "capacity_raised"
UNITS_CHANGED: Final = "units_changed"
TRAIT_ADDED: Final = "trait_added"
TRAIT_REMOVED: Final = "trait_removed"
AGGREGATE_JOINED: Final = "aggregate_joined"
AGGREGATE_LEFT: Final = "aggregate_left"
"""Events that may unlock a request."""

DROP: Final = "drop"
AMOUNT: Final = "amount"
"""What a relaxation does with a term."""


@valueclass(frozen=True, slots=True)
class AskTerm:
    """One thing that a request asks for. ``id`` is ``c1``, ``c2``, ... in the order of the request.

    ``group`` is the suffix of its group, None for what is asked of the request as a whole. A room term has a
    class and an amount. Of several ``traits`` or ``aggregates`` any one suffices. A rule names the ``groups``
    that it binds.
    """

    id: str
    kind: str
    group: str | None = None
    resource_class: str = ""
    amount: int = 0
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()
    in_tree: str = ""
    rule: str = ""
    groups: tuple[str, ...] = ()


@valueclass(frozen=True, slots=True)
class CountedTerm:
    """A term, and in how many trees it matters. A count of None was not made.

    ``alone``: trees that meet this term by itself (None for a rule between groups). ``without``: trees that
    meet all other terms. ``empty_cloud``: as ``alone``, with nothing of the class in use; only for room.
    """

    term: AskTerm
    alone: int | None = None
    without: int | None = None
    empty_cloud: int | None = None


@valueclass(frozen=True, slots=True)
class FunnelStep:
    """Trees that meet all terms up to ``after`` (its id), for readers."""

    after: str
    left: int


@valueclass(frozen=True, slots=True)
class Missing:
    """What one provider lacks for the ask, as far as the nearest way to serve it goes.

    ``term`` is the id of the term that fails there. For amounts: ``need`` of the class, of which there is
    ``room``, ``short`` says how much more room it takes, and ``units`` names those that the amount does not
    meet. ``traits`` and ``aggregates`` are those of the term.
    """

    term: str
    provider: str
    resource_class: str = ""
    need: int = 0
    room: int = 0
    short: int = 0
    units: tuple[str, ...] = ()
    traits: frozenset[str] = frozenset()
    aggregates: frozenset[str] = frozenset()


@valueclass(frozen=True, slots=True)
class UnlockingEvent:
    """One change after which a provider lacks less. ``amount``: what must become free, or the room to
    reach."""

    event: str
    provider: str
    resource_class: str = ""
    amount: int = 0
    trait: str = ""
    aggregate: str = ""


@valueclass(frozen=True, slots=True)
class Miss:
    """A tree that comes near: ids of the terms that it ``satisfies`` and ``fails``, and what is ``missing``.

    ``distance``: the least over all ways to give groups to providers. A short amount counts by its part of
    the need; a failed unit, trait, aggregate or rule counts 1. ``events``: all of them together make the tree
    serve the ask; empty if no change of providers does.
    """

    root: str
    distance: float
    satisfies: tuple[str, ...]
    fails: tuple[str, ...]
    missing: tuple[Missing, ...]
    events: tuple[UnlockingEvent, ...]


@valueclass(frozen=True, slots=True)
class TermChange:
    """A change of a term: ``drop``, or ``amount`` from one amount to a lower one."""

    op: str
    term: str
    before: int = 0
    after: int = 0

    @property
    def cost(self) -> float:
        """The part of the term that the change gives up."""
        return 1.0 if self.op == DROP else (self.before - self.after) / self.before


@valueclass(frozen=True, slots=True)
class Relaxation:
    """Changes with which the ask fits, all of them needed, and the trees that then serve it."""

    changes: tuple[TermChange, ...]
    feasible: int

    @property
    def cost(self) -> float:
        """Sum of the costs of all changes."""
        return sum(change.cost for change in self.changes)


@valueclass(frozen=True, slots=True)
class Explanation:
    """What a request finds on one snapshot, and why.

    ``verdict`` is for placing the request ``count`` times, all else for placing it once. ``also``: verdicts
    that would hold if the first one did not. ``exact`` is False if the steps ended early: counts are then
    lower bounds. ``feasible`` of ``trees`` serve the ask now, ``empty_cloud`` of them with nothing in use
    (None: not counted). ``chosen`` is the candidate that a claim would take, and ``alternatives`` are the
    next ones.
    """

    verdict: str
    also: tuple[str, ...]
    exact: bool
    feasible: int
    trees: int
    empty_cloud: int | None
    constraints: tuple[CountedTerm, ...]
    funnel: tuple[FunnelStep, ...]
    nearest: tuple[Miss, ...]
    relaxations: tuple[Relaxation, ...]
    unlocked_by: tuple[tuple[UnlockingEvent, ...], ...]
    chosen: Candidate | None
    alternatives: tuple[Candidate, ...]
    notes: tuple[str, ...]
    revision: int | None = None
    count: int = 1


@valueclass(frozen=True, slots=True)
class ExplainRequest:
    """How a request is explained.

    ``count``: how often to place the ask; the verdict is for all of these. ``at``: uuid of a provider,
    whose tree alone is asked. The others bound the parts of the answer.
    """

    count: int = 1
    at: str | None = None
    nearest: int = 5
    relaxations: int = 5
    alternatives: int = 3


@valueclass(frozen=True, slots=True)
class Lack:
    """A class of which a provider has too little room."""

    provider: str
    resource_class: str


@valueclass(frozen=True, slots=True)
class Holder:
    """A consumer that holds what is missing: ``resources`` by class. ``since`` is when it was made."""

    consumer: str
    consumer_type: str | None
    project_id: str
    resources: Mapping[str, int]
    since: datetime | None


@valueclass(frozen=True, slots=True)
class Holders:
    """Holders of what one tree lacks, the largest first. ``has_more``: not all were read."""

    holders: tuple[Holder, ...]
    has_more: bool


@valueclass(frozen=True, slots=True)
class HoldersAt:
    """Holders as they were at ``revision``, by the root of the tree."""

    revision: int
    by_root: Mapping[str, Holders]


@valueclass(frozen=True, slots=True)
class Explained:
    """An explanation with what is known of its providers. ``revision``: the state that was explained.

    ``names`` are those of the providers in it, by uuid. ``holders`` are by the root of a near miss. A tree
    that has changed since has none, and neither has any if they were not asked for: ``holders_revision`` is
    None then.
    """

    revision: int
    explanation: Explanation
    names: Mapping[str, str]
    holders: Mapping[str, Holders] = field(default_factory=dict)
    holders_revision: int | None = None
