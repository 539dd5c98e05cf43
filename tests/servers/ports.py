"""Ports for servers that tests and benchmarks start."""

from __future__ import annotations

import random
import re
import socket
from pathlib import Path

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Where Linux says which ports it gives to connections that go out, and to whoever asks for any."""

EPHEMERAL_ELSEWHERE = (32768, 65535)
"""The same ports on systems that do not tell: Linux's and the BSDs' together."""

LOWEST = 10_240
"""Below lie the ports of well-known services."""

ATTEMPTS = 200
"""How many ports are looked at before the system is asked for any."""


def free_port() -> int:
    """A port of loopback on which nobody listens, and which no connection gets by chance.

    A server binds it some time later, and a server that was killed binds it again: meanwhile a port that
    the system gives away by itself may have become one end of somebody's connection.
    """
    lowest, highest = ephemeral_ports()
    lasting: list[int] = [*range(LOWEST, lowest), *range(highest + 1, 65536)]
    # Of its own: whoever seeds the common generator must not get the ports of another process that does.
    dice = random.SystemRandom()
    for port in dice.sample(lasting, min(ATTEMPTS, len(lasting))):
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ephemeral_ports() -> tuple[int, int]:
    """The first and the last port that the system gives away by itself."""
    try:
        lowest, highest = re.findall(r"\d+", EPHEMERAL.read_text())
    except (OSError, ValueError):
        return EPHEMERAL_ELSEWHERE
    return int(lowest), int(highest)


def is_free(port: int) -> bool:
    """Whether a server could bind ``port`` of loopback now."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
