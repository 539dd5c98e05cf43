"""What is in use of providers, remembered from one group of claims to the next.

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

from moorage.rules.state import Used

MOST_PROVIDERS: Final = 10_000
"""Remembered per connection, some 10 MB at the most; then it starts anew."""

LONGEST_SECONDS: Final = 10.0
"""A sum is asked for again after so long. Who changes allocations behind our back, by hand, changes no
revision, and shall not mislead us for good."""

DISTRUSTED_GROUPS: Final = 64
"""So many groups are decided without the memory once it was found outdated: where several processes write
it mostly is, and to find that out costs a statement."""

_KEY: Final = "moorage.usage"


@dataclass(frozen=True, slots=True)
class _Sum:
    generation: int
    used: Used
    read_at: float


@dataclass(slots=True)
class UsageMemory:
    """The memory of one connection, which one thread uses at a time. ``owner``: whose names it goes by."""

    owner: object
    _revision: int = -1
    _distrusted: int = 0
    _sums: dict[int, _Sum] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: sa.Connection, owner: object) -> UsageMemory:
        """The one of ``connection``; it ends with it."""
        memory: UsageMemory | None = connection.info.get(_KEY)
        if memory is None or memory.owner is not owner:
            memory = connection.info[_KEY] = cls(owner)
        return memory

    def recall(self, generations: Mapping[int, int]) -> dict[int, Used]:
        """What is known of these providers, by id, if the revision still is the same: see ``holds``.

        ``generations``: what they are now, with the providers' locks in hand.
        """
        oldest = time.monotonic() - LONGEST_SECONDS
        found: dict[int, Used] = {}
        for id_ in self._sums.keys() & generations.keys():
            known = self._sums[id_]
            if known.generation == generations[id_] and known.read_at >= oldest:
                found[id_] = known.used
            else:
                del self._sums[id_]
        return found

    def holds(self, revision: int) -> bool:
        """Whether what was recalled is true at ``revision``. If not, all is forgotten for a while."""
        if revision == self._revision:
            return True
        self.forget()
        self._distrusted = DISTRUSTED_GROUPS
        return False

    def learn(self, before: int, after: int, found: Mapping[int, tuple[int, Used]]) -> None:
        """Remember generation and use of providers, by id, as a group left them.

        ``before``: the revision at which it had read them. ``after``: the one that it made of that. If
        others have written in between, the next group will find a higher one.
        """
        if self._distrusted:
            self._distrusted -= 1
            return
        if before != self._revision or len(self._sums) + len(found) > MOST_PROVIDERS:
            self._sums.clear()
        now = time.monotonic()
        for id_, (generation, used) in found.items():
            known = self._sums.get(id_)
            # A sum that goes on from a remembered one is as old as that.
            self._sums[id_] = _Sum(generation, used, now if known is None else known.read_at)
        self._revision = after

    def forget(self) -> None:
        """Know nothing any more."""
        self._sums.clear()
        self._revision = -1
