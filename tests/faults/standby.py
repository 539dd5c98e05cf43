"""PostgreSQL with a synchronous standby: what is acknowledged is on both before its COMMIT returns."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psycopg

from tests.faults.mischief import Fault
from tests.faults.serving import Serving
from tests.faults.targets import Target, create_database, pause, processes_of, start_again
from tests.servers.binaries import POSTGRESQL, Binaries
from tests.servers.ports import free_port
from tests.servers.session import require_binaries
from tests.servers.throwaway import USER, PostgreSQLServer

FOLLOW_SECONDS = 60.0
"""How long a standby may take to be in step, and a promoted one to take writes."""


class PairedServer(PostgreSQLServer):
    """One of the two; which of them is the primary changes."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.name = name
        self.port = free_port()

    def follow(self, primary: PairedServer) -> None:
        """Start anew as a copy of ``primary`` that follows it."""
        if not self.folder.exists():
            self._prepare_folder()
        program = self._installed.serve.resolve().parent / "pg_basebackup"
        self._run(["rm", "-rf", str(self._data)])
        self._run(
            [
                str(program),
                "--pgdata",
                str(self._data),
                "--dbname",
                f"host=127.0.0.1 port={primary.port} user={USER} application_name={self.name}",
                "--checkpoint=fast",
                "--write-recovery-conf",
            ]
        )
        self.start()

    def _serve_command(self, binaries: Binaries) -> list[str]:
        return [*super()._serve_command(binaries), "-c", "max_wal_senders=8", "-c", "hot_standby=on"]

    def ask(self, statement: str) -> object:
        """First column of the first row, None if there is none."""
        with closing(
            psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                user=USER,
                dbname="postgres",
                autocommit=True,
                connect_timeout=5,
            )
        ) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    def wait_for_standby(self) -> None:
        """Until every COMMIT waits for a standby that is in step. Raises ServerError."""
        self._wait_until("SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'")

    def promote(self) -> None:
        """Become the primary."""
        self.ask("SELECT pg_promote(true, 60)")
        self._wait_until("SELECT NOT pg_is_in_recovery()")

    def require_standby(self, required: bool) -> None:
        """Whether a COMMIT waits until a standby has it on disk."""
        self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{'*' if required else ''}'")
        self.ask("SELECT pg_reload_conf()")

    def _wait_until(self, question: str) -> None:
        until = time.monotonic() + FOLLOW_SECONDS
        while True:
            try:
                if self.ask(question):
                    return
            except psycopg.Error:
                pass
            if time.monotonic() > until:
                raise self._failure()
            time.sleep(0.1)


class StandbyTarget(Target):
    """A primary and its synchronous standby. The service is told of both, and finds the primary itself."""

    name = "postgresql with a standby"

    def __init__(self, folder: Path) -> None:
        require_binaries(POSTGRESQL)
        self.primary = PairedServer(folder / "one", "one")
        self.standby = PairedServer(folder / "two", "two")
        try:
            self.primary.start()
            self._database = create_database(self.primary.url)
            self.pair_up()
        except BaseException:
            self.close()
            raise
        ports = (self.primary.port, self.standby.port)
        hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
        self.url = (
            f"postgresql+psycopg://{USER}@/{self._database.database}?{hosts}"
            "&target_session_attrs=read-write&connect_timeout=5"
        )

    @property
    def direct_url(self) -> str:  # type: ignore[override]
        """Of the present primary."""
        return self._database.set(port=self.primary.port).render_as_string(hide_password=False)

    def pair_up(self) -> None:
        """Make the standby anew from the primary, and let every COMMIT wait for it."""
        self.standby.follow(self.primary)
        self.primary.require_standby(True)
        self.primary.wait_for_standby()

    def faults(self, hosts: Sequence[Serving]) -> Mapping[str, Fault]:
        return {
            "primary killed, standby promoted": self._failed_over,
            "standby killed": self._standby_killed,
            "primary paused": lambda dice: pause(processes_of(self.primary), dice),
            "standby paused": lambda dice: pause(processes_of(self.standby), dice),
        }

    def _failed_over(self, dice: random.Random) -> None:
        self.fail_over(dice.uniform(0.0, 1.0))
        self.pair_up()

    def fail_over(self, seconds_to_notice: float) -> None:
        """The primary is lost for good; after a while the standby takes its place, alone."""
        self.primary.kill()
        time.sleep(seconds_to_notice)
        self.standby.promote()
        # It was copied before the old primary was told to wait, and waits for nobody itself.
        self.standby.require_standby(False)
        self.primary, self.standby = self.standby, self.primary

    def _standby_killed(self, dice: random.Random) -> None:
        """Nothing can be acknowledged until it is back."""
        self.standby.kill()
        time.sleep(dice.uniform(0.0, 2.0))
        start_again(self.standby)
        self.primary.wait_for_standby()

    def heal(self) -> None:
        if self.standby.process_id is None:
            start_again(self.standby)
        self.primary.wait_for_standby()

    def close(self) -> None:
        for server in (self.primary, self.standby):
            server.kill()
            server.remove()
