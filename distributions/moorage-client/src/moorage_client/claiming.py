"""What to claim, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moorage_client.ask import Question, as_json
from moorage_client.explanation import Explanation, explanation_in

Json = Mapping[str, Any]

Amounts = Mapping[str, Mapping[str, int]]
"""Amounts by class, by the UUID of the provider."""


@dataclass(frozen=True)
class Entry:
    """One claim, or ``count`` equal ones, with an ``ask`` or exact ``allocations``.

    The service makes the consumers unless ``consumers`` names as many UUIDs as ``count``. ``order`` is the
    JSON of an Order; without it the first place is taken. With ``consumer`` and its ``generation`` the entry
    replaces what this consumer holds. ``keep_old_as`` is then the UUID of a new consumer that takes that
    over. Project and user are the requester's by default. ``name`` comes back with each claim, and ``labels``
    are kept with it: ``claim_of`` shows them. ``lease`` is the UUID of an active lease, with which the claim
    ends.
    """

    ask: Question | None = None
    allocations: Amounts | None = None
    count: int | None = None
    name: str | None = None
    order: Json | None = None
    consumers: Sequence[str] | None = None
    consumer: str | None = None
    generation: int | None = None
    keep_old_as: str | None = None
    consumer_type: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    labels: Mapping[str, str] | None = None
    lease: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry as the API reads it."""
        parts: dict[str, Any] = {
            **vars(self),
            "ask": None if self.ask is None else as_json(self.ask),
            "allocations": _written(self.allocations),
            "consumers": None if self.consumers is None else list(self.consumers),
        }
        return {name: part for name, part in parts.items() if part is not None}


@dataclass(frozen=True)
class NewClaim:
    """One claim that was made: what the consumer holds now, by the UUID of the provider.

    ``entry`` is the number of its entry, ``index`` its own there. ``mappings`` has providers by the suffix of
    a group, if the place was searched for. ``score`` and its ``parts`` are there if an order chose the place
    among ``ranked_of`` trees. ``explanation`` says why it is where it is, if that was asked for.
    """

    consumer: str
    generation: int
    allocations: Amounts
    entry: int = 0
    index: int = 0
    name: str | None = None
    mappings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    ranked_of: int | None = None
    explanation: Explanation | None = None

    @classmethod
    def of(cls, data: Json) -> NewClaim:
        """From JSON."""
        return cls(
            data["consumer"],
            data["generation"],
            {uuid: dict(held["resources"]) for uuid, held in data["allocations"].items()},
            data["entry"],
            data["index"],
            data.get("name"),
            {suffix: tuple(uuids) for suffix, uuids in (data.get("mappings") or {}).items()},
            data.get("score"),
            dict(data.get("parts") or {}),
            data.get("ranked_of"),
            Explanation.of(data["explanation"]) if data.get("explanation") else None,
        )


@dataclass(frozen=True)
class Unplaced:
    """A claim that was not made, and why: ``code`` is that of a problem.

    ``explanation`` is None if the service gives none, or gives it later.
    """

    code: str
    detail: str
    entry: int = 0
    index: int = 0
    name: str | None = None
    explanation: Explanation | None = None

    @classmethod
    def of(cls, data: Json) -> Unplaced:
        """From JSON."""
        return cls(
            data["code"],
            data["detail"],
            data["entry"],
            data["index"],
            data.get("name"),
            explanation_in(data),
        )


@dataclass(frozen=True)
class Claimed:
    """The claims of one request, committed at ``revision``; places were chosen at ``decided_at``.

    If ``replayed``, an earlier request with the same key made them, and ``state_now`` says what became of
    them since: ``held``, ``changed`` or ``released``.
    """

    claims: tuple[NewClaim, ...]
    unplaced: tuple[Unplaced, ...]
    revision: int
    decided_at: int | None = None
    replayed: bool = False
    state_now: str | None = None

    @classmethod
    def of(cls, data: Json) -> Claimed:
        """From JSON."""
        return cls(
            tuple(map(NewClaim.of, data["claims"])),
            tuple(map(Unplaced.of, data.get("unplaced") or ())),
            data["revision"],
            data.get("decided_at"),
            bool(data.get("replayed")),
            data.get("state_now"),
        )


@dataclass(frozen=True)
class Released:
    """Consumers that hold nothing since ``revision``; ``absent`` are those that held nothing before.

    ``replayed`` and ``state_now`` are as in ``Claimed``.
    """

    released: tuple[str, ...]
    absent: tuple[str, ...]
    revision: int
    replayed: bool = False
    state_now: str | None = None

    @classmethod
    def of(cls, data: Json) -> Released:
        """From JSON."""
        return cls(
            tuple(data["released"]),
            tuple(data["absent"]),
            data["revision"],
            bool(data.get("replayed")),
            data.get("state_now"),
        )


def _written(amounts: Amounts | None) -> dict[str, Any] | None:
    if amounts is None:
        return None
    return {provider: {"resources": dict(each)} for provider, each in amounts.items()}
