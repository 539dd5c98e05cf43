"""A real ``moorage serve`` with its worker processes, to be killed, paused and started again."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.wiring.parts import prepare
from tests.journeys.client import Client
from tests.servers.keeper import without_coverage
from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
CHILD_FOLDER = Path(__file__).parent / "child"
"""Holds the sitecustomize that moves clocks and builds faults in."""

START_SECONDS = 90.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05

CLOCK_FILE = "MOORAGE_FAULTS_CLOCK"
"""Names the file in which the child's wall clock finds how many seconds it is wrong."""

SABOTAGE = "MOORAGE_FAULTS_SABOTAGE"
"""Names the fault that is built into the child on purpose."""

ARMED_FILE = "MOORAGE_FAULTS_ARMED"
"""Names the file whose presence lets that fault show."""

UNANSWERED = "could not be answered"
"""What the service logs about a 503, as a warning."""


class ServingError(Exception):
    """The service does not come up. The text ends with what it logged."""


@dataclass
class Serving:
    """One service on ``address``; its port stays the same over restarts."""

    database: str
    folder: Path
    workers: int = 1
    sabotage: str = ""
    address: str = "127.0.0.1"
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    restarts: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What all its processes said."""
        return self.folder / f"serve-{self.port}.log"

    @property
    def clock(self) -> Path:
        """See ``CLOCK_FILE``."""
        return self.folder / f"clock-{self.port}"

    @property
    def armed(self) -> Path:
        """See ``ARMED_FILE``."""
        return self.folder / f"armed-{self.port}"

    def arm(self) -> None:
        """Let a fault show that is built in."""
        self.armed.touch()

    @property
    def hosts(self) -> list[Serving]:
        """Itself: there is only one."""
        return [self]

    def synchronise(self) -> None:
        """What ``moorage db sync`` does, without a process of its own."""
        store = Store(StoreSettings(self.database))
        try:
            prepare(store, migrate=True)
        finally:
            store.close()

    def start(self) -> None:
        """Serve, and return once somebody answers. Raises ServingError."""
        if not self.clock.exists():
            self.set_clock(0.0)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "moorage", "serve"),
                    *("--host", self.address, "--port", str(self.port)),
                    *("--workers", str(self.workers), "--database", self.database),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )
        self.wait()

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join((str(CHILD_FOLDER), str(ROOT / "src"), str(ROOT)))
        return {
            # Most of these processes are killed, and what they have counted is lost with them.
            **without_coverage(os.environ),
            # A worker that starts while its database is away looks for it again soon, and for ever.
            "OS_PLACEMENT_PLACEMENT_DATABASE__RETRY_INTERVAL": "1",
            "OS_PLACEMENT_PLACEMENT_DATABASE__MAX_RETRIES": "-1",
            "PYTHONPATH": path,
            CLOCK_FILE: str(self.clock),
            SABOTAGE: self.sabotage,
            ARMED_FILE: str(self.armed),
            **self.environment,
        }

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Until the service answers. Raises ServingError if it does not in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:
                raise ServingError(f"the service has ended:\n{self.tail()}")
            if self._answers():
                return
            time.sleep(POLL_SECONDS)
        raise ServingError(f"no answer within {seconds:.0f} seconds:\n{self.tail()}")

    def _answers(self) -> bool:
        client = Client(self.port, address=self.address, timeout=5.0)
        try:
            return client.request("GET", "/").status == 200
        except OSError:
            return False
        finally:
            client.close()

    def tail(self, lines: int = 30, errors: int = 150) -> str:
        """The end of the log, and before it the last lines of errors and of requests without an answer."""
        logged = self.log.read_text(errors="replace").splitlines()
        earlier = [line for line in logged[:-lines] if " ERROR " in line or UNANSWERED in line]
        return "\n".join([*earlier[-errors:], *logged[-lines:]])

    def worker_pids(self) -> list[int]:
        """Worker processes that are there now."""
        return [] if self.process is None else workers_of(self.process.pid)

    def pids(self) -> list[int]:
        """All its processes."""
        return [] if self.process is None else [self.process.pid, *children_of(self.process.pid)]

    def kill(self) -> None:
        """End all its processes at once."""
        if self.process is not None:
            kill_group(self.process)
            self.process = None

    def restart_if_ended(self) -> bool:
        """Start it again if it has ended by itself; whether it had."""
        if self.process is not None and self.process.poll() is None:
            return False
        self.kill()
        self.restarts += 1
        self.start()
        return True

    def stop(self) -> None:
        """Let it finish what it has begun. Raises ServingError if it takes too long."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServingError(f"SIGTERM does not end it:\n{self.tail()}") from None
        self.process = None

    def set_clock(self, seconds: float) -> None:
        """Put the wall clock of all its processes wrong by so much."""
        if not self.clock.exists():
            self.clock.write_bytes(struct.pack("d", 0.0))
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", seconds))

    def limit_files(self, size: int | None) -> None:
        """No file of its processes may grow beyond ``size`` bytes; None: as large as they like."""
        for pid in self.pids():
            try:
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
            except ProcessLookupError:
                continue

    def worker_of(self, connection: socket.socket) -> int | None:
        """Which worker process has the other end of ``connection``; None if that cannot be told."""
        inode = _socket_inode(connection.getpeername(), connection.getsockname())
        if inode is None:
            return None
        wanted = f"socket:[{inode}]"
        return next((pid for pid in self.worker_pids() if wanted in _open_files(pid)), None)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a session's leader and to what it started."""
    below = children_of(process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pid in below:
        signal_process(pid, signal.SIGKILL)


def signal_process(pid: int, number: signal.Signals) -> bool:
    """Whether the process was there to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def children_of(pid: int) -> list[int]:
    """Processes below ``pid``, at any depth, as /proc has them."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def workers_of(pid: int) -> list[int]:
    """Worker processes of the ``moorage serve`` with this process id."""
    return [child for child in children_of(pid) if b"resource_tracker" not in command_line(child)]


def command_line(pid: int) -> bytes:
    """Empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(entry.readlink()))
            except OSError:
                continue
    except OSError:
        return set()
    return found


def _socket_inode(local: tuple[str, int], remote: tuple[str, int]) -> str | None:
    wanted = [_kernel_form(local), _kernel_form(remote)]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == wanted:
            return fields[9]
    return None


def _kernel_form(address: tuple[str, int]) -> str:
    packed = struct.unpack("<I", socket.inet_aton(address[0]))[0]
    return f"{packed:08X}:{address[1]:04X}"
