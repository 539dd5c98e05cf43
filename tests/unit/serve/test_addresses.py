"""Where the service listens, and the wait for its answer."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from moorage.model.errors import ConfigurationError
from moorage.serve.addresses import listening_address, url_of, wait_until_ready
from moorage.serve.tls import Tls
from tests.certificates import issued
from tests.servers.ports import free_port

SECONDS = 60.0
"""How long a busy machine may take."""


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


def test_waiting_ends_if_nobody_answers() -> None:
    assert not wait_until_ready("127.0.0.1", free_port(), 0.2)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, Tls]]:
    """A port where any request gets an empty answer over TLS, and the files that it uses."""
    certificate, key = issued(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1], Tls(certificate, key)
        server.shutdown()
        thread.join()


class Answering(BaseHTTPRequestHandler):
    """Answers GET with nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


def test_a_service_over_tls_is_known_by_its_certificate(served: tuple[int, Tls]) -> None:
    port, tls = served
    assert wait_until_ready("127.0.0.1", port, SECONDS, tls)


def test_a_service_with_another_certificate_is_another_one(served: tuple[int, Tls], tmp_path: Path) -> None:
    another = Tls(*issued(tmp_path, "another"))
    assert not wait_until_ready("127.0.0.1", served[0], 0.2, another)


def test_a_service_that_asks_for_a_certificate_answers_by_refusing(
    served: tuple[int, Tls], tmp_path: Path
) -> None:
    certificate, key = issued(tmp_path, "another")
    assert wait_until_ready("127.0.0.1", served[0], SECONDS, Tls(certificate, key, client_ca=certificate))
