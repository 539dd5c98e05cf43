"""Options of TLS: what the HTTP server is told, and what is told of files that cannot work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moorage.model.errors import ConfigurationError
from moorage.serve.tls import tls_from
from tests.certificates import issued


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
        ((certificate, None, None), "need each other"),
        ((None, key, None), "need each other"),
        ((None, None, certificate), "needs --tls-certificate"),
        ((nothing, key, None), "cannot be read: No such file"),
        ((certificate, nothing, None), "cannot be read: No such file"),
        ((certificate, tmp_path, None), "cannot be read: Is a directory"),
        ((certificate, old_key, None), "openssl pkcs8 -topk8"),
        ((certificate, empty, None), "openssl pkcs8 -topk8"),
        ((certificate, other_key, None), "are not a certificate and its key"),
        ((empty, key, None), "are not a certificate and its key"),
        ((certificate, key, empty), "is not a certificate in PEM"),
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
