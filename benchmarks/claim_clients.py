"""Many clients that claim as fast as they are answered, from one process that costs little.

    python -m benchmarks.claim_clients < orders.json

Takes ``Orders`` as JSON on its standard input and prints ``Told`` as JSON. All clients share one
thread and one poll: a thread per client would take processor time that the server is to have.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
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

CLAIMING, SEARCHING, FREEING = "claim", "search", "free"
UNANSWERED = "unanswered"
FULL = "full"
CONFLICT = "conflict"

CONFLICT_CODE = b'"placement.concurrent_update"'


@dataclass(frozen=True, slots=True)
class Orders:
    """``providers`` are the uuids that clients claim from; ``behaviour`` is one of ``BEHAVIOURS``."""

    port: int
    behaviour: str
    clients: int
    seconds: float
    seed: int
    providers: Sequence[str]


@dataclass(slots=True)
class Told:
    """What happened.

    seconds
        by kind of request, the time of each that succeeded.
    finished
        claims (or cycles) that were finished before the time was up.
    refused
        number of requests that did not succeed, by "KIND REASON".
    held
        consumer to the provider that it holds its claim of.
    unknown
        consumers of whom the clients cannot know what they hold.
    """

    elapsed: float = 0.0
    finished: int = 0
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {kind: [] for kind in (SEARCHING, CLAIMING, FREEING)}
    )
    refused: dict[str, int] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reply:
    """Status 0: there was no whole answer."""

    status: int
    body: bytes

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
        return UNANSWERED
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
            consumer = yield from self._claim(self._chance.choice(candidates)["allocations"])
            if consumer is not None and (yield from self._free(consumer)):
                self._note()

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

    def _note(self) -> None:
        if not self._is_over():
            self._told.finished += 1


BEHAVIOURS: Mapping[str, Callable[[Behaviour], Steps]] = {
    "claim": Behaviour.claim,
    "cycle": Behaviour.cycle,
    "compete": Behaviour.compete,
}


class Client:
    """One connection, and what is to be said on it."""

    def __init__(self, port: int, steps: Steps, told: Told) -> None:
        self._port = port
        self._steps = steps
        self._told = told
        self._received = bytearray()
        self._kind = ""
        self._sent_at = 0.0
        self.socket = self._open()

    def _open(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), DRAIN_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        return opened

    def begin(self) -> None:
        """Send the first request."""
        self._send(next(self._steps))

    def _send(self, sent: Request) -> None:
        self._kind, content = sent
        self._received.clear()
        self._sent_at = time.perf_counter()
        # Requests are far smaller than a socket's buffer.
        if self.socket.send(content) != len(content):
            raise ProtocolError("a request was not taken whole")

    def take(self, *, may_send: bool) -> bool:
        """Read what has come. Returns whether the client goes on waiting for an answer."""
        try:
            part = self.socket.recv(CHUNK_BYTES)
        except OSError:
            part = b""
        if not part:
            return self._lost(may_send=may_send)
        self._received += part
        end_of_head = self._received.find(END_OF_HEAD)
        if end_of_head < 0:
            return True
        status, length = parse_head(bytes(self._received[:end_of_head]))
        begin = end_of_head + len(END_OF_HEAD)
        if len(self._received) < begin + length:
            return True
        return self._next(Reply(status, bytes(self._received[begin:])), may_send=may_send)

    def give_up(self) -> None:
        """There was no answer in time."""
        self._next(Reply(0, b""), may_send=False)

    def _lost(self, *, may_send: bool) -> bool:
        self.socket.close()
        if may_send:
            self.socket = self._open()
        return self._next(Reply(0, b""), may_send=may_send)

    def _next(self, reply: Reply, *, may_send: bool) -> bool:
        if reply.succeeded:
            self._told.seconds[self._kind].append(time.perf_counter() - self._sent_at)
        else:
            count(self._told.refused, f"{self._kind} {reason(reply)}")
        following = self._steps.send(reply)
        if may_send:
            self._send(following)
        return may_send


def carry_out(orders: Orders, is_over: Callable[[], bool] | None = None) -> Told:
    """Let all clients work until the time is up, and wait for the last answers."""
    told = Told(elapsed=orders.seconds)
    until = time.perf_counter() + orders.seconds
    is_over = is_over or (lambda: time.perf_counter() > until)
    behaviour = Behaviour(orders, told, is_over)
    steps = BEHAVIOURS[orders.behaviour]
    clients = [Client(orders.port, steps(behaviour), told) for _ in range(orders.clients)]
    with selectors.DefaultSelector() as poll:
        for client in clients:
            poll.register(client.socket, selectors.EVENT_READ, client)
            client.begin()
        waiting = set(clients)
        while waiting and time.perf_counter() < until + DRAIN_SECONDS:
            for key, _ in poll.select(timeout=1.0):
                client = key.data
                goes_on = client.take(may_send=not is_over())
                if client.socket is not key.fileobj or not goes_on:
                    poll.unregister(key.fileobj)
                if goes_on and client.socket is not key.fileobj:
                    poll.register(client.socket, selectors.EVENT_READ, client)
                if not goes_on:
                    waiting.discard(client)
    for client in waiting:
        client.give_up()
    for client in clients:
        client.socket.close()
    return told


def run(orders: Orders) -> Told:
    """As ``carry_out``, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.claim_clients"],
        cwd=Path(__file__).parents[1],
        input=json.dumps(asdict(orders)).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return Told(**json.loads(done.stdout))


def main() -> None:
    """Do as the standard input says."""
    orders = Orders(**json.load(sys.stdin))
    print(json.dumps(asdict(carry_out(orders))))


if __name__ == "__main__":
    main()
