"""What all clients of the event loop share: one look at the database, and each part of a stream made once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final, NamedTuple, Protocol
from weakref import WeakValueDictionary

from moorage.api.native.changes import Form
from moorage.model.cache import MIB, Cache
from moorage.model.errors import CompactedError, DifferentHistoryError, UnavailableError
from moorage.model.journal import ChangePage, ChangeSelection
from moorage.serve.changes.connection import chunk_of
from moorage.service.tail import READ_TOGETHER, Tail
from moorage.service.watching import LOOK_SECONDS, Watch, continued

LOG: Final = logging.getLogger(__name__)

PARTS_BYTES: Final = 32 * MIB
"""Of parts of streams that are kept, since other clients want them as well."""


class StreamPart(NamedTuple):
    """A page, and its records as a part of a stream."""

    page: ChangePage
    records: bytes


class ReadyPart(NamedTuple):
    """A page, and its records as they go to a connection; no bytes for no records."""

    page: ChangePage
    chunk: bytes


class Lane:
    """What streams want that get the same parts. Equal lanes that are in use are the same object."""

    __slots__ = ("__weakref__", "form", "wanted")

    def __init__(self, wanted: ChangeSelection, form: Form) -> None:
        self.wanted = wanted
        self.form = form


PartKey = tuple[ChangeSelection, str, int, Form]
"""What is wanted, and of which history; the revision of the look; and the form."""


class Taker(Protocol):
    """A stream that has been sent all up to the end of its ``page``. All its parts are of its ``lane``."""

    page: ChangePage
    lane: Lane

    def take(self, part: ReadyPart) -> bool:
        """Pass a part on to the client without waiting, and go on after it; False if that cannot be done."""


class Sleeper(NamedTuple):
    """A client that waits in its own task: until the loop's time, or for what a stream cannot take."""

    until: float
    following: Taker | None


class Feed:
    """Looks for new records while a client waits, and wakes those that do. To be used in one event loop."""

    def __init__(self, watch: Watch, tail: Tail, threads: Executor) -> None:
        """``threads`` read the database: the loop does not wait for it."""
        self._watch = watch
        self._tail = tail
        self._threads = threads
        self._parts: Cache[PartKey, StreamPart] = Cache(PARTS_BYTES, lambda _key, part: 2 * len(part.records))
        self._sleeping: dict[asyncio.Future[None], Sleeper] = {}
        self._lanes: WeakValueDictionary[tuple[ChangeSelection, Form], Lane] = WeakValueDictionary()
        self._somebody = asyncio.Event()
        self.is_ending = False

    def lane(self, wanted: ChangeSelection, form: Form) -> Lane:
        """What a stream's parts are of."""
        return self._lanes.setdefault((wanted, form), Lane(wanted, form))

    async def run(self, each_time: Callable[[], None]) -> None:
        """Look until ``end`` is called. ``each_time`` is called after each look.

        The loop rests for as long as it took to pass records on. A part has more records then, and costs
        little more. So many clients cannot keep the loop, and a processor, from all else.
        """
        loop = asyncio.get_running_loop()
        while not self.is_ending:
            await self._somebody.wait()
            begun, passing = loop.time(), 0.0
            try:
                if await loop.run_in_executor(self._threads, self._tail.look):
                    looked = loop.time()
                    self._pass_on(looked)
                    passing = loop.time() - looked
            except UnavailableError as error:
                LOG.warning("Clients that wait for changes get none: %s", error)
            except Exception:
                # The clients wait for the next look.
                LOG.exception("A look for changes failed.")
            self._wake(loop.time())
            each_time()
            if not self._sleeping:
                self._somebody.clear()
            await asyncio.sleep(max(passing, begun + LOOK_SECONDS - loop.time()))

    def end(self) -> None:
        """Wake all clients: they are to go."""
        self.is_ending = True
        self._somebody.set()
        self._wake(None)

    def _wake(self, due: float | None) -> None:
        """Wake the clients whose time is over; all, if ``due`` is None."""
        for sleeping, sleeper in list(self._sleeping.items()):
            if (due is None or sleeper.until <= due) and not sleeping.done():
                sleeping.set_result(None)

    def _pass_on(self, now: float) -> None:
        """Give each stream what is new, and wake all other clients.

        To wake a task, and let it send, takes ten times as long as to write. With thousands of clients that
        decides when the last of them has a change.
        """
        same: dict[tuple[Lane, int], ReadyPart | None] = {}
        for sleeping, (until, following) in list(self._sleeping.items()):
            if following is not None and until > now:
                key = (following.lane, following.page.next_after)
                part = same[key] if key in same else same.setdefault(key, self._known_part(following))
                if part is not None and following.take(part):
                    continue
            if not sleeping.done():
                sleeping.set_result(None)

    def _known_part(self, following: Taker) -> ReadyPart | None:
        """What comes after a stream's page, if it is in memory and can be sent at once."""
        page, lane = following.page, following.lane
        if not (self._knows_more(page) and self._tail.has(page.next_after)):
            return None
        try:
            found = self._watch.page(continued(lane.wanted, page.next_after), page.epoch, self._tail)
        except (CompactedError, DifferentHistoryError, UnavailableError):
            # The task of each client meets it, and says so.
            return None
        if found.more:
            return None
        return ReadyPart(found, chunk_of(lane.form.records(found)))

    async def news(self, page: ChangePage, until: float) -> None:
        """Wait until there may be something after a page, or the loop's time is ``until``, or all ends."""
        await self._sleep(page, Sleeper(until, None))

    async def followed(self, following: Taker, until: float) -> None:
        """As ``news``. Meanwhile the stream takes what is new, as long as it can."""
        await self._sleep(following.page, Sleeper(until, following))

    async def _sleep(self, page: ChangePage, sleeper: Sleeper) -> None:
        loop = asyncio.get_running_loop()
        while not (page.more or self._knows_more(page) or self.is_ending):
            if loop.time() >= sleeper.until:
                return
            sleeping = loop.create_future()
            self._sleeping[sleeping] = sleeper
            self._somebody.set()
            try:
                await sleeping
            finally:
                del self._sleeping[sleeping]
            if sleeper.following is not None:
                page = sleeper.following.page
            if self._tail.epoch != page.epoch:
                # The database says what that means.
                return

    def _knows_more(self, page: ChangePage) -> bool:
        return self._tail.epoch == page.epoch and self._tail.revision > page.next_after

    async def page(self, wanted: ChangeSelection, epoch: str) -> ChangePage:
        """The page of what is wanted. Raises CompactedError, DifferentHistoryError, UnavailableError."""
        if wanted.after is not None and self._tail.epoch == epoch and self._tail.has(wanted.after):
            return self._watch.page(wanted, epoch, self._tail)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._watch.page, wanted, epoch)

    async def part(self, wanted: ChangeSelection, epoch: str, form: Form) -> StreamPart:
        """As ``page``, with its records. Clients that want the same get the same bytes."""
        key = (wanted, epoch, self._tail.revision, form)
        known = self._parts.get(key)
        if known is None:
            page = await self.page(wanted, epoch)
            known = StreamPart(page, form.records(page))
            self._parts.put(key, known)
        return known

    def is_lost(self, after: int, most_bytes: int) -> bool:
        """Whether more than so many bytes have come after a revision."""
        behind = self._tail.bytes_after(after)
        return behind is None or behind > most_bytes

    def has(self, after: int) -> bool:
        """Whether what comes after a revision is in memory."""
        return self._tail.has(after)


def as_streamed(wanted: ChangeSelection) -> ChangeSelection:
    """What a stream wants. Its limit is no matter of the client: pages of all streams are equal."""
    return replace(wanted, limit=READ_TOGETHER)
