"""The live index: the one mutable cell of a process, kept as fresh as the database.

Every answer first asks for the database's revision, and takes over what is missing: an answer
reflects every write that had been committed, by any process, before its request arrived.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from moorage.model.errors import UnavailableError
from moorage.model.valueclass import valueclass
from moorage.rules.state import Used
from moorage.search.index import Index
from moorage.search.snapshot import Snapshot
from moorage.service.observer import Observer, Stage, Unobserved
from moorage.service.shared_poll import Question, SharedPoll
from moorage.store.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Everything, Store
from moorage.store.usage_news import OwnClaims

ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

MOST_OWN = 64
"""Groups of claims that wait until somebody asks. Of more, the oldest are forgotten: the database tells."""

BUILD_ATTEMPTS = 3
"""How often an index is begun anew if the connection breaks while it is built."""


@valueclass(frozen=True, slots=True)
class State:
    """What an index holds, and the revision that it is at."""

    revision: int
    snapshot: Snapshot


class LiveIndex:
    """An index and the revision it is at. Safe for use by several threads."""

    def __init__(self, store: Store, observer: Observer | None = None) -> None:
        self._store = store
        self._observer: Observer = observer or Unobserved()
        self._poll = SharedPoll(self._look)
        self._changing = threading.Lock()
        self._own: deque[OwnClaims] = deque(maxlen=MOST_OWN)
        self._index = Index()
        self._state: State | None = None
        # Whether claims of others were there when that was asked last.
        self._moving = False

    @property
    def revision(self) -> int | None:
        """Revision that the index is at; None before it was built."""
        state = self._state
        return None if state is None else state.revision

    def ask(self, question: Callable[[Snapshot], ResultT]) -> ResultT:
        """Answer from an index that is as fresh as the database was when this was called.

        Questions hold nothing up: each has a snapshot that no change disturbs. Raises
        UnavailableError, and what the question raises.
        """
        known = self.revision
        begun = perf_counter()
        wanted = self._poll.ask()
        polled = perf_counter()
        self._observer.stage_ended(Stage.POLL, polled - begun)
        state = self._state
        if state is None or wanted > state.revision or self._went_back(state.revision, known, wanted):
            with self._changing:
                state = self._caught_up(known, wanted)
            begun, polled = polled, perf_counter()
            self._observer.stage_ended(Stage.CATCH_UP, polled - begun)
        answer = question(state.snapshot)
        self._observer.stage_ended(Stage.SEARCH, perf_counter() - polled)
        return answer

    def begin(self, *, another: bool) -> Question:
        """See ``service.committer.Audience``."""
        return self._poll.begin(another=another)

    def rest(self) -> None:
        """See ``service.committer.Audience``."""
        self._poll.rest()

    def learn(self, claims: OwnClaims) -> None:
        """Be told what this process has just committed, so that the database need not be asked for it.

        It costs who commits next to nothing: whoever asks next takes it over. To be called in the order of
        the commits.
        """
        self._own.append(claims)

    def _take_own(self) -> None:
        """Take over claims of this process, as long as nothing else is missing before them.

        What is left the database tells.
        """
        state, used = self._state, dict[int, Used]()
        revision = None if state is None else state.revision
        while self._own:
            claims = self._own.popleft()
            if claims.before == revision:
                used |= claims.used
                revision = claims.revision
        if state is not None and revision is not None and revision != state.revision:
            self._index.change_used(used)
            self._now(revision)

    def _now(self, revision: int) -> State:
        self._state = state = State(revision, self._index.snapshot())
        self._observer.index_changed(revision, len(self._index))
        return state

    def _look(self) -> int:
        """The database's revision.

        While others write, what claims have changed is asked for at once instead, which tells the
        revision as well: one question, and the index has caught up.
        """
        if self._moving:
            with self._changing:
                self._take_own()
                taken = self._taken_over(None)
            if taken is not None:
                return taken.revision
        return self._store.revision()

    def _taken_over(self, wanted: int | None) -> State | None:
        """Take over what claims have changed, up to ``wanted`` at least, if that is known.

        None, and nothing has changed, if other writes were among them.
        """
        state = self._state
        if state is None:
            return None
        news = self._store.usage_news(state.revision, state.revision if wanted is None else wanted)
        self._moving = news is not None and news.revision != state.revision
        if news is None:
            return None
        if news.revision != state.revision:
            self._index.set_used(news.root_ids, news.used)
            state = self._now(news.revision)
        return state

    def _caught_up(self, known: int | None, wanted: int) -> State:
        """Bring the index to ``wanted``; it was at ``known`` before that was asked for."""
        self._take_own()
        state = self._state
        if state is None:
            return self._build()
        if self._went_back(state.revision, known, wanted):
            LOG.warning("The database was put back from revision %d to %d.", state.revision, wanted)
            self._store.forget()
            return self._build()
        if wanted <= state.revision:
            return state
        taken = self._taken_over(wanted)
        if taken is not None:
            return taken
        refresh = self._store.refresh(state.revision)
        if refresh is None:
            return self._build()
        if refresh.names is not None:
            self._index.set_names(*refresh.names)
        self._index.replace_trees(refresh.root_ids, refresh.records)
        return self._now(refresh.revision)

    @staticmethod
    def _went_back(present: int, known: int | None, wanted: int) -> bool:
        """Whether the database was put back to an older state.

        Revisions only grow, so that an answer below what was known before the question tells. (An
        index ahead of ``wanted`` does not: another thread may have caught up meanwhile.)
        """
        return known is not None and wanted < known and wanted < present

    def _build(self) -> State:
        begun = perf_counter()
        for _ in range(BUILD_ATTEMPTS):
            try:
                index, revision = self._built()
            except (ConnectionLostError, WriteConflictError):
                continue
            self._index = index
            LOG.info("Index of %d providers built at revision %d.", len(index), revision)
            self._observer.index_built(perf_counter() - begun)
            return self._now(revision)
        raise UnavailableError("the database cannot be reached")

    def _built(self) -> tuple[Index, int]:
        with self._store.everything() as everything:
            return built(everything), everything.revision


def built(everything: Everything) -> Index:
    """An index of all that there is."""
    index = Index()
    index.set_names(*everything.names)
    for records in everything.chunks:
        index.replace_trees((), records)
    return index
