"""Where the service listens, the URL by which this machine reaches it, and whether it answers there."""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import time
from typing import Final

from moorage.model.errors import ConfigurationError
from moorage.serve.tls import Tls, connection_to

READY_POLL_SECONDS: Final = 0.05

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to recognise them, not to bind to them.


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``: 127.0.0.0/8, ::1 or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_address(host: str, port: int) -> tuple[str, int]:
    """The numeric address and the port to listen on; port 0 becomes a free one.

    Raises ConfigurationError if the name is unknown or the port cannot be had: before anything is done
    to the database, and before the socket is made that all workers accept from.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"The host {host} cannot be found: {error.strerror}.") from error
    # IPv4 first: that is where a client tries 127.0.0.1.
    family, kind, protocol, _, where = min(found, key=lambda each: each[0] != socket.AF_INET)
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            # Two sockets with SO_REUSEADDR may bind to one port; only one of them may listen.
            probe.listen(1)
        except OSError as error:
            raise ConfigurationError(
                f"Cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}. "
                "Choose another one with --port."
            ) from error
        taken = probe.getsockname()
    return str(taken[0]), int(taken[1])


def url_of(address: str, port: int, tls: Tls | None = None) -> str:
    """URL by which this machine reaches the service."""
    return f"{'https' if tls else 'http'}://{_bracketed(reachable(address))}:{port}"


def wait_until_ready(address: str, port: int, seconds: float, tls: Tls | None = None) -> bool:
    """Ask for the root document until it is answered; False if it is not in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection = connection_to(address, port, max(0.1, until - time.monotonic()), tls)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except ssl.SSLError:
            if tls is not None and tls.client_ca is not None:
                # A worker that refuses this process for want of a certificate answers.
                return True
            time.sleep(READY_POLL_SECONDS)
        except (OSError, http.client.HTTPException):
            time.sleep(READY_POLL_SECONDS)
        else:
            return True
        finally:
            connection.close()
    return False


def reachable(address: str) -> str:
    """The address by which this machine reaches a service that listens on ``address``."""
    if address not in WILDCARDS:
        return address
    return "::1" if ":" in address else "127.0.0.1"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
