"""A client that writes down what it does, whatever happens to its connection."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import time
from collections.abc import Callable
from typing import Any

from moorage.model.commands import Command
from tests.faults.history import History, Operation, Outcome, Reading
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


class Recorder:
    """One client with one connection. Each write bears a tag of its own as the token's project."""

    def __init__(self, history: History, port: int, name: str, address: str = "127.0.0.1") -> None:
        self._history = history
        self._port = port
        self._address = address
        self._name = name
        self._numbers = itertools.count()
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def order(self, command: Command[Any], patience: float = PATIENCE_SECONDS) -> Operation:
        """Send a write and record what became of it. Never raises for what the service does."""
        request = request_of(command)
        operation = Operation(f"{self._name}-{next(self._numbers)}", command, time.monotonic())
        self._history.begin(operation)
        try:
            self._connect()
        except OSError as error:
            operation.outcome, operation.detail = Outcome.UNSENT, repr(error)
            operation.ended = time.monotonic()
            return operation
        try:
            answer, content = self._exchange(
                request.method, request.path, request.body, operation.tag, patience
            )
        except (OSError, http.client.HTTPException) as error:
            operation.detail = repr(error)
            self.close()
            return operation
        operation.ended = time.monotonic()
        operation.status = answer.status
        operation.request_id = answer.getheader("x-openstack-request-id")
        operation.body = _decoded(content)
        operation.code, operation.detail = _error_of(operation.body)
        operation.outcome = _outcome(answer.status, operation.detail)
        if operation.outcome is Outcome.UNKNOWN:
            operation.ended = None
        return operation

    def read(self, question: tuple[Any, ...], path: str) -> Any:
        """Body of a GET, None if there was none or nobody answered."""
        begun = time.monotonic()
        try:
            self._connect()
            answer, content = self._exchange("GET", path, None, f"{self._name}-reads", PATIENCE_SECONDS)
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        body = _decoded(content)
        if answer.status < 500:
            self._history.read(Reading(question, begun, time.monotonic(), answer.status, body))
        return body if answer.status == 200 else None

    def connected_to(self, whose: Callable[[socket.socket], int | None]) -> int | None:
        """Which process has the other end, by ``whose``; asked once a first answer came from it."""
        self.read(("root", ""), "/")
        self._history.readings.clear()
        connection = self._connection
        return None if connection is None or connection.sock is None else whose(connection.sock)

    def _connect(self) -> None:
        if self._connection is None:
            connection = http.client.HTTPConnection(self._address, self._port, timeout=CONNECT_SECONDS)
            connection.connect()
            self._connection = connection

    def _exchange(
        self, method: str, path: str, body: object, tag: str, patience: float
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._connection
        assert connection is not None
        connection.sock.settimeout(patience)
        headers = {
            "X-Auth-Token": f"admin:{tag}",
            "X-Roles": "admin,service",
            "OpenStack-API-Version": "placement 1.39",
        }
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        received = answer.read()
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
    return None, ""


def _outcome(status: int, detail: str) -> Outcome:
    if status < 300:
        return Outcome.ACKNOWLEDGED
    if status == BODY_TOO_LATE:
        return Outcome.TURNED_AWAY
    if status < 500:
        return Outcome.REFUSED
    if status in GATEWAY_STATUSES:
        return Outcome.UNKNOWN
    if status == 503:
        return Outcome.UNKNOWN if NOT_KNOWN in detail else Outcome.TURNED_AWAY
    return Outcome.FAILED
