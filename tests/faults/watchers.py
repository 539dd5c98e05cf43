"""Watchers: clients that follow the changes through all faults, and write down what they are told.

They read HTTP by themselves. A mirror of the client library follows beside them.
"""

from __future__ import annotations

import http.client
import json
import logging
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from moorage_client import Mirror, Moorage, MoorageError, NoAuth, mirror

from tests.faults.workload import HOSTS, HOT_CONSUMERS

READ_SECONDS = 20.0
"""A stream that says nothing for longer is given up: bookmarks come every 15 s."""

CONNECT_SECONDS = 5.0

AGAIN_SECONDS = 0.1
"""Pause before the next request, if one has failed."""

LAST_SECONDS = 60.0
"""Once all is quiet, watchers must know all of it within this."""

WAIT = "1s"
"""How long pages are waited for: shorter than it must be quiet at the end."""

CUT = 0.01
"""Part of the records after which a watcher hangs up, to go on from there."""

RECORD, BOOKMARK, GONE, ODD = "record", "bookmark", "gone", "odd"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a watcher was told: a record, a bookmark, that records are gone, or anything else.

    ``revision`` is that of the record or bookmark, or the one that a watcher goes on after.
    """

    what: str
    revision: int
    body: Json
    moment: float


@dataclass
class Watcher:
    """Follows from ``start`` on, by a stream of lines or by pages, what passes a filter.

    ``passes`` is the auditor's own form of the filter that ``query`` has.
    """

    name: str
    address: tuple[str, int]
    dice: random.Random
    start: int
    streams: bool
    query: Json = field(default_factory=dict)
    passes: Callable[[Json], bool] = lambda _: True
    told: list[Told] = field(default_factory=list)
    requests: int = 0
    after: int = 0
    epoch: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    _socket: socket.socket | None = None

    def run(self) -> None:
        """Until ``ended``."""
        self.after = self.start
        try:
            while not self.ended.is_set():
                try:
                    self._once()
                except (OSError, http.client.HTTPException):
                    self.ended.wait(AGAIN_SECONDS)
        except BaseException as failure:
            self.failure = failure

    def hang_up(self) -> None:
        """Break off whatever it waits for."""
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _once(self) -> None:
        query: dict[str, Any] = {"after": self.after, **self.query}
        if self.epoch is not None:
            query["epoch"] = self.epoch
        if not self.streams:
            query |= {"wait": WAIT, "limit": self.dice.choice((1, 3, 100))}
        connection = http.client.HTTPConnection(*self.address, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            connection.sock.settimeout(READ_SECONDS)
            self._socket = connection.sock
            self.requests += 1
            connection.request(
                "GET",
                f"/moorage/v1/changes?{urlencode(query)}",
                headers={
                    "X-Auth-Token": f"admin:{self.name}",
                    "X-Roles": "admin,service",
                    "Accept": "application/x-ndjson" if self.streams else "application/json",
                },
            )
            answer = connection.getresponse()
            if answer.status != 200:
                self._refused(answer.status, answer.read())
            elif self.streams:
                self._lines(answer)
            else:
                content = answer.read()
                # Who has hung up by itself may have read a part.
                if not self.ended.is_set():
                    self._page(json.loads(content))
        finally:
            self._socket = None
            connection.close()

    def _lines(self, answer: http.client.HTTPResponse) -> None:
        with answer:
            # A line without its end is part of one.
            while (line := answer.readline()).endswith(b"\n"):
                told = json.loads(line)
                if "end" in told:
                    return
                if "bookmark" in told:
                    self.epoch = told["epoch"]
                    self._note(BOOKMARK, told["bookmark"], told)
                else:
                    self._note(RECORD, told["revision"], told)
                    if self.dice.random() < CUT:
                        return

    def _page(self, page: Json) -> None:
        for record in page["changes"]:
            self._note(RECORD, record["revision"], record)
        self.epoch = page["epoch"]
        self._note(BOOKMARK, page["next_after"], {})

    def _refused(self, status: int, content: bytes) -> None:
        try:
            body = json.loads(content)
        except ValueError:
            body = {}
        if status == 410:
            self._note(GONE, body.get("restart_after", self.after), body)
            return
        if status not in (502, 503, 504):
            self._note(ODD, self.after, {"status": status, "body": body})
        self.ended.wait(AGAIN_SECONDS)

    def _note(self, what: str, revision: int, body: Json) -> None:
        self.told.append(Told(what, revision, body, time.monotonic()))
        self.after = revision


class Logged(logging.Handler):
    """What a mirror has logged. That is only why it made its copy anew."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Watching:
    """All watchers of a run, and the mirror."""

    def __init__(self, address: tuple[str, int], seed: int, start: int) -> None:
        consumer, host = HOT_CONSUMERS[0], HOSTS[0]
        wanted: Sequence[tuple[str, bool, Json, Callable[[Json], bool]]] = (
            ("stream", True, {}, lambda _: True),
            ("pages", False, {}, lambda _: True),
            ("kinds", True, {"kinds": "allocations"}, lambda body: body["kind"].startswith("allocations.")),
            ("consumer", False, {"consumer": consumer}, lambda body: is_about_consumer(body, consumer)),
            ("tree", True, {"tree": host}, lambda body: is_about_tree(body, host)),
        )
        self.watchers = [
            Watcher(f"watch-{name}", address, random.Random(f"{seed}-{name}"), start, streams, query, passes)
            for name, streams, query, passes in wanted
        ]
        self.moorage = Moorage(
            f"http://{address[0]}:{address[1]}",
            NoAuth("admin", "watch-mirror", ("admin", "service")),
            timeout=10.0,
        )
        self.rebuilt: list[str] = []
        self._logged = Logged()
        logging.getLogger(mirror.__name__).addHandler(self._logged)
        self.mirror = Mirror(self.moorage, claims=True, page_size=7, on_rebuild=self.rebuilt.append)
        self.problems: list[str] = []
        self.moments: dict[int, float] = {}
        """When each revision was first told, once the watches have been audited."""
        self._threads = [threading.Thread(target=watcher.run, name=watcher.name) for watcher in self.watchers]

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()
        self.mirror.start()

    def catch_up(self, revision: int) -> None:
        """Wait until all know everything up to a revision, and end all but the mirror.

        Who does not is among the problems.
        """
        until = time.monotonic() + LAST_SECONDS
        while time.monotonic() < until and any(self._lags(watcher, revision) for watcher in self.watchers):
            time.sleep(0.02)
        self.problems += [
            f"watch resumable: {watcher.name} is at {watcher.after}, and all is quiet at {revision}"
            for watcher in self.watchers
            if self._lags(watcher, revision)
        ]
        try:
            if not self.mirror.wait_for(revision, max(0.1, until - time.monotonic())):
                self.problems.append(
                    f"mirror: it is at {self.mirror.revision} while all is quiet at {revision}"
                )
        except MoorageError as error:
            self.problems.append(f"mirror: {error}")
        self.stop()

    @property
    def reasons(self) -> list[str]:
        """Why the mirror made its copy anew, in its own words."""
        return self._logged.texts

    @staticmethod
    def _lags(watcher: Watcher, revision: int) -> bool:
        return watcher.failure is None and watcher.after < revision

    def stop(self) -> None:
        """End the watchers. Raises what one failed with."""
        for watcher in self.watchers:
            watcher.ended.set()
            watcher.hang_up()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for watcher in self.watchers:
            if watcher.failure is not None:
                raise watcher.failure

    def close(self) -> None:
        """End the mirror too."""
        for watcher in self.watchers:
            watcher.ended.set()
            watcher.hang_up()
        self.mirror.close()
        self.moorage.close()
        logging.getLogger(mirror.__name__).removeHandler(self._logged)

    def counts(self) -> Mapping[str, int]:
        """What the watchers were told, and how often they asked."""
        counted = Counter(f"{told.what}s" for watcher in self.watchers for told in watcher.told)
        counted["requests"] = sum(watcher.requests for watcher in self.watchers)
        counted["cuts of the mirror"] = self.mirror.cuts
        counted["copies made anew"] = len(self.rebuilt)
        return counted


def is_about_consumer(body: Json, consumer: str) -> bool:
    """Whether a record is about a consumer, or about all of them."""
    return "renamed" in body or consumer in body.get("consumers", {})


def is_about_tree(body: Json, root: str) -> bool:
    """Whether a record is about providers that are, were or will be in a tree, or about all of them."""
    return "renamed" in body or any(
        root in (parts["tree"], *parts.get("root", ())) for parts in body.get("providers", {}).values()
    )
