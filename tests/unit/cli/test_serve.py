"""What serve refuses before it starts anything."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from moorage.cli import serve as serving
from moorage.cli.serve import (
    announce_when_ready,
    is_loopback,
    listening_address,
    require_guarded,
    url_of,
    wait_until_ready,
)
from moorage.model.errors import ConfigurationError
from tests.servers.ports import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST"])
def test_noauth2_is_served_on_loopback(host: str) -> None:
    assert is_loopback(host)
    require_guarded(host, "noauth2", insecure=False)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "192.168.1.1",
        "128.0.0.1",
        "10.0.0.1",
        "fe80::1",
        "example.org",
        "localhost.evil",
        "",
    ],
)
def test_noauth2_is_refused_elsewhere_unless_told_to(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigurationError, match="--insecure"):
        require_guarded(host, "noauth2", insecure=False)
    require_guarded(host, "noauth2", insecure=True)


@pytest.mark.parametrize("strategy", ["keystone", "token"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1"])
def test_who_asks_for_tokens_may_serve_everywhere(host: str, strategy: str) -> None:
    require_guarded(host, strategy, insecure=False)


def test_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}: Address already in use") as caught:
            listening_address("127.0.0.1", port)
    assert "\n" not in str(caught.value)


def test_port_that_workers_of_another_service_share_is_in_use() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match="Address already in use"):
            listening_address("127.0.0.1", taken.getsockname()[1])


def test_port_zero_becomes_a_free_port_and_a_name_an_address() -> None:
    address, port = listening_address("localhost", 0)
    assert address in {"127.0.0.1", "::1"}
    assert port > 0


def test_host_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(ConfigurationError, match=r"no-such-host\.invalid cannot be found"):
        listening_address("no-such-host.invalid", 0)


def test_url_is_one_that_this_machine_reaches() -> None:
    assert url_of("127.0.0.1", 8778) == "http://127.0.0.1:8778"
    assert url_of("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert url_of("::", 1) == "http://[::1]:1"
    assert url_of("10.1.2.3", 1) == "http://10.1.2.3:1"


class _Quiet(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_guide_is_shown_once_a_worker_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            announce_when_ready("127.0.0.1", server.server_port, "the [guide] " + "x" * 300)
        finally:
            server.shutdown()
            thread.join()
    # Commands to copy are neither broken into lines nor taken for markup.
    assert "the [guide] " + "x" * 300 + "\n" in capsys.readouterr().out
    monkeypatch.setattr(serving, "READY_SECONDS", 0.01)
    announce_when_ready("127.0.0.1", free_port(), "the guide")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No worker has answered" in captured.err


def test_waiting_ends_if_nobody_answers() -> None:
    assert not wait_until_ready("127.0.0.1", free_port(), 0.2)
