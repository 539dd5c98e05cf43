"""HTTPS by ``moorage serve``, with certificates made here."""

from __future__ import annotations

import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import issued

START_SECONDS = 120.0


@contextmanager
def served(folder: Path, *options: str) -> Iterator[int]:
    """A service over TLS; gives its port once it says that it answers."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            # -P: with a new folder in its path, a process would look for all entry points again.
            [sys.executable, "-P", "-m", "moorage", "serve", "--port", "0", *options],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        )
    try:
        until = time.monotonic() + START_SECONDS
        while "Stop it with Ctrl-C." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        found = re.search(r"https://127\.0\.0\.1:(\d+)", log.read_text())
        assert found, log.read_text()
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)


def ask(port: int, context: ssl.SSLContext) -> int:
    """Status of the root document."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=START_SECONDS, context=context)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.journey
def test_https_is_served_and_plain_http_and_old_versions_of_tls_are_not(tmp_path: Path) -> None:
    certificate, key = issued(tmp_path, "server")
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key), "--tls-minimum", "1.3")
    with served(tmp_path, *options) as port:
        assert ask(port, ssl.create_default_context(cafile=certificate)) == 200
        with pytest.raises(ssl.SSLError):
            ask(port, ssl.create_default_context())
        old = ssl.create_default_context(cafile=certificate)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(port, old)
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        plain.request("GET", "/")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain.getresponse()
        plain.close()


@pytest.mark.journey
def test_only_clients_with_a_certificate_of_the_authority_are_let_in(tmp_path: Path) -> None:
    certificate, key = issued(tmp_path, "server")
    authority = issued(tmp_path, "authority")
    client, client_key = issued(tmp_path, "client", authority)
    stranger, stranger_key = issued(tmp_path, "stranger", issued(tmp_path, "somebody"))
    options = (
        "--tls-certificate",
        str(certificate),
        "--tls-key",
        str(key),
        "--tls-client-ca",
        str(authority[0]),
    )
    with served(tmp_path, *options) as port:
        known = ssl.create_default_context(cafile=certificate)
        known.load_cert_chain(client, client_key)
        assert ask(port, known) == 200
        unknown = ssl.create_default_context(cafile=certificate)
        unknown.load_cert_chain(stranger, stranger_key)
        for context in (ssl.create_default_context(cafile=certificate), unknown):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(port, context)
