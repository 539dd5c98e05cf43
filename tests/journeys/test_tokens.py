"""Tokens of Moorage's own, shown to a service with several workers."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.client import Client, running_service
from tests.servers.databases import SQLITE, fresh_database

pytestmark = pytest.mark.journey

WORKERS = 2
CONNECTIONS = 8
"""Connections that the kernel spreads over the workers: so many that each of them has some."""


@dataclass
class Served:
    port: int
    database: str

    def token(self, *arguments: str) -> str:
        """What ``moorage token`` prints."""
        source = str(Path(__file__).parents[2] / "src")
        return subprocess.run(
            [sys.executable, "-P", "-m", "moorage", "token", *arguments, "--database", self.database],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": source},
        ).stdout.strip()

    def sql(self, statement: str, *values: str) -> list[tuple[object, ...]]:
        """Rows of a statement on the service's database."""
        with closing(sqlite3.connect(self.database.removeprefix("sqlite:///"))) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def statuses(self, token: str, path: str = "/resource_providers") -> set[int]:
        """What several new connections are answered."""
        found = set()
        for _ in range(CONNECTIONS):
            with Client(
                self.port, {"X-Auth-Token": token, "OpenStack-API-Version": "placement 1.39"}
            ) as client:
                found.add(client.request("GET", path).status)
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tokens")
    variables = {"OS_PLACEMENT_API__AUTH_STRATEGY": "token"}
    with (
        fresh_database(SQLITE, folder) as url,
        running_service(url, folder, workers=WORKERS, variables=variables) as port,
    ):
        yield Served(port, url)


def test_a_token_lets_in_from_the_moment_it_is_given_out_until_it_is_taken_back(served: Served) -> None:
    token = served.token("create", "--role", "service")
    assert served.statuses(token) == {200}
    served.token("revoke", token)
    assert served.statuses(token) == {401}


def test_a_token_ends_by_itself(served: Served) -> None:
    token = served.token("create", "--role", "service", "--expires", "1h")
    assert served.statuses(token) == {200}
    # The hour is over, for all that the service can tell.
    served.sql("UPDATE moorage_tokens SET expires_at = created_at WHERE id = ?", token.split("_")[1])
    assert served.statuses(token) == {401}


def test_roles_and_projects_of_tokens_are_judged(served: Served) -> None:
    reader = served.token("create", "--role", "reader", "--project", "mine")
    admin = served.token("create", "--role", "admin")
    assert served.statuses(reader) == {403}
    assert served.statuses(reader, "/usages?project_id=mine") == {200}
    assert served.statuses(reader, "/usages?project_id=another") == {403}
    assert served.statuses(admin) == {200}


def test_nobody_is_believed_without_a_token(served: Served) -> None:
    assert served.statuses("admin") == {401}
    assert served.statuses("admin", "/") == {200}
    with Client(served.port, {}) as client:
        answer = client.request("GET", "/resource_providers")
    assert answer.status == 401
    assert "X-Auth-Token" in answer.headers["www-authenticate"]
    assert answer.json["title"] == "Unauthorized"


def test_writes_are_logged_under_the_name_of_the_token(served: Served) -> None:
    token = served.token("create", "--role", "service", "--name", "nova-on-7")
    with Client(served.port, {"X-Auth-Token": token}) as client:
        client.must("POST", "/resource_providers", {"name": "host"})
    assert ("nova-on-7",) in served.sql("SELECT DISTINCT user_id FROM moorage_changes")
