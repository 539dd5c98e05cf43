"""The event loop that serves changes to many clients, without its process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from moorage.api.http.settings import Limits
from moorage.api.native.application import create
from moorage.api.placement.query import newest_request
from moorage.auth.identity import Identity, UnauthorisedError
from moorage.auth.noauth import NoAuth
from moorage.model.commands import CreateTrait
from moorage.model.errors import CompactedError, UnavailableError
from moorage.serve.changes import application as application_module
from moorage.serve.changes.application import ChangesApplication
from moorage.serve.changes.feed import Feed
from moorage.service.facade import Service
from moorage.service.tail import Tail
from moorage.service.watching import Watch
from moorage.store.store import Store
from moorage.wiring.changes import ENDPOINTS, Unwatched
from tests.databases.orders import order
from tests.unit.api.fake import usual_policy
from tests.unit.serve.asgi import scope

LINES = "application/x-ndjson"
PLACES = 3
BEHIND = 20_000


class Auth(NoAuth):
    """Identifies somebody who may do all, until their token ``expires``."""

    def __init__(self) -> None:
        super().__init__()
        self.roles = frozenset({"admin"})
        self.is_expired = False

    def identify(self, environ: Any) -> Identity:
        if self.is_expired:
            raise UnauthorisedError
        return Identity(user_id="u", project_id="red", roles=self.roles)


class Transport:
    """What a server writes to, and what was written there at once, without its task."""

    def __init__(self) -> None:
        self.is_aborted = False
        self.is_closed = False
        self.written: list[bytes] = []
        self.told: Callable[[bytes], None] = self.written.append

    def write(self, content: bytes) -> None:
        self.written.append(content)
        size, part = content.split(b"\r\n", 1)
        assert part == part[: int(size, 16)] + b"\r\n"
        self.told(part[:-2])

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_aborted = True


class Flow:
    """Whether a client takes what it is sent."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()

    @property
    def write_paused(self) -> bool:
        return not self.writable.is_set()

    def resume_writing(self) -> None:
        self.writable.set()


class Cycle:
    """A client and its connection, as the server hands it to the application."""

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.transport = Transport()
        self.transport.told = self._told
        self.conn = SimpleNamespace(their_http_version=b"1.1")
        self.flow = Flow()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False
        self._came = asyncio.Event()
        self._gone = asyncio.Event()
        self._has_body = True

    async def receive(self) -> Any:
        if self._has_body:
            self._has_body = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def go(self) -> None:
        """Close the connection."""
        self.disconnected = True
        self._gone.set()

    async def send(self, message: Any) -> None:
        await self.flow.writable.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]
            self.is_complete = not message["more_body"]
        self._came.set()

    def _told(self, part: bytes) -> None:
        self.body += part
        self._came.set()

    async def until(self, is_there: Callable[[], bool]) -> None:
        """Wait until something was sent that makes it true."""
        async with asyncio.timeout(60):
            while not is_there():
                self._came.clear()
                await self._came.wait()

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    async def has(self, count: int) -> list[Any]:
        """So many lines, once they are there."""
        await self.until(lambda: self.body.count(b"\n") >= count)
        return self.lines

    async def ended(self) -> str:
        """The reason of the end."""
        await self.until(lambda: self.is_complete)
        return str(self.lines[-1]["end"])


class Counting:
    """Counts what the service's observer learns of clients that wait."""

    def __init__(self) -> None:
        self.watchers = 0
        self.dropped = 0
        self._loop, self._wanted = asyncio.get_running_loop(), asyncio.Semaphore(0)

    def watchers_changed(self, more: int) -> None:
        self.watchers += more
        if more > 0:
            self._loop.call_soon_threadsafe(self._wanted.release)

    async def reached(self, count: int) -> None:
        """So many have begun to wait."""
        for _ in range(count):
            await self._wanted.acquire()

    def watcher_dropped(self) -> None:
        self.dropped += 1

    def leases_renewed(self, count: int) -> None:
        pass

    def leases_expired(self, count: int) -> None:
        pass


class Loop:
    """An event loop's parts, and its clients."""

    def __init__(self, store: Store, threads: ThreadPoolExecutor) -> None:
        self.auth, self.counts = Auth(), Counting()
        observer: Any = self.counts
        never = threading.Event()
        self.watch = Watch(store, PLACES, never, observer, threads_wait=False)
        self.tail = Tail(store, 2 * BEHIND)
        self.feed = Feed(self.watch, self.tail, threads)
        heads, checks = (
            create(
                Service(store, watch=watch),
                newest_request,
                Limits(),
                self.auth,
                usual_policy(),
                endpoints=ENDPOINTS,
            )
            for watch in (self.watch, Unwatched(store, 1, never))
        )
        self.application = ChangesApplication(heads, checks, self.feed, self.watch, threads, BEHIND, observer)
        self._tasks: list[asyncio.Task[None]] = []

    def ask(self, query: str, accept: str = "application/json", path: str = "/moorage/v1/changes") -> Cycle:
        """Begin a request."""
        cycle = Cycle()
        head = scope((b"accept", accept.encode()), raw_path=path.encode(), query_string=query.encode())
        self._tasks.append(asyncio.create_task(self.application(head, cycle.receive, cycle.send)))
        return cycle

    async def follow(self, query: str = "after=now", accept: str = LINES) -> Cycle:
        """A stream that has begun."""
        cycle = self.ask(query, accept)
        await cycle.until(lambda: bool(cycle.body))
        return cycle

    async def asleep(self, count: int) -> None:
        """So many clients wait for what is new."""
        for _ in range(1_000):
            # A client that was woken is there until its task goes on.
            if sum(not sleeping.done() for sleeping in self.feed._sleeping) == count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self.feed._sleeping)} wait")

    async def close(self) -> None:
        """End all."""
        self.feed.end()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def running(store: Store, looks: bool = True) -> AsyncIterator[Loop]:
    with ThreadPoolExecutor(2) as threads:
        loop = Loop(store, threads)
        looking = asyncio.create_task(loop.feed.run(loop.application.drop_slow)) if looks else None
        try:
            yield loop
        finally:
            await loop.close()
            if looking is not None:
                await looking


Scenario = Callable[[Loop], Awaitable[None]]


@pytest.fixture
def play(sqlite_store: Store) -> Callable[[Scenario], None]:
    """Plays a scenario in an event loop."""

    async def played(scenario: Scenario) -> None:
        async with running(sqlite_store) as loop:
            await scenario(loop)

    return lambda scenario: asyncio.run(played(scenario))


def test_clients_that_want_the_same_get_each_record_once_made(
    play: Any, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    from moorage.api.native import changes

    shown = changes.shown

    def counted(change: Any, own: Any, *, short: bool) -> bytes:
        made.append(change.revision)
        return shown(change, own, short=short)

    monkeypatch.setattr(changes, "shown", counted)
    start = sqlite_service.revision()

    async def scenario(loop: Loop) -> None:
        cycles = [await loop.follow() for _ in range(PLACES)]
        assert loop.counts.watchers == PLACES
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_A"))
        for cycle in cycles:
            bookmark, record = await cycle.has(2)
            assert bookmark["bookmark"] == start
            assert (record["revision"], record["traits"]) == (start + 1, {"CUSTOM_A": [False, True]})
            assert (cycle.status, cycle.headers["content-type"]) == (200, LINES)
        assert made == [start + 1]
        loop.feed.end()
        assert [await cycle.ended() for cycle in cycles] == ["stopping"] * PLACES

    play(scenario)


def test_a_stream_that_is_up_to_date_is_written_to_without_its_task(
    play: Any, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(loop: Loop) -> None:
        whole, other, old = [await loop.follow() for _ in range(PLACES)]
        # A client of HTTP/1.0 does not know chunks: its task sends, as h11 frames it.
        old.conn.their_http_version = b"1.0"
        await loop.asleep(PLACES)
        asked: list[int] = []
        part = loop.feed.part

        async def counted(wanted: Any, *rest: Any) -> Any:
            asked.append(wanted.after)
            return await part(wanted, *rest)

        monkeypatch.setattr(loop.feed, "part", counted)
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_A"))
        records = [(await cycle.has(2))[1] for cycle in (whole, other, old)]
        assert [record["traits"] for record in records] == [{"CUSTOM_A": [False, True]}] * PLACES
        assert [len(cycle.transport.written) for cycle in (whole, other, old)] == [1, 1, 0]
        assert whole.transport.written[0] is other.transport.written[0]
        assert len(asked) == 1

    play(scenario)


def test_the_loop_rests_for_as_long_as_it_took_to_pass_records_on(
    play: Any, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    passing, rests = 5.0, list[float]()
    real_sleep = asyncio.sleep

    async def scenario(loop: Loop) -> None:
        clock = asyncio.get_running_loop()
        real_time, late = clock.time, [0.0]
        monkeypatch.setattr(clock, "time", lambda: real_time() + late[0])
        pass_on = loop.feed._pass_on

        def slow(now: float) -> None:
            pass_on(now)
            late[0] += passing

        async def rest(seconds: float) -> None:
            rests.append(seconds)
            await real_sleep(0.01)

        monkeypatch.setattr(loop.feed, "_pass_on", slow)
        monkeypatch.setattr(asyncio, "sleep", rest)
        cycle = await loop.follow()
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_A"))
        await cycle.has(2)
        while not [rest for rest in rests if rest >= passing]:
            await real_sleep(0.01)

    play(scenario)


def test_all_places_taken_is_busy_and_a_place_comes_back(play: Any) -> None:
    async def scenario(loop: Loop) -> None:
        cycles = [await loop.follow() for _ in range(PLACES)]
        for query, accept in (("after=now", LINES), ("after=now&wait=9s", "application/json")):
            refused = loop.ask(query, accept)
            await refused.until(lambda refused=refused: refused.is_complete)  # type: ignore[misc]
            assert refused.status == 503
            assert json.loads(refused.body)["code"] == "busy"
            assert refused.headers["retry-after"] == "5"
        for cycle in cycles:
            cycle.disconnected = True
        loop.feed.end()
        await asyncio.gather(*loop._tasks)
        assert loop.counts.watchers == 0
        assert not any(cycle.is_complete for cycle in cycles)

    play(scenario)


def test_a_held_page_comes_with_the_next_change_or_empty_in_the_end(
    play: Any, sqlite_service: Service
) -> None:
    start = sqlite_service.revision()

    async def scenario(loop: Loop) -> None:
        held, filtered = loop.ask("after=now&wait=30s"), loop.ask("after=now&wait=30s&kinds=claim")
        async with asyncio.timeout(60):
            await loop.counts.reached(2)
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_A"))
        for cycle, revisions in ((held, [start + 1]), (filtered, [])):
            if cycle is filtered:
                # None of it passes. The page that the client gets in the end says how far it was looked at.
                await loop.asleep(1)
                assert not cycle.is_complete
                loop.feed.end()
            await cycle.until(lambda cycle=cycle: cycle.is_complete)  # type: ignore[misc]
            told = json.loads(cycle.body)
            assert [change["revision"] for change in told["changes"]] == revisions
            assert told["next_after"] == told["revision"] == start + 1
            assert cycle.headers["moorage-revision"] == str(start + 1)
            assert cycle.headers["content-length"] == str(len(cycle.body))
        assert loop.counts.watchers == 0

    play(scenario)


def test_a_client_that_goes_gives_the_place_of_its_held_page_back_at_once(play: Any) -> None:
    async def scenario(loop: Loop) -> None:
        cycles = [loop.ask("after=now&wait=30s") for _ in range(PLACES)]
        async with asyncio.timeout(60):
            await loop.counts.reached(PLACES)
            await loop.asleep(PLACES)
            for cycle in cycles:
                cycle.go()
            await asyncio.gather(*loop._tasks)
        assert loop.counts.watchers == 0
        assert not any(cycle.status for cycle in cycles)
        await loop.asleep(0)
        # So there is room for others.
        cycle = await loop.follow()
        assert cycle.status == 200

    play(scenario)


@pytest.mark.slow
def test_a_page_is_held_as_long_as_the_client_asks(play: Any, sqlite_service: Service) -> None:
    async def scenario(loop: Loop) -> None:
        cycle = loop.ask("after=now&wait=1s")
        await cycle.until(lambda: cycle.is_complete)
        assert json.loads(cycle.body)["changes"] == []

    play(scenario)


def test_what_needs_no_waiting_is_answered_as_by_the_api(play: Any, sqlite_service: Service) -> None:
    present = sqlite_service.revision()

    async def scenario(loop: Loop) -> None:
        for query, status in (
            (f"after={present - 1}", 200),
            ("after=x", 400),
            (f"after={present + 1}", 410),
            (f"after={present + 1}&wait=9s", 410),
        ):
            cycle = loop.ask(query)
            await cycle.until(lambda cycle=cycle: cycle.is_complete)  # type: ignore[misc]
            assert cycle.status == status, query
        other = loop.ask("", path="/moorage/v1/providers")
        await other.until(lambda: other.is_complete)
        assert other.status == 404
        loop.auth.is_expired = True
        refused = loop.ask("after=now", LINES)
        await refused.until(lambda: refused.is_complete)
        assert refused.status == 401

    play(scenario)


def test_events_begin_after_the_last_one_that_a_browser_has(play: Any, sqlite_service: Service) -> None:
    start = sqlite_service.revision()
    order(sqlite_service, CreateTrait("CUSTOM_A"))

    async def scenario(loop: Loop) -> None:
        cycle = await loop.follow(f"after={start}", "text/event-stream")
        assert cycle.body.startswith(f'id: {start + 1}\ndata: {{"revision":{start + 1},'.encode())
        loop.feed.end()
        await cycle.until(lambda: cycle.is_complete)
        assert cycle.body.endswith(b'event: end\ndata: {"end":"stopping"}\n\n')

    play(scenario)


def test_a_client_that_reads_too_slowly_is_dropped_with_a_word(play: Any, sqlite_service: Service) -> None:
    async def scenario(loop: Loop) -> None:
        slow, quick = await loop.follow(), await loop.follow()
        slow.flow.writable.clear()
        written = 0
        while loop.counts.dropped == 0:
            written += 1
            await asyncio.to_thread(order, sqlite_service, CreateTrait(f"CUSTOM_{written}"))
        assert await slow.ended() == "slow"
        # What came before the word has no gap.
        revisions = [line["revision"] for line in slow.lines if "revision" in line]
        assert revisions == list(range(revisions[0], revisions[0] + len(revisions))) if revisions else True
        assert not slow.keep_alive
        assert len(await quick.has(written + 1)) >= written + 1
        assert loop.counts.watchers == 1

    play(scenario)


def test_a_token_is_looked_at_again(
    play: Any, monkeypatch: pytest.MonkeyPatch, sqlite_service: Service
) -> None:
    monkeypatch.setattr(application_module, "CHECK_SECONDS", 0.01)

    async def scenario(loop: Loop) -> None:
        kept = await loop.follow()
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_A"))
        await kept.has(2)
        loop.auth.roles = frozenset({"reader"})
        own = await loop.follow("after=now&project_id=red")
        loop.auth.roles = frozenset({"admin"})
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_B"))
        # It may see more now.
        assert await own.ended() == "again"
        loop.auth.is_expired = True
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_C"))
        assert await kept.ended() == "token_expired"

    play(scenario)


@pytest.mark.parametrize("what", ["compacted", "different_history", "again"])
def test_a_stream_that_cannot_go_on_says_why(
    play: Any, what: str, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(loop: Loop) -> None:
        cycle = await loop.follow()
        if what == "different_history":
            # It is one in which this revision is not reached any more.
            await asyncio.to_thread(sqlite_service._store.new_history)
        else:
            error = CompactedError(1, 2) if what == "compacted" else UnavailableError("")

            def fails(*_: Any) -> Any:
                raise error

            monkeypatch.setattr(loop.watch, "page", fails)
            await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_A"))
        assert await cycle.ended() == what

    play(scenario)


def test_a_database_that_cannot_be_reached_ends_no_stream(
    play: Any, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(loop: Loop) -> None:
        cycle = await loop.follow()
        errors = [RuntimeError("bug"), UnavailableError("gone")]
        look = loop.tail.look

        def broken() -> bool:
            if errors:
                raise errors.pop()
            return look()

        monkeypatch.setattr(loop.tail, "look", broken)
        await asyncio.to_thread(order, sqlite_service, CreateTrait("CUSTOM_A"))
        assert len(await cycle.has(2)) == 2
        assert errors == []

    play(scenario)


def test_a_filtered_stream_has_a_bookmark_after_many_revisions_and_not_for_each(
    play: Any, sqlite_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application_module, "FILTERED_REVISIONS", 5)
    start = sqlite_service.revision()

    async def scenario(loop: Loop) -> None:
        cycle = await loop.follow("after=now&kinds=claim")
        for number in range(7):
            await asyncio.to_thread(order, sqlite_service, CreateTrait(f"CUSTOM_{number}"))
        marks = [line["bookmark"] for line in await cycle.has(2)]
        assert marks[0] == start
        assert marks[1] >= start + 5

    play(scenario)
