"""Reports of what is really there, and the findings where a report and the account disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

Amounts = Mapping[str, Mapping[str, int]]
"""Amounts by class, by the UUID of the provider."""


@dataclass(frozen=True)
class Finding:
    """A disagreement about one consumer. ``kind`` is ``leaked``, ``missing``, ``differs`` or ``moved``.

    ``held`` is what the source covers of the claim, ``rest`` what the consumer holds besides. ``action`` is
    what the service does of itself with a report that still shows the finding in ``due_in_seconds``.
    ``trouble`` says why the last action was refused.
    """

    id: str
    source: str
    kind: str
    state: str
    consumer: str
    tree: str
    held: Amounts
    reported: Amounts | None
    rest: Amounts
    project_id: str | None
    consumer_type: str | None
    since: str
    age_seconds: int
    compared_at: int
    action: str | None
    due_in_seconds: int | None
    trouble: str | None

    @classmethod
    def of(cls, data: Json) -> Finding:
        """From JSON."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class ActionTaken:
    """What the service has done about a finding: the ``revision`` of its write, or the ``trouble``."""

    finding: str
    kind: str
    consumer: str
    action: str
    revision: int | None
    trouble: str | None

    @classmethod
    def of(cls, data: Json) -> ActionTaken:
        """From JSON."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Reported:
    """What came of a report.

    ``suspect`` are trees whose findings cause nothing, since far fewer consumers were reported than before.
    ``findings`` are those of the source, 500 at most; ``total`` counts all. ``held_back``: findings that are
    due, and wait because there were too many actions within the last hour.
    """

    source: str
    revision: int
    suspect: tuple[str, ...]
    actions: tuple[ActionTaken, ...]
    held_back: int
    findings: tuple[Finding, ...]
    total: int

    @classmethod
    def of(cls, data: Json) -> Reported:
        """From JSON."""
        return cls(
            data["source"],
            data["revision"],
            tuple(data["suspect"]),
            tuple(map(ActionTaken.of, data["actions"])),
            data["held_back"],
            tuple(map(Finding.of, data["findings"])),
            data["total"],
        )


@dataclass(frozen=True)
class Resolved:
    """What became of a finding. A healed one has the ``consumer`` with what it holds now."""

    finding: str
    state: str
    revision: int
    consumer: str | None = None
    generation: int | None = None
    held: Amounts | None = None
    replayed: bool = False
    state_now: str | None = None

    @classmethod
    def of(cls, data: Json) -> Resolved:
        """From JSON."""
        return cls(
            data["finding"],
            data["state"],
            data["revision"],
            data.get("consumer"),
            data.get("generation"),
            data.get("held"),
            bool(data.get("replayed")),
            data.get("state_now"),
        )
