"""Check that a port of loopback is free, before anything is installed.

    python tools/port_check.py 8778

Needs nothing but Python, as nothing else may be there yet.
"""

from __future__ import annotations

import socket
import sys

HOST = "127.0.0.1"
TRIED = 100
"""Ports after a busy one that are tried, to suggest a free one."""


def is_free(port: int) -> bool:
    """Whether a service could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def problem(text: str) -> str | None:
    """Why a port cannot be used, in one line; None if it can."""
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        return f"PORT={text} is no port: give a number from 0 to 65535, for example make run PORT=8779"
    port = int(text)
    if port == 0 or is_free(port):
        return None
    others = (each for each in range(port + 1, min(port + TRIED, 65536)) if is_free(each))
    other = next(others, 0)
    return f"Port {port} of {HOST} is in use. Choose another: make run PORT={other}"


if __name__ == "__main__":
    told = problem(sys.argv[1])
    if told is not None:
        sys.exit(told)
