"""One write transaction: read and lock, write the difference, log, commit.

The nouns of the account read and write their rows (``store.nouns``); this module says in which order. The
number of statements depends on the kinds of things that are read and changed, not on how many there are.
Generations are guarded: an update that does not find the generation that was read has lost against another
writer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.rules.journal import Record
from moorage.rules.state import State, Touch
from moorage.store.changes import changelog
from moorage.store.changes.news import CLAIM_KINDS, OwnClaims
from moorage.store.nouns import consumers, order, providers
from moorage.store.nouns.keys import plan_keys
from moorage.store.nouns.leases import few, hanging_on, plan_leases, plan_left_claims
from moorage.store.nouns.noun import GroupWork, NotNewError
from moorage.store.nouns.origins import plan_origins
from moorage.store.sql import statements
from moorage.store.sql.errors import DRIVER_ERRORS, translate
from moorage.store.sql.statements import Planned
from moorage.store.store import Store

LOG = logging.getLogger(__name__)


@valueclass(frozen=True, slots=True)
class Write:
    """One command's part of a transaction, for the change log. ``key``: id of its idempotency key.

    ``record``: what the journal keeps of it. ``leases``: those that it changes.
    """

    kind: str
    providers: frozenset[str]
    changes_names: bool
    requester: Requester
    key: str | None = None
    record: Record | None = None
    leases: tuple[str, ...] = ()


@valueclass(frozen=True, slots=True)
class Raised:
    """The revision before a transaction's writes, and the one after them."""

    before: int
    after: int


@dataclass(eq=False)
class WriteTransaction:
    """A context. Unless ``commit`` was called, leaving it rolls back.

    ``revision``
        the last committed write when the state was read; None if the read did not ask for it.
    ``raised``
        what ``write`` did to the revision, whose lock it holds from then on; None if that is not known.
    ``own_claims``
        what was committed, if it was claims only and their revisions are known; else None.

    All methods raise the errors of ``store.sql.errors`` and UnavailableError.
    """

    store: Store
    revision: int | None = field(default=None, init=False)
    raised: Raised | None = field(default=None, init=False)
    own_claims: OwnClaims | None = field(default=None, init=False)
    _connection: sa.Connection = field(init=False)
    _memory: consumers.UsageMemory = field(init=False)
    _work: GroupWork = field(init=False)
    _before: State = field(init=False)
    _writes: int = field(default=0, init=False)
    _committed: bool = field(default=False, init=False)
    _claimed: tuple[State, int] | None = field(default=None, init=False)
    _written_claims: OwnClaims | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        try:
            self._connection = self.store.engines.write.connect()
            self._memory = consumers.UsageMemory.of(self._connection, self.store.registries)
            self._work = self._new_work()
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and self._committed and self._claimed is not None:
            consumers.remember(self._work, self._memory, *self._claimed)
        elif error is not None or self._committed:
            self._memory.forget()
        try:
            self._connection.close()
        except Exception as closing:
            # An error of closing must not hide the outcome of COMMIT, or an earlier error.
            if error is None and not self._committed:
                if isinstance(closing, DRIVER_ERRORS):
                    raise translate(closing) from closing
                raise
            LOG.debug("A connection could not be given back: %r.", closing)

    def read(self, touch: Touch) -> State:
        """The state to decide on. The caller may change it."""
        try:
            self._connection.begin()
            try:
                self._before = self._read(touch)
            except NotNewError:
                # Locks are taken in one order: the locks of what the consumer holds come before those
                # already taken.
                self._connection.rollback()
                self._connection.begin()
                self._work = self._new_work()
                self._before = self._read(replace(touch, newcomers=frozenset()))
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        self.revision = self._work.revision
        return self._before.copy()

    def _new_work(self) -> GroupWork:
        return GroupWork(self._connection, self.store.registries, locks=self.store.locks)

    def _read(self, touch: Touch) -> State:
        work, state = self._work, State()
        if touch.hanging:
            hanging = few(hanging_on(work, touch.hanging))
            touch = replace(touch, consumers=touch.consumers | hanging)
        known = touch.consumers - touch.newcomers
        holders = consumers.providers_held(work, known) if known else set[str]()
        providers.read(work, state, touch, touch.providers | holders)
        if touch.consumers or touch.inventories or touch.used:
            consumers.read(work, self._memory, state, touch, holders)
        for noun in order.READ:
            if any(getattr(touch, name) for name in noun.touched):
                noun.read(work, state, touch)
        return state

    def write(self, after: State, writes: Sequence[Write], transaction_id: str) -> GroupWork:
        """Bring the database to ``after`` and log the writes. Returns what ``commit`` needs."""
        only_claims = all(write.kind in CLAIM_KINDS for write in writes)
        work, before = self._work, self._before
        work.ids_before = dict(work.providers)
        self._writes = len(writes)
        try:
            if not only_claims:
                for noun in order.WRITTEN:
                    noun.write(work, before, after)
            used = consumers.plan(work, before, after)
            if after.origins:
                work.planned += plan_origins(before, after)
            leased: list[Planned] = []
            if after.leases:
                work.planned += plan_left_claims(before, after)
                leased = plan_leases(before, after, [write.leases for write in writes])
            providers.plan_generations(work, before, after)
            counting, *logging_ = changelog.plan(
                [self._entry(after, write) for write in writes], transaction_id
            )
            remembering = plan_keys(after, [write.key for write in writes]) if after.keys else []
            place = len(work.planned)
            work.planned += (counting, *leased, *remembering, *logging_)
            counted = statements.send(self._connection, work.planned)[place]
            revision: int | None = None
            if work.locks:
                consumers.check_absent(work, before, after)
                revision = changelog.counted(self._connection, counted)
            elif work.revision is not None:
                # No other process has written since the revision was read.
                revision = work.revision + len(writes)
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        if revision is not None:
            self.raised = Raised(revision - len(writes), revision)
        if only_claims:
            self._claimed = after, len(writes)
            if self.raised is not None:
                self._written_claims = OwnClaims(self.raised.before, self.raised.after, used)
        return work

    def before(self) -> int:
        """The revision that the first write follows, or at which the state was read if there is no write.

        It asks the database if no statement has learned it.
        """
        if self.raised is not None:
            return self.raised.before
        if self.revision is not None and not self._writes:
            return self.revision
        try:
            return changelog.current(self._connection) - self._writes
        except DRIVER_ERRORS as error:
            raise translate(error) from error

    def _entry(self, after: State, write: Write) -> changelog.LogEntry:
        """All trees that the write's providers were or are in, by the ids of their roots."""
        work = self._work
        root_ids = set(work.renamed_root_ids)
        for uuid in write.providers:
            was, now = self._before.providers.get(uuid), after.providers.get(uuid)
            if was is not None:
                root_ids.add(work.ids_before[was.root_uuid])
            if now is not None:
                root_ids.add(work.providers[now.root_uuid])
        return changelog.LogEntry(
            write.kind, frozenset(root_ids), write.changes_names, write.requester, write.record
        )

    def commit(self, work: GroupWork, /) -> None:
        """After any error but WriteConflictError, only ``Store.was_committed`` knows the outcome."""
        try:
            self._connection.commit()
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        self._committed = True
        self.own_claims = self._written_claims
        for registry, added in work.added:
            registry.remember(added)
