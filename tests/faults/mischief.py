"""What clients and programs beside the service do to it: slow bodies, odd requests, foreign openers.

None of it may change the account, keep others from their answers for good, or lose what was acknowledged.
"""

from __future__ import annotations

import os
import random
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.serving import Serving

Fault = Callable[[random.Random], None]

BODIES_STALLED = "bodies stalled"
FILE_OPENED = "file opened by others"
ODD_REQUESTS = "odd requests"

BODY_SECONDS = 2
IDLE_SECONDS = 4
"""How long a service under fire waits for bodies and headers. It cuts a connection once both are over."""

IMPATIENCE: Mapping[str, str] = {
    "OS_PLACEMENT_MOORAGE__BODY_TIMEOUT": str(BODY_SECONDS),
    "OS_PLACEMENT_MOORAGE__IDLE_TIMEOUT": str(IDLE_SECONDS),
}

CONNECT_SECONDS = 5.0

ANSWER_SECONDS = 3.0
"""How long an odd client waits: a worker may be stopped meanwhile."""

MOST_STALLED = 24
"""Connections at a time: fewer than the threads of a worker that may read bodies."""

CUT_SECONDS = BODY_SECONDS + IDLE_SECONDS + 4.0
"""After which a service must have cut what is stalled."""

CONSUMER = "dddd0000-0000-4000-8000-00000000fade"
"""No client of a workload knows it."""

HOSTS = (b"127.0.0.1", b"evil.example", b"a/b", b"", b"[::1", b"127.0.0.1:99999", b"\xff\xfe", b"x" * 300)

SPECIAL = "<>\"'\\%:/?&=;,.@ \t\xa0\xb9\xff"


@dataclass
class Mischief:
    """Connections that stay open over several faults, and answers that no odd request must get."""

    hosts: Sequence[Serving]
    stalled: list[tuple[float, socket.socket]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def faults(self) -> Mapping[str, Fault]:
        """As ``Target.faults``."""
        return {BODIES_STALLED: self.stall, ODD_REQUESTS: self.ask_oddly}

    def stall(self, dice: random.Random) -> None:
        """Announce bodies and keep them back until the service must have cut them.

        What comes meanwhile meets a service that waits for them, or cuts them.
        """
        while self.stalled and time.monotonic() - self.stalled[0][0] > CUT_SECONDS:
            self.stalled.pop(0)[1].close()
        host = dice.choice(self.hosts)
        with suppress(OSError):
            for _ in range(min(dice.randint(2, 8), MOST_STALLED - len(self.stalled))):
                connection = connected(host)
                self.stalled.append((time.monotonic(), connection))
                connection.sendall(head("PUT", f"/allocations/{CONSUMER}", length=b"100") + b"{")
                time.sleep(dice.uniform(0.0, 0.05))

    def ask_oddly(self, dice: random.Random) -> None:
        """Some odd requests, each on a connection of its own."""
        for _ in range(dice.randint(3, 12)):
            sent = odd_request(dice)
            status = status_of(dice.choice(self.hosts), sent)
            if status == b"500":
                self.problems.append(f"odd request: 500 for {sent[:300]!r} ({len(sent)} bytes)")

    def close(self) -> None:
        """Take back what is left."""
        for _, connection in self.stalled:
            connection.close()
        self.stalled.clear()


def connected(host: Serving) -> socket.socket:
    """Raises OSError."""
    return socket.create_connection((host.address, host.port), timeout=CONNECT_SECONDS)


def head(
    method: str,
    path: str,
    host: bytes = b"127.0.0.1",
    more: bytes = b"",
    length: bytes | None = None,
    token: bytes = b"admin:odd",
) -> bytes:
    """A request's lines before its body."""
    told = b"" if length is None else b"Content-Type: application/json\r\nContent-Length: " + length + b"\r\n"
    return (
        f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
        + b"Host: "
        + host
        + b"\r\nX-Auth-Token: "
        + token
        + b"\r\n"
        + (b"" if b"openstack-api-version" in more.lower() else b"OpenStack-API-Version: placement 1.39\r\n")
        + told
        + more
        + b"\r\n"
    )


def status_of(host: Serving, sent: bytes) -> bytes:
    """The status that a request is answered with; empty if the connection ends, or no answer comes."""
    with suppress(OSError), connected(host) as connection:
        connection.settimeout(ANSWER_SECONDS)
        # A server need not read to its end what it refuses.
        with suppress(OSError):
            connection.sendall(sent)
        found = re.match(rb"HTTP/1\.1 (\d{3})", connection.recv(100))
        return found[1] if found else b""
    return b""


def odd_request(dice: random.Random) -> bytes:
    """One that no service may carry out: a refusal is the right answer, or a reading."""
    return dice.choice(ODD)(dice)


def _long_version(dice: random.Random) -> bytes:
    version = b"OpenStack-API-Version: placement " + dice.choice((b"<", b"1.", b" ", b"9")) * _length(dice)
    return head("GET", "/", more=version + b"\r\n", token=dice.choice((b"", b"admin")))


def _long_headers(dice: random.Random) -> bytes:
    lines = b"".join(
        b"X-Odd-%d: %b\r\n" % (n, b"x" * (_length(dice) // 10)) for n in range(dice.randint(1, 60))
    )
    return head("GET", "/traits", more=lines)


def _long_path(dice: random.Random) -> bytes:
    return head("GET", "/x?" + dice.choice(("a", "a:", "://", "%41", "a=&")) * _length(dice) + "://")


def _long_name(dice: random.Random) -> bytes:
    body = b'{"name": "%b"}' % (dice.choice((b"x", b"<", b" ", b"\\u0000")) * max(300, _length(dice)))
    return head("POST", "/resource_providers", length=str(len(body)).encode()) + body


def _adversarial_query(dice: random.Random) -> bytes:
    text = "".join(dice.choices(SPECIAL, k=50)) * (_length(dice) // 60 + 1)
    encoded = "".join(f"%{ord(letter):02x}" for letter in text[:5_000])
    name = dice.choice(("required", "resources", "member_of", "same_subtree", "in_tree", "name", "limit"))
    return head("GET", f"/allocation_candidates?{name}={encoded}")


def _bad_bytes(dice: random.Random) -> bytes:
    return dice.randbytes(dice.randint(1, 2_000)) + b"\r\n\r\n"


def _bad_body(dice: random.Random) -> bytes:
    depth = dice.randint(10, 20_000)
    body = dice.choice(
        (
            b"[" * depth,
            b'{"a":' * depth,
            b"\xff\xfe" * depth,
            b'{"allocations": NaN}',
            b'{"allocations": {"\\ud800": {}}}',
            b"9" * depth,
            b"\x00" * depth,
        )
    )
    return head("PUT", f"/allocations/{CONSUMER}", length=str(len(body)).encode()) + body


def _bad_length(dice: random.Random) -> bytes:
    length = dice.choice((b"hi mom", b"-1", b"1e3", b"", b"99999999999999999999", b"\xb9", b"0x10", b"4, 4"))
    return head("PUT", f"/allocations/{CONSUMER}", length=length) + b"{}"


def _bad_chunks(dice: random.Random) -> bytes:
    more = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    chunks = dice.choice(
        (b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"2\r\n{}0\r\n\r\n")
    )
    return head("PUT", f"/allocations/{CONSUMER}", more=more) + chunks


def _wrong_host(dice: random.Random) -> bytes:
    return head("GET", dice.choice(("/", "/traits", "/resource_providers")), host=dice.choice(HOSTS))


def _other_headers(dice: random.Random) -> bytes:
    more = dice.choice(
        (
            b"X_Auth_Token: admin\r\n",
            b"X-Auth-Token: nobody\r\n",
            b"X-Forwarded-Proto: https, http\r\nForwarded: for=evil;host=a/b\r\n",
            b"OpenStack-API-Version: placement 1.\xb9\r\n",
            b"Accept: " + b"text/html;q=0.1," * (_length(dice) // 20) + b"\r\n",
            b"Connection: upgrade\r\nUpgrade: h2c\r\n",
            b"X-Odd: a\r\n b\r\n",
        )
    )
    return head(dice.choice(("GET", "TRACE", "FOO")), "/traits", more=more)


def _length(dice: random.Random) -> int:
    return dice.choice((10, 1_000, 7_000, 14_000, 60_000))


ODD: Sequence[Callable[[random.Random], bytes]] = (
    _long_version,
    _long_headers,
    _long_path,
    _long_name,
    _adversarial_query,
    _bad_bytes,
    _bad_body,
    _bad_length,
    _bad_chunks,
    _wrong_host,
    _other_headers,
)


def open_and_close(file: Path, dice: random.Random) -> None:
    """What other programs do with the file of a SQLite database: look, copy, check, checkpoint.

    Closing the database as the last one that has it open is what removes the log.
    """
    for _ in range(dice.randint(2, 20)):
        deed = dice.choice((_look, _read_bytes, _check, _checkpoint, _back_up))
        # It is locked, full, or the service makes it anew: another program is told so, too.
        with suppress(sqlite3.Error, OSError):
            deed(file)
        time.sleep(dice.uniform(0.0, 0.1))


def _look(file: Path) -> None:
    with closing(_opened(file)) as connection:
        connection.execute("SELECT count(*) FROM traits").fetchone()


def _read_bytes(file: Path) -> None:
    for path in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        path.read_bytes()


def _check(file: Path) -> None:
    with closing(_opened(file)) as connection:
        connection.execute("PRAGMA quick_check").fetchone()


def _checkpoint(file: Path) -> None:
    with closing(_opened(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _back_up(file: Path) -> None:
    copy = file.with_name(f"copy-{os.getpid()}.sqlite")
    try:
        with closing(_opened(file)) as connection, closing(sqlite3.connect(copy)) as target:
            connection.backup(target)
    finally:
        copy.unlink(missing_ok=True)


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=1.0)
