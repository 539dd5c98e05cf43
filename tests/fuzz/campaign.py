"""Sends requests to a running service and looks at what comes back, and at what became of the database."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import sqlalchemy as sa

from moorage.store import tables
from tests.fuzz.requests import (
    AGGREGATE,
    CHILD,
    CONSUMER,
    HOST,
    SPARE,
    Request,
    request,
)

HANG_SECONDS = 60.0
"""An answer that takes longer is none. Honest ones take milliseconds; the machine may be busy."""

ROUND = 100
"""Requests after which what they are about is made again."""

INNER = (
    "Traceback",
    "sqlalche",
    "SELECT ",
    "INSERT INTO",
    "UPDATE resource",
    "site-packages",
    '.py"',
    "psycopg",
)
"""What a refusal must not say, unless it quotes the request's own words."""

PREPARATION: tuple[tuple[str, str, object], ...] = (
    ("PUT", "/traits/CUSTOM_HELD", None),
    ("PUT", "/traits/CUSTOM_FREE", None),
    ("PUT", "/resource_classes/CUSTOM_HELD", None),
    ("PUT", "/resource_classes/CUSTOM_FREE", None),
    ("POST", "/resource_providers", {"name": "host", "uuid": HOST}),
    ("POST", "/resource_providers", {"name": "child", "uuid": CHILD, "parent_provider_uuid": HOST}),
    ("POST", "/resource_providers", {"name": "spare", "uuid": SPARE}),
    *(
        (
            "PUT",
            f"/resource_providers/{uuid}/inventories",
            {
                "resource_provider_generation": 0,
                "inventories": {
                    "VCPU": {"total": 64},
                    "MEMORY_MB": {"total": 4096},
                    "CUSTOM_HELD": {"total": 9},
                },
            },
        )
        for uuid in (HOST, CHILD, SPARE)
    ),
    (
        "PUT",
        f"/resource_providers/{HOST}/traits",
        {"resource_provider_generation": 1, "traits": ["CUSTOM_HELD"]},
    ),
    (
        "PUT",
        f"/resource_providers/{HOST}/aggregates",
        {"resource_provider_generation": 2, "aggregates": [AGGREGATE]},
    ),
    (
        "PUT",
        f"/allocations/{CONSUMER}",
        {
            "allocations": {HOST: {"resources": {"VCPU": 2, "CUSTOM_HELD": 1}}},
            "project_id": "project",
            "user_id": "user",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        },
    ),
)


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took, in seconds."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


@dataclass
class Tally:
    """What a campaign has seen."""

    requests: int = 0
    by_status: Counter[int] = field(default_factory=Counter)
    changes: int = 0
    slowest: float = 0.0
    unanswered: int = 0

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.by_status.items()))
        return (
            f"{self.requests} requests, {self.changes} of which changed something; {statuses}; "
            f"{self.unanswered} refused by the HTTP server without an answer; slowest {self.slowest:.2f} s"
        )


class FuzzError(AssertionError):
    """Something that must not be. Says how to see it again."""


class Campaign:
    """A sequence of requests, by its seed, on one service and its database."""

    def __init__(self, port: int, database: str, seed: int) -> None:
        self.seed = seed
        self.tally = Tally()
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._engine = sa.create_engine(database)
        assert all(status < 300 for status in self._prepare())
        self._state = self.state()

    def _prepare(self) -> list[int]:
        """Make the cloud that requests are about, as far as it is not there; the statuses."""
        found: list[int] = []
        for method, path, body in PREPARATION:
            content = None if body is None else json.dumps(body).encode()
            answer = self.send(Request(method, path, GOOD_HEADERS, content))
            assert answer is not None
            assert answer.status < 500, (method, path, answer)
            found.append(answer.status)
        return found

    def close(self) -> None:
        """Let go of the service and the database."""
        self._drop()
        self._engine.dispose()

    def state(self) -> str:
        """A digest of all rows of the account: equal if nothing changed.

        Explanations of searches are no part of it. They are kept in the background, also of searches before.
        """
        digest = hashlib.sha256()
        with self._engine.connect() as connection:
            for table in tables.metadata.sorted_tables:
                if table is tables.unmet:
                    continue
                rows = sorted(map(repr, connection.execute(table.select())))
                digest.update("\n".join((table.name, *rows)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def step(self, number: int) -> None:
        """Send one request and judge. Raises FuzzError."""
        asked = request(self.seed, number)
        if number % ROUND == 0:
            # Requests that were right have taken away by now what others are about.
            self._prepare()
            self._state = self.state()
        try:
            self._step(asked)
        except AssertionError as failure:
            raise FuzzError(
                f"{failure}\nrequest {number} of seed {self.seed}: {asked}\n"
                f"see it again: MOORAGE_FUZZ_SEED={self.seed} make fuzz, or from a fresh cloud on: "
                f"MOORAGE_FUZZ_FROM={number - number % ROUND}"
            ) from failure

    def _step(self, asked: Request) -> None:
        answer = self.send(asked)
        self.tally.requests += 1
        if answer is None:
            self.tally.unanswered += 1
        else:
            self.tally.by_status[answer.status] += 1
            self.tally.slowest = max(self.tally.slowest, answer.seconds)
            check_answer(asked, answer)
        if asked.method == "GET" and answer is not None and answer.status < 500 and self.tally.requests % 16:
            return
        now = self.state()
        if now != self._state:
            assert answer is not None, "something changed, and nothing was answered"
            assert answer.status < 300, f"something changed, and the answer was {answer.status}"
            assert asked.method in {"POST", "PUT", "DELETE"}, f"a {asked.method} changed something"
            self.tally.changes += 1
            self._state = now

    def send(self, asked: Request) -> Answer | None:
        """The answer; None if the HTTP server refused by closing the connection."""
        for fresh in (False, True):
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HANG_SECONDS)
                fresh = True
            begun = time.monotonic()
            try:
                self._write(self._connection, asked)
                response = self._connection.getresponse()
                body = response.read()
            except TimeoutError:
                raise AssertionError(f"no answer within {HANG_SECONDS} seconds") from None
            except (ConnectionError, http.client.HTTPException):
                # A connection that was kept may have been closed meanwhile; a new one was not.
                self._drop()
                if fresh:
                    return None
                continue
            headers = {name.lower(): value for name, value in response.getheaders()}
            if response.will_close:
                self._drop()
            return Answer(response.status, headers, body, time.monotonic() - begun)
        return None

    @staticmethod
    def _write(connection: http.client.HTTPConnection, asked: Request) -> None:
        names = {name.lower() for name, _ in asked.headers}
        target = asked.path.encode("utf-8", "surrogatepass").decode("latin-1")
        connection.putrequest(asked.method, target, skip_host="host" in names, skip_accept_encoding=True)
        for name, value in asked.headers:
            connection.putheader(name, value.encode("utf-8", "surrogatepass"))
        body = asked.body
        if "transfer-encoding" in names:
            content = body or b""
            body = (b"%x\r\n%s\r\n" % (len(content), content) if content else b"") + b"0\r\n\r\n"
        elif body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


GOOD_HEADERS = (
    ("X-Auth-Token", "admin"),
    ("X-Roles", "admin,service"),
    ("OpenStack-API-Version", "placement 1.39"),
    ("Content-Type", "application/json"),
)


def check_answer(asked: Request, answer: Answer) -> None:
    """No 5xx, no inner details, and errors in the usual form. Raises AssertionError."""
    assert answer.status < 500, f"{answer.status}: {answer.body[:2000]!r}"
    text = answer.body.decode("utf-8")
    if answer.status < 400:
        assert answer.headers.get("content-type", "application/json").startswith("application/json")
        if answer.body:
            json.loads(text)
        return
    own = asked.path + (asked.body or b"").decode("utf-8", "replace") + repr(asked.headers)
    for inner in INNER:
        assert inner not in text or inner.strip() in own or "%" in own, f"it tells of {inner!r}: {text[:500]}"
    if "x-openstack-request-id" not in answer.headers:
        # The HTTP server's own, for what is no HTTP: it says nothing else.
        assert (answer.status, text) in {(400, ""), (414, ""), (431, "")}, f"{answer.status} {text[:200]}"
        return
    if answer.headers["content-type"].startswith("application/json") and asked.method != "HEAD":
        told = json.loads(text)
        if answer.status == 401:
            assert set(told) == {"message", "code", "title"}
        else:
            (error,) = told["errors"]
            assert error["status"] == answer.status
            assert error["request_id"] == answer.headers["x-openstack-request-id"]
