"""Native claims: the entries of a request, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from moorage.model.errors import MoorageError
from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class Choice:
    """How the service has served an ask: the providers of each group.

    ``score`` and ``parts`` are those of the order that it was chosen by, if there was one. ``ranked_of``
    counts the trees that could serve it. ``found_on``: the snapshot that it was chosen on, if an
    explanation was asked for.
    """

    mappings: Mapping[str, tuple[str, ...]]
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    ranked_of: int | None = None
    found_on: object = field(default=None, compare=False, repr=False)


@valueclass(frozen=True, slots=True)
class ClaimOrigin:
    """What a consumer's claim asked for, and what its client noted on it.

    ``ask`` is canonical JSON. ``profile`` names the order that its place was chosen by. ``decided_at`` is the
    revision of the state on which it was chosen, None where the client chose.
    """

    ask: str | None = None
    profile: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    decided_at: int | None = None


@valueclass(frozen=True, slots=True)
class GrantedEntry:
    """A claim that holds: amounts by provider and class, and the generation of its consumer."""

    consumer: str
    generation: int
    allocations: Mapping[str, Mapping[str, int]]
    choice: Choice | None = None


@valueclass(frozen=True, slots=True)
class ChosenOn:
    """The state on which places were chosen: that at ``revision``, and the first ``after`` writes of the same
    transaction."""

    revision: int
    after: int = 0


@valueclass(frozen=True, slots=True)
class Granted:
    """What became of each entry, in their order: a claim, or why it is none.

    ``decision`` is there if the service has chosen places.
    """

    entries: tuple[GrantedEntry | MoorageError, ...]
    decision: ChosenOn | None = None
