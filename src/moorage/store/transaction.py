"""One write transaction: read and lock, write the difference, log, commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from moorage.model.values import Requester
from moorage.rules.state import State, Touch
from moorage.store import changelog
from moorage.store.engines import Engines
from moorage.store.errors import translated
from moorage.store.reading import Reader, Registries
from moorage.store.writing import Writer

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Write:
    """One command's part of a transaction, for the change log."""

    kind: str
    providers: frozenset[str]
    changes_names: bool
    requester: Requester


class WriteTransaction:
    """A context: left without ``commit`` it is rolled back.

    All methods raise the errors of ``store.errors`` and UnavailableError.
    """

    def __init__(self, engines: Engines, registries: Registries) -> None:
        self._engines = engines
        self._registries = registries
        self._before = State()
        self._committed = False
        with translated():
            self._connection = engines.write.connect()
        self._reader = Reader(self._connection, registries, locks=not engines.serializes_writes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
            self._before = self._reader.read(touch)
        return self._before.copy()

    def write(self, after: State, writes: Sequence[Write], transaction_id: str) -> Writer:
        """Bring the database to ``after`` and log who did what. Returns what ``commit`` needs."""
        with translated():
            writer = Writer(self._connection, self._registries, self._reader.known)
            writer.write(self._before, after)
            changelog.append(
                self._connection, [self._entry(writer, after, write) for write in writes], transaction_id
            )
        return writer

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
