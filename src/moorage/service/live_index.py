"""The live index: the one mutable cell of a process, kept as fresh as the database.

Before each answer the index asks for the database's revision and takes over what it lacks. So an answer
reflects every write, by any process, that was committed before the request arrived.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final, Protocol, TypeVar

from moorage.model.errors import UnavailableError
from moorage.model.valueclass import valueclass
from moorage.rules.state import Used
from moorage.search.index.building import block_of
from moorage.search.index.index import Index, Snapshot
from moorage.service.observer import Observer, Stage
from moorage.store.changes.news import OwnClaims
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Everything, Refresh, Store

PATIENCE_SECONDS: Final = 0.03
"""How long a thread waits for a write that learns the answer: two or three times as long as that takes
under load."""


@dataclass(eq=False, slots=True)
class Round:
    """A question to ask, and later its answer.

    ``turns`` are locks of threads that wait for an answer; each is released once.
    """

    answer: int | None = None
    turns: list[threading.Lock] = field(default_factory=list)


class Question:
    """A step of a write that learns the answer, for all threads that came before it began."""

    def __init__(self, end: Callable[[Round, int | None], None], taken: Round | None) -> None:
        self._end = end
        self._round = taken

    def end(self, answer: int | None = None) -> None:
        """End with the answer, or None: waiting threads then ask. Ending again does nothing."""
        ended, self._round = self._round, None
        if ended is not None:
            self._end(ended, answer)


class SharedPoll:
    """Asks ``question``, whose answers only grow, for several threads.

    An answer is good for all threads that came before the question was asked. A thread that comes while a
    question is on its way waits for the next one, together with all others that come meanwhile.
    """

    def __init__(self, question: Callable[[], int]) -> None:
        self._question = question
        self._coming = threading.Lock()
        self._asking = threading.RLock()
        self._next: Round | None = None
        self._expects = False

    def ask(self) -> int:
        """The answer to a question that was asked after this was called. Raises what it raises."""
        turn: threading.Lock | None = None
        with self._coming:
            if self._next is None:
                self._next = Round()
            mine = self._next
            if self._expects:
                turn = threading.Lock()
                turn.acquire()
                mine.turns.append(turn)
        # A thread that has no patience left asks, even if another thread asks at the same time.
        if turn is not None and turn.acquire(timeout=PATIENCE_SECONDS) and mine.answer is not None:
            return mine.answer
        with self._asking:
            if mine.answer is None:
                with self._coming:
                    # From here on a thread comes too late for this question. (If it fails, each waiting
                    # thread asks for itself: an error must not be shared.)
                    if self._next is mine:
                        self._next = None
                self._end(mine, self._question())
            assert mine.answer is not None, "a round that has ended with an answer has it"
            return mine.answer

    def begin(self, *, another: bool) -> Question:
        """A step that learns the answer begins now. ``another``: one more will come after it.

        Threads that come from now on wait for that one then, for ``PATIENCE_SECONDS`` at most.
        """
        with self._coming:
            taken, self._next = self._next, None
            self._expects = another
        return Question(self._end, taken)

    def rest(self) -> None:
        """No such step is on its way any more: waiting threads must ask."""
        self.begin(another=False).end()

    def _end(self, ended: Round, answer: int | None) -> None:
        with self._coming:
            if ended.answer is None:
                ended.answer = answer
            turns, ended.turns = ended.turns, []
        for turn in turns:
            turn.release()


class Audience(Protocol):
    """Polls of the revision. They need not ask while a group of writes learns the revision anyway."""

    @property
    def revision(self) -> int | None:
        """A revision that the database has had; None if none is known."""
        ...

    def put_back(self) -> None:
        """A statement has learned a revision below one that was known before it: see ``LiveIndex``."""
        ...

    def begin(self, *, another: bool) -> Question:
        """A statement that learns the revision is sent now. ``another``: one more will come after it."""
        ...

    def learn(self, claims: OwnClaims) -> None:
        """Take committed claims, in the order of the commits. Must neither raise nor take long."""
        ...

    def rest(self) -> None:
        """No such statement is on its way for a while."""
        ...


class Announcer:
    """What one attempt to commit a group tells an audience.

    The attempt learns the revision from one statement after the other: from what it reads, from what it
    writes, from its COMMIT. Each answers the polls that came before it was sent. The first one is sent now.
    """

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._known = audience.revision
        self._question = audience.begin(another=True)
        self._committed: int | None = None

    def learned(self, revision: int | None, *, another: bool = True) -> None:
        """The last statement has learned ``revision``, or could not. The next one is sent now.

        ``another``: one more will come after that, of this group or of the next one.
        """
        if revision is not None and self._known is not None and revision < self._known:
            self._audience.put_back()
        self._question.end(revision)
        self._question = self._audience.begin(another=another)

    def committed(self, claims: OwnClaims | None, revision: int | None) -> None:
        """The group is committed. ``claims``: what it wrote, if it was claims only."""
        if claims is not None:
            self._audience.learn(claims)
        self._committed = revision

    def end(self, *, follows: bool) -> None:
        """Tell the revision of the COMMIT, if there was one. ``follows``: another attempt or group does."""
        self._question.end(self._committed)
        if not follows:
            self._audience.rest()


ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

MOST_OWN: Final = 64
MOST_OWN_PROVIDERS: Final = 16_384
"""Groups of claims that wait for the next search, and the providers in them, each some 500 bytes.
Beyond that the oldest are dropped, and the index reads them from the database."""

BUILD_ATTEMPTS = 3
"""How often building an index begins anew because the connection broke."""


def unheard() -> None:
    """Ignores a change of the index."""


@valueclass(frozen=True, slots=True)
class Indexed:
    """What an index holds, and the revision that it is at."""

    revision: int
    snapshot: Snapshot


class LiveIndex:
    """An index and the revision it is at. Safe for use by several threads."""

    def __init__(
        self, store: Store, observer: Observer | None = None, changed: Callable[[], None] = unheard
    ) -> None:
        """``changed`` is called whenever another snapshot takes the place of the last one."""
        self._store = store
        self._changed = changed
        self._observer = observer
        self._poll = SharedPoll(self._look)
        self._changing = threading.Lock()
        self._own: deque[OwnClaims] = deque(maxlen=MOST_OWN)
        self._index = Index()
        self._state: Indexed | None = None
        # Whether the last look found claims of other processes.
        self._moving = False
        # Whether a write has seen that the database was put back to an older state.
        self._is_put_back = False
        # A revision that the index has been at, and the transaction that wrote it.
        self._mark: tuple[int, str] | None = None
        self._asked_at = perf_counter()

    @property
    def revision(self) -> int | None:
        """Revision that the index is at; None before it was built."""
        state = self._state
        return None if state is None else state.revision

    @property
    def asked_at(self) -> float:
        """When the index was last asked, as ``perf_counter`` counts."""
        return self._asked_at

    def ask(self, question: Callable[[Snapshot], ResultT]) -> ResultT:
        """Answer from an index that is as fresh as the database was when this was called.

        Questions block nothing: each has a snapshot that no change disturbs. Raises UnavailableError, and
        what the question raises.
        """
        return self.ask_at(question)[1]

    def ask_at(self, question: Callable[[Snapshot], ResultT]) -> tuple[int, ResultT]:
        """As ``ask``, with the revision that the answer is true at."""
        known = self.revision
        self._asked_at = begun = perf_counter()
        wanted = self._poll.ask()
        begun = self._ended(Stage.POLL, begun)
        state = self._state
        if state is None or self._differs(state, known, wanted):
            with self._changing:
                state = self._caught_up(known, wanted)
            begun = self._ended(Stage.CATCH_UP, begun)
        answer = question(state.snapshot)
        self._ended(Stage.SEARCH, begun)
        return state.revision, answer

    def _ended(self, stage: Stage, begun: float) -> float:
        """Report a stage, and return when the next one begins."""
        now = perf_counter()
        if self._observer is not None:
            self._observer.stage_ended(stage, now - begun)
        return now

    def follow(self) -> None:
        """Catch up without a question, unless the index has yet to be built. Raises UnavailableError."""
        state = self._state
        if state is None:
            return
        known = state.revision
        wanted = self._poll.ask()
        if self._differs(state, known, wanted):
            with self._changing:
                self._caught_up(known, wanted)

    def recognise(self) -> None:
        """Look whether what the index knew at the last such look is still there. Raises UnavailableError.

        The database may have been put back, and have come as far again by writes of processes that knew no
        more than what is lost. For one thread at a time.
        """
        state, mark = self._state, self._mark
        if state is None:
            return
        revision = state.revision
        found = self._store.transactions_at({revision} if mark is None else {revision, mark[0]})
        if mark is not None and found.get(*mark) != mark[1]:
            self.put_back()
        self._mark = (revision, found[revision]) if revision in found else None

    def now(self) -> Indexed:
        """As fresh as ``ask``, for the thread that leads a group of writes: it waits for no group.

        Claims of this process cost no reading. Raises UnavailableError.
        """
        known = self.revision
        wanted = self._look()
        with self._changing:
            return self._caught_up(known, wanted)

    def begin(self, *, another: bool) -> Question:
        """See ``Audience``."""
        return self._poll.begin(another=another)

    def rest(self) -> None:
        """See ``Audience``."""
        self._poll.rest()

    def put_back(self) -> None:
        """The database was put back to an older state: the next answer needs another index.

        Polls alone would miss it if writes had brought the revision up to that of the index by then.
        """
        self._is_put_back = True

    def learn(self, claims: OwnClaims) -> None:
        """Learn what this process has just committed, so that the index need not ask the database for it.

        This costs the committer next to nothing: the next search takes the claims over. Must be called in
        the order of the commits.
        """
        self._own.append(claims)
        while sum([len(known.used) for known in tuple(self._own)]) > MOST_OWN_PROVIDERS:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        # A search may have taken it meanwhile.
        with suppress(IndexError):
            self._own.popleft()

    def _take_own(self) -> None:
        """Take over claims of this process, as long as no other write is missing before them.

        The database supplies the rest.
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

    def _now(self, revision: int) -> Indexed:
        self._state = state = Indexed(revision, self._index.snapshot())
        self._changed()
        if self._observer is not None:
            self._observer.index_changed(revision, len(self._index))
        return state

    def _look(self) -> int:
        """The database's revision.

        While other processes write, this asks at once for the use that claims have changed. The answer
        includes the revision: after one question the index has caught up.
        """
        if self._moving:
            with self._changing:
                self._take_own()
                taken = self._taken_over(None)
            if taken is not None:
                return taken.revision
        return self._store.revision()

    def _taken_over(self, wanted: int | None) -> Indexed | None:
        """Take over the use that claims have changed, up to ``wanted`` at least, if that is known.

        None, and nothing has changed, if there were other writes among the claims.
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

    def _caught_up(self, known: int | None, wanted: int) -> Indexed:
        """Bring the index to ``wanted``. ``known``: where the index was before the poll gave ``wanted``."""
        self._take_own()
        state = self._state
        if state is None:
            return self._build()
        if self._is_put_back or self._went_back(state.revision, known, wanted):
            self._is_put_back = False
            LOG.warning(
                "The database was put back: it is at revision %d, the index was at %d.",
                wanted,
                state.revision,
            )
            self._store.stepped_back()
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
        bring_up(self._index, refresh)
        return self._now(refresh.revision)

    def _differs(self, state: Indexed, known: int | None, wanted: int) -> bool:
        went_back = self._is_put_back or self._went_back(state.revision, known, wanted)
        return wanted > state.revision or went_back

    @staticmethod
    def _went_back(present: int, known: int | None, wanted: int) -> bool:
        """Whether the database was put back to an older state.

        Revisions only grow, so an answer below what was known before the question shows it. (An index ahead
        of ``wanted`` does not: another thread may have caught up meanwhile.)
        """
        return known is not None and wanted < known and wanted < present

    def _build(self) -> Indexed:
        begun = perf_counter()
        last: Exception | None = None
        for _ in range(BUILD_ATTEMPTS):
            try:
                index, revision = self._built()
            except (ConnectionLostError, WriteConflictError) as error:
                last = error
                continue
            self._index = index
            LOG.info("Index of %d providers built at revision %d.", len(index), revision)
            if self._observer is not None:
                self._observer.index_built(perf_counter() - begun)
            return self._now(revision)
        raise UnavailableError("the database cannot be reached") from last

    def _built(self) -> tuple[Index, int]:
        with self._store.everything() as everything:
            return built(everything), everything.revision


def built(everything: Everything) -> Index:
    """An index of everything in the database."""
    index = Index()
    index.set_names(*everything.names)
    for columns in everything.chunks:
        index.append(block_of(columns))
    return index


def bring_up(index: Index, refresh: Refresh) -> None:
    """Let an index take over what has changed."""
    if refresh.names is not None:
        index.set_names(*refresh.names)
    gone = set(refresh.root_ids)
    for columns in refresh.columns:
        present = set(columns.root_ids)
        index.replace(present, block_of(columns))
        gone -= present
    index.replace_trees(gone, refresh.records)
