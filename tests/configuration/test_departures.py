"""A client that goes while it waits, behind gunicorn with threads."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.ports import free_port

pytestmark = pytest.mark.journey

APPLICATION = """
import time
from pathlib import Path
from moorage.api.http.departures import gone_in

def application(environ, start_response):
    gone = gone_in(environ)
    assert not gone()
    Path("waits").touch()
    while not gone():
        time.sleep(0.01)
    Path("gone").touch()
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""
PATIENCE_SECONDS = 60.0


def connected(port: int, until: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_gunicorn_lets_a_request_see_that_its_client_has_gone(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(APPLICATION)
    port, until = free_port(), time.monotonic() + PATIENCE_SECONDS
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "4", "waiting"],
        cwd=tmp_path,
    )

    def wait_for(name: str) -> None:
        while not (tmp_path / name).exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)

    try:
        with connected(port, until) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for("waits")
        wait_for("gone")
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
