"""A service that answers over HTTP in this process, and commands run against it."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from click.testing import CliRunner, Result

from moorage.api.http.exchange import WsgiApplication
from moorage.cli.client.connection import ServiceConnection
from moorage.cli.main import main
from moorage.wiring.settings import Chosen, resolve
from tests.databases.prepared import (
    Prepare,
    prepare,
    prepared_databases,
    sqlite_template,
)
from tests.servers.databases import SQLITE
from tests.unit.applications import built

__all__ = [
    "connection",
    "host",
    "host_template",
    "prepare",
    "prepared_databases",
    "service_database",
    "sqlite_template",
    "terminal",
]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: pytest shows enough."""


@contextmanager
def answering(application: WsgiApplication) -> Iterator[str]:
    """Serve ``application`` on a free port; yields its URL."""
    with make_server("127.0.0.1", 0, application, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Terminal:
    """Runs commands against one service."""

    url: str

    def run(self, *arguments: str, **environment: str) -> Result:
        """A command with whatever comes of it."""
        variables: Mapping[str, str] = {"MOORAGE_URL": self.url, **environment}
        return CliRunner().invoke(main, list(arguments), env=variables)

    def does(self, *arguments: str, status: int = 0) -> str:
        """Output of a command that must succeed, or be answered with a no (3)."""
        result = self.run(*arguments)
        assert result.exit_code == status, result.output
        return result.stdout

    def json(self, *arguments: str, status: int = 0) -> Any:
        """The answer of a command that must succeed, as data."""
        return json.loads(self.does(*arguments, "--json", status=status))

    def refused(self, *arguments: str, status: int = 1) -> str:
        """What a command that must fail says, without its first line, which names the service."""
        result = self.run(*arguments)
        assert result.exit_code == status, result.output
        assert result.stdout == ""
        return re.sub(r"\AService: .*\n", "", result.stderr)


@pytest.fixture
def service_database(prepare: Prepare) -> str:
    """The database of the service."""
    return prepare(SQLITE)


@contextmanager
def terminal_at(database: str) -> Iterator[Terminal]:
    """Commands against a new service on ``database``."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MOORAGE_URL", "MOORAGE_TOKEN"):
            patch.delenv(variable, raising=False)
        settings = resolve(Chosen(database=database), {}, serving=True).settings
        with built(settings) as application, answering(application) as url:
            yield Terminal(url)


@pytest.fixture
def terminal(service_database: str) -> Iterator[Terminal]:
    """Commands against a new service with nothing in it."""
    with terminal_at(service_database) as opened:
        yield opened


@pytest.fixture(scope="session")
def host_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a service with a host, to be copied."""
    path = tmp_path_factory.mktemp("template") / "host.sqlite"
    shutil.copy(sqlite_template, path)
    with terminal_at(f"sqlite:///{path}") as terminal:
        terminal.does("provider", "create", "host1")
        terminal.does("inventory", "set", "host1", "VCPU=8", "MEMORY_MB=4096,reserved=1024")
        terminal.does("provider", "create", "gpu1", "--parent", "host1")
        terminal.does("inventory", "set", "gpu1", "PGPU=1")
        terminal.does("trait", "create", "CUSTOM_A100")
        terminal.does("trait", "set", "gpu1", "CUSTOM_A100")
    return path


@pytest.fixture
def host(host_template: Path, tmp_path: Path) -> Iterator[Terminal]:
    """Commands against a new service with a host of eight cores and a GPU below it."""
    path = tmp_path / "host.sqlite"
    shutil.copy(host_template, path)
    with terminal_at(f"sqlite:///{path}") as opened:
        yield opened


@pytest.fixture
def connection(terminal: Terminal) -> Iterator[ServiceConnection]:
    """A connection of the test's own."""
    with ServiceConnection(terminal.url, "admin") as opened:
        yield opened
