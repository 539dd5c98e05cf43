"""What providers have and what of it is in use, remembered from one group of claims to the next.

The sum over all that a provider has given away grows with it: a shared pool of storage may have tens of
thousands of holders. A connection that has written the last revision knows the sums that it left, and
whoever has the provider's lock and finds that revision, and the provider's generation, still the same knows
that they hold. Whatever else it finds, it asks the database.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from moorage.model.valueclass import valueclass
from moorage.rules.state import Inventories, Used

MOST_PROVIDERS: Final = 10_000
"""Remembered per connection, some 10 MB at the most; then it starts anew."""

LONGEST_SECONDS: Final = 10.0
"""A sum is asked for again after so long. Who changes allocations behind our back, by hand, changes no
revision, and shall not mislead us for good."""

DISTRUSTED_GROUPS: Final = 64
"""So many groups are decided without the memory once it was found outdated: where several processes write
it mostly is, and to find that out costs a statement."""

_KEY: Final = "moorage.usage"


@valueclass(frozen=True, slots=True)
class Facts:
    """What a provider has, None if that is not known, and what of it is in use."""

    used: Used
    inventories: Inventories | None = None


@valueclass(frozen=True, slots=True)
class _Known:
    generation: int
    facts: Facts
    read_at: float


@dataclass(slots=True)
class UsageMemory:
    """The memory of one connection, which one thread uses at a time. ``owner``: whose names it goes by."""

    owner: object
    _revision: int = -1
    _distrusted: int = 0
    _known: dict[int, _Known] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: sa.Connection, owner: object) -> UsageMemory:
        """The one of ``connection``; it ends with it."""
        memory: UsageMemory | None = connection.info.get(_KEY)
        if memory is None or memory.owner is not owner:
            memory = connection.info[_KEY] = cls(owner)
        return memory

    def recall(self, generations: Mapping[int, int]) -> dict[int, Facts]:
        """What is known of these providers, by id, if the revision still is the same: see ``holds``.

        ``generations``: what they are now, with the providers' locks in hand.
        """
        oldest = time.monotonic() - LONGEST_SECONDS
        found: dict[int, Facts] = {}
        for id_ in self._known.keys() & generations.keys():
            known = self._known[id_]
            if known.generation == generations[id_] and known.read_at >= oldest:
                found[id_] = known.facts
            else:
                del self._known[id_]
        return found

    def holds(self, revision: int) -> bool:
        """Whether what was recalled is true at ``revision``. If not, all is forgotten for a while."""
        if revision == self._revision:
            return True
        self.forget()
        self._distrusted = DISTRUSTED_GROUPS
        return False

    def learn(self, before: int, after: int, found: Mapping[int, tuple[int, Facts]]) -> None:
        """Remember generation and facts of providers, by id, as a group left them; it changed no inventory.

        ``before``: the revision at which it had read them. ``after``: the one that it made of that. If
        others have written in between, the next group will find a higher one.
        """
        if self._distrusted:
            self._distrusted -= 1
            return
        if before != self._revision or len(self._known) + len(found) > MOST_PROVIDERS:
            self._known.clear()
        now = time.monotonic()
        for id_, (generation, facts) in found.items():
            known = self._known.get(id_)
            if known is None:
                self._known[id_] = _Known(generation, facts, now)
                continue
            if facts.inventories is None:
                facts = Facts(facts.used, known.facts.inventories)
            # A sum that goes on from a remembered one is as old as that.
            self._known[id_] = _Known(generation, facts, known.read_at)
        self._revision = after

    def forget(self) -> None:
        """Know nothing any more."""
        self._known.clear()
        self._revision = -1
