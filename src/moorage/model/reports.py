"""Reports of what is really there, and the findings where a report and the account disagree.

Amounts are by provider uuid and resource class. Times are milliseconds of service time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from moorage.model.valueclass import valueclass

Amounts = Mapping[str, Mapping[str, int]]

LEAKED: Final = "leaked"
MISSING: Final = "missing"
DIFFERS: Final = "differs"
MOVED: Final = "moved"

KINDS: Final = (LEAKED, MISSING, DIFFERS, MOVED)
"""Kinds of findings: held and not reported; reported and not held; other amounts; held of another tree."""

OPEN: Final = "open"
SUSPECT: Final = "suspect"
IGNORED: Final = "ignored"
ACTING: Final = "acting"
QUARANTINED: Final = "quarantined"

STATES: Final = (OPEN, SUSPECT, IGNORED, ACTING, QUARANTINED)
"""States of a finding. ``suspect``: it came with a report that has far fewer consumers than the last one.
``acting``: an action was begun; what came of it is in ``ReportFinding.trouble``, if it was refused."""

QUARANTINE: Final = "quarantine"
RELEASE: Final = "release"
CLAIM: Final = "claim"

ACTIONS: Final = (QUARANTINE, RELEASE, CLAIM)
"""What heals a finding. ``release`` gives back, ``claim`` takes, ``quarantine`` keeps the capacity taken."""


@valueclass(frozen=True, slots=True)
class ClaimOwner:
    """Whose a reported consumer is: what a claim for it needs."""

    project_id: str
    user_id: str
    consumer_type: str | None = None


@valueclass(frozen=True, slots=True)
class Report:
    """What a source knows to be there, in the trees that it covers.

    ``trees``: uuids of their roots. ``consumer_types``: only consumers of these types are the source's
    business, ``unknown`` for those without one; None: all are. ``complete``: whatever is not named is not
    there. ``consumers``: what each consumer has of the trees' providers, None where the source does not know.
    ``accept_shrink``: it may have far fewer consumers than the last report.
    """

    source: str
    trees: frozenset[str]
    consumers: Mapping[str, Amounts | None]
    complete: bool = True
    consumer_types: frozenset[str] | None = None
    owners: Mapping[str, ClaimOwner] = field(default_factory=dict)
    accept_shrink: bool = False


@valueclass(frozen=True, slots=True)
class HeldClaim:
    """All that a consumer holds, of any tree.

    ``version`` tells this state of the claim from any other one of the same consumer.
    """

    version: str
    owner: ClaimOwner
    held: Amounts


def claim_version(row: int | None, generation: int, made: str | None = None) -> str:
    """The version of a claim: the id of its consumer's row, and the generation, which each change raises.

    SQLite may give the id of a row that is gone again. So the version also has when the consumer was made,
    where that is known.
    """
    return f"{row}.{generation}" if made is None else f"{row}.{generation} {made}"


def is_version(version: str | None, known: str | None) -> bool:
    """Whether ``known``, which may lack when the consumer was made, is ``version``. None: there is none."""
    return known == (None if version is None else version.partition(" ")[0])


@valueclass(frozen=True, slots=True)
class ReportedTree:
    """How many consumers of a tree a source has reported.

    ``consumers``: the last number that is believed; ``counted_at`` is when it was last set. ``doubted``: the
    number of a suspect report, ``doubted_at`` when it came; None if there is none.
    """

    consumers: int
    counted_at: int
    doubted: int | None = None
    doubted_at: int | None = None


@valueclass(frozen=True, slots=True)
class ReportFinding:
    """A disagreement of a source with the account about one consumer.

    ``tree`` is one of those that it is about. ``since`` is when it was first seen as it is now. ``version``:
    that of the claim, None if there is none. ``held`` is the part of the claim that the source covers,
    ``reported`` what it says. ``rest``: what the consumer holds besides. ``revision``: the state that the
    report was last compared with. ``action`` is what will heal it, None if nothing will by itself.
    ``acted_at``: when an action was last begun. ``trouble``: why it was refused.
    """

    id: str
    source: str
    kind: str
    consumer: str
    tree: str
    state: str
    since: int
    version: str | None
    held: Amounts
    reported: Amounts | None
    rest: Amounts
    owner: ClaimOwner | None
    revision: int
    action: str | None = None
    acted_at: int | None = None
    trouble: str | None = None

    @property
    def target(self) -> Amounts:
        """What the consumer holds once the finding is healed."""
        return {**self.rest, **(self.reported or {})}


@valueclass(frozen=True, slots=True)
class Comparison:
    """What a report is compared with: the state at ``revision``, and what the source has reported before.

    ``now``: the service time. ``roots``: the root of each provider of the trees that are covered. ``claims``:
    those that hold something of them, and those of all consumers that are reported. ``trees``: what the
    source has reported of them before. ``findings``: those of the source in these trees, by id.
    """

    revision: int
    now: int
    roots: Mapping[str, str]
    claims: Mapping[str, HeldClaim]
    trees: Mapping[str, ReportedTree]
    findings: Mapping[str, ReportFinding]


@valueclass(frozen=True, slots=True)
class KnownFinding:
    """A finding as it is kept. ``at``: when it was first seen, in seconds since 1970."""

    finding: ReportFinding
    at: int


@valueclass(frozen=True, slots=True)
class FindingSelection:
    """Which findings are wanted: all that have every part that is not None, with ids above ``after``."""

    limit: int
    after: str = ""
    source: str | None = None
    kind: str | None = None
    state: str | None = None
    consumer: str | None = None


@valueclass(frozen=True, slots=True)
class FindingPage:
    """A page of findings at the service time ``now``, by id. ``total``: how many are selected in all."""

    now: int
    findings: tuple[KnownFinding, ...]
    total: int
    has_more: bool


@valueclass(frozen=True, slots=True)
class SourceFigures:
    """A source in numbers.

    ``at``: its last report, in seconds since 1970. ``findings``: how many there are, by kind. ``suspect``:
    how many of its trees are suspect.
    """

    source: str
    at: int
    findings: Mapping[str, int]
    suspect: int


@valueclass(frozen=True, slots=True)
class Carried:
    """What came of an action: the revision of its write, or why it was refused."""

    finding: ReportFinding
    action: str
    revision: int | None = None
    trouble: str | None = None


@valueclass(frozen=True, slots=True)
class Received:
    """What came of a report.

    ``revision``: the state that it was compared with. ``held_back``: findings that are due, and must wait
    because there were too many actions within the last hour.
    """

    revision: int
    suspect: frozenset[str]
    carried: tuple[Carried, ...]
    held_back: int


@valueclass(frozen=True, slots=True)
class Safeguards:
    """What bounds the actions of a source.

    ``settle_ms``: how long a disagreement must last before anything is done about it. ``heal``: the
    ``ACTIONS`` that are allowed.
    """

    settle_ms: int
    heal: frozenset[str] = frozenset()


@valueclass(frozen=True, slots=True)
class Judgement:
    """What a report means: findings as they are now, those that are gone, and those to act on, in order.

    ``suspect``: the trees whose findings cause nothing, because far fewer consumers were reported.
    """

    trees: Mapping[str, ReportedTree]
    findings: tuple[ReportFinding, ...]
    gone: frozenset[str]
    due: tuple[ReportFinding, ...]
    suspect: frozenset[str]
