"""Many clients that wait for changes, at the address of their own, as those who run the service see it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import family
from tests.journeys.client import HEADERS, START_SECONDS, Client, running_service
from tests.servers.ports import free_port

pytestmark = pytest.mark.journey

PATH = "/moorage/v1/changes"
WATCHERS = 50
ON_API = 10
BEHIND_BYTES = 64 * 1024


class Follower:
    """A stream of lines, read in the test's own thread."""

    def __init__(
        self,
        port: int,
        query: str = "after=now",
        headers: Mapping[str, str] = HEADERS,
        receive_bytes: int | None = None,
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        if receive_bytes is not None:
            narrow = socket.socket()
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            narrow.settimeout(START_SECONDS)
            narrow.connect(("127.0.0.1", port))
            self._connection.sock = narrow
        sent = {**headers, "Accept": "application/x-ndjson"}
        self._connection.request("GET", f"{PATH}?{query}", headers=sent)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self.told: list[Any] = []
        """All lines so far."""

    def lines(self) -> Iterator[Any]:
        """All lines until the end."""
        while line := self._response.readline():
            self.told.append(json.loads(line))
            yield self.told[-1]

    def next(self) -> Any:
        """The next line; an error if there is none."""
        return next(self.lines())

    def exhaust(self) -> None:
        """Read to the end. Raises StopIteration or an error."""
        while True:
            self.next()

    def end(self) -> Any:
        """The last line, once the stream has ended; an error if it goes on."""
        until = time.monotonic() + START_SECONDS
        for _ in self.lines():
            assert time.monotonic() < until, "the stream does not end"
        return self.told[-1]

    @property
    def revisions(self) -> list[int]:
        """Those of the changes so far."""
        return [line["revision"] for line in self.told if "revision" in line]

    @property
    def bookmark(self) -> str:
        """The query for what comes after all that was told."""
        line = next(line for line in reversed(self.told) if "end" not in line)
        epoch = next(line["epoch"] for line in self.told if "epoch" in line)
        return f"after={line.get('revision', line.get('bookmark'))}&epoch={epoch}"

    def close(self) -> None:
        self._connection.close()


def opened(port: int) -> Follower:
    """A stream, once the address answers."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            return Follower(port)
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < until
            time.sleep(0.1)


def process_of(port: int) -> int:
    """The process that has accepted connections of a port, of those that tests have started."""
    connections = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01"
    }
    for process in family(os.getpid())[1:]:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                if str(descriptor.readlink()).removeprefix("socket:[").rstrip("]") in connections:
                    return process
            except OSError:
                continue
    raise AssertionError("no process has a connection of it")


def test_watchers_of_both_addresses_see_a_commit_and_the_process_comes_back(
    sqlite_url: str, tmp_path: Path
) -> None:
    listen = free_port()
    variables = {
        "OS_MOORAGE__CHANGES_LISTEN": f"127.0.0.1:{listen}",
        "OS_MOORAGE__CHANGES_LISTEN_BEHIND_BYTES": str(BEHIND_BYTES),
        "OS_MOORAGE__CHANGES_WAITERS": str(ON_API),
        "OS_MOORAGE__METRICS_ON_API": "true",
    }
    with ExitStack() as followers:

        def follow(port: int, **options: Any) -> Follower:
            follower = Follower(port, **options)
            followers.callback(follower.close)
            return follower

        with running_service(sqlite_url, tmp_path, variables=variables) as port:
            followers.callback(opened(listen).close)
            there = [follow(listen) for _ in range(WATCHERS)]
            here = [follow(port) for _ in range(ON_API)]
            for each in (*there, *here):
                assert "bookmark" in each.next()
            with Client(port) as client:
                full = client.request("GET", f"{PATH}?after=now", headers={"Accept": "application/x-ndjson"})
                assert full.status == 503
                assert f"127.0.0.1:{listen}" in full.json["detail"]
                client.must("PUT", "/traits/CUSTOM_SEEN")
                for each in (*there, *here):
                    assert each.next()["traits"] == {"CUSTOM_SEEN": [False, True]}
                for each in here:
                    each.close()
                assert_slow_reader_is_dropped(client, follow(listen, receive_bytes=4096), there[0])
            killed = process_of(listen)
            os.kill(killed, signal.SIGKILL)
            for each in there:
                with pytest.raises((OSError, http.client.HTTPException, StopIteration)):
                    each.exhaust()
            back = [opened(listen)]
            assert process_of(listen) != killed
            back += [follow(listen) for _ in range(WATCHERS - 1)]
            followers.callback(back[0].close)
            for each in back:
                assert "bookmark" in each.next()
            back = resumed_after_reload(port, listen, back, follow)
        # The service has ended, and has said so.
        assert [each.end() for each in back] == [{"end": "stopping"}] * WATCHERS


def resumed_after_reload(
    port: int, listen: int, followers: list[Follower], follow: Callable[..., Follower]
) -> list[Follower]:
    """Reload while a client writes. Each stream ends with its word; the streams that go on where it was."""
    old, stop = process_of(listen), threading.Event()
    with ThreadPoolExecutor(1) as threads, Client(port) as client:
        writing = threads.submit(write_until, stop, port)
        try:
            assert all("revision" in each.next() for each in followers)
            os.kill(psutil.Process(old).ppid(), signal.SIGHUP)
            assert [each.end() for each in followers] == [{"end": "stopping"}] * len(followers)
            further = [follow(listen, query=each.bookmark) for each in followers]
        finally:
            stop.set()
        writing.result()
        client.must("PUT", "/traits/CUSTOM_LAST")
        last = client.get(f"{PATH}?after=now")["revision"]
    for before, after in zip(followers, further, strict=True):
        while after.revisions[-1:] != [last]:
            assert "end" not in after.next()
        assert before.revisions + after.revisions == list(range(before.told[0]["bookmark"] + 1, last + 1))
    assert process_of(listen) != old
    return further


def write_until(stop: threading.Event, port: int) -> None:
    """Make one trait after the other."""
    with Client(port) as client:
        for number in count():
            client.must("PUT", f"/traits/CUSTOM_WRITTEN_{number}")
            if stop.wait(0.01):
                return


def assert_slow_reader_is_dropped(client: Client, slow: Follower, quick: Follower) -> None:
    """Write until the service has had enough of a client that does not read; what it gets has no gap."""
    uuid = "11111111-1111-4111-8111-111111111111"
    client.must("POST", "/resource_providers", {"uuid": uuid, "name": "host"})
    names = client.get("/traits?name=startswith:HW_")["traits"]
    written = 0
    while dropped(client) == 0:
        client.must(
            "PUT",
            f"/resource_providers/{uuid}/traits",
            {"resource_provider_generation": written, "traits": [] if written % 2 else names},
        )
        written += 1
        quick.next()
    lines = list(slow.lines())
    assert lines.pop() == {"end": "slow"}
    revisions = slow.revisions
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
    assert len(revisions) < written


def dropped(client: Client) -> float:
    """How many clients were dropped, by the metrics."""
    text = client.request("GET", "/metrics").body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return sum(sample.value for sample in families["moorage_changes_dropped"].samples)
