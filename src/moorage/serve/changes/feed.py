"""What all clients of the event loop share: one look at the database, and each part of a stream made once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, NamedTuple

from moorage.api.native.changes import Form
from moorage.model.cache import MIB, Cache
from moorage.model.errors import UnavailableError
from moorage.model.journal import ChangePage, ChangeSelection
from moorage.service.tail import READ_TOGETHER, Tail
from moorage.service.watching import LOOK_SECONDS, Watch

LOG: Final = logging.getLogger(__name__)

PARTS_BYTES: Final = 32 * MIB
"""Of parts of streams that are kept, since other clients want them as well."""


class StreamPart(NamedTuple):
    """A page, and its records as a part of a stream."""

    page: ChangePage
    records: bytes


PartKey = tuple[ChangeSelection, str, int, Form]
"""What is wanted, and of which history; the revision of the look; and the form."""


class Feed:
    """Looks for new records while a client waits, and wakes those that do. To be used in one event loop."""

    def __init__(self, watch: Watch, tail: Tail, threads: Executor) -> None:
        """``threads`` read the database: the loop does not wait for it."""
        self._watch = watch
        self._tail = tail
        self._threads = threads
        self._parts: Cache[PartKey, StreamPart] = Cache(PARTS_BYTES, lambda _key, part: 2 * len(part.records))
        self._sleeping: dict[asyncio.Future[None], float] = {}
        self._somebody = asyncio.Event()
        self.is_ending = False

    async def run(self, each_time: Callable[[], None]) -> None:
        """Look until ``end`` is called. ``each_time`` is called after each look."""
        loop = asyncio.get_running_loop()
        while not self.is_ending:
            await self._somebody.wait()
            begun = loop.time()
            try:
                is_new = await loop.run_in_executor(self._threads, self._tail.look)
            except UnavailableError as error:
                LOG.warning("Clients that wait for changes get none: %s", error)
                is_new = False
            except Exception:
                # The clients wait for the next look.
                LOG.exception("A look for changes failed.")
                is_new = False
            self._wake(None if is_new else loop.time())
            each_time()
            if not self._sleeping:
                self._somebody.clear()
            await asyncio.sleep(max(0.0, begun + LOOK_SECONDS - loop.time()))

    def end(self) -> None:
        """Wake all clients: they are to go."""
        self.is_ending = True
        self._somebody.set()
        self._wake(None)

    def _wake(self, due: float | None) -> None:
        """Wake those whose time is over; all, if ``due`` is None."""
        for sleeper, until in list(self._sleeping.items()):
            if (due is None or until <= due) and not sleeper.done():
                sleeper.set_result(None)

    async def news(self, page: ChangePage, until: float) -> None:
        """Wait until there may be something after a page, or the loop's time is ``until``, or all ends."""
        loop = asyncio.get_running_loop()
        while not (page.more or self._knows_more(page) or self.is_ending):
            if loop.time() >= until:
                return
            sleeper = loop.create_future()
            self._sleeping[sleeper] = until
            self._somebody.set()
            try:
                await sleeper
            finally:
                del self._sleeping[sleeper]
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
    return ChangeSelection(
        wanted.after, READ_TOGETHER, wanted.kinds, wanted.tree, wanted.consumer, wanted.project_id
    )
