"""Claims and releases at a steady rate, from a process of its own.

    python -m benchmarks.writer PORT RATE <uuids.json

Takes a JSON list of provider UUIDs as the first line of its standard input, says "ready" once it
has begun, and goes on until that input ends; then it prints what it did as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.client import Connection, ProtocolError, ServerSilentError, request

CONNECTIONS = 32
"""Enough that 500 writes per second need not wait for each other up to 60 ms each."""

LATE_SECONDS = 0.1
"""Who is later than this gives up the writes that were missed instead of hurrying after them."""

TIMEOUT_SECONDS = 30.0
RAMP_SECONDS = 0.5
"""Until all connections are open and the rate is steady."""

CLAIM = {"VCPU": 1, "MEMORY_MB": 256, "DISK_GB": 1}


@dataclass
class Written:
    """What a writer has done. ``seconds`` has the time of each write that succeeded."""

    elapsed: float = 0.0
    refused: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)


@contextmanager
def writing(port: int, rate: int, providers: Sequence[str]) -> Iterator[Written]:
    """Write to the service at ``port`` for as long as the context lasts; the result is filled at its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.writer", str(port), str(rate)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    written = Written()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(list(providers)).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(RAMP_SECONDS)
        yield written
        process.stdin.close()
        vars(written).update(json.loads(process.stdout.read()))
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


class Writer:
    """Writes on several connections until it is told to stop."""

    def __init__(self, port: int, rate: int, providers: Sequence[str]) -> None:
        self._port = port
        self._rate = rate
        self._providers = providers
        self._stop = threading.Event()
        self._begin = 0.0
        self._written = [Written() for _ in range(CONNECTIONS)]
        self._threads = [
            threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(CONNECTIONS)
        ]

    def start(self) -> None:
        """Begin to write."""
        self._begin = time.perf_counter()
        for thread in self._threads:
            thread.start()

    def stop(self) -> Written:
        """Finish the writes that are under way; returns what was done altogether."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return Written(
            elapsed=time.perf_counter() - self._begin,
            refused=sum(each.refused for each in self._written),
            failed=sum(each.failed for each in self._written),
            seconds=[seconds for each in self._written for seconds in each.seconds],
        )

    def _write(self, number: int) -> None:
        """The writes of one connection: each claim is released by the next write."""
        written, connection = self._written[number], Connection(self._port, TIMEOUT_SECONDS)
        due = self._begin + number / self._rate
        for sent in writes(self._providers[number::CONNECTIONS] or self._providers):
            if self._stop.wait(max(0.0, due - time.perf_counter())):
                break
            try:
                answer = connection.exchange(sent)
            except (ProtocolError, ServerSilentError, OSError):
                written.failed += 1
            else:
                if answer.status < 300:
                    written.seconds.append(answer.seconds)
                else:
                    written.refused += 1
            due = next_due(due, CONNECTIONS / self._rate, time.perf_counter())
        connection.close()


def next_due(due: float, interval: float, now: float) -> float:
    """When the write after the one that was due at ``due`` is due, in seconds."""
    following = due + interval
    return following if now - following < LATE_SECONDS else now


def writes(providers: Sequence[str]) -> Iterator[bytes]:
    """Requests without end: a claim on each provider in turn, and its release."""
    while True:
        for provider in providers:
            target = f"/allocations/{uuid.uuid4()}"
            body: dict[str, Any] = {
                "allocations": {provider: {"resources": CLAIM}},
                "project_id": "writer",
                "user_id": "writer",
                "consumer_type": "INSTANCE",
                "consumer_generation": None,
            }
            yield request("PUT", target, json.dumps(body).encode())
            yield request("DELETE", target)


def main() -> None:
    """Write as told by the command line, until the standard input ends."""
    port, rate = map(int, sys.argv[1:])
    writer = Writer(port, rate, json.loads(sys.stdin.readline()))
    writer.start()
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps(asdict(writer.stop())))


if __name__ == "__main__":
    main()
