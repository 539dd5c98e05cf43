"""One server of each kind per test session, shared by all its worker processes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tests.servers.binaries import DISPLAY_NAMES, PACKAGES, URL_VARIABLES, find
from tests.servers.keeper import ALIVE_FILE, folder_of, launch, report_of
from tests.servers.throwaway import POLL_SECONDS, START_ATTEMPTS, START_SECONDS, STOP_SECONDS

SESSION_VARIABLE = "MOORAGE_TEST_SESSION"
"""Through this, worker processes learn the folder of the session that they belong to."""

READY_SECONDS = START_SECONDS * START_ATTEMPTS + 60.0
"""The keeper's own patience, and time to make the data folder."""


FOLDER_PREFIX = "moorage-servers-"

TEMPORARY_OF_PYTEST = "PYTEST_DEBUG_TEMPROOT"
"""Where pytest makes the folders of ``tmp_path``."""

MEMORY = Path("/dev/shm")  # a file system in memory on Linux

MEMORY_NEEDED_BYTES = 4 * 1024**3
"""Free space from which on it is used: both servers with some hundred small databases, and tests' files."""

ABANDONED_SECONDS = 600.0
"""A session takes its lock within milliseconds; a folder this old without one was left by a kill."""


class MissingServerError(Exception):
    """There is no server of a kind, and the text says in one line how to get one."""


class SessionOwner:
    """Held by the session's first process; the servers live as long as it does."""

    def __init__(self) -> None:
        parent = folders_parent()
        remove_abandoned(parent)
        self.folder = open_folder()
        temporary = self.folder / "temporary"
        temporary.mkdir()
        temporary.chmod(0o1777)
        # Temporary files of tests, and of the processes that they start, lie where the servers do: a disk
        # takes milliseconds for each commit of SQLite and for each folder that is removed. pytest keeps what
        # a failed test leaves, so its folders lie outside of the one that goes with the session.
        given = {"TMPDIR": str(temporary), TEMPORARY_OF_PYTEST: str(parent)} | _named(TEMPORARY_OF_PYTEST)
        self._before = {name: os.environ.get(name) for name in given}
        _set_variables(given)
        self._alive: IO[str] = (self.folder / ALIVE_FILE).open("w")
        fcntl.flock(self._alive, fcntl.LOCK_EX)
        os.environ[SESSION_VARIABLE] = str(self.folder)

    def close(self) -> None:
        """Let the servers go and wait until they have gone."""
        del os.environ[SESSION_VARIABLE]
        _set_variables(self._before)
        self._alive.close()
        deadline = time.monotonic() + STOP_SECONDS + 5.0
        while any(folder_of(kind, self.folder).exists() for kind in URL_VARIABLES):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)


def server_url(kind: str) -> str:
    """SQLAlchemy URL of the session's server of ``kind``, started now if this is the first call.

    A server named in the environment takes precedence. Raises MissingServerError if there are
    no binaries, RuntimeError if the server does not start.
    """
    named = os.environ.get(URL_VARIABLES[kind])
    if named:
        return named
    require_binaries(kind)
    session = Path(os.environ[SESSION_VARIABLE])
    with (session / f"{kind}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not report_of(kind, session).exists():
            launch(kind, session)
            _await(report_of(kind, session))
    report: dict[str, str] = json.loads(report_of(kind, session).read_text())
    if "error" in report:
        raise RuntimeError(report["error"])
    return report["url"]


def require_binaries(kind: str) -> None:
    """Raises MissingServerError if a server of ``kind`` cannot be started."""
    if find(kind) is None:
        raise MissingServerError(
            f"{DISPLAY_NAMES[kind]} (install the package {PACKAGES[kind]}, "
            f"or set {URL_VARIABLES[kind]} to the URL of a server whose user may create databases)"
        )


def folders_parent() -> Path:
    """Memory if there is enough of it, else the disk; ``TMPDIR`` decides if it is set.

    Tests make virtual environments there, so programs must be allowed to run from it. Servers keep their
    durable settings, but a test's data need not outlive the machine: a killed process loses as much or as
    little on either, and a schema costs milliseconds, not seconds.
    """
    try:
        if (
            "TMPDIR" not in os.environ
            and os.access(MEMORY, os.W_OK)
            and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED_BYTES
            and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        ):
            return MEMORY
    except OSError:
        pass
    return Path(tempfile.gettempdir())


def _named(variable: str) -> dict[str, str]:
    return {variable: os.environ[variable]} if variable in os.environ else {}


def _set_variables(values: Mapping[str, str | None]) -> None:
    """Set or, at None, remove variables of this process and of those started from now on."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    # It is found out anew.
    tempfile.tempdir = None


def open_folder() -> Path:
    """A new folder through which other users may pass: as root, servers run as other users."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=folders_parent()))
    folder.chmod(0o711)
    return folder


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of sessions that were killed; their keepers have ended the servers."""
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < ABANDONED_SECONDS:
                continue
            with (folder / ALIVE_FILE).open() as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:
            # Somebody else's, in use, without a lock, or gone by now.
            continue


def _await(path: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing was said in {path.name} within {READY_SECONDS:.0f} seconds")
        time.sleep(POLL_SECONDS)
