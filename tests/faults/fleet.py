"""Several hosts, as far as one machine has them: services on different loopback addresses behind HAProxy."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.serving import Serving, ServingError, kill_group
from tests.journeys.client import Client
from tests.servers.binaries import haproxy
from tests.servers.ports import free_port
from tests.servers.session import MissingServerError

ADDRESSES = ("127.0.0.1", "127.0.0.2")

START_SECONDS = 30.0

CONFIGURATION = """\
global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 75s
    timeout server 75s
    # A request that was sent is never sent again: only Moorage knows what became of a write.
    retries 3
    retry-on conn-failure
    option redispatch
frontend placement
    bind 127.0.0.1:{port}
    default_backend moorage
backend moorage
    balance roundrobin
    option httpchk GET /
{servers}
"""
"""What the how-to for several hosts shows, with other addresses."""


@dataclass
class Fleet:
    """Hosts with a service each, and what leads clients to those that answer."""

    hosts: list[Serving]
    folder: Path
    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    _balancer: subprocess.Popen[bytes] | None = None

    @property
    def restarts(self) -> int:
        """Of all hosts' services."""
        return sum(host.restarts for host in self.hosts)

    def start(self) -> None:
        """Raises MissingServerError, ServingError."""
        program = haproxy()
        if program is None:
            raise MissingServerError("HAProxy (install the package haproxy)")
        for host in self.hosts:
            host.start()
        lines = [
            f"    server host-{number} {host.address}:{host.port} check inter 300ms fall 2 rise 1"
            for number, host in enumerate(self.hosts)
        ]
        file = self.folder / "haproxy.cfg"
        file.write_text(CONFIGURATION.format(port=self.port, servers="\n".join(lines)))
        with (self.folder / "haproxy.log").open("wb") as log:
            self._balancer = subprocess.Popen(
                [program, "-db", "-f", str(file)], stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                with Client(self.port, timeout=5.0) as client:
                    if client.request("GET", "/").status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise ServingError((self.folder / "haproxy.log").read_text())

    def restart_if_ended(self) -> bool:
        """Start again what has ended by itself; whether anything had."""
        restarted = [host.restart_if_ended() for host in self.hosts]
        return any(restarted)

    def arm(self) -> None:
        """Let faults show that are built in."""
        for host in self.hosts:
            host.arm()

    def tail(self) -> str:
        """The ends of all logs."""
        return "\n".join(host.tail() for host in self.hosts)

    def stop(self) -> None:
        """Let all finish what they have begun. Raises ServingError."""
        for host in self.hosts:
            host.stop()
        if self._balancer is not None:
            self._balancer.send_signal(signal.SIGTERM)
            self._balancer.wait()
            self._balancer = None

    def kill(self) -> None:
        """End everything at once."""
        for host in self.hosts:
            host.kill()
        if self._balancer is not None:
            kill_group(self._balancer)
            self._balancer = None
