"""A running service, and a client that speaks to it as any other program would."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.wiring.parts import prepare
from tests.servers.ports import free_port

START_SECONDS = 120
"""How long a service may take to answer for the first time on a busy machine."""

STOP_SECONDS = 60
"""How long it may take to end after SIGTERM."""

HEADERS = {
    "X-Auth-Token": "admin",
    "X-Roles": "admin,service",
    "OpenStack-API-Version": "placement 1.39",
}


@dataclass(frozen=True)
class Answer:
    """Status, headers in lower case, and body of a response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """What the first error of the body says."""
        return str(self.json["errors"][0]["detail"])


@dataclass
class Client:
    """One connection, opened at the first request and again when the server closed it."""

    port: int
    headers: dict[str, str] = field(default_factory=lambda: dict(HEADERS))
    keep_alive: bool = True
    address: str = "127.0.0.1"
    timeout: float = 120.0
    _connection: http.client.HTTPConnection | None = None

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send ``body`` as JSON, or as it is if it is bytes."""
        sent = {**self.headers, **(headers or {})}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.address, self.port, timeout=self.timeout)
        connection = self._connection
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
        if not self.keep_alive or response.will_close:
            self.close()
        return answer

    def get(self, path: str) -> Any:
        """Body of a GET that must succeed."""
        answer = self.request("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.json

    def must(self, method: str, path: str, body: object = None) -> Answer:
        """A request that must succeed."""
        answer = self.request(method, path, body)
        assert answer.status < 300, (method, path, answer)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def add_provider(self, uuid: str, name: str, inventories: Mapping[str, object]) -> None:
        """A new root with inventories."""
        self.must("POST", "/resource_providers", {"uuid": uuid, "name": name})
        self.must(
            "PUT",
            f"/resource_providers/{uuid}/inventories",
            {"resource_provider_generation": 0, "inventories": dict(inventories)},
        )

    def claim(self, consumer: str, provider: str, resources: Mapping[str, int]) -> Answer:
        """Ask for resources for a consumer that holds nothing yet."""
        return self.request(
            "PUT",
            f"/allocations/{consumer}",
            {
                "allocations": {provider: {"resources": dict(resources)}},
                "project_id": "project",
                "user_id": "user",
                "consumer_type": "INSTANCE",
                "consumer_generation": None,
            },
        )


@contextmanager
def running_service(
    database: str,
    folder: Path,
    *,
    workers: int = 1,
    variables: Mapping[str, str] | None = None,
    port: int | None = None,
    program: str = "moorage",
) -> Iterator[int]:
    """Serve ``database`` with so many worker processes, under ``variables``; gives the port.

    Its schema is made here: ``moorage db sync`` would take seconds to begin. ``program`` may be a module of
    the tests that is the command with something changed.
    """
    port = port or free_port()
    command = [sys.executable, "-P", "-m", program]
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [root / "src", *([] if program == "moorage" else [root])])),
        # Some tests write requests by hand, to a host of this name.
        "OS_PLACEMENT_MOORAGE__NOAUTH_HOSTS": "x",
        **(variables or {}),
    }
    store = Store(StoreSettings(database, sqlite_synchronous_full=False))
    try:
        prepare(store, migrate=True)
    finally:
        store.close()
    log = folder / f"serve-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "serve", "--port", str(port), "--workers", str(workers), "--database", database],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            _wait_until_answering(port, process, log)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
    assert b"Traceback" not in log.read_bytes(), log.read_text()


def _wait_until_answering(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            with Client(port) as client:
                if client.request("GET", "/").status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer within {START_SECONDS} seconds: {log.read_text()}")
