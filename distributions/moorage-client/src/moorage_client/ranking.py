"""Candidates in order, the best one first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate with its ``score`` and the parts that make it up; ``root`` is its tree's root (a UUID).

    ``tie`` decides between equal scores: the least comes first.
    """

    allocations: Mapping[str, Mapping[str, int]]
    mappings: Mapping[str, tuple[str, ...]]
    root: str
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    tie: int = 0

    @classmethod
    def of(cls, data: Json) -> RankedCandidate:
        """From JSON."""
        return cls(
            {uuid: dict(amounts) for uuid, amounts in data["allocations"].items()},
            {suffix: tuple(uuids) for suffix, uuids in data["mappings"].items()},
            data["root"],
            data["score"],
            dict(data.get("parts") or {}),
            data.get("tie", 0),
        )


@dataclass(frozen=True)
class Ranking:
    """The best candidates at ``revision``.

    ``feasible_trees`` are all trees that can serve the request. ``exact``: no better candidate was left out.
    ``order`` is the order that was used; sent again, it gives the same list at the same revision.
    ``summaries`` has the providers of the candidates' trees by UUID, if they were asked for.
    """

    candidates: tuple[RankedCandidate, ...]
    revision: int
    exact: bool
    feasible_trees: int
    order: Json
    per_tree: str | None = None
    summaries: Mapping[str, Json] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> RankedCandidate | None:
        """The first candidate; None if nothing fits."""
        return self.candidates[0] if self.candidates else None

    @classmethod
    def of(cls, data: Json) -> Ranking:
        """From JSON."""
        return cls(
            tuple(map(RankedCandidate.of, data["candidates"])),
            data["revision"],
            data["exact"],
            data["feasible_trees"],
            dict(data["order"]),
            data.get("per_tree"),
            dict(data.get("summaries") or {}),
            tuple(data.get("notes") or ()),
        )
