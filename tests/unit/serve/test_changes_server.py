"""The server of the event loop, over TLS, and what keeps its process."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import resource
import socket
import ssl
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from moorage.model.errors import ConfigurationError
from moorage.serve.changes import keeper as keeper_module
from moorage.serve.changes import server as server_module
from moorage.serve.changes.keeper import Keeper, listening_for_many
from moorage.serve.changes.server import Server, allow_files, context_of, served
from moorage.serve.server import keeper_of
from moorage.serve.tls import Tls
from moorage.wiring import options
from moorage.wiring.config_files import NOTHING
from moorage.wiring.settings import Settings, settings_from
from tests.certificates import issued
from tests.servers.ports import free_port
from tests.unit.serve.kept_processes import be_stubborn, fail, serve_nothing


def settings_of(patch: pytest.MonkeyPatch, url: str, **moorage: str) -> Settings:
    variables = {
        "OS_PLACEMENT_DATABASE__CONNECTION": url,
        "OS_PLACEMENT_API__AUTH_STRATEGY": "noauth2",
        **{f"OS_MOORAGE__{name.upper()}": value for name, value in moorage.items()},
    }
    for name, value in variables.items():
        patch.setenv(name, value)
    conf, wrong = options.read(NOTHING, None, os.environ)
    assert not wrong
    return settings_from(conf)


@pytest.mark.slow
def test_it_serves_over_tls_and_closes_connections_without_a_request(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_service: Any
) -> None:
    servers: list[Server] = []

    class Kept(Server):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            servers.append(self)

    monkeypatch.setattr(server_module, "Server", Kept)
    certificate, key = issued(tmp_path, "one")
    client = ssl.create_default_context(cafile=str(certificate))
    url = str(sqlite_service._store.engines.single.url.render_as_string(hide_password=False))
    settings = settings_of(monkeypatch, url, idle_timeout="1")

    async def scenario() -> None:
        listening = listening_for_many("127.0.0.1", 0, 10)
        port = listening.getsockname()[1]
        ready, told = Pipe(duplex=False)
        serving = asyncio.create_task(served(settings, listening, Tls(certificate, key), 5, told))
        while not ready.poll():
            assert not serving.done(), serving
            await asyncio.sleep(0.01)

        def ask(path: str) -> tuple[int, bytes]:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=client)
            connection.request("GET", path, headers={"X-Auth-Token": "admin"})
            answer = connection.getresponse()
            found = answer.status, answer.read()
            connection.close()
            return found

        def say_nothing() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
                client.wrap_socket(plain, server_hostname="127.0.0.1") as idle,
            ):
                return idle.recv(1)

        assert (await asyncio.to_thread(ask, "/healthz"))[0] == 200
        assert (await asyncio.to_thread(ask, "/moorage/v1/changes?after=0"))[0] == 200
        assert (await asyncio.to_thread(ask, "/resource_providers"))[0] == 404
        assert await asyncio.to_thread(say_nothing) == b""
        servers[0].should_exit = True
        await serving

    asyncio.run(scenario())


def test_a_certificate_of_the_client_is_asked_for_as_on_the_api(tmp_path: Path) -> None:
    certificate, key = issued(tmp_path, "one")
    context = context_of(Tls(certificate, key, certificate, "1.3"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context_of(Tls(certificate, key)).verify_mode is ssl.CERT_NONE


def test_the_limit_of_files_is_raised_as_far_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: told.append(limits))
    for limits, wanted in (((100, 1_000), 500), ((100, 300), 500), ((600, 1_000), 500)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, limits=limits: limits)
        allow_files(wanted)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (100, resource.RLIM_INFINITY))
    allow_files(500)
    assert told == [(500, 1_000), (300, 300), (500, resource.RLIM_INFINITY)]


def test_an_address_that_is_taken_is_one_clear_line(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keeper_of(settings_of(monkeypatch, sqlite_url), None, 1, print) is None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_of(monkeypatch, sqlite_url, changes_listen=f"127.0.0.1:{port}")
        with pytest.raises(
            ConfigurationError, match=rf"changes_listen: cannot listen on 127.0.0.1 port {port}"
        ):
            keeper_of(settings, None, 1, print)
    with pytest.raises(ConfigurationError, match="changes_listen: nowhere is not HOST:PORT"):
        settings_of(monkeypatch, sqlite_url, changes_listen="nowhere")


class Kept:
    """A keeper, and the processes that it starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
        self.run = run
        self.started: list[Any] = []
        self.gone: list[int] = []
        make = keeper_module.Started

        def started(_run: Any, *arguments: Any) -> Any:
            self.started.append(make(self.run, *arguments))
            return self.started[-1]

        monkeypatch.setattr(keeper_module, "Started", started)
        monkeypatch.setattr(keeper_module, "AGAIN_SECONDS", 0.01)
        listening = listening_for_many("127.0.0.1", free_port(), 1)
        self.keeper = Keeper(listening, None, 1, self.gone.append)
        self.keeper.start()

    def until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.01)

    def process(self, number: int) -> Any:
        """The process of this number, once it is ready."""
        self.until(lambda: len(self.started) > number)
        assert self.started[number].ready.poll(60)
        assert self.started[number].is_ready()
        return self.started[number].process

    def stop(self) -> None:
        self.keeper.stop()
        self.keeper.join()
        assert not any(each.process.is_alive() for each in self.started)
        assert sorted(self.gone) == sorted(each.process.pid for each in self.started)


@pytest.mark.journey
def test_a_process_that_dies_is_started_again_and_one_is_replaced_at_a_reload(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(monkeypatch, serve_nothing)
    kept.process(0).kill()
    second = kept.process(1)
    with caplog.at_level(logging.ERROR):
        kept.run = fail
        kept.keeper.reload()
        kept.until(lambda: "the old one goes on" in caplog.text)
    assert second.is_alive()
    kept.run = be_stubborn
    kept.keeper.reload()
    kept.until(lambda: not second.is_alive())
    assert kept.started[3].process.is_alive()
    kept.stop()
    assert "had to be killed" in caplog.text
