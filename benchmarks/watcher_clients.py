"""Many clients that follow changes, in one process that costs little.

    python -m benchmarks.watcher_clients PORT COUNT

Opens the streams, says "open", and reads until its standard input ends. Then it prints as JSON, for each
revision, when the first and the last client had it (``time.perf_counter``, which all processes share).
"""

from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.client import CHUNK_BYTES, HEADERS

REQUEST = (
    f"GET /moorage/v1/changes?after=now HTTP/1.1\r\n{HEADERS}Accept: application/x-ndjson\r\n\r\n"
).encode()

MARK = b'{"revision":'
NUMBER = re.compile(rb"\d+(?=,)")
BEGUN = re.compile(rb'^\{"bookmark":(\d+)', re.MULTILINE)

RETRY_SECONDS = 0.2
"""Pause after a 503: of several workers another one may have a place."""

OPEN_SECONDS = 120.0


class Watcher:
    """One stream. ``last`` is the revision that it has been sent."""

    def __init__(self, port: int, number: int) -> None:
        self.number = number
        self.last = 0
        self._port = port
        self.socket = socket.socket()

    def open(self, until: float) -> None:
        """Ask, again while there is no place, until the first bookmark."""
        while True:
            self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=OPEN_SECONDS)
            self.socket.sendall(REQUEST)
            head = b""
            while not (found := BEGUN.search(head)) and not head.startswith(b"HTTP/1.1 503"):
                head += self.socket.recv(CHUNK_BYTES)
            if found:
                self.last = int(found[1])
                self.socket.setblocking(False)
                return
            self.socket.close()
            if time.perf_counter() > until:
                raise TimeoutError("there are fewer places than clients")
            time.sleep(RETRY_SECONDS)


class Arrivals:
    """When which client had which revision."""

    def __init__(self, watchers: list[Watcher]) -> None:
        self._watchers = watchers
        self._begin = [watcher.last for watcher in watchers]
        self._numbers, self._revisions, self._seconds = array("l"), array("l"), array("d")

    def add(self, number: int, revision: int) -> None:
        """A client has a revision now."""
        self._numbers.append(number)
        self._revisions.append(revision)
        self._seconds.append(time.perf_counter())

    def told(self) -> dict[str, Any]:
        """For each revision that all have: when the first and the last had it."""
        numbers, revisions = np.array(self._numbers), np.array(self._revisions)
        seconds = np.array(self._seconds)
        first, last = max(self._begin, default=0) + 1, min(each.last for each in self._watchers)
        wanted = np.arange(first, last + 1)
        earliest, latest = np.full(len(wanted), np.inf), np.zeros(len(wanted))
        for number in range(len(self._watchers)):
            own = numbers == number
            came = seconds[own][np.searchsorted(revisions[own], wanted)]
            earliest, latest = np.minimum(earliest, came), np.maximum(latest, came)
        return {"first": first, "earliest": earliest.tolist(), "latest": latest.tolist()}


def watch(port: int, count: int) -> dict[str, Any]:
    """Follow until the standard input ends."""
    until = time.perf_counter() + OPEN_SECONDS
    watchers = [Watcher(port, number) for number in range(count)]
    for watcher in watchers:
        watcher.open(until)
    arrivals = Arrivals(watchers)
    print("open", flush=True)
    chunk = bytearray(CHUNK_BYTES)
    view = memoryview(chunk)
    # Without the objects of the module selectors: this process shares the processors with what it measures.
    of_descriptor = {watcher.socket.fileno(): watcher for watcher in watchers}
    with select.epoll() as polled:
        polled.register(sys.stdin.fileno(), select.EPOLLIN)
        for descriptor in of_descriptor:
            polled.register(descriptor, select.EPOLLIN)
        while True:
            for descriptor, _ in polled.poll():
                if descriptor not in of_descriptor:
                    return arrivals.told()
                watcher = of_descriptor[descriptor]
                size = watcher.socket.recv_into(view)
                if not size:
                    raise ConnectionError(f"a stream ended: {bytes(view[:200])!r}")
                at = chunk.rfind(MARK, 0, size)
                found = NUMBER.match(chunk, at + len(MARK), size) if at >= 0 else None
                if found and (revision := int(found[0])) > watcher.last:
                    watcher.last = revision
                    arrivals.add(watcher.number, revision)


@contextmanager
def watching(port: int, count: int) -> Iterator[dict[str, Any]]:
    """So many clients follow for as long as the context lasts; then the result is filled.

    Meanwhile it has the clients' ``process``.
    """
    told: dict[str, Any] = {}
    if not count:
        yield told
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.watcher_clients", str(port), str(count)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"open\n":
            raise RuntimeError("the clients could not follow")
        told["process"] = process.pid
        yield told
        process.stdin.close()
        told.update(json.loads(process.stdout.read()))
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Do as the command line says."""
    print(json.dumps(watch(int(sys.argv[1]), int(sys.argv[2]))))


if __name__ == "__main__":
    main()
