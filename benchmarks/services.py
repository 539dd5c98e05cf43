"""The two services that are compared, each as server processes of its own.

Both stand behind the same HTTP server (granian), so that what differs is the service. They run on
one version of Python and of all libraries that they share.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

from benchmarks.client import Connection, ProtocolError, ServerSilentError, request
from benchmarks.processes import Memory, cpu_seconds, worker_memory
from tests.servers.ports import free_port

START_SECONDS = 900.0
"""How long a service may take to answer at first: an index of a million providers takes minutes."""

STOP_SECONDS = 60.0
POLL_SECONDS = 0.02

REFERENCE_THREADS = 8
"""Requests that the reference works on at a time, so that searches do not queue behind writes."""

REFERENCE_DRIVERS = {"postgresql+psycopg": "postgresql+psycopg2"}
"""The reference cannot write with our driver: it asks for row ids, which psycopg does not know."""

OWN_VARIABLES = ("OS_", "MOORAGE_", "GRANIAN_")
"""Beginnings of environment variables that would configure the services behind our back."""


class Service(ABC):
    """A service on a database of its own; ``folder`` takes its log and configuration."""

    name: str

    def __init__(self, database: str, folder: Path, workers: int, *, randomize: bool = False) -> None:
        """With ``randomize``, candidates come in random order."""
        self.database = database
        self.workers = workers
        self.randomize = randomize
        self.port = 0
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make the schema, with the standard resource classes and traits."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _environment(self) -> dict[str, str]:
        found = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
        return found | {"OS_PLACEMENT__RANDOMIZE_ALLOCATION_CANDIDATES": str(self.randomize)}

    def start(self) -> float:
        """Serve, and return once requests are answered: after how many seconds.

        Raises RuntimeError with the end of the log.
        """
        assert self._process is None
        self.port = free_port()
        log = self._folder / f"{self.name}-{'random' if self.randomize else 'default'}.log"
        begin = time.perf_counter()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - begin > START_SECONDS:
                self.kill()
                raise RuntimeError(f"{self.name} does not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(POLL_SECONDS)
        return time.perf_counter() - begin

    def stop(self) -> None:
        """Let it end by itself; kill it if it takes too long."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End all its processes at once: one that computes for minutes does not hear anything else."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def process_id(self) -> int:
        """Of the process that it was started as."""
        assert self._process is not None
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Processor time of all its processes since they started (not the database server's)."""
        return cpu_seconds(self.process_id)

    def memory(self) -> Memory:
        """Memory of its largest worker."""
        return worker_memory(self.process_id)

    def _answers(self) -> bool:
        connection = Connection(self.port, START_SECONDS)
        try:
            return connection.exchange(request("GET", "/")).status == 200
        except (OSError, ProtocolError, ServerSilentError):
            return False
        finally:
            connection.close()


class Moorage(Service):
    """Moorage as ``moorage serve`` runs it."""

    name = "moorage"

    def prepare(self) -> None:
        subprocess.run(
            [sys.executable, "-P", "-m", "moorage", "db", "sync", "--database", self.database],
            check=True,
            cwd=self._folder,
            env=self._environment(),
            stdout=subprocess.DEVNULL,
        )

    def _command(self) -> list[str]:
        command = [sys.executable, "-P", "-m", "moorage", "serve", "--port", str(self.port)]
        return [*command, "--workers", str(self.workers), "--database", self.database]


class Seeking(Moorage):
    """Moorage that gives no answer twice: to measure searches by asking the same again and again."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"OS_MOORAGE__SEARCH_KEPT_BYTES": "0"}


class Reference(Service):
    """OpenStack Placement with its default configuration; it makes its schema when it starts."""

    name = "reference"

    def prepare(self) -> None:
        configuration = self._folder / "placement.conf"
        configuration.write_text(
            "[placement_database]\n"
            f"connection = {with_driver_of_reference(self.database).replace('$', '$$')}\n"
            "sync_on_startup = true\n"
            "[api]\n"
            "auth_strategy = noauth2\n"
        )
        # Of several workers each would make the schema, and all but the first fail.
        workers, self.workers = self.workers, 1
        self.start()
        self.stop()
        self.workers = workers
        # From now on a start is only a start.
        configuration.write_text(configuration.read_text().replace("sync_on_startup = true\n", ""))

    def _environment(self) -> dict[str, str]:
        # Tests that measure their coverage measure ours only.
        inherited = {
            name: value for name, value in super()._environment().items() if not name.startswith("COVERAGE_")
        }
        return inherited | {"OS_PLACEMENT_CONFIG_DIR": str(self._folder)}

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", str(self.workers)]
        return [*command, "--blocking-threads", str(REFERENCE_THREADS), "placement.wsgi.api:application"]


def with_driver_of_reference(url: str) -> str:
    """``url`` with the driver that the reference needs."""
    driver, separator, rest = url.partition("://")
    return REFERENCE_DRIVERS.get(driver, driver) + separator + rest
