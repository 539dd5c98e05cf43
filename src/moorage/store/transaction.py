"""One write transaction: read and lock, write the difference, log, commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.rules.state import State, Touch
from moorage.store import changelog
from moorage.store.engines import Engines
from moorage.store.errors import translated
from moorage.store.pipelines import together
from moorage.store.reading import NotNewError, Reader, Registries
from moorage.store.usage_news import CLAIM_KINDS, OwnClaims
from moorage.store.writing import Writer

LOG = logging.getLogger(__name__)


@valueclass(frozen=True, slots=True)
class Write:
    """One command's part of a transaction, for the change log."""

    kind: str
    providers: frozenset[str]
    changes_names: bool
    requester: Requester


@valueclass(frozen=True, slots=True)
class Raised:
    """The revision that a transaction's writes follow, and the one that they lead to."""

    before: int
    after: int


class WriteTransaction:
    """A context: left without ``commit`` it is rolled back.

    All methods raise the errors of ``store.errors`` and UnavailableError.
    """

    def __init__(self, engines: Engines, registries: Registries) -> None:
        self._engines = engines
        self._registries = registries
        self._before = State()
        self._committed = False
        self._claimed: tuple[State, int] | None = None
        self._raised: Raised | None = None
        self._own_claims: OwnClaims | None = None
        with translated():
            self._connection = engines.write.connect()
        self._reader = self._new_reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None or (self._committed and self._claimed is None):
            self._reader.forget()
        elif self._committed and self._claimed is not None:
            self._reader.remember(*self._claimed)
        try:
            with translated():
                self._connection.close()
        except Exception as closing:
            # What COMMIT said, or what went wrong before, must not be hidden by how the connection ended.
            if error is None and not self._committed:
                raise
            LOG.debug("A connection could not be given back: %r.", closing)

    def read(self, touch: Touch) -> State:
        """The state to decide on; it is the caller's to change."""
        with translated():
            self._connection.begin()
            try:
                self._before = self._reader.read(touch)
            except NotNewError:
                # Locks are taken in one order: those of what it holds come before what was locked.
                self._connection.rollback()
                self._connection.begin()
                self._reader = self._new_reader()
                self._before = self._reader.read(replace(touch, newcomers=frozenset()))
        return self._before.copy()

    def _new_reader(self) -> Reader:
        return Reader(self._connection, self._registries, locks=not self._engines.serializes_writes)

    def write(self, after: State, writes: Sequence[Write], transaction_id: str) -> Writer:
        """Bring the database to ``after`` and log who did what. Returns what ``commit`` needs."""
        only_claims = all(write.kind in CLAIM_KINDS for write in writes)
        with translated():
            writer = Writer(self._connection, self._registries, self._reader.known)
            if not only_claims:
                writer.write(self._before, after)
            writer.prepare_claims(self._before, after)
            with together(self._connection):
                writer.write_claims(self._before, after)
                entries = [self._entry(writer, after, write) for write in writes]
                counted = changelog.append(self._connection, entries, transaction_id)
            writer.check()
            if not self._engines.serializes_writes:
                writer.check_absent(self._before, after)
            revision = counted.revision()
            if revision is None and self._engines.serializes_writes:
                # Nobody else has written since it was read.
                revision = self._reader.revision_after(len(writes))
            if revision is not None:
                self._raised = Raised(revision - len(writes), revision)
            if only_claims:
                self._claimed = after, len(writes)
                if self._raised is not None:
                    used = self._reader.changed_use(self._before, after)
                    self._own_claims = OwnClaims(self._raised.before, self._raised.after, used)
        return writer

    @property
    def revision(self) -> int | None:
        """The last write that was committed when the state was read; None if that was not asked for."""
        return self._reader.revision

    @property
    def raised(self) -> Raised | None:
        """What ``write`` did to the revision, whose lock it has from then on; None if that is not known."""
        return self._raised

    @property
    def own_claims(self) -> OwnClaims | None:
        """What was committed, if it was nothing but claims and it is known which revisions these are."""
        return self._own_claims if self._committed else None

    def _entry(self, writer: Writer, after: State, write: Write) -> changelog.LogEntry:
        root_ids = writer.root_ids(self._before, after, write.providers)
        return changelog.LogEntry(write.kind, root_ids, write.changes_names, write.requester)

    def commit(self, writer: Writer) -> None:
        """If this raises anything but WriteConflictError, only ``Store.was_committed`` knows."""
        with translated():
            self._connection.commit()
        self._committed = True
        for registry, added in writer.added:
            registry.remember(added)
