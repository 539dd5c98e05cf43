"""A TCP proxy that knows enough of two databases' protocols to see a COMMIT go by.

It can cut a connection before COMMIT reaches the server, while the server works on it, or after the
server has done it and before the client learns of it. It can also stall, cut everything, refuse, and
lead new connections to another server.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

CHUNK = 65536

POSTGRESQL = "postgresql"
MYSQL = "mysql"

_MYSQL_QUERY = 3
"""Command byte of a statement in MySQL's protocol."""

_POSTGRESQL_STATEMENTS = b"QP"
"""Types of PostgreSQL's messages that carry a statement: simple query, and parse."""

ANSWER_SECONDS = 10.0
"""How long the answer to a COMMIT is waited for that shall be lost."""


class Cut(Enum):
    """Where a connection breaks."""

    BEFORE = "COMMIT never arrives"
    DURING = "COMMIT arrives, and nobody waits for it"
    AFTER = "COMMIT is done, and its answer is lost"


class Framer:
    """Splits what a client sends into messages, and tells which is a COMMIT."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol
        self._buffer = b""
        self._started = False

    def feed(self, content: bytes) -> list[tuple[bytes, bool]]:
        """Complete messages, each with whether it is a COMMIT."""
        self._buffer += content
        found = []
        while (length := self._length()) is not None and len(self._buffer) >= length:
            message, self._buffer = self._buffer[:length], self._buffer[length:]
            found.append((message, self._is_commit(message)))
            self._started = True
        return found

    def _length(self) -> int | None:
        if self._protocol == MYSQL:
            return None if len(self._buffer) < 4 else 4 + int.from_bytes(self._buffer[:3], "little")
        # PostgreSQL's first message has no type. One that asks for encryption (or its like) is
        # followed by another without a type; all these are answered before more is sent.
        if not self._started or self._is_untyped():
            return None if len(self._buffer) < 4 else int.from_bytes(self._buffer[:4], "big")
        return None if len(self._buffer) < 5 else 1 + int.from_bytes(self._buffer[1:5], "big")

    def _is_untyped(self) -> bool:
        return len(self._buffer) > 0 and self._buffer[0] == 0

    def _is_commit(self, message: bytes) -> bool:
        if self._protocol == MYSQL:
            return message[4:5] == bytes((_MYSQL_QUERY,)) and message[5:].strip().upper() == b"COMMIT"
        if message[:1] not in (_POSTGRESQL_STATEMENTS[:1], _POSTGRESQL_STATEMENTS[1:]):
            return False
        return b"COMMIT" in message[5:].upper().split(b"\0")


class Proxy:
    """Listens on 127.0.0.1 and leads to ``upstream``, (address, port)."""

    def __init__(self, upstream: tuple[str, int], protocol: str) -> None:
        self.upstream = upstream
        self.done: Counter[Cut] = Counter()
        self._protocol = protocol
        self._armed: list[Cut] = []
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._refusing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def close(self) -> None:
        """No more connections, old or new."""
        self._refusing = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.resume()
        self.cut_all()

    def arm(self, *cuts: Cut) -> None:
        """The next COMMITs meet these."""
        with self._lock:
            self._armed += cuts

    def disarm(self) -> None:
        """No COMMIT meets anything any more."""
        with self._lock:
            self._armed.clear()

    def cut_all(self) -> None:
        """Break every connection that is there."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._break(pair)

    def stall(self) -> None:
        """Nothing passes, and nothing breaks."""
        self._flowing.clear()

    def resume(self) -> None:
        """What was held back passes."""
        self._flowing.set()

    def refuse(self, refusing: bool) -> None:
        """Whether new connections are broken at once."""
        self._refusing = refusing

    def lead_to(self, upstream: tuple[str, int]) -> None:
        """Break all connections; new ones go elsewhere."""
        self.upstream = upstream
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self.upstream, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            answered = threading.Event()
            lost = threading.Event()
            self._start(self._upwards, pair, answered, lost)
            self._start(self._downwards, pair, answered, lost)

    def _start(
        self,
        flow: Callable[[tuple[socket.socket, socket.socket], threading.Event, threading.Event], None],
        pair: tuple[socket.socket, socket.socket],
        answered: threading.Event,
        lost: threading.Event,
    ) -> None:
        threading.Thread(target=flow, args=(pair, answered, lost), daemon=True).start()

    def _upwards(
        self, pair: tuple[socket.socket, socket.socket], answered: threading.Event, lost: threading.Event
    ) -> None:
        client, server = pair
        framer = Framer(self._protocol)
        try:
            while content := client.recv(CHUNK):
                for message, is_commit in framer.feed(content):
                    self._flowing.wait()
                    cut = self._next_cut() if is_commit else None
                    if cut is None:
                        server.sendall(message)
                        continue
                    if cut is not Cut.BEFORE:
                        answered.clear()
                        lost.set()
                        server.sendall(message)
                        if cut is Cut.AFTER:
                            answered.wait(ANSWER_SECONDS)
                    return
        except OSError:
            pass
        finally:
            self._break(pair)

    def _downwards(
        self, pair: tuple[socket.socket, socket.socket], answered: threading.Event, lost: threading.Event
    ) -> None:
        client, server = pair
        try:
            while content := server.recv(CHUNK):
                if lost.is_set():
                    answered.set()
                    continue
                self._flowing.wait()
                client.sendall(content)
        except OSError:
            pass
        finally:
            answered.set()
            self._break(pair)

    def _next_cut(self) -> Cut | None:
        with self._lock:
            if not self._armed:
                return None
            cut = self._armed.pop(0)
            self.done[cut] += 1
            return cut

    def _break(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
