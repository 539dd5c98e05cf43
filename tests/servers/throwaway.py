"""One database server in a folder of its own, with nothing that outlives it.

Durability is left as the servers have it by default: tests that kill a server rely on it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

import psycopg
import pymysql

from tests.servers.binaries import DISPLAY_NAMES, MARIADB, POSTGRESQL, Binaries, find
from tests.servers.ports import free_port

START_SECONDS = 60.0
"""How long a server may take to answer; seconds on a busy machine, not one."""

STOP_SECONDS = 30.0
"""How long a server may take to write its state and go, before it is killed."""

POLL_SECONDS = 0.05
"""Between two looks at a server that starts or stops."""

START_ATTEMPTS = 3
"""A free port can be taken by another process before the server binds it."""

MAX_CONNECTIONS = 200
"""Enough for a pool of connections in each of several processes per test, several at once."""

USER = "moorage"
"""The database user of throw-away servers; it may create databases and has no secret."""

PASSWORD = "moorage"


class ServerError(Exception):
    """A server that does not start. The text ends with what it logged."""


class ThrowAwayServer(ABC):
    """A server on 127.0.0.1 whose data lie in ``folder``; not safe to share between threads."""

    kind: str
    accounts: tuple[str, ...]
    """Users to run as if the tests run as root, the first that exists: servers refuse root."""
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = find(self.kind)

    @property
    @abstractmethod
    def url(self) -> str:
        """SQLAlchemy URL of a database that is always there; its user may create others."""

    def start(self) -> None:
        """Make the data folder if there is none, serve it, and return once it answers.

        After ``stop`` or ``kill`` the same data are served on the same port again.
        Raises ServerError.
        """
        if not self._data.exists():
            self._prepare_folder()
            self._run(self._initialize_command(self._installed))
        if self.port:
            self._serve()
            return
        for attempt in range(1, START_ATTEMPTS + 1):
            self.port = free_port()
            try:
                self._serve()
            except ServerError:
                self.kill()
                if attempt == START_ATTEMPTS:
                    raise
            else:
                return

    @property
    def process_id(self) -> int | None:
        """Of the server's first process; None while it does not run."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Let the server write its state and end; kill it if it takes too long."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server and all its processes at once, as a loss of power would."""
        if self._process is None:
            return
        # The server was made the leader of a session of its own, so this reaches its children.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def remove(self) -> None:
        """Stop and delete all data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    @property
    def _installed(self) -> Binaries:
        if self._binaries is None:
            raise ServerError(f"{DISPLAY_NAMES[self.kind]} is not installed")
        return self._binaries

    @abstractmethod
    def _initialize_command(self, binaries: Binaries) -> list[str]: ...

    @abstractmethod
    def _serve_command(self, binaries: Binaries) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _account(self) -> pwd.struct_passwd | None:
        """Whom to run as; None for whoever runs the tests."""
        if os.geteuid() != 0:
            return None
        for name in self.accounts:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise ServerError(f"no user to run {DISPLAY_NAMES[self.kind]} as: none of {', '.join(self.accounts)}")

    def _prepare_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = self._account()
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        account = self._account()
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )

    def _run(self, command: list[str]) -> None:
        with self._popen(command) as process:
            if process.wait() != 0:
                raise self._failure()

    def _serve(self) -> None:
        self._process = self._popen(self._serve_command(self._installed))
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                self._process = None
                raise self._failure()
            if time.monotonic() > deadline:
                raise self._failure()
            time.sleep(POLL_SECONDS)

    def _failure(self) -> ServerError:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
        return ServerError(f"{DISPLAY_NAMES[self.kind]} does not start:\n{tail}")


class PostgreSQLServer(ThrowAwayServer):
    """PostgreSQL, open without a password to whoever reaches its loopback port."""

    kind = POSTGRESQL
    accounts = ("postgres", "nobody")
    # SIGTERM would wait for the clients to go; SIGINT is PostgreSQL's "fast shutdown".
    stop_signal = signal.SIGINT

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"

    def _initialize_command(self, binaries: Binaries) -> list[str]:
        return [
            str(binaries.initialize),
            f"--pgdata={self._data}",
            f"--username={USER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            # Only the making of the folder goes unsynced; the server itself syncs as always.
            "--no-sync",
        ]

    def _serve_command(self, binaries: Binaries) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
            "shared_buffers": "32MB",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(binaries.serve), "-D", str(self._data), *arguments]

    def _answers(self) -> bool:
        try:
            psycopg.connect(
                host="127.0.0.1", port=self.port, user=USER, dbname="postgres", connect_timeout=5
            ).close()
        except psycopg.OperationalError:
            return False
        return True


class MariaDBServer(ThrowAwayServer):
    """MariaDB with Debian's character set and collation, and small buffers."""

    kind = MARIADB
    accounts = ("mysql", "nobody")

    @property
    def url(self) -> str:
        return f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/mysql"

    def _initialize_command(self, binaries: Binaries) -> list[str]:
        return [
            str(binaries.initialize),
            "--no-defaults",
            f"--datadir={self._data}",
            f"--tmpdir={self.folder}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]

    def _serve_command(self, binaries: Binaries) -> list[str]:
        statements = self.folder / "init.sql"
        statements.write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        )
        statements.chmod(0o644)
        return [
            str(binaries.serve),
            "--no-defaults",
            f"--datadir={self._data}",
            f"--tmpdir={self.folder}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={statements}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            f"--max-connections={MAX_CONNECTIONS}",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=16M",
        ]

    def _answers(self) -> bool:
        try:
            pymysql.connect(
                host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, connect_timeout=5
            ).close()
        except pymysql.err.OperationalError:
            return False
        return True


def server_of(kind: str, folder: Path) -> ThrowAwayServer:
    """A server of ``kind``, not started yet."""
    return PostgreSQLServer(folder) if kind == POSTGRESQL else MariaDBServer(folder)
