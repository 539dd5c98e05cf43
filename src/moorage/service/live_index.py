"""The live index: the one mutable cell of a process, kept as fresh as the database.

Every answer first asks for the database's revision, and takes over what is missing: an answer
reflects every write that had been committed, by any process, before its request arrived.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from moorage.model.errors import UnavailableError
from moorage.search.index import Index
from moorage.store.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Store

ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

BUILD_ATTEMPTS = 3
"""How often an index is begun anew if the connection breaks while it is built."""


class LiveIndex:
    """An index and the revision it is at. Safe for use by several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._index = Index()
        self._revision: int | None = None

    @property
    def revision(self) -> int | None:
        """Revision that the index is at; None before it was built."""
        return self._revision

    def ask(self, question: Callable[[Index], ResultT]) -> ResultT:
        """Answer from an index that is as fresh as the database was when this was called.

        Questions are answered one at a time: they only compute, and an index that changes under
        a question would answer nonsense. Raises UnavailableError, and what the question raises.
        """
        known = self._revision
        wanted = self._store.revision()
        with self._lock:
            self._catch_up(known, wanted)
            return question(self._index)

    def _catch_up(self, known: int | None, wanted: int) -> None:
        """Bring the index to ``wanted``; it was at ``known`` before that was asked for."""
        if self._revision is None:
            self._build()
        elif self._went_back(known, wanted):
            LOG.warning("The database was put back from revision %d to %d.", self._revision, wanted)
            self._store.forget()
            self._build()
        elif wanted > self._revision:
            refresh = self._store.refresh(self._revision)
            if refresh is None:
                self._build()
                return
            if refresh.names is not None:
                self._index.set_names(*refresh.names)
            self._index.replace_trees(refresh.root_ids, refresh.records)
            self._revision = refresh.revision

    def _went_back(self, known: int | None, wanted: int) -> bool:
        """Whether the database was put back to an older state.

        Revisions only grow, so that an answer below what was known before the question tells. (An
        index ahead of ``wanted`` does not: another thread may have caught up meanwhile.)
        """
        assert self._revision is not None
        return known is not None and wanted < known and wanted < self._revision

    def _build(self) -> None:
        for _ in range(BUILD_ATTEMPTS):
            try:
                index, revision = self._built()
            except (ConnectionLostError, WriteConflictError):
                continue
            self._index, self._revision = index, revision
            LOG.info("Index of %d providers built at revision %d.", len(index), revision)
            return
        raise UnavailableError("the database cannot be reached")

    def _built(self) -> tuple[Index, int]:
        index = Index()
        with self._store.everything() as everything:
            index.set_names(*everything.names)
            for records in everything.chunks:
                index.replace_trees((), records)
            return index, everything.revision
