"""Why a request finds no room, or what it finds. All counts are of trees of providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


def _texts(data: Json, key: str) -> tuple[str, ...]:
    return tuple(data.get(key) or ())


@dataclass(frozen=True)
class Constraint:
    """One thing that the request asks for, and in how many trees it matters.

    ``alone``: trees that meet this one by itself. ``without``: trees that meet all others. ``empty_cloud``:
    as ``alone``, with nothing of the class in use. A count is None if it was not made.
    """

    id: str
    kind: str
    group: str | None = None
    resource_class: str | None = None
    amount: int | None = None
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    in_tree: str | None = None
    rule: str | None = None
    groups: tuple[str, ...] = ()
    alone: int | None = None
    without: int | None = None
    empty_cloud: int | None = None

    @classmethod
    def of(cls, data: Json) -> Constraint:
        """From JSON."""
        return cls(
            data["id"],
            data["kind"],
            data.get("group"),
            data.get("resource_class"),
            data.get("amount"),
            _texts(data, "traits"),
            _texts(data, "aggregates"),
            data.get("in_tree"),
            data.get("rule"),
            _texts(data, "groups"),
            data.get("alone"),
            data.get("without"),
            data.get("empty_cloud"),
        )


@dataclass(frozen=True)
class Missing:
    """What one provider lacks: ``short`` of a class, ``units`` that an amount does not meet, traits or
    aggregates. ``name`` is None if the token may not see providers."""

    provider: str | None = None
    name: str | None = None
    constraint: str | None = None
    resource_class: str | None = None
    need: int | None = None
    room: int | None = None
    short: int | None = None
    units: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Json) -> Missing:
        """From JSON."""
        return cls(
            data.get("provider"),
            data.get("name"),
            data.get("constraint"),
            data.get("resource_class"),
            data.get("need"),
            data.get("room"),
            data.get("short"),
            _texts(data, "units"),
            _texts(data, "traits"),
            _texts(data, "aggregates"),
        )


@dataclass(frozen=True)
class Holder:
    """A consumer that holds what is missing, and since when (in ISO 8601)."""

    resources: Mapping[str, int]
    consumer: str | None = None
    consumer_type: str | None = None
    project_id: str | None = None
    since: str | None = None

    @classmethod
    def of(cls, data: Json) -> Holder:
        """From JSON."""
        return cls(
            dict(data.get("resources") or {}),
            data.get("consumer"),
            data.get("consumer_type"),
            data.get("project_id"),
            data.get("since"),
        )


@dataclass(frozen=True)
class Miss:
    """A tree that comes near: ids of the constraints that it ``satisfies`` and ``fails``.

    ``held_by_more``: there are further holders.
    """

    root: str | None
    name: str | None
    distance: float
    satisfies: tuple[str, ...]
    fails: tuple[str, ...]
    missing: tuple[Missing, ...]
    held_by: tuple[Holder, ...]
    held_by_more: bool = False

    @classmethod
    def of(cls, data: Json) -> Miss:
        """From JSON."""
        return cls(
            data.get("root"),
            data.get("name"),
            float(data.get("distance", 0)),
            _texts(data, "satisfies"),
            _texts(data, "fails"),
            tuple(map(Missing.of, data.get("missing") or ())),
            tuple(map(Holder.of, data.get("held_by") or ())),
            bool(data.get("held_by_more")),
        )


@dataclass(frozen=True)
class Change:
    """What a relaxation does with a constraint: ``drop`` it, or take its ``amount`` from one to another."""

    op: str
    constraint: str
    before: int | None = None
    after: int | None = None

    @classmethod
    def of(cls, data: Json) -> Change:
        """From JSON."""
        return cls(data["op"], data["constraint"], data.get("from"), data.get("to"))


@dataclass(frozen=True)
class Relaxation:
    """Changes with which the request fits, all of them needed, and the trees that then serve it."""

    changes: tuple[Change, ...]
    feasible: int
    cost: float

    @classmethod
    def of(cls, data: Json) -> Relaxation:
        """From JSON."""
        changes = tuple(map(Change.of, data.get("changes") or ()))
        return cls(changes, int(data.get("feasible", 0)), float(data.get("cost", 0)))


@dataclass(frozen=True)
class Event:
    """A change of one provider that brings the request nearer."""

    event: str
    provider: str | None = None
    name: str | None = None
    resource_class: str | None = None
    amount: int | None = None
    trait: str | None = None
    aggregate: str | None = None

    @classmethod
    def of(cls, data: Json) -> Event:
        """From JSON."""
        return cls(
            data["event"],
            data.get("provider"),
            data.get("name"),
            data.get("resource_class"),
            data.get("amount"),
            data.get("trait"),
            data.get("aggregate"),
        )


@dataclass(frozen=True)
class Candidate:
    """A place for the request: amounts by the UUID of the provider, and which providers serve which group.

    ``names`` has the names of providers, if the token may see them.
    """

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, Sequence[str]]
    names: Mapping[str, str]

    @classmethod
    def of(cls, data: Json) -> Candidate:
        """From JSON."""
        return cls(data["allocations"], data.get("mappings") or {}, data.get("names") or {})


@dataclass(frozen=True)
class FunnelStep:
    """Trees that meet all constraints up to ``after`` (its id)."""

    after: str
    left: int


@dataclass(frozen=True)
class Explanation:
    """The answer to "why": true at ``revision``. Each list of ``unlocked_by`` makes the request fit.

    ``verdict`` is the first that holds, ``also`` names further ones. ``feasible`` of ``trees`` serve the
    request now. If ``exact`` is false, counts are lower bounds. ``chosen`` is the candidate that a claim
    would take, if it fits. A token that may not see single trees gets no ``nearest``, no ``unlocked_by`` and
    no candidates. Of a search of the past there are also its ``ask``, when it was (``at``), the id that its
    client sent, and ``others`` with the same id. ``raw`` is the whole answer, with
    fields that this client does not know.
    """

    verdict: str
    summary: str
    revision: int | None
    exact: bool
    feasible: int
    trees: int
    empty_cloud: int | None
    also: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    funnel: tuple[FunnelStep, ...]
    nearest: tuple[Miss, ...]
    relaxations: tuple[Relaxation, ...]
    unlocked_by: tuple[tuple[Event, ...], ...]
    chosen: Candidate | None
    alternatives: tuple[Candidate, ...]
    notes: tuple[str, ...]
    holders_revision: int | None
    request_id: str | None
    global_request_id: str | None
    ask: Json | None
    at: str | None
    others: tuple[str, ...]
    raw: Json = field(repr=False, compare=False)

    @property
    def fits(self) -> bool:
        """Whether the request finds room."""
        return self.verdict == "fits"

    @classmethod
    def of(cls, data: Json) -> Explanation:
        """From JSON."""
        return cls(
            verdict=data["verdict"],
            summary=data.get("summary", ""),
            revision=data.get("revision"),
            exact=bool(data.get("exact", True)),
            feasible=int(data.get("feasible") or 0),
            trees=int(data.get("trees") or 0),
            empty_cloud=data.get("empty_cloud"),
            also=_texts(data, "also"),
            constraints=tuple(map(Constraint.of, data.get("constraints") or ())),
            funnel=tuple(FunnelStep(step["after"], step["left"]) for step in data.get("funnel") or ()),
            nearest=tuple(map(Miss.of, data.get("nearest") or ())),
            relaxations=tuple(map(Relaxation.of, data.get("relaxations") or ())),
            unlocked_by=tuple(_events(each) for each in data.get("unlocked_by") or ()),
            chosen=Candidate.of(data["chosen"]) if data.get("chosen") else None,
            alternatives=tuple(map(Candidate.of, data.get("alternatives") or ())),
            notes=_texts(data, "notes"),
            holders_revision=data.get("holders_revision"),
            request_id=data.get("request_id"),
            global_request_id=data.get("global_request_id"),
            ask=data.get("ask"),
            at=data.get("at"),
            others=_texts(data, "others"),
            raw=data,
        )


def explanation_in(data: Json) -> Explanation | None:
    """The explanation of a refusal; None if there is none, or it only says where it will be."""
    told = data.get("explanation") or {}
    return Explanation.of(told) if "verdict" in told else None


def _events(data: Any) -> tuple[Event, ...]:
    return tuple(map(Event.of, [data] if isinstance(data, Mapping) else data))


@dataclass(frozen=True)
class UnmetAsk:
    """Equal searches that found nothing for the same reason. The ids are those of the newest one."""

    ask: Json
    verdict: str
    count: int
    first_at: str
    last_at: str
    request_id: str
    global_request_id: str | None

    @classmethod
    def of(cls, data: Json) -> UnmetAsk:
        """From JSON."""
        return cls(
            data["ask"],
            data["verdict"],
            data["count"],
            data["first_at"],
            data["last_at"],
            data["request_id"],
            data.get("global_request_id"),
        )
