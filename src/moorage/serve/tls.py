"""TLS of the service: its files, and checks of them before the start."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import Any, Final

from granian.constants import SSLProtocols

from moorage.model.errors import ConfigurationError
from moorage.model.valueclass import valueclass

PROTOCOLS: Final = {"1.2": SSLProtocols.tls12, "1.3": SSLProtocols.tls13}

KEY_FORM: Final = "-----BEGIN PRIVATE KEY-----"
"""First line of a private key in PKCS#8, which is the only form that the HTTP server reads."""


@valueclass(frozen=True, slots=True)
class Tls:
    """Files in PEM; ``minimum`` is a version of TLS.

    With ``client_ca``, clients must present a certificate of this authority.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    minimum: str = "1.2"

    def server_options(self) -> dict[str, Any]:
        """Options of the HTTP server."""
        return {
            "ssl_cert": self.certificate,
            "ssl_key": self.key,
            "ssl_ca": self.client_ca,
            "ssl_client_verify": self.client_ca is not None,
            "ssl_protocol_min": PROTOCOLS[self.minimum],
        }


def tls_from(
    certificate: Path | None, key: Path | None, client_ca: Path | None, minimum: str = "1.2"
) -> Tls | None:
    """TLS as the options select it; None for plain HTTP. Raises ConfigurationError for unusable options."""
    if certificate is None and key is None:
        if client_ca is not None:
            raise ConfigurationError("--tls-client-ca needs --tls-certificate and --tls-key.")
        return None
    if certificate is None or key is None:
        raise ConfigurationError("--tls-certificate and --tls-key need each other: one is missing.")
    for option, path in (
        ("--tls-certificate", certificate),
        ("--tls-key", key),
        ("--tls-client-ca", client_ca),
    ):
        if path is not None:
            _check_readable(option, path)
    if KEY_FORM not in key.read_text(encoding="ascii", errors="replace"):
        raise ConfigurationError(
            f"{key} (--tls-key) is not an unencrypted private key in PKCS#8. To convert it: "
            f"openssl pkcs8 -topk8 -nocrypt -in {key} -out FILE"
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            f"{certificate} (--tls-certificate) and {key} (--tls-key) are not a certificate and its key."
        ) from None
    if client_ca is not None:
        _check_authority(client_ca)
    return Tls(certificate, key, client_ca, minimum)


def _check_readable(option: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} ({option}) cannot be read: {error.strerror}.") from None


def _check_authority(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(f"{path} (--tls-client-ca) is not a certificate in PEM.") from None


def connection_to(address: str, port: int, seconds: float, tls: Tls | None) -> http.client.HTTPConnection:
    """A connection by which a process checks that its own workers answer."""
    if tls is None:
        return http.client.HTTPConnection(address, port, timeout=seconds)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The connection uses the address, so the name in the certificate does not matter. The server must have
    # exactly this certificate; its issuer does not matter.
    context.check_hostname = False
    context.load_verify_locations(tls.certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return http.client.HTTPSConnection(address, port, timeout=seconds, context=context)
