"""HTTPS by ``moorage serve``, with certificates made here; and what is told of those that cannot work."""

from __future__ import annotations

import datetime
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
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from moorage.cli.tls import tls_from
from moorage.model.errors import ConfigurationError

START_SECONDS = 120.0

Pair = tuple[Path, Path]


def issued(folder: Path, name: str, authority: Pair | None = None) -> Pair:
    """Files of a certificate for 127.0.0.1 and of its key; one without ``authority`` is one itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, issuer_key = named(name), key
    if authority is not None:
        issuer = x509.load_pem_x509_certificate(authority[0].read_bytes()).subject
        loaded = load_pem_private_key(authority[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        issuer_key = loaded
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@contextmanager
def served(folder: Path, *options: str) -> Iterator[int]:
    """A service over TLS; gives its port once it says that it answers."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moorage", "serve", "--port", "0", *options],
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


def test_without_any_file_http_is_plain() -> None:
    assert tls_from(None, None, None) is None


def test_files_that_cannot_work_are_one_clear_line(tmp_path: Path) -> None:
    certificate, key = issued(tmp_path, "one")
    _, other_key = issued(tmp_path, "two")
    nothing, empty = tmp_path / "nothing", tmp_path / "empty"
    empty.write_bytes(b"")
    old_key = tmp_path / "old.key"
    old_key.write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    for given, words in (
        ((certificate, None, None), "go together"),
        ((None, key, None), "go together"),
        ((None, None, certificate), "needs --tls-certificate"),
        ((nothing, key, None), "cannot be read: No such file"),
        ((certificate, nothing, None), "cannot be read: No such file"),
        ((certificate, tmp_path, None), "cannot be read: Is a directory"),
        ((certificate, old_key, None), "openssl pkcs8 -topk8"),
        ((certificate, empty, None), "openssl pkcs8 -topk8"),
        ((certificate, other_key, None), "are no certificate and its key"),
        ((empty, key, None), "are no certificate and its key"),
        ((certificate, key, empty), "is no certificate in PEM"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(words)) as refused:
            tls_from(*given)
        assert "\n" not in str(refused.value)


def test_what_was_asked_for_is_told_to_the_http_server(tmp_path: Path) -> None:
    certificate, key = issued(tmp_path, "one")
    tls = tls_from(certificate, key, None)
    assert tls is not None
    options = tls.server_options()
    assert (options["ssl_cert"], options["ssl_key"], options["ssl_client_verify"]) == (
        certificate,
        key,
        False,
    )
    assert options["ssl_protocol_min"].value == "tls1.2"
