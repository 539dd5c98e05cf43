"""Leases as clients ask for them: renewals that wait together are carried out together."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from moorage.model.commands import Batch, DetachClaim, ReleaseOfLease
from moorage.model.errors import AttachmentNotFoundError
from moorage.model.leases import Gone, LeaseAt, LeaseCounts, LeasePage, LeaseSelection, Renewed
from moorage.model.values import Requester
from moorage.rules.state import MOST_LEFT
from moorage.service.keeper import TOGETHER, Execute, TimeKeeper
from moorage.service.observer import Observer
from moorage.store.leases import LeaseTable
from moorage.store.store import Store


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request for renewals, and its answer."""

    wanted: Collection[str]
    revision: int = 0
    found: dict[str, Renewed | Gone] = field(default_factory=dict)
    error: Exception | None = None
    answered: bool = False


class LeaseService:
    """Safe for use by several threads. Every method may raise UnavailableError.

    ``keeper`` ends leases whose time has come, once it is started.
    """

    def __init__(self, store: Store, execute: Execute, observer: Observer | None = None) -> None:
        """``execute`` carries out commands: see ``Committer.execute``."""
        self._table = LeaseTable(store)
        self.keeper = TimeKeeper(self._table, self, execute, observer)
        self._execute = execute
        self._observer = observer
        self._waiting: list[_Waiting] = []
        self._turn = threading.Lock()

    def lease(self, uuid: str) -> tuple[int, LeaseAt]:
        """Revision and lease. Raises LeaseNotFoundError."""
        return self._table.lease(uuid)

    def page(self, wanted: LeaseSelection) -> tuple[int, LeasePage]:
        """Revision and a page of leases."""
        return self._table.page(wanted)

    def counts(self) -> LeaseCounts:
        """How many leases are in each state, with service time."""
        return self._table.counts()

    def renew(
        self, wanted: Collection[str], project_id: str | None = None
    ) -> tuple[int, list[Renewed | Gone]]:
        """Renew leases; revision and what became of each, in their order.

        With ``project_id`` leases of other projects are not known. Requests that come while a transaction is
        on its way share the next one.
        """
        # A lease never changes its project.
        own = wanted if project_id is None else self._table.of_project(wanted, project_id)
        mine = _Waiting(frozenset(own))
        self._waiting.append(mine)
        with self._turn:
            if not mine.answered:
                taken, self._waiting = self._waiting, []
                self._renew(taken)
        if mine.error is not None:
            raise mine.error
        # What is found is of all requests together.
        became = [mine.found[uuid] if uuid in mine.wanted else Gone(uuid) for uuid in dict.fromkeys(wanted)]
        if self._observer is not None:
            self._observer.leases_renewed(sum(isinstance(each, Renewed) for each in became))
        return mine.revision, became

    def _renew(self, taken: list[_Waiting]) -> None:
        together = {uuid for each in taken for uuid in each.wanted}
        try:
            revision, found = self._table.renew(together)
        except Exception as error:  # noqa: BLE001 - each request raises it
            for each in taken:
                each.error, each.answered = error, True
            return
        for each in taken:
            each.revision, each.found, each.answered = revision, found, True

    def take_away(self, uuid: str, requester: Requester) -> int:
        """Take away the claims of a lease that has ended; returns how many. Safe to repeat."""
        taken, is_all = 0, False
        while not is_all:
            count, ended = self.take_some((uuid,), requester)
            taken += count
            is_all = ended > 0
        return taken

    def let_some_go(self, uuid: str, requester: Requester) -> None:
        """Take some of the claims off a lease that has not ended: as many as stay when one ends at once.

        None if one of them is gone meanwhile. Raises LeaseNotFoundError, LeaseGoneError.
        """
        found = self._table.hanging((uuid,), MOST_LEFT)
        with suppress(AttachmentNotFoundError):
            self._execute(Batch(tuple([DetachClaim(uuid, consumer) for _, consumer in found])), requester)

    def take_some(self, uuids: Sequence[str], requester: Requester) -> tuple[int, int]:
        """As ``take_away``, of the first of several leases, ``TOGETHER`` claims at most.

        Returns how many were taken away, and on how many of the leases none hangs any more.
        """
        # As many leases as have few enough claims together, in powers of two; or a part of the first one's.
        first = list(uuids[:TOGETHER])
        found = self._table.hanging(first, TOGETHER + 1)
        while len(found) > TOGETHER and len(first) > 1:
            first = first[: len(first) // 2]
            found = self._table.hanging(first, TOGETHER + 1)
        is_all = len(found) <= TOGETHER
        hanging = defaultdict[str, list[str]](list)
        for uuid, consumer in found[:TOGETHER]:
            hanging[uuid].append(consumer)
        command = ReleaseOfLease(
            {uuid: tuple(sorted(hanging[uuid])) for uuid in first}, frozenset(first if is_all else ())
        )
        return len(self._execute(command, requester).released), len(first) if is_all else 0
