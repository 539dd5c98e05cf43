"""The application of the event loop (ASGI). Every rule of a request is that of the native API's own.

A thread takes the head of a request through that application: identity, policy, form, errors, the log's line.
What it answers is sent as it is. A stream, or a page that must be held, goes on in the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any, Final

from moorage.api.http.exchange import WsgiApplication
from moorage.api.native.changes import LatePage, Stream
from moorage.model.chance import own_numbers
from moorage.model.errors import CompactedError, DifferentHistoryError, UnavailableError
from moorage.model.journal import ChangePage
from moorage.serve.body_slots import NO_BODY
from moorage.serve.changes.connection import Connection, Send
from moorage.serve.changes.feed import Feed, ReadyPart, as_streamed
from moorage.serve.environ import environ_of
from moorage.serve.front import Told
from moorage.service.observer import Observer
from moorage.service.watching import BOOKMARK_SECONDS, Watch, continued

CHECK_SECONDS: Final = 60.0
"""How often a stream's token and rights are looked at again."""

SLOW_SECONDS: Final = 60.0
"""How long a client may take for a part of at most ``connection.SENT_TOGETHER`` bytes."""

FILTERED_REVISIONS: Final = 1_000
"""Revisions that a filter hides, after which a stream says how far it is."""

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
"""An ASGI server's ``receive``: parts of the request's body, and in the end that the client has gone."""

_spread: Final = own_numbers()


class UpToDate:
    """A stream between two of its parts: see ``feed.Taker``.

    The client has had the revision ``told`` by name, since the loop's time ``told_at``.
    """

    def __init__(self, connection: Connection, stream: Stream, feed: Feed) -> None:
        self._connection = connection
        self.page = stream.following.first
        self.lane = feed.lane(continued(as_streamed(stream.following.wanted), 0), stream.form)
        self.told = -FILTERED_REVISIONS
        self.told_at = 0.0

    def take(self, part: ReadyPart) -> bool:
        """Write the part, if it tells anything and the client takes it."""
        hides_many = part.page.next_after - self.told >= FILTERED_REVISIONS
        if (hides_many and not part.page.changes) or (part.chunk and not self._connection.write(part.chunk)):
            return False
        self.at(part.page)
        self._connection.after = part.page.next_after
        return True

    def at(self, page: ChangePage) -> None:
        """Go on after a page."""
        self.page = page
        if page.changes:
            self.told, self.told_at = page.changes[-1].revision, asyncio.get_running_loop().time()


class ChangesApplication:
    """Answers the requests of the event loop."""

    def __init__(
        self,
        heads: WsgiApplication,
        checks: WsgiApplication,
        feed: Feed,
        watch: Watch,
        threads: Executor,
        behind_bytes: int,
        observer: Observer | None = None,
    ) -> None:
        """``heads`` answers, ``checks`` says whether it would, without a place for the client or a line.

        A client may be ``behind_bytes`` behind what was written.
        """
        self._heads = heads
        self._checks = checks
        self._feed = feed
        self._watch = watch
        self._threads = threads
        self._behind_bytes = behind_bytes
        self._observer = observer
        self._streams: dict[Connection, None] = {}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        environ = _environ_of(scope)
        told, parts = await self._in_thread(_answered, self._heads, environ)
        connection = Connection(send)
        if isinstance(parts, Stream):
            try:
                await connection.start(told.status, dict(told.headers))
                await self._stream(connection, parts, _environ_of(scope))
            finally:
                parts.close()
        elif isinstance(parts, LatePage):
            try:
                page = await _while_there(receive, self._held(parts))
            finally:
                self._watch.leave()
            if page is None:
                return
            body, more = parts.body(page)
            await connection.start(
                told.status, {**dict(told.headers), **more, "content-length": str(len(body))}
            )
            await connection.finish(body)
        else:
            await connection.start(told.status, dict(told.headers))
            await connection.finish(b"".join(parts))

    def drop_slow(self) -> None:
        """Give up the clients that are too slow."""
        late = asyncio.get_running_loop().time() - SLOW_SECONDS
        for each in self._streams:
            each.keeps_up = each.keeps_up or self._feed.has(each.after)
            if each.blocked_since is None or each.is_given_up:
                continue
            if each.blocked_since < late or (
                each.keeps_up and self._feed.is_lost(each.after, self._behind_bytes)
            ):
                each.give_up()

    async def _held(self, late: LatePage) -> ChangePage:
        page, wanted = late.unfilled.page, late.unfilled.wanted
        until = asyncio.get_running_loop().time() + late.unfilled.seconds
        while not (page.is_news or self._feed.is_ending):
            await self._feed.news(page, until)
            if asyncio.get_running_loop().time() >= until:
                break
            try:
                page = await self._feed.page(continued(wanted, page.next_after), page.epoch)
            except (CompactedError, DifferentHistoryError, UnavailableError):
                # The client's next request meets it.
                break
        return page

    async def _stream(self, connection: Connection, stream: Stream, environ: Mapping[str, Any]) -> None:
        self._streams[connection] = None
        try:
            end = await self._sent(connection, stream, environ)
        except asyncio.CancelledError:
            if not connection.is_given_up:
                raise
            task = asyncio.current_task()
            assert task is not None, "it was given up"
            task.uncancel()
            end = "slow"
            if self._observer is not None:
                self._observer.watcher_dropped()
        finally:
            del self._streams[connection]
        if end is not None:
            await connection.finish(stream.form.end(end), for_good=end in ("slow", "stopping"))

    async def _sent(self, connection: Connection, stream: Stream, environ: Mapping[str, Any]) -> str | None:
        """Send until the stream is to end; why, or None if the client has gone."""
        loop, form = asyncio.get_running_loop(), stream.form
        followed = UpToDate(connection, stream, self._feed)
        records, check_at = (
            form.records(followed.page),
            loop.time() + CHECK_SECONDS * _spread.uniform(0.5, 1.0),
        )
        while True:
            page = followed.page
            followed.at(page)
            now = loop.time()
            if (
                now - followed.told_at >= BOOKMARK_SECONDS
                or page.next_after - followed.told >= FILTERED_REVISIONS
            ):
                followed.told, followed.told_at = page.next_after, now
                records += form.bookmark(page)
            if records:
                await connection.send(records)
            connection.after = page.next_after
            if connection.is_gone:
                return None
            if self._feed.is_ending:
                return "stopping"
            if loop.time() >= check_at:
                refused = await self._refused(environ, stream)
                if refused is not None:
                    return refused
                check_at = loop.time() + CHECK_SECONDS
            await self._feed.followed(followed, min(followed.told_at + BOOKMARK_SECONDS, check_at))
            page = followed.page
            try:
                followed.page, records = await self._feed.part(
                    continued(followed.lane.wanted, page.next_after), page.epoch, form
                )
            except CompactedError:
                return "compacted"
            except DifferentHistoryError:
                return "different_history"
            except UnavailableError:
                return "again"

    async def _refused(self, environ: Mapping[str, Any], stream: Stream) -> str | None:
        """Why a client may not go on; None if it may, or if the identity service cannot be reached."""
        told, parts = await self._in_thread(_answered, self._checks, dict(environ))
        if told.status in (401, 403):
            return "token_expired"
        if isinstance(parts, Stream) and parts.form != stream.form:
            # It may see more now, or less.
            return "again"
        return None

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


async def _while_there(receive: Receive, held: Coroutine[Any, Any, ChangePage]) -> ChangePage | None:
    """What comes of ``held``; None, at once, if the client goes before that."""
    tasks = asyncio.create_task(held), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()


async def _gone(receive: Receive) -> None:
    """Wait until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _environ_of(scope: Mapping[str, Any]) -> dict[str, Any]:
    host, port = scope.get("server") or ("", 0)
    client = scope.get("client") or ("", 0)
    environ = environ_of({**scope, "server": (host, str(port)), "client": client})
    environ["wsgi.input"] = NO_BODY
    return environ


def _answered(application: WsgiApplication, environ: dict[str, Any]) -> tuple[Told, Iterable[bytes]]:
    told = Told()
    return told, application(environ, told)
