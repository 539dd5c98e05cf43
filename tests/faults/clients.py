"""A client that writes down what it does, whatever happens to its connection."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from moorage.model.commands import Command
from tests.faults.history import History, Operation, Outcome, Reading, Renewal
from tests.faults.mischief import IDLE_SECONDS
from tests.faults.placed import is_native, told_twice
from tests.faults.wire import request_of

PATIENCE_SECONDS = 60.0
"""How long a client waits for an answer: twice as long as the service may retry a write."""

CONNECT_SECONDS = 10.0
"""How long it waits for a connection."""

GATEWAY_STATUSES = (502, 504)
"""A load balancer's word for a service that broke off, or did not answer in time."""

BODY_TOO_LATE = 408
"""A worker that was stopped meanwhile may take an honest body for a late one: nothing was done."""

NOT_KNOWN = "whether the request took effect is not known"
"""The service's own word for an outcome that it cannot tell."""


SENDINGS = 5
"""How often a request with a key is sent until its outcome is known."""

AGAIN_SECONDS = 0.3

KNOWN = (Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.FAILED)
"""Outcomes after which a client does not send a request again."""


class Recorder:
    """One client with one connection. Each write bears a tag of its own as the token's project."""

    def __init__(self, history: History, port: int, name: str, address: str = "127.0.0.1") -> None:
        self._history = history
        self._port = port
        self._address = address
        self._name = name
        self._numbers = itertools.count()
        self._connection: http.client.HTTPConnection | None = None
        self.unanswered: list[str] = []
        """Questions that have no reading, with what came instead."""
        self._idle_since = time.monotonic()
        self.was_idle = False
        """Whether the last question got no answer on a connection that had been idle for so long that the
        service may close it. To ask again is the client's part then.
        """

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def order(self, command: Command[Any], patience: float = PATIENCE_SECONDS, at_once: int = 1) -> Operation:
        """Send a write and record what became of it. Never raises for what the service does.

        What has a key is sent again until its outcome is known, and ``at_once`` by so many connections.
        """
        operation = Operation(f"{self._name}-{next(self._numbers)}", command, time.monotonic())
        self._history.begin(operation)
        if not is_native(command):
            self._send(operation, patience)
            return operation
        others = [Recorder(self._history, self._port, self._name, self._address) for _ in range(at_once - 1)]
        copies = [replace(operation, problems=[]) for _ in range(at_once)]
        threads = [
            threading.Thread(target=other._until_known, args=(copy, patience))
            for other, copy in zip(others, copies[1:], strict=True)
        ]
        for thread in threads:
            thread.start()
        self._until_known(copies[0], patience)
        for thread in threads:
            thread.join()
        for other in others:
            other.close()
        _merge(operation, copies)
        return operation

    def _until_known(self, operation: Operation, patience: float) -> None:
        """Send it again with its key, and patiently, until it is known whether it was done."""
        lost = False
        for _ in range(SENDINGS):
            self._send(operation, patience)
            patience = PATIENCE_SECONDS
            lost = lost or operation.outcome is Outcome.UNKNOWN
            if operation.outcome in KNOWN:
                break
            time.sleep(AGAIN_SECONDS)
        if lost and operation.outcome not in (Outcome.ACKNOWLEDGED, Outcome.FAILED):
            # An earlier sending may still be on its way.
            operation.outcome, operation.ended = Outcome.UNKNOWN, None

    def _send(self, operation: Operation, patience: float) -> None:
        request = request_of(operation.command)
        key = operation.tag if is_native(operation.command) else None
        try:
            self._connect()
        except OSError as error:
            operation.outcome, operation.detail = Outcome.UNSENT, repr(error)
            operation.ended = time.monotonic()
            return
        operation.outcome, operation.ended = Outcome.UNKNOWN, None
        try:
            answer, content = self._exchange(
                request.method, request.path, request.body, operation.tag, patience, key
            )
        except (OSError, http.client.HTTPException) as error:
            operation.detail = repr(error)
            self.close()
            return
        operation.ended = time.monotonic()
        operation.status = answer.status
        # A request that was sent several times is logged by the one that was carried out.
        operation.request_id = None if key else answer.getheader("x-openstack-request-id")
        operation.body = _decoded(content)
        operation.code, operation.detail = _error_of(operation.body)
        operation.outcome = _outcome(answer.status, operation.detail, operation.body)
        if operation.outcome is Outcome.UNKNOWN:
            operation.ended = None

    def read(self, question: tuple[Any, ...], path: str) -> Any:
        """Body of a GET, None if there was none or nobody answered."""
        begun = time.monotonic()
        self.was_idle = False
        try:
            self._connect()
            answer, content = self._exchange("GET", path, None, f"{self._name}-reads", PATIENCE_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # Not until ``begun``: this thread may have waited for a processor since then.
            self.was_idle = time.monotonic() - self._idle_since >= IDLE_SECONDS
            seconds = time.monotonic() - begun
            self.unanswered.append(f"{path}: {error!r} after {seconds:.1f} seconds")
            return None
        body = _decoded(content)
        if answer.status < 500:
            self._history.read(Reading(question, begun, time.monotonic(), answer.status, body))
        else:
            self.unanswered.append(f"{path}: {answer.status} {body}")
        return body if answer.status == 200 else None

    def renew(self, leases: Sequence[str], patience: float = PATIENCE_SECONDS) -> Any:
        """The answer to a renewal of leases; None if it is not known what became of it."""
        begun = time.monotonic()
        try:
            self._connect()
        except OSError:
            return None
        try:
            answer, content = self._exchange(
                "POST",
                "/moorage/v1/leases/renewals",
                {"leases": list(leases)},
                f"{self._name}-renews",
                patience,
            )
        except (OSError, http.client.HTTPException):
            self.close()
            self._history.renew(Renewal(tuple(leases), begun, None, None, None))
            return None
        body = _decoded(content) if answer.status == 200 else None
        ended = None if body is None else time.monotonic()
        self._history.renew(Renewal(tuple(leases), begun, ended, answer.status, body))
        return body

    @property
    def is_connected(self) -> bool:
        """Whether the next request goes over the connection of the one before."""
        return self._connection is not None

    def connected_to(self, whose: Callable[[socket.socket], int | None]) -> int | None:
        """Which process has the other end, by ``whose``; asked once a first answer came from it."""
        try:
            self._connect()
            self._exchange("GET", "/", None, f"{self._name}-reads", PATIENCE_SECONDS)
        except (OSError, http.client.HTTPException):
            self.close()
        connection = self._connection
        return None if connection is None or connection.sock is None else whose(connection.sock)

    def _connect(self) -> None:
        if self._connection is None:
            connection = http.client.HTTPConnection(self._address, self._port, timeout=CONNECT_SECONDS)
            connection.connect()
            self._connection = connection
            self._idle_since = time.monotonic()

    def _exchange(
        self, method: str, path: str, body: object, tag: str, patience: float, key: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._connection
        assert connection is not None
        connection.sock.settimeout(patience)
        headers = {
            "X-Auth-Token": f"admin:{tag}",
            "X-Roles": "admin,service",
            "OpenStack-API-Version": "placement 1.39",
        }
        if key is not None:
            headers["Idempotency-Key"] = key
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        received = answer.read()
        self._idle_since = time.monotonic()
        if answer.will_close:
            self.close()
        return answer, received


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content.decode(errors="replace")


def _error_of(body: Any) -> tuple[str | None, str]:
    if isinstance(body, dict) and body.get("errors"):
        first = body["errors"][0]
        return first.get("code"), str(first.get("detail", ""))
    if isinstance(body, dict) and "code" in body:
        return body["code"], str(body.get("detail", ""))
    return None, ""


def _merge(operation: Operation, copies: Sequence[Operation]) -> None:
    """What became of a request that several connections have sent, with one key."""
    order = [Outcome.FAILED, Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.REFUSED, Outcome.TURNED_AWAY]
    first, *_ = sorted(copies, key=lambda each: (*order, Outcome.UNSENT).index(each.outcome))
    same = [copy for copy in copies if copy.outcome is first.outcome]
    ends = [copy.ended for copy in same if copy.ended is not None]
    for name in ("outcome", "status", "code", "detail", "body"):
        setattr(operation, name, getattr(first, name))
    # It was done when the first one was told so; a refusal of one says nothing of the others.
    choose = min if first.outcome is Outcome.ACKNOWLEDGED else max
    operation.ended = choose(ends) if ends else None
    if first.outcome is Outcome.ACKNOWLEDGED:
        told = [told_twice(first.body, copy.body) for copy in same[1:]]
        operation.problems += [text for text in told if text is not None]
        fresh = [copy for copy in same if copy.body.get("replayed") is False]
        if len(fresh) > 1:
            operation.problems.append(f"{len(fresh)} answers of one key say that they are the first")


def _outcome(status: int, detail: str, body: Any = None) -> Outcome:
    if status < 300:
        return Outcome.ACKNOWLEDGED
    if status == BODY_TOO_LATE:
        return Outcome.TURNED_AWAY
    if status < 500:
        return Outcome.REFUSED
    if status in GATEWAY_STATUSES:
        return Outcome.UNKNOWN
    if status == 503:
        lost = NOT_KNOWN in detail or (isinstance(body, dict) and body.get("outcome") == "unknown")
        return Outcome.UNKNOWN if lost else Outcome.TURNED_AWAY
    return Outcome.FAILED
