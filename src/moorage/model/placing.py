"""Native claims: the entries of a request, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping

from moorage.model.errors import MoorageError
from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class GrantedEntry:
    """A claim that holds: amounts by provider and class, and the generation of its consumer."""

    consumer: str
    generation: int
    allocations: Mapping[str, Mapping[str, int]]


@valueclass(frozen=True, slots=True)
class Granted:
    """What became of each entry, in their order: a claim, or why it is none."""

    entries: tuple[GrantedEntry | MoorageError, ...]
