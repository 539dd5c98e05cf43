"""Watching: pages of the journal, and clients that wait for the next record.

Every page is exact. A revision that the journal lacks is an error, and never a page that begins later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import orjson

from moorage.model.errors import BusyError, CompactedError, DifferentHistoryError, UnavailableError
from moorage.model.journal import ChangePage, ChangeSelection, HistoryPage, KeptChange
from moorage.model.valueclass import valueclass
from moorage.rules.journal import is_about, is_in_history, is_in_tree, is_of_kind, may_make_room
from moorage.service.observer import Observer
from moorage.service.tail import READ_TOGETHER, Tail
from moorage.store.store import Store

LOOK_SECONDS: Final = 0.05
"""How often a process that has waiting clients looks for a new revision."""

MOST_READ: Final = 5_000
"""Records that one page looks through. A filter that finds none of them gives an empty page."""


BOOKMARK_SECONDS: Final = 15.0
"""Pause after which a stream says how far it is."""

MOST_SECONDS: Final = 60.0
MOST_BYTES: Final = 8 * 1024 * 1024
"""How long one stream lasts, and how much it sends."""


IsGone = Callable[[], bool]
"""Whether a client that waits has closed its connection."""


def never() -> bool:
    """Stands for clients that cannot be seen to go."""
    return False


class Hub:
    """Lets threads wait for a revision. One of them looks for all."""

    def __init__(self, look: Callable[[], int], ending: threading.Event) -> None:
        """``look`` asks for the present revision. ``ending``: set once nothing may wait any longer."""
        self._look = look
        self._ending = ending
        self._changed = threading.Condition()
        self._is_led = False
        self._seen = -1

    def wait(self, known: int, seconds: float, is_gone: IsGone = never) -> bool:
        """Wait until the revision is another one than ``known``.

        False: the time is over, the client has gone, or all is ending. Raises UnavailableError.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not (self._ending.is_set() or is_gone()):
            with self._changed:
                leads, self._is_led = not self._is_led, True
                if not leads:
                    self._changed.wait(min(left, 2 * LOOK_SECONDS))
            if leads:
                self._lead(min(left, LOOK_SECONDS))
            if self._seen not in (-1, known):
                return True
        return False

    @property
    def is_ending(self) -> bool:
        """Whether nothing may wait any longer."""
        return self._ending.is_set()

    def _lead(self, seconds: float) -> None:
        try:
            self._ending.wait(seconds)
            seen = self._look()
        except BaseException:
            with self._changed:
                self._is_led = False
                self._changed.notify_all()
            raise
        with self._changed:
            self._seen, self._is_led = seen, False
            self._changed.notify_all()


class Following:
    """Pages of changes for one client, and in the end why there are no more: a text.

    An empty page comes every ``BOOKMARK_SECONDS``. Not every server lets a client be seen to go, and one that
    reads slowly lets the server keep what it was sent. So after some time, and after so many bytes, the end
    is ``again``: the client asks again, where it was.
    """

    def __init__(self, watch: Watch, wanted: ChangeSelection, first: ChangePage, is_gone: IsGone) -> None:
        self._watch = watch
        self.wanted = wanted
        self.first = first
        self._is_gone = is_gone
        self._page = first
        self._is_first = True
        self._end: float = time.monotonic() + MOST_SECONDS
        self._bytes = 0
        self._state = _OPEN

    def __iter__(self) -> Following:
        return self

    def __next__(self) -> ChangePage | str:
        if self._state is not _OPEN:
            raise StopIteration
        end = self._reason()
        if end is None:
            try:
                page = self._next()
                if not self._is_gone():
                    return page
                self._state = _ENDED
                raise StopIteration
            except CompactedError:
                end = "compacted"
            except DifferentHistoryError:
                end = "different_history"
            except UnavailableError:
                end = "again"
        self._state = _ENDED
        return end

    def _reason(self) -> str | None:
        if self._is_first:
            return None
        if self._watch.is_ending:
            return "stopping"
        return "again" if time.monotonic() > self._end or self._bytes > MOST_BYTES else None

    def _next(self) -> ChangePage:
        if not self._is_first:
            self._page = self._watch.next_page(self.wanted, self._page, BOOKMARK_SECONDS, self._is_gone)
        self._is_first = False
        self._bytes += sum(len(change.body) for change in self._page.changes)
        return self._page

    def close(self) -> None:
        """End, if it has not ended. To be called once at least."""
        if self._state is not _CLOSED:
            self._state = _CLOSED
            self._watch.leave()


_OPEN, _ENDED, _CLOSED = "open", "ended", "closed"


@valueclass(frozen=True, slots=True)
class Unfilled:
    """An empty page that must be held for ``seconds``, where no thread may wait.

    The client has its place until ``Watch.leave`` is called.
    """

    page: ChangePage
    wanted: ChangeSelection
    seconds: float


class Watch:
    """Pages of a store's journal, for several threads."""

    def __init__(
        self,
        store: Store,
        waiters: int,
        ending: threading.Event,
        observer: Observer | None = None,
        elsewhere: str = "",
        *,
        threads_wait: bool = True,
    ) -> None:
        """``waiters``: clients that may wait at a time. ``ending``: see ``Hub``.

        ``elsewhere``: host and port where more clients may wait, "" if there is none. ``threads_wait``:
        whether ``changes`` may hold the thread that calls it.
        """
        self._store = store
        self._waiters = waiters
        self._free = threading.BoundedSemaphore(waiters)
        self._hub = Hub(store.revision, ending)
        self._observer = observer
        self._elsewhere = elsewhere
        self._threads_wait = threads_wait

    def changes(
        self, wanted: ChangeSelection, epoch: str | None, wait_seconds: float, is_gone: IsGone = never
    ) -> ChangePage | Unfilled:
        """The records that are wanted. An empty page comes only after ``wait_seconds``, if there is a wait.

        A client that has gone waits no longer. Raises BusyError, CompactedError, DifferentHistoryError,
        UnavailableError.
        """
        page = self.page(wanted, epoch)
        if not wait_seconds or page.is_news:
            return page
        self._enter()
        if not self._threads_wait:
            return Unfilled(page, wanted, wait_seconds)
        try:
            return self._waited(page, wanted, wait_seconds, is_gone)
        finally:
            self.leave()

    def follow(self, wanted: ChangeSelection, epoch: str | None, is_gone: IsGone = never) -> Following:
        """Pages from now on, for as long as ``Following`` says. Raises as ``changes``."""
        first = self.page(wanted, epoch)
        self._enter()
        return Following(self, wanted, first, is_gone)

    def _enter(self) -> None:
        if not self._free.acquire(blocking=False):
            raise BusyError(self._waiters, self._elsewhere)
        if self._observer is not None:
            self._observer.watchers_changed(1)

    def next_page(
        self, wanted: ChangeSelection, known: ChangePage, seconds: float, is_gone: IsGone = never
    ) -> ChangePage:
        """The page after one that is known, once there is one, or an empty one after ``seconds``.

        One that has gone gets it at once.

        Raises CompactedError, DifferentHistoryError, UnavailableError.
        """
        if not known.more:
            self._hub.wait(known.revision, seconds, is_gone)
        return self.page(continued(wanted, known.next_after), known.epoch)

    @property
    def is_ending(self) -> bool:
        """Whether nothing may wait any longer."""
        return self._hub.is_ending

    def leave(self) -> None:
        """One client less waits."""
        self._free.release()
        if self._observer is not None:
            self._observer.watchers_changed(-1)

    def history_of_consumer(
        self, consumer: str, before: int | None, limit: int, project_id: str | None = None
    ) -> HistoryPage:
        """The newest records about a consumer, of those before a revision. Raises UnavailableError.

        Those of leases that its claim hung on are among them. With ``project_id``: those that are also about
        this project.
        """
        wanted = ChangeSelection(0, limit, consumer=consumer, project_id=project_id)
        return self._history(consumer, wanted, before)

    def history_of_provider(self, uuid: str, tree: str | None, before: int | None, limit: int) -> HistoryPage:
        """As ``history_of_consumer``, of a provider in the tree with this root; None: in its present tree."""
        root = tree or self._store.root_of(uuid) or uuid
        return self._history(root, ChangeSelection(0, limit, provider=uuid), before)

    def _history(self, subject: str, wanted: ChangeSelection, before: int | None) -> HistoryPage:
        found: list[KeptChange] = []
        read = 0
        while True:
            # All records about a consumer are wanted, and of those about a tree perhaps few.
            most = wanted.limit + 1
            if wanted.consumer is None:
                most = READ_TOGETHER if read else min(most, READ_TOGETHER)
                kept = self._store.history(subject, before, most)
            else:
                kept = self._store.history_of_consumer(subject, before, most)
            for change in kept.changes:
                before = change.revision
                read += 1
                if is_in_history(orjson.loads(change.body), wanted):
                    found.append(change)
                    if len(found) == wanted.limit:
                        break
            is_whole = len(kept.changes) < most and (not kept.changes or kept.changes[-1].revision == before)
            if is_whole or len(found) == wanted.limit or read >= MOST_READ:
                return HistoryPage(kept.revision, kept.begins, None if is_whole else before, tuple(found))

    def _waited(
        self, page: ChangePage, wanted: ChangeSelection, seconds: float, is_gone: IsGone
    ) -> ChangePage:
        end = time.monotonic() + seconds
        while not page.is_news:
            if not self._hub.wait(page.revision, end - time.monotonic(), is_gone):
                break
            page = self.page(continued(wanted, page.next_after), page.epoch)
        return page

    def page(self, wanted: ChangeSelection, epoch: str | None, tail: Tail | None = None) -> ChangePage:
        """The records that are wanted and there, of the database or of a ``tail``.

        Raises CompactedError, DifferentHistoryError, UnavailableError.
        """
        journal = tail or self._store
        found: list[KeptChange] = []
        freed_at: int | None = None
        read, after = 0, wanted.after
        is_chosen = wanted.kinds is not None or wanted.looks_inside
        while True:
            kept = journal.changes(after, min(READ_TOGETHER, wanted.limit if not read else MOST_READ))
            if epoch not in (None, kept.epoch) or (after is not None and after > kept.revision):
                raise DifferentHistoryError(kept.epoch)
            epoch = kept.epoch
            if after is None:
                after = kept.revision
            dense = 0
            for change in kept.changes:
                if change.revision != after + 1 or len(found) == wanted.limit:
                    break
                after, dense = after + 1, dense + 1
                if is_chosen:
                    is_wanted, frees = _looked_at(change, wanted)
                    if frees and freed_at is None:
                        freed_at = after
                    if not is_wanted:
                        continue
                found.append(change)
            read += dense
            if after == kept.revision or len(found) == wanted.limit or read >= MOST_READ:
                more = after < kept.revision
                return ChangePage(epoch, kept.revision, after, more, tuple(found), freed_at)
            if dense < len(kept.changes) or not kept.changes:
                if read:
                    # The next request meets the gap at its beginning.
                    return ChangePage(epoch, kept.revision, after, True, tuple(found), freed_at)
                first = kept.changes[0].revision if kept.changes else kept.revision + 1
                raise CompactedError(first - 1, kept.revision)


def continued(wanted: ChangeSelection, after: int) -> ChangeSelection:
    """The same selection after another revision."""
    return replace(wanted, after=after)


def _looked_at(change: KeptChange, wanted: ChangeSelection) -> tuple[bool, bool]:
    """Whether a record is wanted, and whether it may make room for the classes that are wanted.

    The latter regards the tree that is wanted, and no other part.
    """
    is_of = is_of_kind(change.kind, wanted.kinds)
    if not wanted.looks_inside or not (is_of or wanted.frees is not None):
        return is_of, False
    body = orjson.loads(change.body)
    if wanted.frees is None:
        return is_about(body, wanted), False
    frees = may_make_room(body, wanted.frees) and is_in_tree(body, wanted.tree)
    return is_of and frees and is_about(body, wanted), frees
