"""Many clients that claim as fast as they are answered, from one process that costs little.

    python -m benchmarks.claim_clients < orders.json

Takes ``Orders`` as a line of JSON on its standard input, says that it begins, and prints ``Told`` as JSON
when the time is up or SIGTERM comes. All clients share one
thread and one poll: a thread per client would take processor time that the server is to have.
"""

from __future__ import annotations

import json
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson

from benchmarks.client import CHUNK_BYTES, END_OF_HEAD, ProtocolError, parse_head, request
from benchmarks.clouds import random_uuid
from benchmarks.writer import CLAIM

SEARCH = request(
    "GET",
    "/allocation_candidates?resources=" + ",".join(f"{name}:{n}" for name, n in CLAIM.items()) + "&limit=10",
)

DRAIN_SECONDS = 60.0
"""How long answers are waited for once time is up: whoever has none by then does not know its outcome."""

MANY = 100
"""Claims of one request of ``place_many``."""

FLAVORS = [
    {"VCPU": cores, "MEMORY_MB": cores * memory, "DISK_GB": disk}
    for cores in (1, 2, 3, 4, 6)
    for memory in (512, 1024, 2048, 4096)
    for disk in (1, 2, 5, 10, 20)
]
"""A hundred different asks."""

CLAIMING, SEARCHING, FREEING = "claim", "search", "free"
UNANSWERED = "unanswered"
CLOSED = "closed"
"""The connection ended before there was a whole answer."""
FULL = "full"
CONFLICT = "conflict"

CONFLICT_CODE = b'"placement.concurrent_update"'

CHUNK = memoryview(bytearray(CHUNK_BYTES))
"""Where all clients receive: one at a time does."""

LAST_ANSWER = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)
"""In the head of an answer after which the server closes the connection."""


@dataclass(frozen=True, slots=True)
class Orders:
    """``providers`` are the uuids that clients claim from; ``behaviour`` is one of ``BEHAVIOURS``.

    ``order`` is what placed claims are ordered by, if they are.

    ``pause_seconds`` is how long a client waits that was told 503, or nothing. ``keep_exchanges`` says
    whether each single exchange is told of.
    """

    port: int
    behaviour: str
    clients: int
    seconds: float
    seed: int
    providers: Sequence[str]
    pause_seconds: float = 0.0
    keep_exchanges: bool = False
    order: Mapping[str, Any] | None = None


A_THIRD = 1 / 3

Exchange = tuple[float, float, str]
"""When a request was sent and when its outcome was known, on a clock that all processes of the machine share
(``time.perf_counter`` on Linux); and why it did not succeed, empty if it did."""


@dataclass(slots=True)
class Told:
    """What happened.

    seconds
        by kind of request, the time of each that succeeded.
    finished
        claims or cycles that were finished before the time was up. Each request of a cycle is a third of
        one: a service that is slow has many under way when the time is up, and has worked on them.
    refused
        number of requests that did not succeed, by "KIND REASON".
    held
        consumer to the provider that it holds its claim of.
    unknown
        consumers of whom the clients cannot know what they hold.
    exchanges
        all of them, if they were asked for.
    """

    elapsed: float = 0.0
    finished: float = 0
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {kind: [] for kind in (SEARCHING, CLAIMING, FREEING)}
    )
    refused: dict[str, int] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    def add(self, later: Told) -> None:
        """Take over what happened in a later turn of the same service."""
        self.elapsed += later.elapsed
        self.finished += later.finished
        for kind, seconds in later.seconds.items():
            self.seconds.setdefault(kind, []).extend(seconds)
        for why, number in later.refused.items():
            self.refused[why] = self.refused.get(why, 0) + number
        self.held |= later.held
        self.unknown += later.unknown
        self.exchanges += later.exchanges


@dataclass(frozen=True, slots=True)
class Reply:
    """Status 0: there was no whole answer; ``closed`` if that was because the connection ended."""

    status: int
    body: bytes
    closed: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the service did what it was asked for."""
        return 200 <= self.status < 300


Request = tuple[str, bytes]
"""Kind and bytes."""

Steps = Generator[Request, Reply, None]


def reason(reply: Reply) -> str:
    """Why a request did not succeed: a full provider, a conflict that is the server's, or the status."""
    if reply.status == 0:
        return CLOSED if reply.closed else UNANSWERED
    if reply.status != 409:
        return str(reply.status)
    return CONFLICT if CONFLICT_CODE in reply.body else FULL


def count(numbers: dict[str, int], what: str) -> None:
    """One more of it."""
    numbers[what] = numbers.get(what, 0) + 1


def claim_body(allocations: Mapping[str, Any]) -> bytes:
    """Body of a new consumer's first claim."""
    return orjson.dumps(
        {
            "allocations": allocations,
            "project_id": "claimer",
            "user_id": "claimer",
            "consumer_type": "INSTANCE",
            "consumer_generation": None,
        }
    )


class Behaviour:
    """What clients do. All of them share one ``Told``."""

    def __init__(self, orders: Orders, told: Told, is_over: Callable[[], bool]) -> None:
        self._providers = orders.providers
        self._chance = Random(orders.seed)
        self._order = {} if orders.order is None else {"order": orders.order}
        self._told = told
        self._is_over = is_over

    def claim(self) -> Steps:
        """Claim of one provider after another, chosen by chance; nothing is freed."""
        while True:
            provider = self._chance.choice(self._providers)
            if (yield from self._claim({provider: {"resources": CLAIM}})) is not None:
                self._note()

    def cycle(self) -> Steps:
        """Search, claim one of the candidates, free it."""
        while True:
            reply = yield SEARCHING, SEARCH
            if not reply.succeeded:
                continue
            candidates = orjson.loads(reply.body)["allocation_requests"]
            if not candidates:
                count(self._told.refused, "search empty")
                continue
            self._note(A_THIRD)
            consumer = yield from self._claim(self._chance.choice(candidates)["allocations"])
            if consumer is None:
                continue
            self._note(A_THIRD)
            if (yield from self._free(consumer)):
                self._note(A_THIRD)

    def compete(self) -> Steps:
        """Claim of providers that have no room for all, and free after a while."""
        mine: list[str] = []
        while True:
            provider = self._chance.choice(self._providers)
            consumer = yield from self._claim({provider: {"resources": CLAIM}})
            if consumer is not None:
                mine.append(consumer)
                self._note()
            if mine and (consumer is None or len(mine) > 2):
                yield from self._free(mine.pop(0))

    def place(self) -> Steps:
        """Claim for flavors, drawn by chance, wherever the service places them."""
        yield from self._place(1)

    def place_many(self) -> Steps:
        """The same, as many claims in one request."""
        yield from self._place(MANY)

    def _place(self, claims: int) -> Steps:
        while True:
            ask = {"groups": {"": {"resources": self._chance.choice(FLAVORS)}}}
            entry = {"count": claims, "ask": ask, **self._order}
            reply = yield CLAIMING, request("POST", "/moorage/v1/claims", orjson.dumps({"claims": [entry]}))
            if reply.succeeded:
                self._note(claims)

    def _claim(self, allocations: Mapping[str, Any]) -> Generator[Request, Reply, str | None]:
        consumer = random_uuid(self._chance)
        reply = yield CLAIMING, request("PUT", f"/allocations/{consumer}", claim_body(allocations))
        if reply.succeeded:
            [self._told.held[consumer]] = allocations
            return consumer
        if reply.status == 0 or reply.status >= 500:
            self._told.unknown.append(consumer)
        return None

    def _free(self, consumer: str) -> Generator[Request, Reply, bool]:
        reply = yield FREEING, request("DELETE", f"/allocations/{consumer}")
        if reply.succeeded:
            del self._told.held[consumer]
        elif reply.status == 0 or reply.status >= 500:
            del self._told.held[consumer]
            self._told.unknown.append(consumer)
        return reply.succeeded

    def _note(self, part: float = 1) -> None:
        if not self._is_over():
            self._told.finished += part


BEHAVIOURS: Mapping[str, Callable[[Behaviour], Steps]] = {
    "claim": Behaviour.claim,
    "cycle": Behaviour.cycle,
    "compete": Behaviour.compete,
    "place": Behaviour.place,
    "place_many": Behaviour.place_many,
}


class Client:
    """One connection, and what is to be said on it.

    ``due`` is when a client that pauses goes on; None while it waits for an answer.
    """

    def __init__(self, orders: Orders, steps: Steps, told: Told) -> None:
        self._orders = orders
        self._steps = steps
        self._told = told
        self._received = bytearray()
        self._kind = ""
        self._sent_at = 0.0
        self._following: Request | None = None
        self.due: float | None = None
        self.socket = self._open()

    def _open(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._orders.port), DRAIN_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        return opened

    def begin(self) -> None:
        """Send the first request."""
        self._send(next(self._steps))

    def go_on(self) -> None:
        """Send the request that was put off by a pause."""
        assert self._following is not None
        self.due = None
        if self._is_over():
            self._reopen()
        self._send(self._following)

    def _is_over(self) -> bool:
        """Whether the server has closed the connection in a pause."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _reopen(self) -> None:
        self.socket.close()
        self.socket = self._open()

    def _send(self, sent: Request) -> None:
        self._kind, content = sent
        self._received.clear()
        self._sent_at = time.perf_counter()
        try:
            taken = self.socket.send(content)
        except OSError:
            # That the connection ended is seen where answers are read.
            return
        # Requests are far smaller than a socket's buffer.
        if taken != len(content):
            raise ProtocolError("a request was not taken whole")

    def take(self, *, may_send: bool) -> bool:
        """Read what has come. Returns whether the client goes on, with a request or a pause."""
        try:
            length = self.socket.recv_into(CHUNK)
        except OSError:
            length = 0
        if not length:
            return self._lost(may_send=may_send)
        self._received += CHUNK[:length]
        end_of_head = self._received.find(END_OF_HEAD)
        if end_of_head < 0:
            return True
        head = bytes(self._received[: end_of_head + len(END_OF_HEAD)])
        status, body_length = parse_head(head)
        if len(self._received) < len(head) + body_length:
            return True
        if may_send and LAST_ANSWER.search(head):
            self._reopen()
        return self._next(Reply(status, bytes(self._received[len(head) :])), may_send=may_send)

    def give_up(self) -> None:
        """There was no answer in time."""
        self._next(Reply(0, b""), may_send=False)

    def _lost(self, *, may_send: bool) -> bool:
        if may_send:
            self._reopen()
        return self._next(Reply(0, b"", closed=True), may_send=may_send)

    def _next(self, reply: Reply, *, may_send: bool) -> bool:
        now = time.perf_counter()
        if reply.succeeded:
            self._told.seconds[self._kind].append(now - self._sent_at)
        else:
            count(self._told.refused, f"{self._kind} {reason(reply)}")
        if self._orders.keep_exchanges:
            outcome = "" if reply.succeeded else f"{self._kind} {reason(reply)}"
            self._told.exchanges.append((self._sent_at, now, outcome))
        following = self._steps.send(reply)
        if not may_send:
            return False
        if self._orders.pause_seconds and reply.status in (0, 503):
            self._following = following
            self.due = now + self._orders.pause_seconds
        else:
            self._send(following)
        return True


def carry_out(orders: Orders, is_over: Callable[[], bool] | None = None) -> Told:
    """Let all clients work until the time is up, and wait for the last answers."""
    told = Told(elapsed=orders.seconds)
    until = time.perf_counter() + orders.seconds
    is_over = is_over or (lambda: time.perf_counter() > until)
    behaviour = Behaviour(orders, told, is_over)
    steps = BEHAVIOURS[orders.behaviour]
    clients = [Client(orders, steps(behaviour), told) for _ in range(orders.clients)]
    with selectors.DefaultSelector() as poll:
        for client in clients:
            poll.register(client.socket, selectors.EVENT_READ, client)
            client.begin()
        waiting = set(clients)
        # All pause for the same time, so that the first of them is the first to go on.
        pausing: deque[Client] = deque()
        while waiting and time.perf_counter() < until + DRAIN_SECONDS:
            for key, _ in poll.select(timeout=_patience(pausing)):
                client = key.data
                goes_on = client.take(may_send=not is_over())
                if client.socket is key.fileobj and goes_on and client.due is None:
                    continue
                poll.unregister(key.fileobj)
                if not goes_on:
                    waiting.discard(client)
                elif client.due is not None:
                    pausing.append(client)
                else:
                    poll.register(client.socket, selectors.EVENT_READ, client)
            while pausing and _patience(pausing) == 0.0:
                client = pausing.popleft()
                if is_over():
                    waiting.discard(client)
                else:
                    client.go_on()
                    poll.register(client.socket, selectors.EVENT_READ, client)
    for client in waiting:
        client.give_up()
    for client in clients:
        client.socket.close()
    return told


def _patience(pausing: Sequence[Client]) -> float:
    """Seconds to wait for answers before somebody's pause is over."""
    due = pausing[0].due if pausing else None
    return 1.0 if due is None else min(1.0, max(0.0, due - time.perf_counter()))


class Traffic:
    """Clients in a process of their own, which work until the time of their orders is up, or ``end``."""

    def __init__(self, orders: Orders) -> None:
        """They have begun when this returns."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.claim_clients"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def end(self) -> Told:
        """Let them take their last answers."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> Told:
        """Until their time is up. Raises CalledProcessError."""
        found, _ = self._process.communicate()
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self._process.args)
        told = Told(**json.loads(found))
        told.exchanges = [(sent, done, outcome) for sent, done, outcome in told.exchanges]
        return told


def run(orders: Orders) -> Told:
    """As ``carry_out``, in a process of its own."""
    return Traffic(orders).wait()


def main() -> None:
    """Do as the standard input says."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    until = time.perf_counter() + orders.seconds
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    print("begun", flush=True)
    print(json.dumps(asdict(carry_out(orders, lambda: ended or time.perf_counter() > until))))


if __name__ == "__main__":
    main()
